"""All sources of a frame fitted at once with its point-spread function.

Gauss-Newton steps are taken for all sources together: each sees the frame without all the others, and what
overlaps is solved for in one sparse system (after Stetson 1987, PASP 99, 191, and Schlafly et al. 2018,
ApJS 234, 39). The first step finds fluxes at the given places, the others move the places too.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import bsr_array, coo_array
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import LinearOperator, cg
from scipy.spatial import cKDTree

from toros.science.flags import MaskPlane
from toros.science.psf import Psf, draw
from toros.science.psf_canvas import Canvas, DiscCanvas, FrameCanvas
from toros.science.stamps import Discs, discs_at, parts_of

Plane = NDArray[np.float32]
Values = NDArray[np.float64]
Indices = NDArray[np.intp]

_RADIUS = 1.6
"""Pixels within so many FWHM of a source are fitted."""

_LINK = 1.6
"""Sources nearer to each other than so many FWHM are one group."""

_LARGEST_GROUP = 40
"""Errors take account of the neighbours in groups of so many sources; in larger ones only of the nearest."""

_DRAWN = 0.2
"""A source is drawn out to where it is fainter than this part of the sky's noise."""

_REDRAWN = 0.02
"""The wings of a source are drawn again where they have changed by this part of the sky's noise."""

_ROUNDS = 6
_SETTLED = 0.1
"""A source whose last step was smaller than this part of its error is not fitted again."""

_DAMPING = 0.02
"""What is added to the diagonal, relatively: stars in one place cannot throw each other out of the frame."""

_PRECISION = 1e-3
_MOST_ITERATIONS = 60


@dataclass(frozen=True, eq=False)
class PsfFit:
    """Sources fitted with the point-spread function.

    Parameters
    ----------
    x, y, x_err, y_err : ndarray of float64
        0-based px.
    flux, flux_err : ndarray of float64
        In the unit of the frame.
    chi2 : ndarray of float64
        Of the fit, per degree of freedom.
    group : ndarray of int
        Number of the system in which a source was solved for; blended sources share one.
    sky_noise : ndarray of float64
        As it was given, for each source.
    """

    x: Values
    y: Values
    x_err: Values
    y_err: Values
    flux: Values
    flux_err: Values
    chi2: Values
    group: Indices
    sky_noise: Values

    def put_back(self, frame: Plane, psf: Psf, which: slice | Indices = slice(None)) -> None:
        """Add sources to the frame again, as they were taken out of it."""
        draw(frame, psf, self.x[which], self.y[which], self.flux[which], _DRAWN * self.sky_noise[which])

    def take_out(self, frame: Plane, psf: Psf, which: slice | Indices = slice(None)) -> None:
        """Subtract sources that were put back."""
        draw(frame, psf, self.x[which], self.y[which], -self.flux[which], _DRAWN * self.sky_noise[which])


def fit_sources(
    frame: Plane,
    mask: MaskPlane,
    sky_noise: float | Values,
    psf: Psf,
    x: Values,
    y: Values,
    flux: Values,
    *,
    radius: float | None = None,
    fixed: bool = False,
    passes: int = 2,
) -> PsfFit:
    """Fit all sources of a frame, and take them out of it.

    Parameters
    ----------
    frame : ndarray of float32, shape (ny, nx), contiguous
        Without its sky, electron. It is changed in place: the sources are subtracted.
    mask : ndarray of uint8
        Bits of `PixelFlag`; flagged pixels carry no weight.
    sky_noise : float or ndarray of float64
        Standard deviation of a pixel of the sky around each source, electron.
    psf : Psf
        Of the frame.
    x, y, flux : ndarray of float64
        Where to begin: 0-based px, and electrons.
    radius : float, optional
        Pixels up to this distance are fitted; by default up to 1.6 FWHM.
    fixed : bool
        Keep the positions.
    passes : int
        How often the frame is freed of all sources, with their far wings, and all are fitted. One is
        enough where fluxes are known to a few per cent.

    Returns
    -------
    PsfFit
        Sources without a single good pixel have zero flux and infinite errors.

    Notes
    -----
    The variance of a pixel is that of the sky plus the electrons of the model: that of the data would make
    pixels count the less the brighter the noise made them, and all fluxes too small.
    """
    discs = discs_at(psf.shape, x, y, _fit_radius(psf, radius))
    fit = _Fit(FrameCanvas(frame, psf, discs), discs, mask, sky_noise, psf, (x, y, flux))
    return fit.run(1 if fixed else 3, passes)


def fit_sources_apart(
    frame: Plane,
    mask: MaskPlane,
    sky_noise: float | Values,
    psf: Psf,
    x: Values,
    y: Values,
    flux: Values,
    *,
    sign: int = 1,
    fixed: bool = False,
    passes: int = 2,
) -> PsfFit:
    """Fit some sources of a frame, and leave it as it was.

    The parameters and what is returned are those of `fit_sources`. With a `sign` of -1 light is fitted that is
    missing: fluxes are those of the frame turned over. Only pixels around the sources are copied.
    """
    discs = discs_at(psf.shape, x, y, _fit_radius(psf, None))
    fit = _Fit(DiscCanvas(frame, psf, discs, sign), discs, mask, sky_noise, psf, (x, y, flux))
    return fit.run(1 if fixed else 3, passes)


def force_photometry(
    frame: Plane, mask: MaskPlane, sky_noise: float | Values, psf: Psf, x: Values, y: Values
) -> PsfFit:
    """Measure fluxes at given positions (0-based px), whether or not something is seen there.

    The parameters are those of `fit_sources`, and the frame is left as it was. Fluxes may be negative;
    positions have zero errors.
    """
    return fit_sources_apart(frame, mask, sky_noise, psf, x, y, np.zeros(x.size), fixed=True)


def _fit_radius(psf: Psf, radius: float | None) -> float:
    if radius is not None:
        return radius
    middle = psf.middle
    return float(max(2.5, _RADIUS * middle.fwhm / (1 - middle.ellipticity) ** 0.5))


class _Fit:
    """All sources while they are being fitted."""

    def __init__(
        self,
        canvas: Canvas,
        discs: Discs,
        mask: MaskPlane,
        sky: float | Values,
        psf: Psf,
        start: tuple[Values, Values, Values],
    ) -> None:
        self.canvas, self.discs, self.psf = canvas, discs, psf
        self.x, self.y, self.flux = (np.array(values, np.float64) for values in start)
        self.sky = np.array(np.broadcast_to(sky, self.x.shape), float)
        self.start = np.stack([self.x, self.y], axis=1)
        self.moments = psf.moments_at(self.x, self.y)
        self.good = discs.inside & (mask.reshape(-1)[discs.index] == 0)
        self.data = canvas.flat[canvas.index]
        self.pairs = _pairs(self.x, self.y, 2 * self.discs.radius)
        self.loose = 1 / (0.5 * psf.fwhm) ** 2  # a source stays where it was seen
        self.drawn: Values | None = None
        rim = np.array([[self.discs.radius, 0]], np.float32), np.array([[0, self.discs.radius]], np.float32)
        self.edge = float(psf.profile(*rim, psf.moments[:, :1]).max())
        self.active = np.arange(self.x.size)

    def run(self, free: int, passes: int) -> PsfFit:
        """Fit fluxes, then all that is free."""
        for _ in range(passes):
            self.redraw()
            self.step(free=1)
            for _ in range(_ROUNDS):
                if not self.step(free):
                    break
        self.redraw()
        return self.result(free)

    def redraw(self) -> None:
        """Take all sources out of the frame, each with the wings that its flux asks for."""
        now = np.stack([self.x, self.y, self.flux])
        changed = np.arange(self.x.size)
        if self.drawn is not None:  # first put back what was taken out: wings as then, discs as now
            change = np.abs(now - self.drawn)
            light = change[2] + np.abs(now[2]) * np.hypot(change[0], change[1]) / self.psf.fwhm
            changed = np.flatnonzero(light * self.edge > _REDRAWN * self.sky)
            x, y, flux = self.drawn[:, changed]
            self.canvas.draw(x, y, flux, _DRAWN * self.sky[changed])
            for part in parts_of(changed, self.good.shape[1]):
                self._add(part, self._light(part, *now) - self._light(part, *self.drawn))
        x, y, flux = now[:, changed]
        self.canvas.draw(x, y, -flux, _DRAWN * self.sky[changed])
        self.drawn = now
        self.active = np.arange(self.x.size)

    def step(self, free: int) -> bool:
        """Move the sources that have not settled yet; tell whether there are any left.

        `free` is 1 if only their fluxes are free, 3 if their places are too.
        """
        if not self.active.size:
            return False
        normal, gain, pairs, between = self._equations(free)
        normal += _DAMPING * normal * np.eye(free)
        alone = inverses(normal)
        change = _solve(normal, gain, pairs, between, alone)
        error = np.sqrt(np.diagonal(alone, axis1=1, axis2=2))
        reach = self.psf.fwhm / 2
        change[:, :-1] = change[:, :-1].clip(-reach, reach)
        self._move(change)
        if free == 1:
            return True
        self.active = self.active[(np.abs(change) > _SETTLED * error).any(axis=1)]
        return bool(self.active.size)

    def result(self, free: int) -> PsfFit:
        """Return what was found."""
        count = self.x.size
        chi2 = np.empty(count)
        for part in parts_of(np.arange(count), self.good.shape[1]):
            rest, weight = self._weighted(part)
            counted = np.maximum(self.good[part].sum(axis=1) - free, 1)
            chi2[part] = (np.square(rest) * weight).sum(axis=1) / counted
        self.active = np.arange(count)
        normal, _, pairs, between = self._equations(free)
        group = _groups(self.x, self.y, pairs, _LINK * self.psf.fwhm)
        blind = ~self.good.any(axis=1)
        errors = np.sqrt(_variances(normal, pairs, between, group))
        errors[blind] = np.inf
        position = errors[:, :2] if free == 3 else np.zeros((count, 2))
        flux = np.where(blind, 0.0, self.flux)
        return PsfFit(
            self.x, self.y, position[:, 0], position[:, 1], flux, errors[:, -1], chi2, group, self.sky
        )

    def _weighted(self, part: Indices) -> tuple[Plane, Plane]:
        """Return what remains in the discs of some sources, and the weights of the pixels."""
        rest = self.canvas.flat[self.canvas.index[part]]
        sky = np.square(self.sky[part]).astype(np.float32)[:, np.newaxis]
        weight = self.good[part] / (sky + np.maximum(self.data[part] - rest, 0))
        return rest, weight

    def _slopes(self, dx: Plane, dy: Plane, which: Indices, free: int) -> Plane:
        """Return the derivatives of the sources' light by their free parameters, (n, parameters, pixels)."""
        profile, by_x, by_y = self.psf.profile_and_slopes(dx, dy, self.moments[:, which])
        if free == 1:
            return profile[:, np.newaxis]
        flux = np.maximum(self.flux[which], 0).astype(np.float32)[:, np.newaxis]  # no light, no place
        return np.stack([flux * by_x, flux * by_y, profile], axis=1)

    def _equations(self, free: int) -> tuple[Values, Values, Indices, Values]:
        """Return the normal matrices, right-hand sides, and overlapping pairs with the matrices between them."""
        place = np.full(self.x.size, -1)
        place[self.active] = np.arange(self.active.size)
        pairs = place[self.pairs]
        pairs = pairs[(pairs >= 0).all(axis=1)]
        normal, gain = np.zeros((self.active.size, free, free)), np.zeros((self.active.size, free))
        between = np.zeros((len(pairs), free, free))
        for numbers in parts_of(np.arange(self.active.size), self.good.shape[1]):
            part = self.active[numbers]
            dx, dy = self.discs.offsets(self.x[part], self.y[part], part)
            slopes = self._slopes(dx, dy, part, free)
            rest, weight = self._weighted(part)
            weighted = slopes * weight[:, np.newaxis]
            normal[numbers] = weighted @ slopes.swapaxes(1, 2)
            gain[numbers] = (weighted @ rest[:, :, np.newaxis])[:, :, 0]
            first, last = np.searchsorted(pairs[:, 0], [numbers[0], numbers[-1] + 1])
            for some in parts_of(np.arange(first, last), self.good.shape[1]):
                one, other = pairs[some, 0] - numbers[0], self.active[pairs[some, 1]]
                across = (self.x[part][one] - self.x[other]).astype(np.float32)[:, np.newaxis]
                along = (self.y[part][one] - self.y[other]).astype(np.float32)[:, np.newaxis]
                theirs = self._slopes(dx[one] + across, dy[one] + along, other, free)
                shared = self.discs.hold(other, part[one])[:, np.newaxis]
                between[some] = (weighted[one] * shared) @ theirs.swapaxes(1, 2)
        for axis in range(free - 1):
            normal[:, axis, axis] += self.loose
            moved = (self.x, self.y)[axis][self.active] - self.start[self.active, axis]
            gain[:, axis] -= self.loose * moved
        normal[:, -1, -1] += 1e-12
        return normal, gain, pairs, between

    def _move(self, change: Values) -> None:
        """Apply a step, in what remains of the frame too."""
        for numbers in parts_of(np.arange(self.active.size), self.good.shape[1]):
            part = self.active[numbers]
            light = self._light(part, self.x, self.y, self.flux)
            if change.shape[1] == 3:
                self.x[part] += change[numbers, 0]
                self.y[part] += change[numbers, 1]
            self.flux[part] += change[numbers, -1]
            self._add(part, light - self._light(part, self.x, self.y, self.flux))

    def _light(self, part: Indices, x: Values, y: Values, flux: Values) -> Plane:
        """Return the light of some sources in their discs."""
        dx, dy = self.discs.offsets(x[part], y[part], part)
        return self.psf.profile(dx, dy, self.moments[:, part]) * flux[part].astype(np.float32)[:, np.newaxis]

    def _add(self, part: Indices, light: Plane) -> None:
        inside = self.discs.inside[part]
        self.canvas.add(self.canvas.index[part][inside], light[inside])


def _pairs(x: Values, y: Values, distance: float) -> Indices:
    """Return all ordered pairs of sources that are nearer than a distance, (pairs, 2), sorted."""
    pairs = cKDTree(np.column_stack([x, y])).query_pairs(distance, output_type="ndarray").astype(np.intp)
    both = np.concatenate([pairs, pairs[:, ::-1]])
    return both[np.lexsort((both[:, 1], both[:, 0]))]


def _groups(x: Values, y: Values, pairs: Indices, distance: float) -> Indices:
    """Return the number of the group of each source; in a crowd only nearer neighbours are linked."""
    apart = np.hypot(x[pairs[:, 0]] - x[pairs[:, 1]], y[pairs[:, 0]] - y[pairs[:, 1]])
    while True:
        one, other = pairs[apart < distance].T
        graph = coo_array((np.ones(one.size), (one, other)), shape=(x.size, x.size))
        _, group = connected_components(graph, directed=False)
        if not x.size or np.bincount(group).max() <= _LARGEST_GROUP:
            return np.asarray(group, np.intp)
        distance *= 0.85


def _solve(normal: Values, gain: Values, pairs: Indices, between: Values, alone: Values) -> Values:
    """Return the step of all sources (n, parameters) by conjugate gradients; at once where nothing overlaps."""
    steps: Values = (alone @ gain[:, :, np.newaxis])[:, :, 0]
    if not len(pairs):
        return steps
    count, free = gain.shape
    own = np.arange(count)
    row, column = np.concatenate([own, pairs[:, 0]]), np.concatenate([own, pairs[:, 1]])
    order = np.lexsort((column, row))
    blocks, start = (
        np.concatenate([normal, between])[order],
        np.searchsorted(row[order], np.arange(count + 1)),
    )
    matrix = bsr_array((blocks, column[order], start), shape=(count * free, count * free)).tocsr()
    nearly = LinearOperator(
        matrix.shape, matvec=lambda side: (alone @ side.reshape(count, free, 1)).ravel(), dtype=float
    )
    together, _ = cg(
        0.5 * (matrix + matrix.T),
        gain.ravel(),
        x0=steps.ravel(),
        rtol=_PRECISION,
        maxiter=_MOST_ITERATIONS,
        M=nearly,
    )
    return np.asarray(together).reshape(count, free)


def _variances(normal: Values, pairs: Indices, between: Values, group: Indices) -> Values:
    """Return the variances of all parameters (n, parameters), neighbours in the group allowed for.

    Groups of one size are inverted together, as one stack of matrices.
    """
    count, free = normal.shape[:2]
    size = np.bincount(group, minlength=1)
    order = np.argsort(group, kind="stable")
    place = np.empty(count, np.intp)  # of a source within its group
    place[order] = np.arange(count) - np.repeat(np.cumsum(size) - size, size)
    inner = group[pairs[:, 0]] == group[pairs[:, 1]]
    (one, other), between = pairs[inner].T, between[inner]
    variances = np.empty((count, free))
    for members in np.unique(size[size > 0]):
        number = np.cumsum(size == members) - 1  # of a group among those of its size
        here, linked = np.flatnonzero(size[group] == members), np.flatnonzero(size[group[one]] == members)
        matrix = np.zeros((int(number[-1]) + 1, members, free, members, free))
        matrix[number[group[here]], place[here], :, place[here]] = normal[here]
        matrix[number[group[one[linked]]], place[one[linked]], :, place[other[linked]]] = between[linked]
        square = matrix.reshape(-1, members * free, members * free)
        inverse = inverses(0.5 * (square + square.swapaxes(1, 2)))
        diagonal = np.diagonal(inverse, axis1=1, axis2=2).reshape(-1, members, free)
        variances[here] = diagonal[number[group[here]], place[here]]
    return np.maximum(variances, 1e-30)


def inverses(matrix: Values) -> Values:
    """Return inverses of positive matrices whose parameters have units of their own; nearly singular ones damped."""
    scale = 1 / np.sqrt(np.diagonal(matrix, axis1=1, axis2=2))
    scales = scale[:, :, np.newaxis] * scale[:, np.newaxis]
    inverse: Values = np.linalg.inv(matrix * scales + 1e-4 * np.eye(matrix.shape[1])) * scales
    return inverse
