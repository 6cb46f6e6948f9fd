"""The plate solution of a frame: where every pixel looks, as a TAN-SIP world coordinate system.

The stars are found by `toros.science.plate_matching`. The polynomials are those of Shupe et al. (2005, ASPC 347, 491).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np
from astropy.table import Table
from astropy.wcs import WCS, Sip
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from toros.errors import BadParameters, NoPlateSolution, TooFewStars
from toros.science.plate_matching import (
    ARCSEC,
    LEAST_STARS,
    Floats,
    Hint,
    Indices,
    PlateMatch,
    TangentPlane,
    match_plate,
    nearest_pairs,
    unit_vectors,
)

__all__ = ["Hint", "PlateSolution", "solve_plate"]

_BRIGHTEST = 300
"""Detections that shape the polynomials before all of them are paired: far apart, they are not confused."""

_STARS_PER_DETECTION = 3
"""Stars they are paired with: those of the same brightness all around the frame, and some more."""

_ROUNDS = 12
_CLIP_SIGMA = 3.5
_LEAST_RADIUS = 0.5
"""Pixels within which a star is paired with a detection however small the errors are."""

_MOST_UNCERTAIN = 1.0
"""Of the polynomials anywhere in the frame, relative to the error of a star. It decides their order."""

_SINGULAR = 1e10
_INVERSE_GRID = 24
_INVERSE_MARGIN = 0.02


@dataclass(frozen=True, eq=False)
class PlateSolution:
    """Where a frame looks, and how well that is known.

    Attributes
    ----------
    wcs : WCS
        TAN-SIP, or TAN where there are few stars; ICRS. Touches the sky in the middle of the frame.
    rms : float
        Arcsec, of one axis: the root of half the mean squared distance between detection and star.
    n_stars : int
        Stars in the fit.
    scale : float
        Arcsec per pixel in the middle of the frame.
    rotation : float
        Degrees, position angle of the frame's y axis (north through east).
    mirrored : bool
        Whether x grows to the east when y grows to the north.
    centre : (float, float)
        ICRS degrees of the middle of the frame.
    offset : float
        Arcsec between hint and centre.
    detections, stars : ndarray of intp, shape (n_stars,)
        Indices of the pairs in what was given.
    residuals : ndarray of float, shape (n_stars, 2)
        Arcsec, detection minus star, to the east and to the north.
    """

    wcs: WCS
    rms: float
    n_stars: int
    scale: float
    rotation: float
    mirrored: bool
    centre: tuple[float, float]
    offset: float
    detections: Indices
    stars: Indices
    residuals: Floats

    @property
    def order(self) -> int:
        """Order of the SIP polynomials, 1 if there are none."""
        return 1 if self.wcs.sip is None else int(self.wcs.sip.a_order)


def solve_plate(
    x: NDArray[Any],
    y: NDArray[Any],
    flux: NDArray[Any],
    stars: Table,
    shape: tuple[int, int],
    hint: Hint,
    *,
    highest_order: int = 3,
    least_stars: int = LEAST_STARS,
    rms_limit: float = 1.5,
    false_alarm: float = 1e-8,
) -> PlateSolution:
    """Solve a frame from its detections and the stars that may be on it.

    Parameters
    ----------
    x, y, flux : ndarray, shape (n,)
        Detections: 0-based pixels, and any measure of brightness that orders them. Those without a
        position are ignored, those without a flux come last.
    stars : Table
        Columns ra, dec (ICRS degrees at the epoch of the frame) and mag, of all stars in a circle about the
        hint that covers the hint's radius and half of the frame's diagonal.
    shape : (int, int)
        Rows and columns of the frame.
    hint : Hint
        What is believed before.
    highest_order : int
        Of the SIP polynomials, 1 (none) to 5. Orders that the stars do not support all over the frame are not used.
    least_stars : int
        Stars in the fit at least.
    rms_limit : float
        Pixels at most.
    false_alarm : float
        How often, at most, a frame of other stars may be taken for a frame of these.

    Returns
    -------
    PlateSolution

    Raises
    ------
    TooFewStars
        If there are too few detections, or too few stars in the area of a frame, to be sure.
    NoPlateSolution
        If nothing matched, or what matched is not within the limits.
    BadParameters
        If the input makes no sense.
    """
    if not 1 <= highest_order <= 5:
        raise BadParameters(f"SIP polynomials of order {highest_order}; orders go from 1 to 5")
    places, detections = _detections(x, y, flux)
    position, brightest = _stars(stars)
    match = match_plate(
        places[:, 0], places[:, 1], position[:, 0], position[:, 1], shape, hint, false_alarm=false_alarm
    )
    model, pairs = _refine(places, position, shape, match, highest_order)
    solution = _solution(model, pairs, shape, hint, detections, brightest)
    _require_within_limits(solution, hint, least_stars, rms_limit)
    return solution


def _detections(x: NDArray[Any], y: NDArray[Any], flux: NDArray[Any]) -> tuple[Floats, Indices]:
    """Return the places of usable detections, shape (n, 2), the brightest first, and their indices."""
    x, y, flux = (np.asarray(column, np.float64) for column in (x, y, flux))
    if not (x.ndim == 1 and x.shape == y.shape == flux.shape):
        raise BadParameters(f"x, y and flux of detections have the shapes {x.shape}, {y.shape}, {flux.shape}")
    return _by_brightness(np.stack([x, y], axis=1), -flux)


def _stars(stars: Table) -> tuple[Floats, Indices]:
    """Return the positions of usable stars, shape (m, 2), the brightest first, and their indices."""
    missing = {"ra", "dec", "mag"} - set(stars.colnames)
    if missing:
        raise BadParameters(f"the table of stars has no column {', '.join(sorted(missing))}")
    ra, dec, mag = (
        np.ma.filled(np.ma.asarray(stars[name], np.float64), np.nan) for name in ("ra", "dec", "mag")
    )
    return _by_brightness(np.stack([ra, dec], axis=1), mag)


def _by_brightness(places: Floats, magnitude: Floats) -> tuple[Floats, Indices]:
    usable = np.flatnonzero(np.isfinite(places).all(axis=1))
    order = usable[np.argsort(magnitude[usable])]
    return places[order], order


def _require_within_limits(solution: PlateSolution, hint: Hint, least_stars: int, rms_limit: float) -> None:
    found = f"{solution.n_stars} stars, {solution.scale:.4f} arcsec/px, rms {solution.rms:.2f} arcsec"
    if solution.n_stars < least_stars:
        raise TooFewStars(f"{found}: at least {least_stars} stars are wanted")
    if solution.rms > rms_limit * solution.scale:
        raise NoPlateSolution(f"{found}: at most {rms_limit:g} pixels of rms are believed")
    if solution.offset > 3600 * hint.radius + 0.01 * solution.scale * max(solution.wcs.pixel_shape):
        raise NoPlateSolution(f"{found}, but {solution.offset:.0f} arcsec away from the hint")


# --------------------------------------------------------------------------------------------- the model


@dataclass(frozen=True, eq=False)
class _Pairs:
    """Detections and their stars: indices, pixels from the middle of the frame, and unit vectors."""

    detections: Indices
    stars: Indices
    pixels: Floats
    vectors: Floats

    def are(self, other: _Pairs) -> bool:
        """Tell if others are the same pairs."""
        return np.array_equal(self.detections, other.detections) and np.array_equal(self.stars, other.stars)


@dataclass(frozen=True, eq=False)
class _Model:
    """Polynomials from pixels to a tangent plane.

    Attributes
    ----------
    plane : TangentPlane
    order : int
    unit : float
        Pixels; places in the frame are given from its middle in this unit.
    coefficients : ndarray, shape (terms, 2)
        Arcsec to the east and to the north, for the terms of `_powers`.
    """

    plane: TangentPlane
    order: int
    unit: float
    coefficients: Floats

    @classmethod
    def fitted(cls, pairs: _Pairs, plane: TangentPlane, unit: float, order: int) -> _Model:
        """Return the polynomials that fit pairs best."""
        terms = _terms(pairs.pixels / unit, order)
        return cls(plane, order, unit, _least_squares(terms, plane.project(pairs.vectors)))

    @property
    def linear(self) -> Floats:
        """The matrix in the middle of the frame, arcsec per pixel."""
        return self.coefficients[1:3].T / self.unit

    def places(self, pixels: Floats) -> Floats:
        """Return the places in the plane of pixels from the middle of the frame."""
        places: Floats = _terms(pixels / self.unit, self.order) @ self.coefficients
        return places

    def errors(self, pairs: _Pairs) -> Floats:
        """Return detection minus star, arcsec, shape (n, 2)."""
        return self.places(pairs.pixels) - self.plane.project(pairs.vectors)


def _powers(order: int) -> list[tuple[int, int]]:
    """Return the powers of x and y of every term of a polynomial, the lowest first: 1, x, y, x^2, ..."""
    return [(total - q, q) for total in range(order + 1) for q in range(total + 1)]


def _terms(places: Floats, order: int) -> Floats:
    """Return the terms of a polynomial at places, shape (n, 2), as an array of shape (n, terms)."""
    terms = np.ones(((order + 1) * (order + 2) // 2, len(places)))
    x, y = (list(accumulate([axis] * order, np.multiply, initial=terms[0])) for axis in places.T)
    for term, (p, q) in zip(terms, _powers(order), strict=True):
        np.multiply(x[p], y[q], out=term)
    return terms.T


def _refine(
    places: Floats, position: Floats, shape: tuple[int, int], match: PlateMatch, highest_order: int
) -> tuple[_Model, _Pairs]:
    """Pair the brightest detections, then all, with stars and fit polynomials until nothing changes."""
    plane, scale = match.pointing.plane, match.pointing.scale
    half = np.array([shape[1], shape[0]]) / 2
    unit = float(np.hypot(*half))
    pixels = places - (half - 0.5)
    vectors, stars = _stars_around(position, plane, 1.1 * unit * scale)
    sky = plane.project(vectors)
    model = _Model(plane, 1, unit, np.vstack([match.pointing.offset, match.pointing.matrix.T * unit]))
    pairs = _Pairs(match.detections[:0], match.stars[:0], pixels[:0], vectors[:0])
    radius = match.radius * scale
    for depth in dict.fromkeys((min(_BRIGHTEST, len(pixels)), len(pixels))):
        tree = cKDTree(sky if depth == len(pixels) else sky[: _STARS_PER_DETECTION * depth])
        for _ in range(_ROUNDS):
            star, detection, distance = nearest_pairs(tree, model.places(pixels[:depth]), radius)
            kept = distance <= _CLIP_SIGMA * _sigma(distance)
            star, detection = star[kept], detection[kept]
            before, pairs = pairs, _Pairs(detection, stars[star], pixels[detection], vectors[star])
            if pairs.are(before):
                break
            model = _Model.fitted(
                pairs, plane, unit, _supported_order(pairs, half / unit, unit, highest_order)
            )
            radius = max(_LEAST_RADIUS * scale, 2 * _CLIP_SIGMA * _sigma(np.hypot(*model.errors(pairs).T)))
    return _recentred(model, pairs), pairs


def _stars_around(position: Floats, plane: TangentPlane, radius: float) -> tuple[Floats, Indices]:
    """Return the unit vectors, and the indices, of stars within `radius` arcsec of the tangent point."""
    in_band = np.flatnonzero(np.abs(position[:, 1] - plane.dec) * 3600 < radius)
    vectors = unit_vectors(position[in_band, 0], position[in_band, 1])
    inside = vectors @ plane.axes[2] > math.cos(min(radius / ARCSEC, 1.0))
    return vectors[inside], in_band[inside]


def _supported_order(pairs: _Pairs, half: Floats, unit: float, highest: int) -> int:
    """Return the highest order of polynomials that the stars support all over the frame."""
    for order in range(highest, 1, -1):
        if _uncertainty(pairs.pixels / unit, half, order) < _MOST_UNCERTAIN:
            return order
    return 1


def _uncertainty(places: Floats, half: Floats, order: int) -> float:
    """Return the largest error of a fit at the rim of the frame, for stars with errors of 1."""
    if len(places) < (order + 1) * (order + 2):
        return math.inf
    terms = _terms(places, order)
    along = np.linspace(-1, 1, 9)
    rim = np.concatenate([np.column_stack([along, np.full(9, side)]) for side in (-1, 1)])
    rim = np.concatenate([rim, rim[:, ::-1]]) * half
    normal = terms.T @ terms
    if np.linalg.cond(normal) > _SINGULAR:
        return math.inf
    at_rim = _terms(rim, order)
    return math.sqrt(float((at_rim.T * np.linalg.solve(normal, at_rim.T)).sum(axis=0).max()))


def _least_squares(terms: Floats, values: Floats) -> Floats:
    """Solve the normal equations: in units of the frame a polynomial of low order allows it."""
    normal = terms.T @ terms
    if np.linalg.cond(normal) > _SINGULAR:
        raise TooFewStars(f"the {len(terms)} stars that match lie on a line, or are too few for a plate")
    return np.asarray(np.linalg.solve(normal, terms.T @ values), np.float64)


def _sigma(distance: Floats) -> float:
    """Return the standard deviation per axis of normal errors from their median length."""
    return float(np.median(distance)) / math.sqrt(2 * math.log(2)) if distance.size else 0.0


def _recentred(model: _Model, pairs: _Pairs) -> _Model:
    """Let the plane touch the sky in the middle of the frame."""
    for _ in range(2):
        plane = TangentPlane(*model.plane.sky(model.coefficients[0]))
        model = _Model.fitted(pairs, plane, model.unit, model.order)
    return model


# ------------------------------------------------------------------------------------------ the solution


def _solution(
    model: _Model, pairs: _Pairs, shape: tuple[int, int], hint: Hint, detections: Indices, stars: Indices
) -> PlateSolution:
    errors, linear = model.errors(pairs), model.linear
    apart = unit_vectors(np.array([hint.ra]), np.array([hint.dec]))[0] - model.plane.axes[2]
    return PlateSolution(
        wcs=_wcs(model, shape),
        rms=math.sqrt(float((errors**2).sum()) / errors.size),
        n_stars=len(errors),
        scale=math.sqrt(abs(float(np.linalg.det(linear)))),
        rotation=math.degrees(math.atan2(linear[0, 1], linear[1, 1])),
        mirrored=bool(np.linalg.det(linear) > 0),
        centre=(model.plane.ra, model.plane.dec),
        offset=2 * math.asin(min(float(np.linalg.norm(apart)) / 2, 1.0)) * ARCSEC,
        detections=detections[pairs.detections],
        stars=stars[pairs.stars],
        residuals=errors,
    )


def _wcs(model: _Model, shape: tuple[int, int]) -> WCS:
    """Write the polynomials as CD matrix and SIP coefficients."""
    height, width = shape
    suffix = "-SIP" if model.order > 1 else ""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = [f"RA---TAN{suffix}", f"DEC--TAN{suffix}"]
    wcs.wcs.cunit = ["deg", "deg"]
    wcs.wcs.radesys = "ICRS"
    wcs.wcs.crval = [model.plane.ra, model.plane.dec]
    wcs.wcs.crpix = [(width + 1) / 2, (height + 1) / 2]
    wcs.wcs.cd = model.linear / 3600
    if model.order > 1:
        wcs.sip = _sip(model, wcs.wcs.crpix, np.array([width, height]) / 2)
    wcs.pixel_shape = (width, height)
    wcs.wcs.set()
    return wcs


def _sip(model: _Model, crpix: Floats, half: Floats) -> Sip:
    """Return the SIP polynomials, and their inverse fitted on a grid a little larger than the frame."""
    forward = _units(model.unit, model.order) * model.coefficients @ np.linalg.inv(model.linear).T
    forward[:3] = 0
    order = model.order + 1
    along = np.linspace(-1 - _INVERSE_MARGIN, 1 + _INVERSE_MARGIN, _INVERSE_GRID)
    pixels = np.stack(np.meshgrid(along, along), axis=-1).reshape(-1, 2) * half
    ideal = pixels + _terms(pixels, model.order) @ forward
    terms = _terms(ideal / model.unit, order)[:, 1:]
    backward = np.vstack([np.zeros((1, 2)), _least_squares(terms, pixels - ideal)])
    backward *= _units(model.unit, order)
    return Sip(*_squares(forward, model.order), *_squares(backward, order), crpix)


def _units(unit: float, order: int) -> Floats:
    """Return what turns coefficients for places in a unit of pixels into those for pixels, shape (terms, 1)."""
    return np.array([[unit ** -(p + q)] for p, q in _powers(order)])


def _squares(coefficients: Floats, order: int) -> list[Floats]:
    """Return the coefficients of both axes as the square arrays of a `Sip`."""
    squares = np.zeros((2, order + 1, order + 1))
    for (p, q), pair in zip(_powers(order), coefficients, strict=True):
        squares[:, p, q] = pair
    return list(squares)
