"""Stars found with a matched filter, and the quick list of them that plate solving needs.

The filter is a normal profile of the stars' width: of all linear filters the one that lets a star of that
shape stand out most (North 1943; Zackay & Ofek 2017, ApJ 836, 187). Each value is divided by its own noise, with
masked pixels left out of both, so that the threshold is a true signal-to-noise ratio everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from toros.errors import BadParameters, NotFinite, WrongGeometry
from toros.science.background import Background, estimate_background
from toros.science.flags import MaskPlane
from toros.science.geometry import tiles_of
from toros.science.psf import guess_psf
from toros.science.saturated import find_saturated
from toros.science.shapes import FWHM_OF_SIGMA, StarShape, measure_shapes, star_shape
from toros.science.stamps import stamps_at

Plane = NDArray[np.float32]
Values = NDArray[np.float64]

FIRST_FWHM = 3.0
"""Width of the filter (px) before anything is known of the stars."""

_TILE_ROWS = 112
_BLOCK = 32
_BELOW_TOP = 0.9
_LEAST_SLOPE = 0.05
_LEAST_SUPPORT = 0.4
"""Part of the filter's weight that must fall on good pixels."""

_CONTRAST = 0.7
"""A source must stand out from its surroundings by this part of the threshold, not only from the sky."""

_RING = 2.0
"""Radius of the surroundings, in units of the FWHM."""

_PRECISION = 0.01
_ROUND = 0.1
"""An elongation below this costs less than a per cent of the signal: the filter stays round."""

_SAMPLE_PIXELS = 2_000_000
_SAMPLE_STARS = 300
_NARROWEST = 1.1
"""FWHM (px) below which it is no star: a hot pixel, a cosmic ray."""


@dataclass(frozen=True, eq=False)
class Detections:
    """Sources that stand out of the noise, the most significant first.

    Parameters
    ----------
    x, y : ndarray of float64
        0-based px.
    snr : ndarray of float64
        Signal-to-noise ratio of the flux in the filter.
    flux : ndarray of float64
        Flux of a normal profile of the filter's width, in the unit of the frame: a first guess.
    """

    x: Values
    y: Values
    snr: Values
    flux: Values

    def __len__(self) -> int:
        return self.x.size

    def without(self, unwanted: NDArray[np.bool_]) -> Detections:
        """Return those that are not marked."""
        kept = ~unwanted
        return Detections(self.x[kept], self.y[kept], self.snr[kept], self.flux[kept])


@dataclass(frozen=True, eq=False)
class Stars:
    """The stars of a frame, the brightest first; saturated ones among them.

    Parameters
    ----------
    x, y : ndarray of float64
        0-based px.
    flux : ndarray of float64
        Rough, in the unit of the frame; that of saturated stars from their wings.
    snr : ndarray of float64
        Signal-to-noise ratio.
    saturated : ndarray of bool
        Whether a star has saturated pixels.
    fwhm : float
        Width of the stars, px; not a number if there are none.
    """

    x: Values
    y: Values
    flux: Values
    snr: Values
    saturated: NDArray[np.bool_]
    fwhm: float

    def __len__(self) -> int:
        return self.x.size


def find_stars(data: Plane, mask: MaskPlane | None = None, *, threshold: float = 5.0) -> Stars:
    """List the stars of a frame: quick positions for plate solving.

    Parameters
    ----------
    data : ndarray of float32, shape (ny, nx)
        Calibrated frame, sky included, electron.
    mask : ndarray of uint8, optional
        Bits of `PixelFlag`. Saturated stars are found by the flags of their cores.
    threshold : float
        Least signal-to-noise ratio.

    Returns
    -------
    Stars
        Bright stars are good to a few hundredths of a pixel. Empty if there are none.

    Raises
    ------
    NoSky, NotFinite, WrongGeometry
        If the frame cannot be measured at all.
    """
    mask = np.zeros(data.shape, np.uint8) if mask is None else mask
    background = estimate_background(data, mask)
    residual = background.subtracted(data)
    shape = estimate_fwhm(residual, mask, background)
    if shape is None:
        nothing = np.zeros(0)
        return Stars(nothing, nothing, nothing, nothing, np.zeros(0, np.bool_), float("nan"))
    found = detect(
        residual,
        mask,
        background,
        fwhm=shape.fwhm,
        ellipticity=shape.ellipticity,
        angle=shape.angle,
        threshold=threshold,
    )
    bright = find_saturated(residual, mask, background, guess_psf((data.shape[0], data.shape[1]), shape))
    found = found.without(bright.covers(found.x, found.y))
    x, y, snr, flux = (
        np.concatenate([getattr(bright, name), getattr(found, name)]) for name in ("x", "y", "snr", "flux")
    )
    order = np.argsort(-flux, kind="stable")
    saturated = order < len(bright)
    return Stars(x[order], y[order], flux[order], snr[order], saturated, shape.fwhm)


def detect(
    residual: Plane,
    mask: MaskPlane,
    rms: float | Background,
    *,
    fwhm: float,
    ellipticity: float = 0.0,
    angle: float = 0.0,
    threshold: float = 5.0,
) -> Detections:
    """Find the sources that stand out of the noise under a matched filter.

    Parameters
    ----------
    residual : ndarray of float32, shape (ny, nx)
        Frame without its sky, electron (or in units of its noise, with `rms` 1).
    mask : ndarray of uint8
        Bits of `PixelFlag`; flagged pixels carry no weight.
    rms : float or Background
        Standard deviation of the sky in a pixel, in the unit of `residual`.
    fwhm, ellipticity, angle : float
        Of the stars: px; 1 - minor / major axis; degrees of the major axis from +x towards +y.
    threshold : float
        Least signal-to-noise ratio in the filter.

    Returns
    -------
    Detections
        One for each local maximum that stands out of its surroundings too: a bump in the wings of a bright
        star must be significant above these wings and their noise. What is much sharper than the stars - a hot
        pixel, a cosmic ray - is left out, and so is the outermost row and column of the frame.
        The noise of neighbouring pixels is taken to be independent: in frames that were resampled
        the ratios come out too large.

    Raises
    ------
    BadParameters, WrongGeometry, NotFinite
        If limits make no sense, shapes differ, or values are not finite.
    """
    _require_usable(residual, mask, rms)
    if not (fwhm > 0 and 0 <= ellipticity < 1 and threshold > 0):
        raise BadParameters(f"no stars of FWHM {fwhm}, ellipticity {ellipticity} at {threshold} sigma")
    matched = _MatchedFilter(fwhm, ellipticity, angle)
    tiles = tiles_of(residual.shape[0], _TILE_ROWS)
    return _merged([matched.peaks(residual, mask, rms, rows, threshold) for rows in tiles])


def estimate_fwhm(residual: Plane, mask: MaskPlane, rms: float | Background) -> StarShape | None:
    """Measure the typical image of a star from bright ones that are not saturated.

    Parameters
    ----------
    residual : ndarray of float32, shape (ny, nx)
        Frame without its sky, electron.
    mask : ndarray of uint8
        Bits of `PixelFlag`; stars with flagged pixels in their cores are not used.
    rms : float or Background
        Standard deviation of the sky in a pixel.

    Returns
    -------
    StarShape or None
        Medians over some hundreds of stars, spread over the frame; None if nothing is found at all.
    """
    for share in (min(1.0, _SAMPLE_PIXELS / residual.size), 1.0):
        found = _sample(residual, mask, rms, share)
        for limit in (20.0, 8.0, 5.0):
            use = np.flatnonzero(found.snr >= limit)[:_SAMPLE_STARS]
            shape = _typical_shape(residual, mask, found.x[use], found.y[use])
            if shape is not None and (shape.n_stars >= 20 or (share == 1 and limit == 5)):
                return shape
    return shape


def _require_usable(residual: Plane, mask: MaskPlane, rms: float | Background) -> None:
    for name, plane in (("mask", mask), ("background", rms)):
        if not isinstance(plane, float | int) and plane.shape != residual.shape:
            raise WrongGeometry(f"the {name} has {plane.shape} pixels, the frame {residual.shape}")
    if not np.isfinite(residual.sum(dtype=np.float64)):
        raise NotFinite("the frame holds values that are not numbers")


def _sample(residual: Plane, mask: MaskPlane, rms: float | Background, share: float) -> Detections:
    """Detect with the first filter in a share of the tiles, spread over the frame."""
    matched = _MatchedFilter(FIRST_FWHM, 0.0, 0.0)
    tiles = list(tiles_of(residual.shape[0], _TILE_ROWS))
    chosen = np.unique(np.linspace(0, len(tiles) - 1, max(1, round(share * len(tiles)))).astype(int))
    return _merged([matched.peaks(residual, mask, rms, tiles[number], 5.0) for number in chosen])


def _typical_shape(residual: Plane, mask: MaskPlane, x: Values, y: Values) -> StarShape | None:
    """Return the median shape of stars; the stamps grow until they hold the stars."""
    radius, fwhm = 10, FIRST_FWHM
    while x.size:
        stamps = stamps_at(residual.shape, x, y, radius)
        values = stamps.cut(residual)
        values[~stamps.inside] = 0
        core = slice(radius - 2, radius + 3)
        clean = ~((stamps.cut(mask) != 0) | ~stamps.inside)[:, core, core].any(axis=(1, 2))
        shapes = measure_shapes(values, stamps.dx, stamps.dy, fwhm, rounds=8, follow=True)
        good = clean & (shapes.fwhm > _NARROWEST) & (np.hypot(shapes.x, shapes.y) < radius / 2)
        if not good.any():
            return None
        typical = _mode(np.log(shapes.fwhm[good]))
        fwhm = float(np.exp(typical))
        if radius < 2.5 * fwhm and 2 * radius < min(residual.shape) and radius < 80:
            radius *= 2
            continue
        alike = good & (np.abs(np.log(shapes.fwhm / fwhm)) < 0.25)
        xx, yy, xy = (float(np.median(getattr(shapes, name)[alike])) for name in ("xx", "yy", "xy"))
        return star_shape(xx, yy, xy, FWHM_OF_SIGMA, int(alike.sum()))
    return None


def _mode(values: Values) -> float:
    """Return the half-sample mode (Robertson & Cryer 1974): where the values lie most densely."""
    ordered = np.sort(values)
    while ordered.size > 3:
        half = -(-ordered.size // 2)
        first = int(np.argmin(ordered[half - 1 :] - ordered[: ordered.size - half + 1]))
        ordered = ordered[first : first + half]
    return float(ordered.mean())


class _MatchedFilter:
    """A normal profile and its square, as sums of products of a column and a row."""

    def __init__(self, fwhm: float, ellipticity: float, angle: float) -> None:
        if ellipticity < _ROUND:
            ellipticity = 0.0
        sigma = fwhm / FWHM_OF_SIGMA
        major, minor = sigma / np.sqrt(1 - ellipticity), sigma * np.sqrt(1 - ellipticity)
        turn = np.radians(angle)
        axes = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) * [major, minor]
        covariance = axes @ axes.T  # of (x, y)
        radius = np.ceil(3.5 * np.sqrt(np.diag(covariance))).astype(int).clip(2)
        self.radius_x, self.radius_y = int(radius[0]), int(radius[1])
        y, x = np.mgrid[-self.radius_y : self.radius_y + 1, -self.radius_x : self.radius_x + 1]
        inverse = np.linalg.inv(covariance)
        profile = np.exp(-0.5 * (inverse[0, 0] * x**2 + 2 * inverse[0, 1] * x * y + inverse[1, 1] * y**2))
        self.sum, self.sum_of_squares = float(profile.sum()), float(np.square(profile).sum())
        self.profile, self.square = _products(profile), _products(np.square(profile))
        around = np.arange(8) * np.pi / 4
        ring = _RING * FWHM_OF_SIGMA * (axes @ [np.cos(around), np.sin(around)])
        self.ring_x, self.ring_y = np.rint(ring).astype(int)
        self.reach = max(1, int(np.abs(self.ring_y).max()))
        # Half a pixel beside the top of a star in the filter, which is twice as wide in area.
        self.most_gain = float(np.exp(1 / (16 * minor**2)))
        self.sharpest = max(1.6, self.sum_of_squares**0.5)

    def peaks(
        self, residual: Plane, mask: MaskPlane, rms: float | Background, rows: slice, threshold: float
    ) -> Detections:
        """Return the sources whose highest pixels lie in some rows of the frame."""
        ny, nx = residual.shape
        first = rows.start - self.reach
        amount, weight = self._filtered(residual, mask, rows)
        least = np.float32(_LEAST_SUPPORT * self.sum_of_squares)
        significance = np.divide(amount, np.sqrt(np.maximum(weight, least)), dtype=np.float32)
        significance *= weight >= least
        inner = significance[self.reach : self.reach + rows.stop - rows.start]
        # The top of a star lies between the pixels, and is a little higher than all of them.
        row, column = np.divmod(
            np.flatnonzero(inner > np.float32(_BELOW_TOP * threshold * _least_noise(rms))), nx
        )
        kept = (column > 0) & (column < nx - 1) & (row + rows.start > 0) & (row + rows.start < ny - 1)
        row, column = row[kept] + self.reach, column[kept]
        kept = _is_highest(significance, row, column)
        row, column = row[kept], column[kept]
        sky = _noise_at(rms, column.astype(float), row.astype(float) + first)
        x, y, height = _top(significance, row, column, self.most_gain)
        snr = height / sky
        amplitude = amount[row, column] / np.maximum(weight[row, column], least)
        kept = snr > threshold
        kept &= self._stands_out(significance, row, column, sky, threshold)
        kept &= ~self._is_sharp(residual[row + first, column], amplitude, sky) | (
            mask[row + first, column] != 0
        )
        flux = amplitude[kept].astype(float) * self.sum
        return Detections(x[kept], y[kept] + first, snr[kept], flux)

    def _filtered(self, residual: Plane, mask: MaskPlane, rows: slice) -> tuple[Plane, Plane]:
        """Return the sums of profile * value and of profile^2 over good pixels, around rows of the frame."""
        ny, nx = residual.shape
        height = rows.stop - rows.start + 2 * self.reach
        whole = [-(-length // _BLOCK) * _BLOCK for length in (height, nx)]
        values = np.zeros((whole[0] + 2 * self.radius_y, whole[1] + 2 * self.radius_x), np.float32)
        good = np.zeros_like(values)
        top = rows.start - self.reach - self.radius_y
        here = slice(max(top, 0), min(top + values.shape[0], ny))
        inside = (slice(here.start - top, here.stop - top), slice(self.radius_x, self.radius_x + nx))
        good[inside] = mask[here] == 0
        np.multiply(residual[here], good[inside], out=values[inside])
        shape = height, nx
        return _convolve(values, self.profile, shape), _convolve(good, self.square, shape)

    def _stands_out(
        self,
        significance: Plane,
        row: NDArray[np.intp],
        column: NDArray[np.intp],
        sky: Plane,
        threshold: float,
    ) -> NDArray[np.bool_]:
        """Tell which peaks are significant above what surrounds them."""
        limits = significance.shape[0] - 1, significance.shape[1] - 1
        around = significance[
            (row[:, np.newaxis] + self.ring_y).clip(0, limits[0]),
            (column[:, np.newaxis] + self.ring_x).clip(0, limits[1]),
        ]
        level = np.maximum(np.median(around, axis=1), 0) if row.size else sky
        light = level * np.float32(self.sum_of_squares**0.5 / self.sum)  # electrons in a pixel
        contrast = (significance[row, column] - level) / np.sqrt(np.square(sky) + light)
        return np.asarray(contrast > np.float32(_CONTRAST * threshold))

    def _is_sharp(self, peak: Plane, amplitude: Plane, sky: Plane) -> NDArray[np.bool_]:
        """Tell which peaks hold more light in one pixel than the optics can bring together."""
        error = np.sqrt(np.square(sky) + np.maximum(peak, 0))
        return np.asarray(peak - np.float32(self.sharpest) * amplitude > 2 * error)


def _least_noise(rms: float | Background) -> float:
    return float(rms.noises.min()) if isinstance(rms, Background) else rms


def _noise_at(rms: float | Background, x: Values, y: Values) -> Plane:
    """Return the standard deviation of the sky at positions."""
    noise = rms.noise_at(x, y) if isinstance(rms, Background) else np.full(x.size, rms)
    return noise.astype(np.float32)


def _products(profile: Values) -> list[tuple[Plane, Plane]]:
    """Write a profile as a sum of columns times rows (a singular value decomposition), to a per cent."""
    columns, sizes, rows = np.linalg.svd(profile)
    count = int(np.count_nonzero(sizes > _PRECISION * sizes[0]))
    return [((columns[:, k] * sizes[k]).astype(np.float32), rows[k].astype(np.float32)) for k in range(count)]


def _convolve(padded: Plane, products: list[tuple[Plane, Plane]], shape: tuple[int, int]) -> Plane:
    """Correlate rows with a profile: both directions as products with banded matrices, which are fast.

    `padded` has the profile's radius more on all sides, and whole blocks of `_BLOCK` pixels inside.
    """
    column, row = products[0]
    down, across = ((padded.shape[k] - weights.size + 1) // _BLOCK for k, weights in enumerate((column, row)))
    total = np.zeros((down * _BLOCK, across * _BLOCK), np.float32)
    upright = np.empty((down * _BLOCK, padded.shape[1]), np.float32)
    part = np.empty_like(total)
    for number, (column, row) in enumerate(products):
        strips = sliding_window_view(padded, _BLOCK + column.size - 1, axis=0)[::_BLOCK].swapaxes(1, 2)
        np.matmul(_band(column), strips, out=upright.reshape(down, _BLOCK, -1))
        strips = sliding_window_view(upright, _BLOCK + row.size - 1, axis=1)[:, ::_BLOCK].swapaxes(0, 1)
        goal = part if number else total
        np.matmul(strips, _band(row).T, out=goal.reshape(-1, across, _BLOCK).swapaxes(0, 1))
        if number:
            total += part
    return total[: shape[0], : shape[1]]


def _band(weights: Plane) -> Plane:
    """Return the matrix that correlates a vector with `weights`, for a block of results."""
    matrix = np.zeros((_BLOCK, _BLOCK + weights.size - 1), np.float32)
    for shift, weight in enumerate(weights):
        np.fill_diagonal(matrix[:, shift:], weight)
    return matrix


def _is_highest(plane: Plane, row: NDArray[np.intp], column: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Tell which pixels are higher than their eight neighbours; of equal ones the first."""
    here = plane[row, column]
    highest = np.ones(row.size, np.bool_)
    for down, right in ((-1, -1), (-1, 0), (-1, 1), (0, -1)):
        highest &= here > plane[row + down, column + right]
        highest &= here >= plane[row - down, column - right]
    return highest


def _top(
    plane: Plane, row: NDArray[np.intp], column: NDArray[np.intp], most_gain: float
) -> tuple[Values, Values, Values]:
    """Return place (x, y) and height of the tops of normal profiles through peaks and their neighbours.

    Along each axis a top is at most `most_gain` times as high as its pixel.
    """
    height = plane[row, column].astype(float)
    here, shifts = height.copy(), []
    for down, right in ((0, 1), (1, 0)):
        before, after = (
            np.log(np.maximum(plane[row + sign * down, column + sign * right] / here, _LEAST_SLOPE))
            for sign in (-1, 1)
        )
        bend = np.minimum(before + after, -1e-3)
        shifts.append((0.5 * (before - after) / bend).clip(-0.5, 0.5))
        height *= np.minimum(np.exp(-0.25 * (before - after) * shifts[-1]), most_gain)
    return column + shifts[0], row + shifts[1], height


def _merged(parts: list[Detections]) -> Detections:
    x, y, snr, flux = (
        np.concatenate([getattr(part, name) for part in parts]) for name in ("x", "y", "snr", "flux")
    )
    order = np.argsort(-snr, kind="stable")
    return Detections(x[order], y[order], snr[order], flux[order])
