"""The inner loops of `toros.science.convolution`, compiled."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from toros.science.flags import MaskPlane, PixelFlag
from toros.science.image import Plane

Which = NDArray[np.bool_]
Places = NDArray[np.intp]

PATCH_ROWS = 16
"""Most rows of pixels that share a kernel."""

SEGMENT = 512
"""Most columns that do."""

_ROWS_AT_ONCE = 4

_MATTERS = 0.01
"""A flag spreads to where the kernel has at least this part of its whole absolute weight."""

_TINY_BLOCK, _SMALL_BLOCK = 0.001, 0.02
"""Parts of a squared kernel: a block of 3 x 3 pixels with less is shared out among the others, or taken as even."""

_NEIGHBOURHOOD = 2
_SATURATED = np.uint8(PixelFlag.SATURATED)


@njit(cache=True, nogil=True)
def _kernel_at(weights: Plane, x: float, y: float, nx: int, ny: int, kernel: Plane) -> None:
    """Evaluate the polynomials of a kernel at a position."""
    u, v = np.float32(2 * x / max(nx - 1, 1) - 1), np.float32(2 * y / max(ny - 1, 1) - 1)
    terms = weights.shape[0]
    for j in range(kernel.shape[0]):
        for i in range(kernel.shape[1]):
            value = weights[0, j, i]
            if terms >= 3:
                value += weights[1, j, i] * u + weights[2, j, i] * v
            if terms >= 6:
                value += weights[3, j, i] * u * u + weights[4, j, i] * u * v + weights[5, j, i] * v * v
            kernel[j, i] = value


@njit(cache=True, nogil=True, fastmath=True)
def _add_block(strip: Plane, y: int, x: int, width: int, block: Plane, total: Plane) -> None:
    """Add what a block of 3 x 3 weights brings to segments of four rows, from the pixel where it begins on.

    Four rows at once, because each value that is loaded then serves several of them; `total` holds one after the
    other, with indices that have no sign and a fixed distance, so that the compiler sees that they are apart.
    """
    a, b, c = block[2, 2], block[2, 1], block[2, 0]
    d, e, f = block[1, 2], block[1, 1], block[1, 0]
    g, h, k = block[0, 2], block[0, 1], block[0, 0]
    stop = x + width + 2
    row0, row1, row2 = strip[y, x:stop], strip[y + 1, x:stop], strip[y + 2, x:stop]
    row3, row4, row5 = strip[y + 3, x:stop], strip[y + 4, x:stop], strip[y + 5, x:stop]
    for n in range(width):
        place = np.uint64(n)
        p0, p1, p2 = row0[n], row0[n + 1], row0[n + 2]
        q0, q1, q2 = row1[n], row1[n + 1], row1[n + 2]
        r0, r1, r2 = row2[n], row2[n + 1], row2[n + 2]
        s0, s1, s2 = row3[n], row3[n + 1], row3[n + 2]
        t0, t1, t2 = row4[n], row4[n + 1], row4[n + 2]
        u0, u1, u2 = row5[n], row5[n + 1], row5[n + 2]
        total[place] += a * p0 + b * p1 + c * p2 + d * q0 + e * q1 + f * q2 + g * r0 + h * r1 + k * r2
        place += np.uint64(SEGMENT)
        total[place] += a * q0 + b * q1 + c * q2 + d * r0 + e * r1 + f * r2 + g * s0 + h * s1 + k * s2
        place += np.uint64(SEGMENT)
        total[place] += a * r0 + b * r1 + c * r2 + d * s0 + e * s1 + f * s2 + g * t0 + h * t1 + k * t2
        place += np.uint64(SEGMENT)
        total[place] += a * s0 + b * s1 + c * s2 + d * t0 + e * t1 + f * t2 + g * u0 + h * u1 + k * u2


@njit(cache=True, nogil=True, fastmath=True)
def _convolve_segments(
    strip: Plane, sums: Plane, y: int, left: int, width: int, kernel: Plane, uniform: Which, total: Plane
) -> None:
    """Convolve segments of four rows; where a block of the kernel is uniform, with the sums of blocks."""
    side = kernel.shape[0]
    total[:] = 0
    for j in range(0, side, 3):
        for i in range(0, side, 3):
            row, column = y + side - 3 - j, left + side - 3 - i
            weight = kernel[j, i]
            if not uniform[j // 3, i // 3]:
                _add_block(strip, row, column, width, kernel[j : j + 3, i : i + 3], total)
            elif weight != 0:
                for step in range(_ROWS_AT_ONCE):
                    place = sums[row + step, column : column + width]
                    segment = total[step * SEGMENT : step * SEGMENT + width]
                    for x in range(width):
                        segment[x] += weight * place[x]


@njit(cache=True, nogil=True)
def convolve_rows(
    data: Plane,
    sums: Plane,
    variance: Plane,
    variance_sums: Plane,
    weights: Plane,
    uniform: Which,
    first: int,
    ny: int,
    across: int,
    out: Plane,
    out_variance: Plane,
) -> None:
    """Convolve padded rows, the first of which is number `first`: values with a kernel, variances with its square.

    `sums` and `variance_sums` are those of blocks of 3 x 3 pixels (`sum_blocks`); `uniform` tells which blocks
    of the kernel hold one number. A kernel holds for `PATCH_ROWS` times `across` pixels.
    """
    side = weights.shape[1]
    height, nx = out.shape
    kernel, square = np.empty((side, side), np.float32), np.empty((side, side), np.float32)
    even, total = np.empty(uniform.shape, np.bool_), np.empty(_ROWS_AT_ONCE * SEGMENT, np.float32)
    for top in range(0, height, PATCH_ROWS):
        bottom = min(top + PATCH_ROWS, height)
        for left in range(0, nx, across):
            right = min(left + across, nx)
            _kernel_at(weights, 0.5 * (left + right - 1), first + 0.5 * (top + bottom - 1), nx, ny, kernel)
            _square(kernel, square, even)
            for y in range(top, bottom, _ROWS_AT_ONCE):
                rows = min(_ROWS_AT_ONCE, bottom - y)
                _convolve_segments(data, sums, y, left, right - left, kernel, uniform, total)
                for step in range(rows):
                    out[y + step, left:right] = total[step * SEGMENT : step * SEGMENT + right - left]
                _convolve_segments(variance, variance_sums, y, left, right - left, square, even, total)
                for step in range(rows):
                    out_variance[y + step, left:right] = total[step * SEGMENT : step * SEGMENT + right - left]


@njit(cache=True, nogil=True, fastmath=True)
def sum_blocks(data: Plane, sums: Plane) -> None:
    """Sum blocks of 3 x 3 pixels, from each pixel upwards and to the right."""
    height, width = data.shape
    column = np.empty(width, np.float32)
    for y in range(height - 2):
        for x in range(width):
            column[x] = data[y, x] + data[y + 1, x] + data[y + 2, x]
        for x in range(width - 2):
            sums[y, x] = column[x] + column[x + 1] + column[x + 2]


@njit(cache=True, nogil=True)
def _square(kernel: Plane, square: Plane, even: Which) -> None:
    """Square a kernel; blocks of 3 x 3 pixels that count little are made even, or nothing, and marked."""
    side, whole, kept = kernel.shape[0], np.float32(0), np.float32(0)
    for j in range(side):
        for i in range(side):
            square[j, i] = kernel[j, i] * kernel[j, i]
            whole += square[j, i]
    for j in range(0, side, 3):
        for i in range(0, side, 3):
            block = square[j : j + 3, i : i + 3]
            part = np.float32(0)
            for k in range(9):
                part += block[k // 3, k % 3]
            even[j // 3, i // 3] = part < np.float32(_SMALL_BLOCK) * whole
            if part < np.float32(_TINY_BLOCK) * whole:
                part = np.float32(0)
            if even[j // 3, i // 3]:
                block[:] = part / np.float32(9)
            kept += part
    for j in range(side):
        for i in range(side):
            square[j, i] *= whole / max(kept, np.float32(1e-30))


@njit(cache=True, nogil=True)
def replace_flagged(data: Plane, variance: Plane, mask: MaskPlane, flagged: Places, level: float) -> None:
    """Put the mean of the good neighbours, or else a level, at the flagged places (flat indices)."""
    height, width = data.shape
    for place in flagged:
        y, x = place // width, place % width
        total = spread = np.float32(0)
        count = 0
        for row in range(max(y - _NEIGHBOURHOOD, 0), min(y + _NEIGHBOURHOOD + 1, height)):
            for column in range(max(x - _NEIGHBOURHOOD, 0), min(x + _NEIGHBOURHOOD + 1, width)):
                if not mask[row, column]:
                    total += data[row, column]
                    spread += variance[row, column]
                    count += 1
        if count:
            data[y, x], variance[y, x] = total / count, spread / count
        else:
            data[y, x] = level
            if not np.isfinite(variance[y, x]):
                variance[y, x] = 0


@njit(cache=True, nogil=True)
def spread_flags(
    mask: MaskPlane,
    flagged: Places,
    weights: Plane,
    first: int,
    ny: int,
    across: int,
    out: MaskPlane,
) -> None:
    """Give the flags of padded rows to the pixels that the kernel carries them to."""
    side, width = weights.shape[1], mask.shape[1]
    height, nx = out.shape
    kernel = np.empty((side, side), np.float32)
    known, notable = -1, np.float32(0)
    for place in flagged:
        y, x = place // width, place % width
        patch = y // PATCH_ROWS * width + x // across
        if patch != known:
            column, row = x // across * across + across / 2, y // PATCH_ROWS * PATCH_ROWS + PATCH_ROWS / 2
            _kernel_at(weights, column - side // 2, first + row - side // 2, nx, ny, kernel)
            known, notable = patch, np.float32(_MATTERS) * np.abs(kernel).sum()
        least = np.float32(0) if mask[y, x] & _SATURATED else notable
        for j in range(max(0, side - 1 - y), min(side, height + side - 1 - y)):
            for i in range(max(0, side - 1 - x), min(side, nx + side - 1 - x)):
                if abs(kernel[j, i]) >= least:
                    out[y + j - side + 1, x + i - side + 1] |= mask[y, x]
