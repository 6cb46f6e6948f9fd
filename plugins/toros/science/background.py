"""The sky behind the stars: its level and its noise, in cells, and a smooth surface through them.

The recipe is that of SExtractor (Bertin & Arnouts 1996, A&AS 117, 393): the pixels of every cell are clipped
until only sky is left, their mode is estimated from median and mean, the mesh is freed of cells that a
bright object fills, and a bicubic spline runs through it. A frame of a colour sensor (a Bayer matrix)
has a sky of its own in each of the four places of its 2 x 2 pattern, and is treated so.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from scipy.ndimage import map_coordinates

from toros.errors import BadParameters, NoSky, NotFinite, WrongGeometry
from toros.science.flags import MaskPlane
from toros.science.geometry import tiles_of
from toros.science.noise import MAD_TO_SIGMA

Plane = NDArray[np.float32]

_TILE_PIXELS = 1 << 18
_CLIP_SIGMA = 3.0
_CLIPPED_STD = 0.98658
"""Standard deviation of a normal distribution that is cut at three of its standard deviations."""

_ONE_SIGMA = 0.158655
"""Part of a normal distribution that lies more than a standard deviation below its mean."""

_ROUNDS = 8
_SKEWED = 0.3
_BATCH_PIXELS = 1 << 19
_ENOUGH = 2048
"""Pixels from which on every second row of a cell tells as much as is needed."""

_LEAST_USABLE = 0.2
"""Cells with a smaller part of usable pixels are filled from their neighbours."""

_TOO_QUIET = 0.1
"""Cells with less than this part of the typical noise hold no sky: a border that was filled with something."""

_LEAST_NOISE = 0.3
"""Part of the scatter in a cell that is noise even where the sky is steep."""

_PATTERN_SIGMA = 0.1
"""From this difference between the places of the 2 x 2 pattern on, in units of the noise, it is a colour sensor."""


@dataclass(frozen=True, eq=False)
class Background:
    """The sky of one frame.

    Parameters
    ----------
    shape : (int, int)
        Of the frame, (ny, nx).
    levels, noises : ndarray of float32, shape (p, p, rows, columns)
        Level and standard deviation of a pixel in the cells of the mesh, in the unit of the frame.
        p is 2 for a colour sensor, one mesh for each place of its pattern, else 1.
    usable : ndarray of bool, shape (rows, columns)
        Cells that had pixels enough; the others were filled from their neighbours.
    """

    shape: tuple[int, int]
    levels: Plane
    noises: Plane
    usable: NDArray[np.bool_]

    @property
    def rms(self) -> float:
        """Standard deviation of a typical pixel of empty sky."""
        return float(np.sqrt(np.square(self.noises).mean(axis=(0, 1))[self.usable]).mean())

    @property
    def typical_level(self) -> float:
        """Median of the level over the frame."""
        return float(np.median(self.levels.mean(axis=(0, 1))[self.usable]))

    def level(self, rows: slice = slice(None)) -> Plane:
        """Return the level in every pixel of some consecutive rows of the frame."""
        return self._surface(self.levels, rows)

    def noise(self, rows: slice = slice(None)) -> Plane:
        """Return the standard deviation in every pixel of some rows, that of a colour pattern's places together."""
        mesh = np.sqrt(np.square(self.noises).mean(axis=(0, 1), keepdims=True))
        return np.maximum(self._surface(mesh, rows), np.float32(0.1 * mesh.min()))

    def level_at(self, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the level around positions (0-based px), all places of a colour pattern together."""
        return self._at(self.levels.mean(axis=(0, 1)), x, y)

    def noise_at(self, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the standard deviation of a pixel around positions (0-based px)."""
        return np.sqrt(self._at(np.square(self.noises).mean(axis=(0, 1)), x, y))

    def subtracted(self, data: Plane) -> Plane:
        """Return the frame without its sky, as a new plane."""
        if data.shape != self.shape:
            raise WrongGeometry(f"a background of {self.shape} pixels for a frame of {data.shape}")
        residual = np.empty(self.shape, np.float32)
        for rows in tiles_of(self.shape[0], max(2, _TILE_PIXELS // self.shape[1])):
            np.subtract(data[rows], self.level(rows), out=residual[rows])
        return residual

    def _surface(self, meshes: Plane, rows: slice) -> Plane:
        start, stop, _ = rows.indices(self.shape[0])
        period = meshes.shape[0]
        surface = np.empty((stop - start, self.shape[1]), np.float32)
        along_y, along_x = (
            _spline(length, count) for length, count in zip(self.shape, meshes.shape[2:], strict=True)
        )
        for (place_y, place_x), mesh in _places(meshes):
            top = (place_y - start) % period
            weights = along_y[start + top : stop : period] @ mesh
            np.matmul(weights, along_x[place_x::period].T, out=surface[top::period, place_x::period])
        return surface

    def _at(self, mesh: Plane, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
        places = [
            np.interp(position, _centres(length, count), np.arange(count))
            for position, length, count in zip((y, x), self.shape, mesh.shape, strict=True)
        ]
        values: NDArray[np.float64] = map_coordinates(mesh.astype(float), places, order=1, mode="nearest")
        return values


def estimate_background(data: Plane, mask: MaskPlane | None = None, *, mesh: int = 64) -> Background:
    """Measure level and noise of the sky.

    Parameters
    ----------
    data : ndarray of float32, shape (ny, nx)
        Calibrated frame, in any unit.
    mask : ndarray of uint8, optional
        Bits of `PixelFlag`; flagged pixels are left out.
    mesh : int
        Side of the cells, px. They should be several times as large as the stars, and smaller than
        the structures of the sky that are to be subtracted.

    Returns
    -------
    Background

    Raises
    ------
    NoSky
        If no cell has enough usable pixels, or their values are all the same.
    NotFinite, WrongGeometry, BadParameters
        If values are not finite, shapes differ, or the mesh makes no sense.

    Notes
    -----
    The level of a cell is ``2.5 median - 1.5 mean`` of the clipped pixels, or their median where the
    two differ by more than 0.3 standard deviations, as in SExtractor. The mesh is then smoothed by a
    median of 3 x 3 cells, and the noise is freed of what the slope of the sky adds to it. A level is
    known to some 2 % of the noise of a pixel.
    """
    if mesh < 4:
        raise BadParameters(f"cells of {mesh} pixels are too small to hold any sky")
    if mask is not None and mask.shape != data.shape:
        raise WrongGeometry(f"the mask has {mask.shape} pixels, the frame {data.shape}")
    if not np.isfinite(data.sum(dtype=np.float64)):
        raise NotFinite("the frame holds values that are not numbers")
    period = 2 if _is_colour_sensor(data, mask) else 1
    side = max(4, mesh // period)
    meshes = [
        _measure_cells(
            data[row::period, column::period],
            None if mask is None else mask[row::period, column::period],
            (_cell_count(data.shape[0], mesh), _cell_count(data.shape[1], mesh)),
            step=2 if side * side > _ENOUGH else 1,
        )
        for row in range(period)
        for column in range(period)
    ]
    usable = np.logical_and.reduce([np.isfinite(level) for level, _ in meshes])
    typical = np.median([noise[usable] for _, noise in meshes]) if usable.any() else np.nan
    usable &= np.logical_and.reduce([noise > _TOO_QUIET * typical for _, noise in meshes])
    if not usable.any():
        raise NoSky("no part of the frame shows enough unmasked sky that is not perfectly even")
    size = (period, period, *usable.shape)
    levels, noises = (
        np.array([_smoothed(_filled(plane, usable)) for plane in planes], np.float32).reshape(size)
        for planes in zip(*meshes, strict=True)
    )
    noises = np.sqrt(np.maximum(np.square(noises) - _slopes(levels), np.square(_LEAST_NOISE * noises)))
    return Background((data.shape[0], data.shape[1]), levels, noises, usable)


def _is_colour_sensor(data: Plane, mask: MaskPlane | None) -> bool:
    """Tell whether the sky differs between the places of a 2 x 2 pattern, in a sample of the frame."""
    if min(data.shape) < 8:
        return False
    step = 2 * max(1, round((data.size / 400_000) ** 0.5))
    medians, spreads, counts = [], [], []
    for row in range(2):
        for column in range(2):
            sample = data[row::step, column::step]
            values = sample.ravel() if mask is None else sample[mask[row::step, column::step] == 0]
            if values.size < 16:
                return False
            medians.append(np.median(values))
            spreads.append(MAD_TO_SIGMA * np.median(np.abs(values - medians[-1])))
            counts.append(values.size)
    noise, error = min(spreads), max(spreads) / min(counts) ** 0.5
    return bool(np.ptp(medians) > max(_PATTERN_SIGMA * noise, 10 * error))


def _cell_count(length: int, mesh: int) -> int:
    return max(1, round(length / mesh))


def _starts(length: int, count: int) -> tuple[NDArray[np.intp], int]:
    """Return the first pixels and the common side of `count` cells that cover a length, just overlapping."""
    side = -(-length // count)
    return np.rint(np.linspace(0, length - side, count)).astype(np.intp), side


def _centres(length: int, count: int) -> NDArray[np.float64]:
    starts, side = _starts(length, count)
    return np.asarray(starts + (side - 1) / 2, np.float64)


def _measure_cells(
    data: Plane, mask: MaskPlane | None, counts: tuple[int, int], *, step: int
) -> tuple[Plane, Plane]:
    """Return level and noise of every cell, NaN where too few pixels are usable."""
    (tops, height), (lefts, width) = (
        _starts(length, count) for length, count in zip(data.shape, counts, strict=True)
    )
    levels, noises = np.empty(counts, np.float32), np.empty(counts, np.float32)
    batch = max(1, _BATCH_PIXELS * step // (height * data.shape[1]))
    for first in range(0, counts[0], batch):
        rows = [slice(top, top + height, step) for top in tops[first : first + batch]]
        values = np.concatenate([_cells(data[part], lefts, width) for part in rows])
        if mask is not None and any(mask[part].any() for part in rows):
            values[np.concatenate([_cells(mask[part], lefts, width) for part in rows]) != 0] = np.inf
        values.sort(axis=1)
        with np.errstate(invalid="ignore"):  # in cells without usable pixels
            level, noise = _mode_and_noise(values)
        levels[first : first + batch] = level.reshape(len(rows), -1)
        noises[first : first + batch] = noise.reshape(len(rows), -1)
    return levels, noises


def _cells(rows: NDArray[Any], lefts: NDArray[np.intp], width: int) -> NDArray[Any]:
    """Return the pixels of the cells side by side in some rows, as a copy (cells, pixels)."""
    windows = sliding_window_view(rows, width, axis=1)[:, lefts]
    return windows.swapaxes(0, 1).reshape(lefts.size, -1)


def _mode_and_noise(values: Plane) -> tuple[Plane, Plane]:
    """Return mode and standard deviation of lists of sorted values, the unusable ones infinite at their ends."""
    count = _count_below(values, np.full(values.shape[0], np.finfo(np.float32).max))
    first, last = np.zeros_like(count), count
    for _ in range(_ROUNDS):
        median = _rank(values, (first + last) / 2 - 0.5)
        # Stars only lengthen the upper half of the distribution: the lower one tells the noise.
        reach = _CLIP_SIGMA * (median - _rank(values, first + _ONE_SIGMA * (last - first) - 0.5))
        lower, upper = _count_below(values, median - reach), _count_below(values, median + reach)
        if np.array_equal(lower, first) and np.array_equal(upper, last):
            break
        first, last = lower, upper
    rank = np.arange(values.shape[1])
    outside = (rank < first[:, np.newaxis]) | (rank >= last[:, np.newaxis])
    deviation = values - np.where(np.isfinite(median), median, 0).astype(np.float32)[:, np.newaxis]
    deviation[outside] = 0
    size = np.maximum(last - first, 1)
    shift = deviation.sum(axis=1, dtype=np.float64) / size
    spread = np.sqrt(np.maximum(np.einsum("ij,ij->i", deviation, deviation) / size - shift**2, 0))
    mode = np.where(np.abs(shift) < _SKEWED * spread, median - 1.5 * shift, median)
    coarse = np.flatnonzero(reach == 0)  # a third of the pixels have one and the same value
    spread[coarse] = np.maximum(spread[coarse], _rounding_noise(values[coarse], median[coarse]))
    known = (count >= max(4, _LEAST_USABLE * values.shape[1])) & (spread > 0)
    level = np.where(known, mode, np.nan).astype(np.float32)
    return level, np.where(known, spread / _CLIPPED_STD, np.nan).astype(np.float32)


def _rounding_noise(values: Plane, median: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the noise of rounding to steps as large as the smallest deviation from the median; 0 without any."""
    deviation = np.abs(values - median[:, np.newaxis])
    step = np.where(deviation > 0, deviation, np.inf).min(axis=1)
    return np.asarray(np.where(np.isfinite(step), step, 0) / np.sqrt(12))


def _count_below(values: Plane, limit: NDArray[np.float64]) -> NDArray[np.intp]:
    """Return how many values of each sorted list are below a limit, by bisection in all lists at once."""
    flat, start = values.reshape(-1), np.arange(values.shape[0]) * values.shape[1]
    low, high = np.zeros_like(start), np.full_like(start, values.shape[1])
    for _ in range(values.shape[1].bit_length()):
        middle = (low + high) // 2
        below = flat[start + np.minimum(middle, values.shape[1] - 1)] < limit
        low = np.where(below & (middle < high), middle + 1, low)
        high = np.where(below, high, middle)
    return np.asarray(low)


def _rank(values: Plane, rank: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the values of a fractional rank in sorted lists, between two of them in proportion."""
    flat, start = values.reshape(-1), np.arange(values.shape[0]) * values.shape[1]
    rank = rank.clip(0, values.shape[1] - 1)
    low = np.floor(rank).astype(np.intp)
    below, above = flat[start + low], flat[start + np.ceil(rank).astype(np.intp)]
    part = rank - low
    return np.asarray(np.where(part > 0, below * (1 - part) + above * part, below))


def _filled(mesh: Plane, usable: NDArray[np.bool_]) -> Plane:
    """Fill the cells that are not usable with the mean of their neighbours, from the rim of each hole inwards."""
    filled, known = np.where(usable, mesh, 0).astype(np.float64), usable.copy()
    while not known.all():
        total, count = (
            sliding_window_view(np.pad(plane, 1), (3, 3)).sum(axis=(2, 3))
            for plane in (filled * known, known)
        )
        new = ~known & (count > 0)
        filled[new] = total[new] / count[new]
        known |= new
    return filled.astype(np.float32)


def _smoothed(mesh: Plane) -> Plane:
    """Return the median of 3 x 3 cells; a gradient goes on beyond the edges."""
    padded = mesh
    for axis, length in enumerate(mesh.shape):
        width = [(0, 0), (0, 0)]
        width[axis] = (1, 1)
        padded = (
            np.pad(padded, width, mode="reflect", reflect_type="odd")
            if length > 1
            else np.pad(padded, width, mode="edge")
        )
    smoothed: Plane = np.median(sliding_window_view(padded, (3, 3)), axis=(2, 3)).astype(np.float32)
    return smoothed


def _slopes(levels: Plane) -> Plane:
    """Return the variance that the slope of the sky makes within each cell."""
    variance = np.zeros_like(levels)
    for axis in (2, 3):
        if levels.shape[axis] > 1:
            variance += np.square(np.gradient(levels, axis=axis)) / 12
    return variance


def _places(meshes: Plane) -> Iterator[tuple[tuple[int, int], Plane]]:
    for row in range(meshes.shape[0]):
        for column in range(meshes.shape[1]):
            yield (row, column), meshes[row, column]


@lru_cache(maxsize=4)
def _spline(length: int, count: int) -> Plane:
    """Return the weights (pixels, cells) of a natural cubic spline through cells along one axis.

    Beyond the centres of the outermost cells it goes on straight.
    """
    if count == 1:
        return np.ones((length, 1), np.float32)
    centres, pixels = _centres(length, count), np.arange(length)
    spline = CubicSpline(centres, np.eye(count), bc_type="natural")
    inside = np.clip(pixels, centres[0], centres[-1])
    weights = spline(inside) + (pixels - inside)[:, np.newaxis] * spline(inside, 1)
    return np.asarray(weights, np.float32)
