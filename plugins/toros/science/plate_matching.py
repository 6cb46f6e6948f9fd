"""Which detection is which catalogue star: triangles, votes, and the odds of chance.

Three stars keep the ratios of their distances however the frame is turned, moved or mirrored. Triangles of
near neighbours are compared between frame and catalogue, as Groth (1986, AJ 91, 1244) and Valdes et al.
(1995, PASP 107, 1119) do, on the sphere itself: a wide search and the pole of the sky are no special
cases. Every pair of similar triangles says where the frame points and how it is turned; pairs that agree are
looked at first. A pointing is believed only if the stars that it predicts meet detections so often that chance
cannot be the reason, in the spirit of Lang et al. (2010, AJ 139, 1782).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from scipy.special import bdtrc

from toros.errors import BadParameters, NoPlateSolution, TooFewStars

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]

ARCSEC = math.degrees(1) * 3600
"""Arcseconds in a radian."""

LEAST_STARS = 5
"""Three stars make a triangle, and a triangle proves nothing."""

_LADDER = (
    (50, 50),
    (25, 25),
    (25, 12),
    (25, 50),
    (50, 25),
    (100, 100),
    (12, 12),
    (12, 25),
    (50, 12),
    (12, 50),
    (50, 100),
    (100, 50),
    (100, 25),
    (25, 100),
    (200, 200),
    (200, 50),
    (200, 12),
)
"""How many of the brightest detections, and of the brightest stars in the area of a frame, make triangles.

Their limits of brightness are rarely the same: saturated stars may be missing, and catalogues end early.
"""

_DEPTH = 300
"""How many of them verify a pointing."""

_NEIGHBOURS = 8
_MOST_NEIGHBOURS = 20
_SHORTEST_SIDE = 0.01
"""Of a triangle, relative to the diagonal of the frame: shorter ones hold more noise than shape."""

_SHAPE_ERROR = 0.004
_PLACE_ERROR = 1.0
"""How much ratios of sides differ by distortion, and pixels by which sides differ by the errors of detections."""

_MOST_PAIRS = 30_000
"""How many similar triangles are looked at, the largest: in small frames many are similar within their errors."""

_POINTINGS = 20
"""How many pointings are verified on each step of the ladder, those with the most votes first."""

_WORTH_A_SECOND_LOOK = -1.0
"""log10 of the chance of a first guess: most of the wrong ones are no better than chance."""

_ROUNDS = 8
_SURE_RADIUS = 1.0
"""Pixels within which a star meets its detection however well the others do."""

_AFFINE_STARS = 12
"""From so many stars on, the two axes of the frame may differ in scale and not be square."""

_DEPTHS = np.array([8, 16, 32, 64, 128, _DEPTH])
_UNKNOWN_SCALE_STEP = 1.5
_UNKNOWN_SCALE_STEPS = 8
_FEW_STARS = 10


@dataclass(frozen=True)
class Hint:
    """What is believed of a frame before it is solved.

    Parameters
    ----------
    ra, dec : float
        ICRS degrees of the centre of the frame.
    radius : float
        Degrees by which that may be wrong.
    scale : float or None
        Arcseconds per pixel. None tries all scales at which the frame fits into the catalogue given.
    scale_range : float
        Relative; how wrong the scale may be.

    Raises
    ------
    BadParameters
        If a number makes no sense.
    """

    ra: float
    dec: float
    radius: float = 0.5
    scale: float | None = None
    scale_range: float = 0.03

    def __post_init__(self) -> None:
        if not (math.isfinite(self.ra) and -90 <= self.dec <= 90 and 0 < self.radius <= 180):
            raise BadParameters(f"no place on the sky: {self.ra}, {self.dec} within {self.radius} degrees")
        if self.scale is not None and not 0 < self.scale < math.inf:
            raise BadParameters(f"a scale of {self.scale} arcsec per pixel")
        if not 0 < self.scale_range < 1:
            raise BadParameters(f"a scale that may be wrong by {self.scale_range}; give a part of one")


@dataclass(frozen=True, eq=False)
class TangentPlane:
    """The sky around a point, gnomonically projected: arcsec to the east and to the north of it.

    Parameters
    ----------
    ra, dec : float
        ICRS degrees of the point where plane and sky touch.
    """

    ra: float
    dec: float

    @property
    def axes(self) -> Floats:
        """Unit vectors to the east, to the north and to the tangent point, shape (3, 3)."""
        ra, dec = math.radians(self.ra), math.radians(self.dec)
        return np.array(
            [
                [-math.sin(ra), math.cos(ra), 0],
                [-math.sin(dec) * math.cos(ra), -math.sin(dec) * math.sin(ra), math.cos(dec)],
                [math.cos(dec) * math.cos(ra), math.cos(dec) * math.sin(ra), math.sin(dec)],
            ]
        )

    def project(self, vectors: Floats) -> Floats:
        """Return the places, shape (n, 2), of unit vectors, shape (n, 3), less than 90 degrees away."""
        east, north, towards = self.axes @ vectors.T
        places: Floats = np.stack([east, north], axis=1) * (ARCSEC / towards)[:, np.newaxis]
        return places

    def sky(self, place: Floats) -> tuple[float, float]:
        """Return right ascension and declination (degrees) of a place, shape (2,)."""
        east, north, towards = self.axes
        return sky_position(east * place[0] / ARCSEC + north * place[1] / ARCSEC + towards)


@dataclass(frozen=True, eq=False)
class Pointing:
    """A frame without distortion: ``offset + matrix @ (pixel - middle)`` is its place in a tangent plane.

    Attributes
    ----------
    plane : TangentPlane
        Touches the sky near the middle of the frame.
    offset : ndarray, shape (2,)
        Arcsec.
    matrix : ndarray, shape (2, 2)
        Arcsec per pixel.
    """

    plane: TangentPlane
    offset: Floats
    matrix: Floats

    @property
    def scale(self) -> float:
        """Arcsec per pixel."""
        return math.sqrt(abs(np.linalg.det(self.matrix)))

    def pixels(self, places: Floats) -> Floats:
        """Return pixels, shape (n, 2), from the middle of the frame, of places in the plane."""
        pixels: Floats = (places - self.offset) @ np.linalg.inv(self.matrix).T
        return pixels


@dataclass(frozen=True, eq=False)
class PlateMatch:
    """A pointing that is not chance.

    Attributes
    ----------
    pointing : Pointing
        Good to `radius`, where the optics do not distort.
    detections, stars : ndarray of intp
        Indices of what was paired, among the brightest only.
    radius : float
        Pixels within which they were paired.
    chance : float
        log10 of the number of pointings as good as this one that were to be expected by chance.
    """

    pointing: Pointing
    detections: Indices
    stars: Indices
    radius: float
    chance: float


def match_plate(
    x: Floats,
    y: Floats,
    ra: Floats,
    dec: Floats,
    shape: tuple[int, int],
    hint: Hint,
    *,
    false_alarm: float = 1e-8,
) -> PlateMatch:
    """Find where a frame points, from its detections and a catalogue.

    Parameters
    ----------
    x, y : ndarray of float, shape (n,)
        Detections, 0-based pixels, the brightest first.
    ra, dec : ndarray of float, shape (m,)
        Catalogue stars, ICRS degrees, the brightest first, of a circle that covers what the frame may show.
    shape : (int, int)
        Rows and columns of the frame.
    hint : Hint
        Where to look.
    false_alarm : float
        How often, at most, a frame of other stars may be taken for a frame of these.

    Returns
    -------
    PlateMatch

    Raises
    ------
    TooFewStars
        If there are too few detections, or too few stars in the area of a frame, to be sure.
    NoPlateSolution
        If nothing matched.
    """
    if min(x.size, ra.size) < LEAST_STARS:
        raise TooFewStars(f"{x.size} detections and {ra.size} catalogue stars; {LEAST_STARS} are the least")
    frame = _Frame(x, y, shape)
    catalogues = _catalogues(ra, dec, frame, hint)
    trials = 1
    for detections, stars in _LADDER:
        for catalogue in catalogues:
            if not catalogue.is_new_step(detections, stars, frame):
                continue
            pointings, count = _pointings(frame, catalogue, detections, stars, hint)
            trials += count
            for pointing in pointings:
                match = _verify(frame, catalogue, pointing, trials)
                if match is not None and match.chance < math.log10(false_alarm):
                    return match
    crowd = max(catalogue.per_field for catalogue in catalogues)
    raise _failure(frame, crowd, ra.size, hint)


def unit_vectors(ra: Floats, dec: Floats) -> Floats:
    """Return the unit vectors, shape (n, 3), of positions in degrees."""
    ra, dec = np.radians(ra), np.radians(dec)
    return np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=1)


def sky_position(vector: Floats) -> tuple[float, float]:
    """Return right ascension and declination (degrees) of a direction, shape (3,), of any length."""
    x, y, z = vector.tolist()
    return math.degrees(math.atan2(y, x)) % 360, math.degrees(math.atan2(z, math.hypot(x, y)))


def nearest_pairs(tree: cKDTree, places: Floats, radius: float) -> tuple[Indices, Indices, Floats]:
    """Pair places with points of a tree within a radius, each point with the nearest place only.

    Returns
    -------
    points, places : ndarray of intp
        Indices of both sides of each pair, ordered by the place.
    distances : ndarray of float
    """
    distance, point = tree.query(places, distance_upper_bound=radius)
    place = np.flatnonzero(np.isfinite(distance))
    nearest_first = place[np.argsort(distance[place], kind="stable")]
    _, first = np.unique(point[nearest_first], return_index=True)
    place = np.sort(nearest_first[first])
    return point[place], place, distance[place]


class _Frame:
    """The brightest detections, in pixels from the middle of the frame."""

    def __init__(self, x: Floats, y: Floats, shape: tuple[int, int]) -> None:
        height, width = shape
        self.count = x.size
        self.half = np.array([width / 2, height / 2])
        self.area = float(width * height)
        self.side = math.sqrt(self.area)
        self.diagonal = math.hypot(width, height)
        middle = (np.array([width, height]) - 1) / 2
        self.places = np.stack([x[:_DEPTH], y[:_DEPTH]], axis=1) - middle
        self.tree = cKDTree(self.places)
        self.reach = 2.0 + 0.005 * self.diagonal
        """Pixels by which a star of a first guess may miss its detection."""


class _Catalogue:
    """The stars that may verify a pointing at one scale, and their rank among those in the area of a frame."""

    def __init__(
        self, ra: Floats, dec: Floats, vectors: Floats, frame: _Frame, scale: float, scale_range: float
    ) -> None:
        self.scale, self.scale_range = scale, scale_range
        rank, self.per_field = _rank_nearby(ra, dec, frame.side * scale / 3600)
        self.index = np.flatnonzero(rank < _DEPTH)
        self.rank = rank[self.index]
        self.vectors = vectors[self.index]
        self.tree = cKDTree(self.vectors)
        self.steps: set[tuple[int, int]] = set()

    def is_new_step(self, detections: int, stars: int, frame: _Frame) -> bool:
        """Tell if a step of the ladder differs from those before, for the numbers that there are."""
        step = min(detections, len(frame.places)), min(stars, int(self.rank.max()) + 1)
        is_new = step not in self.steps
        self.steps.add(step)
        return is_new

    def near(self, plane: TangentPlane, radius: float) -> Indices:
        """Return the stars within a radius (radians) of a tangent point, the brightest first."""
        chord = 2 * math.sin(min(radius, math.pi / 2) / 2)
        return np.sort(np.asarray(self.tree.query_ball_point(plane.axes[2], chord), np.intp))


def _rank_nearby(ra: Floats, dec: Floats, side: float) -> tuple[Indices, float]:
    """Rank stars, given by brightness, in cells of `side` degrees; also return how many a cell holds."""
    band = np.floor((dec - dec.min()) / side)
    from_middle = (ra - ra[0] + 180) % 360 - 180
    number = np.floor(from_middle * np.cos(np.radians(dec.min() + (band + 0.5) * side)).clip(0) / side)
    number -= number.min()
    cell = (band * (number.max() + 1) + number).astype(np.intp)
    count = np.bincount(cell)
    if count.size <= np.iinfo(np.uint16).max:
        cell = cell.astype(np.uint16)  # numpy orders short integers much faster
    order = np.argsort(cell, kind="stable")
    rank = np.empty(ra.size, np.intp)
    rank[order] = np.arange(ra.size) - np.repeat(np.cumsum(count) - count, count)
    return rank, float(np.average(count, weights=count)) - 1


def _catalogues(ra: Floats, dec: Floats, frame: _Frame, hint: Hint) -> list[_Catalogue]:
    """Prepare the stars for every scale to try."""
    vectors = unit_vectors(ra, dec)
    if hint.scale is not None:
        return [_Catalogue(ra, dec, vectors, frame, hint.scale, hint.scale_range)]
    towards = TangentPlane(hint.ra, hint.dec).axes[2]
    widest = 2 * math.acos(float(np.clip(vectors @ towards, -1, 1).min())) * ARCSEC / frame.diagonal
    return [
        _Catalogue(
            ra, dec, vectors, frame, widest / _UNKNOWN_SCALE_STEP**step, math.sqrt(_UNKNOWN_SCALE_STEP) - 1
        )
        for step in range(_UNKNOWN_SCALE_STEPS)
    ]


# --------------------------------------------------------------------------------------------- triangles


@dataclass(frozen=True, eq=False)
class _Triangles:
    """Triangles by their vertices, the one opposite the shortest side first, and their sides, shortest first."""

    vertices: Indices
    sides: Floats

    @property
    def ratios(self) -> Floats:
        return self.sides[:, :2] / self.sides[:, 2:]


def _triangles(points: Floats, neighbours: int, shortest: float) -> _Triangles:
    """Return the triangles of every point with two of its nearest neighbours, each of them once."""
    count = len(points)
    neighbours = min(neighbours, count - 1)
    _, near = cKDTree(points).query(points, neighbours + 1)
    one, other = np.triu_indices(neighbours, 1)
    corners = np.stack(
        [np.repeat(near[:, 0], one.size), near[:, 1:][:, one].ravel(), near[:, 1:][:, other].ravel()], axis=1
    )
    corners.sort(axis=1)
    key = np.sort((corners[:, 0] * count + corners[:, 1]) * count + corners[:, 2])
    key = key[np.diff(key, prepend=-1) > 0]
    corners = np.stack([key // count**2, key // count % count, key % count], axis=1)
    a, b, c = (points[corners[:, i]] for i in range(3))
    sides = np.sqrt(np.stack([((b - c) ** 2).sum(1), ((a - c) ** 2).sum(1), ((a - b) ** 2).sum(1)], axis=1))
    order = np.argsort(sides, axis=1)
    sides = np.take_along_axis(sides, order, axis=1)
    good = sides[:, 0] > shortest
    return _Triangles(np.take_along_axis(corners, order, axis=1)[good], sides[good])


def _similar(frame: _Triangles, sky: _Triangles, scale: float, scale_range: float) -> tuple[Indices, Indices]:
    """Return the indices of triangles of the same shape, and of the same size within the range of the scale."""
    if not (len(frame.sides) and len(sky.sides)):
        return np.empty(0, np.intp), np.empty(0, np.intp)
    tolerance = _SHAPE_ERROR + _PLACE_ERROR / float(np.median(frame.sides[:, 2]))
    stretch = tolerance / (math.log1p(scale_range) + tolerance)
    size = np.log(frame.sides[:, 2] * scale / ARCSEC) * stretch
    features = np.column_stack([frame.ratios, size])
    other = np.column_stack([sky.ratios, np.log(sky.sides[:, 2]) * stretch])
    pairs = cKDTree(features).sparse_distance_matrix(
        cKDTree(other), tolerance, p=np.inf, output_type="ndarray"
    )
    if pairs.size > _MOST_PAIRS:
        pairs = pairs[np.argpartition(-frame.sides[pairs["i"], 2], _MOST_PAIRS)[:_MOST_PAIRS]]
    return pairs["i"], pairs["j"]


def _pointings(
    frame: _Frame,
    catalogue: _Catalogue,
    faint_detection: int,
    faint_star: int,
    hint: Hint,
) -> tuple[Iterator[Pointing], int]:
    """Return the pointings that pairs of triangles agree on, and how many pairs there were."""
    places, scale = frame.places[:faint_detection], catalogue.scale
    stars = np.flatnonzero(catalogue.rank < faint_star)
    if stars.size < LEAST_STARS:
        return iter(()), 0
    vectors = catalogue.vectors[stars]
    density = faint_detection / min(faint_star, max(catalogue.per_field, 1.0))
    shortest = _SHORTEST_SIDE * frame.diagonal
    here = _triangles(places, _neighbours(density), shortest)
    there = _triangles(vectors, _neighbours(1 / density), shortest * scale / ARCSEC)
    one, other = _similar(here, there, scale, catalogue.scale_range)
    if not one.size:
        return iter(()), 0
    guesses = _guess(places[here.vertices[one]], vectors[there.vertices[other]])
    towards = TangentPlane(hint.ra, hint.dec).axes[2]
    margin = math.radians(hint.radius) + frame.reach * scale / ARCSEC
    guesses = guesses.chosen((guesses.towards @ towards) > math.cos(min(margin, math.pi)))
    return guesses.most_voted(0.01 * frame.diagonal * scale / ARCSEC), one.size


def _neighbours(density: float) -> int:
    """Return how many neighbours reach as far as those of the other side, `density` times less dense."""
    return min(round(_NEIGHBOURS * max(1.0, density)), _MOST_NEIGHBOURS)


@dataclass(frozen=True, eq=False)
class _Guesses:
    """Where pairs of triangles say that the frame looks.

    `towards` and `x_axis` are unit vectors, shape (n, 3), of the middle of the frame and of the direction
    in which x grows there; `scale` is in radians per pixel.
    """

    towards: Floats
    x_axis: Floats
    scale: Floats
    mirrored: NDArray[np.bool_]

    def chosen(self, which: NDArray[np.bool_]) -> _Guesses:
        return _Guesses(self.towards[which], self.x_axis[which], self.scale[which], self.mirrored[which])

    def most_voted(self, radius: float) -> Iterator[Pointing]:
        """Yield pointings by the number of guesses that agree within `radius` (radians) and a degree."""
        if not self.scale.size:
            return
        key = np.column_stack([self.towards / radius, self.x_axis / 0.02, self.mirrored * 10.0])
        votes = cKDTree(key).query_ball_point(key, 1.0, return_length=True)
        waiting = np.ones(votes.size, np.bool_)
        for _ in range(_POINTINGS):
            best = int(np.argmax(np.where(waiting, votes, -1)))
            yield self.pointing(best)
            waiting &= ((key - key[best]) ** 2).sum(1) > 1
            if not waiting.any():
                return

    def pointing(self, index: int) -> Pointing:
        plane = TangentPlane(*sky_position(self.towards[index]))
        east, north, _ = plane.axes @ self.x_axis[index]
        along_y = (-north, east) if self.mirrored[index] else (north, -east)
        matrix = self.scale[index] * ARCSEC * np.array([[east, along_y[0]], [north, along_y[1]]])
        return Pointing(plane, np.zeros(2), matrix)


def _guess(pixels: Floats, vectors: Floats) -> _Guesses:
    """Lay triangles of the frame, shape (n, 3, 2), over those of the sky, shape (n, 3, 3)."""
    middle = _normalised(vectors.mean(axis=1))
    side = vectors[:, 2] - vectors[:, 0]
    along = _normalised(side - (side * middle).sum(1, keepdims=True) * middle)
    across = np.cross(middle, along)
    depth = np.einsum("nij,nj->ni", vectors, middle)
    there = (np.einsum("nij,nj->ni", vectors, along) + 1j * np.einsum("nij,nj->ni", vectors, across)) / depth
    here = pixels[..., 0] + 1j * pixels[..., 1]
    mirrored = _turns_left(here) == _turns_left(there)
    here = np.where(mirrored[:, np.newaxis], here, here.conj())
    from_middle = here - here.mean(axis=1, keepdims=True)
    turn = (there * from_middle.conj()).sum(1) / (np.abs(from_middle) ** 2).sum(1)
    place = there.mean(axis=1) - turn * here.mean(axis=1)
    towards = _normalised(middle + along * place.real[:, np.newaxis] + across * place.imag[:, np.newaxis])
    x_axis = along * turn.real[:, np.newaxis] + across * turn.imag[:, np.newaxis]
    x_axis = _normalised(x_axis - (x_axis * towards).sum(1, keepdims=True) * towards)
    return _Guesses(towards, x_axis, np.abs(turn), mirrored)


def _normalised(vectors: Floats) -> Floats:
    unit: Floats = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
    return unit


def _turns_left(corners: NDArray[np.complex128]) -> NDArray[np.bool_]:
    """Tell which triangles, shape (n, 3), run counterclockwise."""
    one, other = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    left: NDArray[np.bool_] = (one.conj() * other).imag > 0
    return left


# ------------------------------------------------------------------------------------------ verification


def _verify(frame: _Frame, catalogue: _Catalogue, pointing: Pointing, trials: int) -> PlateMatch | None:
    """Pair the stars of a pointing with detections, ever closer, and return the most convincing round."""
    near = catalogue.near(pointing.plane, 1.05 * frame.diagonal / 2 * pointing.scale / ARCSEC)
    places = pointing.plane.project(catalogue.vectors[near])
    radius = frame.reach
    best: PlateMatch | None = None
    for _ in range(_ROUNDS):
        pixels = pointing.pixels(places)
        inside = np.flatnonzero((np.abs(pixels) < frame.half).all(axis=1))
        detections, met, _ = nearest_pairs(frame.tree, pixels[inside], radius)
        if detections.size < LEAST_STARS:
            break
        chance = _chance(frame, pixels[inside], detections, met, radius)
        if best is None and chance > _WORTH_A_SECOND_LOOK:
            break
        stars = near[inside[met]]
        chance += math.log10(trials * _ROUNDS * _DEPTHS.size**2)
        if best is None or chance <= best.chance:
            best = PlateMatch(pointing, detections, catalogue.index[stars], radius, chance)
        pointing = _fit(frame.places[detections], places[inside[met]], pointing)
        if not _is_plausible(pointing, catalogue):
            break
        error = pointing.pixels(places[inside[met]]) - frame.places[detections]
        wider, radius = radius, min(radius, max(_SURE_RADIUS, 3.5 * _sigma(error)))
        if radius > 0.98 * wider and best.radius == wider:
            break
    return best


def _fit(pixels: Floats, places: Floats, pointing: Pointing) -> Pointing:
    """Return the pointing that maps pixels to places best, without a change of parity."""
    if len(pixels) >= _AFFINE_STARS:
        terms = np.column_stack([np.ones(len(pixels)), pixels])
        offset, *axes = np.asarray(np.linalg.lstsq(terms, places, rcond=None)[0], np.float64)
        return Pointing(pointing.plane, offset, np.column_stack(axes))
    sense = 1j if np.linalg.det(pointing.matrix) > 0 else -1j
    here, there = pixels[:, 0] + sense * pixels[:, 1], places[:, 0] + 1j * places[:, 1]
    from_middle = here - here.mean()
    turn = (there * from_middle.conj()).sum() / (np.abs(from_middle) ** 2).sum()
    start, y_axis = there.mean() - turn * here.mean(), turn * sense
    matrix = np.array([[turn.real, y_axis.real], [turn.imag, y_axis.imag]])
    return Pointing(pointing.plane, np.array([start.real, start.imag]), matrix)


def _is_plausible(pointing: Pointing, catalogue: _Catalogue) -> bool:
    """Tell if both axes of the frame have a scale that is believed."""
    longest, shortest = np.linalg.svd(pointing.matrix, compute_uv=False) / catalogue.scale
    return bool(longest < 1 + catalogue.scale_range and shortest > 1 / (1 + catalogue.scale_range))


def _sigma(errors: Floats) -> float:
    """Return the standard deviation per axis of normal errors, shape (n, 2), from their median length."""
    return float(np.median(np.hypot(errors[:, 0], errors[:, 1]))) / math.sqrt(2 * math.log(2))


def _chance(frame: _Frame, pixels: Floats, detections: Indices, met: Indices, radius: float) -> float:
    """Return log10 of the chance that so many stars meet detections where no star of theirs is.

    Each of n predicted stars meets one of d detections, strewn over the frame, with the same small
    probability: the number of meetings is binomial. Three are no surprise, they made the guess. The bright
    ones alone may say more than all: the best of some limits of brightness on either side counts.
    """
    clumping = _clumping(frame, pixels, radius)
    depth = _DEPTHS[:, np.newaxis]
    meetings = ((detections < depth)[:, np.newaxis] & (met < depth)[np.newaxis]).sum(axis=2)
    density = np.minimum(_DEPTHS, len(frame.places)) / frame.area
    probability = -np.expm1(-density * math.pi * radius**2 * clumping)[:, np.newaxis]
    tested = np.maximum(np.minimum(_DEPTHS, len(pixels)) - 3, 0)[np.newaxis]
    chance = bdtrc(np.clip(meetings - 4, -1, tested), tested, probability)
    least = float(chance[meetings > 3].min(initial=1.0))
    return math.log10(max(least, 1e-300))


def _clumping(frame: _Frame, pixels: Floats, radius: float) -> float:
    """Return how much more often than strewn evenly stars meet detections when moved a little aside."""
    angle = np.arange(8) * math.pi / 4
    ring = np.column_stack([np.cos(angle), np.sin(angle)])
    moves = np.concatenate([4 * radius * ring, 7 * radius * ring])
    moved = (pixels[:100] + moves[:, np.newaxis]).reshape(-1, 2)
    meetings = np.isfinite(frame.tree.query(moved, distance_upper_bound=radius)[0]).sum()
    expected = len(moved) * -math.expm1(-len(frame.places) * math.pi * radius**2 / frame.area)
    return max(1.0, float(meetings) / expected)


def _failure(frame: _Frame, crowd: float, stars: int, hint: Hint) -> TooFewStars | NoPlateSolution:
    scale = "any scale" if hint.scale is None else f"{hint.scale:.4g} arcsec/px within {hint.scale_range:.1%}"
    tried = (
        f"{frame.count} detections, {stars} catalogue stars ({max(crowd, 0):.0f} in the area of the frame), "
        f"within {hint.radius:g} degrees of {hint.ra:.5f} {hint.dec:+.5f}, {scale}"
    )
    if min(frame.count, crowd) < _FEW_STARS:
        return TooFewStars(f"nothing matched for sure: {tried}")
    return NoPlateSolution(f"nothing matched: {tried}")
