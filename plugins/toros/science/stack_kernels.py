"""The inner loops of `toros.science.stack`, compiled."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from toros.science.flags import MaskPlane, PixelFlag
from toros.science.image import Plane

CLIPPED = 128
"""Bit of a value that disagrees with the other frames. It is no `PixelFlag`: no mask that leaves holds it."""

BESIDE = 64
"""Bit of a value beside such a one that disagrees a little."""

_MEDIAN_VARIANCE = 1.57
"""Variance of a median of n values, times n, relative to that of one value."""

_PAIR = 1.5
"""Two frames cannot outvote each other: they must disagree by so much more before one goes."""

_NO_DATA = int(PixelFlag.NO_DATA)
_SATURATED = int(PixelFlag.SATURATED)
_COSMIC_RAY = int(PixelFlag.COSMIC_RAY)


@njit(cache=True, nogil=True)
def complete_medians(
    values: Plane, variances: Plane, flags: MaskPlane, middle: Plane, noise: Plane, count: NDArray[np.uint16]
) -> None:
    """Fill `count` with the number of values without flags, `noise` with the standard deviation of their median.

    Cubes are (frames, rows, columns). `middle` holds the medians of all frames, and is corrected where some are
    flagged. Of two values it is that nearer to the sky; 0 where there is none.
    """
    frames, rows, columns = values.shape
    ordered = np.empty(frames, np.float32)
    for row in range(rows):
        for column in range(columns):
            n, spread = 0, np.float32(0)
            for frame in range(frames):
                if flags[frame, row, column] == 0:
                    spread += variances[frame, row, column]
                    n += 1
            count[row, column] = n
            noise[row, column] = np.sqrt(np.float32(_MEDIAN_VARIANCE) * spread) / np.float32(max(n, 1))
            if n < frames or n == 2:
                middle[row, column] = _median(values, flags, row, column, ordered)


@njit(cache=True, nogil=True)
def _median(values: Plane, flags: MaskPlane, row: int, column: int, ordered: Plane) -> np.float32:
    """Return the median of a pixel's values without flags; `ordered` is room to sort them."""
    n = 0
    for frame in range(values.shape[0]):
        if flags[frame, row, column] == 0:
            value, place = values[frame, row, column], n
            while place > 0 and ordered[place - 1] > value:
                ordered[place] = ordered[place - 1]
                place -= 1
            ordered[place] = value
            n += 1
    if n == 0:
        return np.float32(0)
    if n == 2:
        return ordered[1] if abs(ordered[1]) < abs(ordered[0]) else ordered[0]
    return np.float32(0.5) * (ordered[(n - 1) // 2] + ordered[n // 2])


@njit(cache=True, nogil=True)
def clip(
    values: Plane,
    variances: Plane,
    flags: MaskPlane,
    middle: Plane,
    noise: Plane,
    count: NDArray[np.uint16],
    structure: Plane,
    shares: Plane,
    sigma: float,
    sigma_beside: float,
) -> None:
    """Raise `CLIPPED` and `BESIDE` in the flags where a value lies too far from the median."""
    frames, rows, columns = values.shape
    for frame in range(frames):
        for row in range(rows):
            for column in range(columns):
                if flags[frame, row, column] == 0 and count[row, column] > 1:
                    deviation = values[frame, row, column] - middle[row, column]
                    limit = _limit(
                        variances[frame, row, column], noise[row, column], count[row, column], sigma
                    )
                    if abs(deviation) > limit + shares[frame] * structure[row, column]:
                        flags[frame, row, column] = CLIPPED
        for row in range(rows):
            for column in range(columns):
                if flags[frame, row, column] == CLIPPED:
                    _clip_around(
                        values[frame],
                        variances[frame],
                        flags[frame],
                        middle,
                        noise,
                        count,
                        structure,
                        shares[frame],
                        sigma_beside,
                        row,
                        column,
                    )


@njit(cache=True, nogil=True)
def _limit(variance: float, noise: float, count: int, sigma: float) -> np.float32:
    """Return by how much a value may deviate because of noise: its own, and that of the median."""
    if count == 2:
        return np.float32(_PAIR * sigma) * np.sqrt(np.float32(2) * variance)
    return np.float32(sigma) * np.sqrt(variance + noise * noise)


@njit(cache=True, nogil=True)
def _clip_around(
    values: Plane,
    variances: Plane,
    flags: MaskPlane,
    middle: Plane,
    noise: Plane,
    count: NDArray[np.uint16],
    structure: Plane,
    share: float,
    sigma: float,
    row: int,
    column: int,
) -> None:
    """Raise `BESIDE` around a clipped pixel of one frame: the rim of a trail is fainter than its core."""
    rows, columns = values.shape
    for y in range(max(row - 1, 0), min(row + 2, rows)):
        for x in range(max(column - 1, 0), min(column + 2, columns)):
            if flags[y, x] == 0 and count[y, x] > 1:
                limit = _limit(variances[y, x], noise[y, x], count[y, x], sigma) + share * structure[y, x]
                if abs(values[y, x] - middle[y, x]) > limit:
                    flags[y, x] = BESIDE


@njit(cache=True, nogil=True)
def average(
    values: Plane,
    variances: Plane,
    flags: MaskPlane,
    first: int,
    weights: Plane,
    data: Plane,
    variance: Plane,
    mask: MaskPlane,
    count: NDArray[np.uint16],
) -> None:
    """Fill the planes with the weighted mean of the values without flags; where all are flagged, of those with data.

    The planes begin at row `first` of the cubes.
    """
    frames = values.shape[0]
    rows, columns = data.shape
    for line in range(rows):
        row = first + line
        for column in range(columns):
            every = 0
            n = 0
            for frame in range(frames):
                bits = flags[frame, row, column]
                n += bits == 0
                every |= _lasting(bits)
            total, spread, weight = np.float32(0), np.float32(0), np.float32(0)
            for frame in range(frames):
                bits = flags[frame, row, column]
                if bits == 0 or (n == 0 and bits & (_NO_DATA | CLIPPED | BESIDE) == 0):
                    total += weights[frame] * values[frame, row, column]
                    spread += weights[frame] ** 2 * variances[frame, row, column]
                    weight += weights[frame]
            count[line, column] = n
            mask[line, column] = every & _SATURATED if n > 0 else every
            if weight == 0:
                mask[line, column] |= _NO_DATA
                weight = np.float32(1)
            data[line, column] = total / weight
            variance[line, column] = spread / (weight * weight)


@njit(cache=True, nogil=True)
def _lasting(bits: int) -> int:
    """Return the flags of one frame that a stack may have: what a cosmic ray saturates is no star."""
    if bits & _COSMIC_RAY:
        bits &= ~_SATURATED
    return bits & ~(CLIPPED | BESIDE)
