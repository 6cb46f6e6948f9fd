"""Peaks of both signs in a difference under a matched filter, in one pass over its planes.

The same filter as in `toros.science.detect`, a normal profile divided by its noise, with two differences: the noise is
that of each pixel, and nothing is left out for being sharp, because here sharp things are flagged, not dropped.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from toros.science.geometry import tiles_of
from toros.science.image import Image
from toros.science.shapes import FWHM_OF_SIGMA

Plane = NDArray[np.float32]
Values = NDArray[np.float64]

_TILE_ROWS = 32
_REACH = 3.0
"""The profile ends after so many standard deviations."""

_LEAST_SUPPORT = 0.4
"""Part of the filter's weight that must fall on good pixels."""


def find_peaks(difference: Image, fwhm: float, threshold: float) -> tuple[Values, Values, Values]:
    """Find where the filtered difference is highest or lowest.

    Parameters
    ----------
    difference : Image
        Any unit; flagged pixels carry no weight.
    fwhm : float
        Of the stars, px.
    threshold : float
        Least signal-to-noise ratio in the filter.

    Returns
    -------
    x, y : ndarray of float64, shape (n,)
        Pixels of the peaks, 0-based.
    snr : ndarray of float64, shape (n,)
        Signal-to-noise ratio in the filter, negative where light is missing.
    """
    sigma = fwhm / FWHM_OF_SIGMA
    radius = max(2, int(np.ceil(_REACH * sigma)))
    profile = np.exp(-0.5 * np.square(np.arange(-radius, radius + 1) / sigma)).astype(np.float32)
    planes = difference.data, difference.variance, difference.mask
    ny, nx = difference.shape
    buffers = (
        np.zeros((_TILE_ROWS + 2 + 2 * radius, nx), np.float32),
        np.zeros((_TILE_ROWS + 2, nx), np.float32),
        np.zeros((_TILE_ROWS + 2, nx), np.float32),
        np.zeros(nx + 2 * radius, np.float32),
    )
    supports = _support(ny, profile), _support(nx, profile)
    parts = []
    for rows in tiles_of(ny, _TILE_ROWS):
        _filter(*planes, rows.start, rows.stop, profile, *supports, *buffers)
        parts.append(_peaks(*buffers[1:3], rows.start, rows.stop, ny, np.float32(threshold)))
    row, column, snr = (np.concatenate(values) for values in zip(*parts, strict=True))
    return column.astype(np.float64), row.astype(np.float64), snr.astype(np.float64)


def _support(length: int, profile: Plane) -> Plane:
    """Return the sum of the squared profile over the pixels that lie in the frame, along an axis."""
    full = np.convolve(np.ones(length), np.square(profile))
    radius = profile.size // 2
    return full[radius : radius + length].astype(np.float32)


@njit(cache=True, nogil=True, error_model="numpy")
def _filter(  # type: ignore[no-untyped-def]
    data, variance, mask, first, last, profile, support_y, support_x, values, amount, weight, padded
):
    """Fill `amount` and `weight` with sums of profile * value / noise and of profile^2, a row more at both ends."""
    ny = data.shape[0]
    radius = profile.size // 2
    height = last - first + 2
    for line in range(height):
        weight[line] = support_y[min(max(first - 1 + line, 0), ny - 1)] * support_x
    for line in range(height + 2 * radius):
        row = first - 1 - radius + line
        if row < 0 or row >= ny:
            values[line] = 0
            continue
        _divide(data[row], variance[row], values[line])
        for column in np.flatnonzero(mask[row]):
            values[line, column] = 0
            _lighten(weight, profile, line - radius, column, height)
    for line in range(height):
        _correlate(values[line : line + profile.size], profile, padded, amount[line])


@njit(cache=True, nogil=True, error_model="numpy")
def _divide(data, variance, values):  # type: ignore[no-untyped-def]
    """Divide a row by its noise."""
    for column in range(data.size):
        values[column] = data[column] / np.sqrt(max(variance[column], np.float32(1e-30)))


@njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def _correlate(rows, profile, padded, amount):  # type: ignore[no-untyped-def]
    """Correlate some rows with the profile along both axes."""
    radius = profile.size // 2
    padded[:] = 0
    amount[:] = 0
    for step in range(profile.size):
        for column in range(amount.size):
            padded[radius + column] += profile[step] * rows[step, column]
    for step in range(profile.size):
        for column in range(amount.size):
            amount[column] += profile[step] * padded[column + step]


@njit(cache=True, nogil=True, error_model="numpy")
def _lighten(weight, profile, line, column, height):  # type: ignore[no-untyped-def]
    """Take a masked pixel out of the weights around it."""
    radius = profile.size // 2
    for near in range(max(line - radius, 0), min(line + radius + 1, height)):
        along = profile[near - line + radius] ** 2
        for beside in range(max(column - radius, 0), min(column + radius + 1, weight.shape[1])):
            weight[near, beside] -= along * profile[beside - column + radius] ** 2


@njit(cache=True, nogil=True, error_model="numpy")
def _peaks(amount, weight, first, last, ny, threshold):  # type: ignore[no-untyped-def]
    """Return row, column and height of the local extremes, those on the rim of the frame left out."""
    nx = amount.shape[1]
    full = weight.max()
    least = np.float32(_LEAST_SUPPORT) * full
    lowest = threshold * np.sqrt(least)
    rows, columns, heights = [], [], []
    for line in range(1, last - first + 1):
        row = first - 1 + line
        if row == 0 or row == ny - 1:
            continue
        for column in range(1, nx - 1):
            here = amount[line, column]
            if abs(here) <= lowest or weight[line, column] < least:
                continue
            sign = np.float32(1) if here > 0 else np.float32(-1)
            height = sign * here / np.sqrt(weight[line, column])
            if height <= threshold:
                continue
            highest = True
            for down in (-1, 0, 1):
                for right in (-1, 0, 1):
                    beside = weight[line + down, column + right]
                    other = sign * amount[line + down, column + right] / np.sqrt(max(beside, least))
                    later = down > 0 or (down == 0 and right > 0)
                    highest &= other <= height if later else other < height or (down == 0 and right == 0)
            if highest:
                rows.append(row)
                columns.append(column)
                heights.append(sign * height)
    return np.array(rows), np.array(columns), np.array(heights)
