"""The inner loops of `toros.science.resample`, compiled."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from toros.science.flags import MaskPlane, PixelFlag
from toros.science.image import Plane

REACH = 3
"""Lobes of the kernel: it covers so many pixels to either side."""

NOTABLE = 0.1
"""Share of a flagged pixel in a result from which on the result is flagged too."""

LEAST_LEFT = 0.5
"""Share of the kernel that must fall on good pixels; with less the nearest pixel is taken as it is."""

_PHASES = 1024
"""Places within a pixel for which the kernel is known: the rounding moves light by 0.0003 px rms."""

_WIDTH = 8
"""Six weights and two zeros fill one register of the processor."""

_NO_DATA = int(PixelFlag.NO_DATA)

_LOOSE = {"reassoc", "contract", "nsz"}
"""Sums may be reordered; a place that is not a number stays one."""


class Source(NamedTuple):
    """Planes of `height` times `width` pixels, row after row in one dimension.

    The rows of data and variance begin every `stride` values. `near` marks the pixels whose kernels touch a flagged
    pixel (`mark_near_flags`).
    """

    height: int
    width: int
    stride: int
    data: Plane
    variance: Plane
    mask: MaskPlane
    near: MaskPlane


class Target(NamedTuple):
    """Planes that are filled."""

    data: Plane
    variance: Plane
    mask: MaskPlane


def lanczos_table() -> Plane:
    """Return, one after the other, the weights of every phase: six that add up to 1, and two zeros."""
    phase = np.arange(_PHASES + 1)[:, np.newaxis] / _PHASES
    distance = np.arange(1 - REACH, REACH + 1) - phase
    weights = np.sinc(distance) * np.sinc(distance / REACH)
    table = np.zeros((_PHASES + 1, _WIDTH), np.float32)
    table[:, : 2 * REACH] = weights / weights.sum(axis=1, keepdims=True)
    return table.reshape(-1)


@njit(cache=True, nogil=True)
def mark_near_flags(mask: MaskPlane, near: MaskPlane) -> None:
    """Mark in `near`, a plane of zeros, the pixels whose kernels touch a flagged pixel."""
    height, width = mask.shape
    for y in range(height):
        for x in range(width):
            if mask[y, x] != 0:
                near[max(0, y - REACH) : y + REACH, max(0, x - REACH) : x + REACH] = 1


@njit(cache=True, nogil=True)
def resample_rows(
    source: Source, nodes: NDArray[np.float64], spacing: int, first: int, table: Plane, target: Target
) -> None:
    """Fill rows of a target grid, the first of which is number `first`.

    `nodes`, shape (2, rows, columns), are the x and y in the source of every `spacing`-th pixel of the grid. Within
    the cells between them places are linear in both directions.
    """
    rows, columns = target.data.shape
    places = np.empty((3, columns))
    for row in range(rows):
        _lay_row(nodes, spacing, first + row, places)
        column = np.int64(0)  # a literal would be compiled on its own
        while column < columns:
            column = _fill_clean(source, places, table, target, row, column)
            if column < columns:
                _fill_flagged(source, places, table, target, row, column)
                column += 1


@njit(cache=True, nogil=True)
def _lay_row(nodes: NDArray[np.float64], spacing: int, row: int, places: NDArray[np.float64]) -> None:
    """Fill `places`, shape (3, columns): x and y of a row's pixels in the source, and their areas there."""
    columns = places.shape[1]
    upper, down = row // spacing, row / spacing - row // spacing
    for cell in range((columns + spacing - 1) // spacing):
        x0, x0_down = _side(nodes[0], upper, cell, down)
        y0, y0_down = _side(nodes[1], upper, cell, down)
        x1, x1_down = _side(nodes[0], upper, cell + 1, down)
        y1, y1_down = _side(nodes[1], upper, cell + 1, down)
        x_right, y_right = (x1 - x0) / spacing, (y1 - y0) / spacing
        area = (x_right * y0_down - y_right * x0_down) / spacing
        area_right = (x_right * (y1_down - y0_down) - y_right * (x1_down - x0_down)) / spacing**2
        start = cell * spacing
        for step in range(min(spacing, columns - start)):
            places[0, start + step] = x0 + x_right * step
            places[1, start + step] = y0 + y_right * step
            places[2, start + step] = abs(area + area_right * step)


@njit(cache=True, nogil=True)
def _side(nodes: NDArray[np.float64], upper: int, column: int, down: float) -> tuple[float, float]:
    """Return one coordinate at the left side of a cell, part of the way `down`, and its change along that side."""
    change = nodes[upper + 1, column] - nodes[upper, column]
    return nodes[upper, column] + change * down, change


@njit(cache=True, nogil=True, fastmath=_LOOSE, error_model="numpy")
def _fill_clean(
    source: Source, places: NDArray[np.float64], table: Plane, target: Target, row: int, column: int
) -> int:
    """Fill a row from a column on; return the column where the kernel meets a flag, or the edge of the source."""
    height, width, stride = source.height, source.width, source.stride
    data, variance, near = source.data, source.variance, source.near
    out_data, out_variance, out_mask = target.data[row], target.variance[row], target.mask[row]
    for here in range(column, places.shape[1]):
        x, y, area = places[0, here], places[1, here], np.float32(places[2, here])
        if not (REACH <= x < width - _WIDTH + REACH and REACH <= y < height - REACH):
            return here
        left, top = int(x), int(y)
        if near[top * width + left] != 0:
            return here
        value, spread = _sums(
            data,
            variance,
            np.uint64(stride),
            np.uint64((top + 1 - REACH) * stride + left + 1 - REACH),
            table,
            np.uint64(_WIDTH * int((x - left) * _PHASES + 0.5)),
            np.uint64(_WIDTH * int((y - top) * _PHASES + 0.5)),
        )
        out_data[here] = area * value
        out_variance[here] = area * area * spread
        out_mask[here] = 0
    return places.shape[1]


@njit(cache=True, nogil=True)
def _fill_flagged(
    source: Source, places: NDArray[np.float64], table: Plane, target: Target, row: int, column: int
) -> None:
    """Fill one pixel near a flag or an edge, or outside the source."""
    value, variance, flags = _value_among_flags(source, places[0, column], places[1, column], table)
    area = np.float32(places[2, column])
    if not np.isfinite(area):
        area = np.float32(0)
    target.data[row, column] = area * value
    target.variance[row, column] = area * area * variance
    target.mask[row, column] = flags


@njit(inline="always")
def _sums(
    data: Plane,
    variance: Plane,
    stride: np.uint64,
    corner: np.uint64,
    table: Plane,
    across: np.uint64,
    upright: np.uint64,
) -> tuple[np.float32, np.float32]:
    """Return the weighted sums of data and variance in the 6 x 6 pixels from a corner on.

    Written out, and with indices that have no sign, so that the compiler takes eight columns at a time.
    """
    one = np.uint64(1)
    u0, u1, u2 = table[upright], table[upright + one], table[upright + one + one]
    upright += one + one + one
    u3, u4, u5 = table[upright], table[upright + one], table[upright + one + one]
    total, spread = np.float32(0), np.float32(0)
    for step in range(_WIDTH):
        weight = table[across + np.uint64(step)]
        k0 = corner + np.uint64(step)
        k1 = k0 + stride
        k2 = k1 + stride
        k3 = k2 + stride
        k4 = k3 + stride
        k5 = k4 + stride
        upper = u0 * data[k0] + u1 * data[k1] + u2 * data[k2]
        lower = u3 * data[k3] + u4 * data[k4] + u5 * data[k5]
        total += weight * (upper + lower)
        upper = u0 * u0 * variance[k0] + u1 * u1 * variance[k1] + u2 * u2 * variance[k2]
        lower = u3 * u3 * variance[k3] + u4 * u4 * variance[k4] + u5 * u5 * variance[k5]
        spread += weight * weight * (upper + lower)
    return total, spread


@njit(cache=True, nogil=True)
def _value_among_flags(
    source: Source, x: float, y: float, table: Plane
) -> tuple[np.float32, np.float32, int]:
    """Return value, variance and flags where some pixels are flagged or outside: those are left out."""
    height, width = source.height, source.width
    if not (-0.5 <= x < width - 0.5 and -0.5 <= y < height - 0.5):
        return np.float32(0), np.float32(0), _NO_DATA
    left, top = int(np.floor(x)), int(np.floor(y))
    across = _WIDTH * int((x - left) * _PHASES + 0.5)
    upright = _WIDTH * int((y - top) * _PHASES + 0.5)
    total, spread, kept, flags = np.float32(0), np.float32(0), np.float32(0), 0
    for j in range(2 * REACH):
        for i in range(2 * REACH):
            weight, row, column = (
                table[upright + j] * table[across + i],
                top + 1 - REACH + j,
                left + 1 - REACH + i,
            )
            bits = _flags_at(source, row, column)
            if bits == 0:
                total += weight * source.data[row * source.stride + column]
                spread += weight * weight * source.variance[row * source.stride + column]
                kept += weight
            elif abs(weight) > NOTABLE:
                flags |= bits
    if kept < LEAST_LEFT:
        nearest = int(np.floor(y + 0.5)) * source.stride + int(np.floor(x + 0.5))
        return source.data[nearest], source.variance[nearest], flags
    return total / kept, spread / (kept * kept), flags


@njit(cache=True, nogil=True)
def _flags_at(source: Source, row: int, column: int) -> int:
    """Return the flags of a pixel; there is no data outside the frame."""
    if 0 <= row < source.height and 0 <= column < source.width:
        return int(source.mask[row * source.width + column])
    return _NO_DATA
