"""Convolution with a kernel that changes over the field: values, variances and flags, compiled."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from toros.errors import WrongGeometry
from toros.science.flags import PixelFlag
from toros.science.geometry import tiles_of
from toros.science.image import Image
from toros.science.kernel import Kernel

Plane = NDArray[np.float32]

_TILE_ROWS = 32
_PATCH_ROWS, _PATCH_COLUMNS = 16, 128
"""Most pixels that share a kernel: its polynomials are followed in such steps ..."""

_STEPS = 32
"""... and at least in so many of them, down to 16 x 16 pixels."""

_MATTERS = 0.01
"""A flag spreads to where the kernel has at least this part of its whole absolute weight."""

_SMALL_BLOCK = 0.01
"""Blocks of 3 x 3 pixels with less than this part of a squared kernel are shared out among the others."""

_NEIGHBOURHOOD = 2
_OUTSIDE = np.uint8(PixelFlag.NO_DATA)
_SATURATED = np.uint8(PixelFlag.SATURATED)


def convolve(image: Image, kernel: Kernel, *, level: float = 0.0) -> Image:
    """Convolve an image with a kernel that changes over the field.

    Parameters
    ----------
    image : Image
        Flagged pixels are replaced by the mean of their good neighbours (5 x 5).
    kernel : Kernel
        Of the image's shape; its background is not added.
    level : float
        Value of flagged pixels without good neighbours, and of what lies outside of the frame.

    Returns
    -------
    Image
        The variance is that of each pixel alone: neighbours have become alike. Flags spread to wherever
        the kernel puts at least a hundredth of its weight - those of saturated pixels, which lack more light than any
        neighbour tells, over the whole kernel - and NO_DATA in from the edges.

    Raises
    ------
    WrongGeometry
        The kernel is for frames of another shape.
    """
    if kernel.shape != image.shape:
        raise WrongGeometry(f"a kernel for frames of {kernel.shape} pixels, and an image of {image.shape}")
    ny, nx = image.shape
    weights = _whole_blocks(kernel)
    blocks = weights.reshape(len(weights), weights.shape[1] // 3, 3, -1, 3)
    uniform = (blocks == blocks[:, :, :1, :, :1]).all(axis=(0, 2, 4))
    reach = weights.shape[1] // 2
    convolved = Image(np.empty_like(image.data), np.empty_like(image.data), image.mask.copy())
    padded = (_TILE_ROWS + 2 * reach, nx + 2 * reach)
    data, variance = np.empty(padded, np.float32), np.empty(padded, np.float32)
    mask, sums = np.empty(padded, np.uint8), np.zeros(padded, np.float32)
    across = int(np.clip(nx // _STEPS, _PATCH_ROWS, _PATCH_COLUMNS))
    for rows in tiles_of(ny, _TILE_ROWS):
        top = rows.start - reach
        here = slice(max(top, 0), min(rows.stop + reach, ny))
        inside = slice(here.start - top, here.stop - top), slice(reach, reach + nx)
        for strip, plane, outside in (
            (data, image.data, np.float32(level)),
            (variance, image.variance, np.float32(0)),
            (mask, image.mask, _OUTSIDE),
        ):
            strip[...] = outside
            strip[inside] = plane[here]
        _replace_flagged(data, variance, mask, np.float32(level))
        _sum_blocks(data, sums)
        strips, results = (data, sums, variance), (convolved.data[rows], convolved.variance[rows])
        _convolve_rows(*strips, weights, uniform, rows.start, ny, across, *results)
        _spread_flags(mask, weights, rows.start, ny, convolved.mask[rows])
    return convolved


def _whole_blocks(kernel: Kernel) -> Plane:
    """Return the weights with zeros around them, so that blocks of 3 x 3 pixels fill them."""
    margin = (-kernel.radius - 2) % 3
    return np.pad(kernel.weights, ((0, 0), (margin, margin), (margin, margin))).astype(np.float32)


@njit(cache=True, nogil=True)
def _kernel_at(weights, x, y, nx, ny, kernel):  # type: ignore[no-untyped-def]
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
def _add_block(strip, y, x, kernel, j, i, total):  # type: ignore[no-untyped-def]
    """Add what a block of 3 x 3 pixels of a kernel brings to a segment of a row."""
    side, width = kernel.shape[0], total.size
    x += side - 3 - i
    y += side - 3 - j
    a, b, c = kernel[j, i], kernel[j, i + 1], kernel[j, i + 2]
    d, e, f = kernel[j + 1, i], kernel[j + 1, i + 1], kernel[j + 1, i + 2]
    g, h, k = kernel[j + 2, i], kernel[j + 2, i + 1], kernel[j + 2, i + 2]
    top, middle, low = (
        strip[y, x : x + width + 2],
        strip[y + 1, x : x + width + 2],
        strip[y + 2, x : x + width + 2],
    )
    for n in range(width):
        total[n] += (
            (k * top[n] + h * top[n + 1] + g * top[n + 2])
            + (f * middle[n] + e * middle[n + 1] + d * middle[n + 2])
            + (c * low[n] + b * low[n + 1] + a * low[n + 2])
        )


@njit(cache=True, nogil=True, fastmath=True)
def _convolve_rows(data, sums, variance, weights, uniform, first, ny, across, out, out_variance):  # type: ignore[no-untyped-def]
    """Convolve padded rows: values with a kernel, variances with the blocks that count of its square.

    Where all weights of a block are the same, the sums of blocks take the place of the values.
    """
    side = weights.shape[1]
    height, nx = out.shape
    kernel = np.empty((side, side), np.float32)
    square = np.empty((side, side), np.float32)
    for top in range(0, height, _PATCH_ROWS):
        bottom = min(top + _PATCH_ROWS, height)
        for left in range(0, nx, across):
            right = min(left + across, nx)
            _kernel_at(weights, 0.5 * (left + right - 1), first + 0.5 * (top + bottom - 1), nx, ny, kernel)
            _square(kernel, square)
            for y in range(top, bottom):
                total, spread = out[y, left:right], out_variance[y, left:right]
                total[:] = 0
                spread[:] = 0
                for j in range(0, side, 3):
                    for i in range(0, side, 3):
                        if uniform[j // 3, i // 3]:
                            place = sums[y + side - 3 - j, left + side - 3 - i : right + side - 3 - i]
                            for x in range(right - left):
                                total[x] += kernel[j, i] * place[x]
                        else:
                            _add_block(data, y, left, kernel, j, i, total)
                        if square[j, i] >= 0:
                            _add_block(variance, y, left, square, j, i, spread)


@njit(cache=True, nogil=True, fastmath=True)
def _sum_blocks(data, sums):  # type: ignore[no-untyped-def]
    """Sum blocks of 3 x 3 pixels, from each pixel upwards and to the right."""
    height, width = data.shape
    column = np.empty(width, np.float32)
    for y in range(height - 2):
        for x in range(width):
            column[x] = data[y, x] + data[y + 1, x] + data[y + 2, x]
        for x in range(width - 2):
            sums[y, x] = column[x] + column[x + 1] + column[x + 2]


@njit(cache=True, nogil=True)
def _square(kernel, square):  # type: ignore[no-untyped-def]
    """Square a kernel; of blocks of 3 x 3 pixels that hardly count, the first is set to -1."""
    side, whole, kept = kernel.shape[0], np.float32(0), np.float32(0)
    for j in range(side):
        for i in range(side):
            square[j, i] = kernel[j, i] * kernel[j, i]
            whole += square[j, i]
    for j in range(0, side, 3):
        for i in range(0, side, 3):
            part = np.float32(0)
            for k in range(9):
                part += square[j + k // 3, i + k % 3]
            if part < np.float32(_SMALL_BLOCK) * whole:
                square[j, i] = -1
            else:
                kept += part
    for j in range(side):
        for i in range(side):
            if square[j, i] > 0:
                square[j, i] *= whole / kept


@njit(cache=True, nogil=True)
def _replace_flagged(data, variance, mask, level):  # type: ignore[no-untyped-def]
    """Put the mean of the good neighbours, or else a level, where a pixel is flagged."""
    height, width = data.shape
    for y in range(height):
        for x in range(width):
            if mask[y, x]:
                total = spread = np.float32(0)
                count = 0
                for row in range(max(y - _NEIGHBOURHOOD, 0), min(y + _NEIGHBOURHOOD + 1, height)):
                    for column in range(max(x - _NEIGHBOURHOOD, 0), min(x + _NEIGHBOURHOOD + 1, width)):
                        if not mask[row, column]:
                            total += data[row, column]
                            spread += variance[row, column]
                            count += 1
                data[y, x] = total / count if count else level
                if count:
                    variance[y, x] = spread / count
                elif not np.isfinite(variance[y, x]):
                    variance[y, x] = 0


@njit(cache=True, nogil=True)
def _spread_flags(mask, weights, first, ny, out):  # type: ignore[no-untyped-def]
    """Give the flags of padded rows to the pixels that the kernel carries them to."""
    side = weights.shape[1]
    height, nx = out.shape
    kernel = np.empty((side, side), np.float32)
    for y in range(mask.shape[0]):
        for x in range(mask.shape[1]):
            if mask[y, x]:
                _kernel_at(weights, x - side // 2, first + y - side // 2, nx, ny, kernel)
                least = np.float32(0)
                if not mask[y, x] & _SATURATED:
                    for j in range(side):
                        for i in range(side):
                            least += np.float32(_MATTERS) * abs(kernel[j, i])
                for j in range(max(0, side - 1 - y), min(side, height + side - 1 - y)):
                    for i in range(max(0, side - 1 - x), min(side, nx + side - 1 - x)):
                        if abs(kernel[j, i]) >= least:
                            out[y + j - side + 1, x + i - side + 1] |= mask[y, x]
