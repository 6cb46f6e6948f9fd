"""Which pixels of the chip cannot be trusted, found in its master frames."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toros.errors import BadParameters, WrongGeometry
from toros.science.flags import MaskPlane, PixelFlag, raise_flag
from toros.science.geometry import Rows, tiles_of
from toros.science.noise import MAD_TO_SIGMA

_BLOCK = 32
"""Side of the squares, in pixels, whose median is the local response of a flat."""

_TILE_PIXELS = 1 << 18
_SAMPLE_ROWS = 200


@dataclass(frozen=True)
class BadPixelLimits:
    """What counts as bad.

    Parameters
    ----------
    hot_sigma, hot_excess : float
        A hot pixel has a dark current above the median by `hot_sigma` times the robust scatter from
        pixel to pixel, and by `hot_excess` electrons per second.
    dead_response : float
        A dead pixel answers to light less than this part of its neighbourhood, or
        more than ``2 - dead_response``.
    noisy_sigma, noisy_factor : float
        A noisy pixel scatters more than the median by `noisy_sigma` times the robust scatter of this
        quantity, and more than `noisy_factor` times the median.
    """

    hot_sigma: float = 6.0
    hot_excess: float = 0.5
    dead_response: float = 0.5
    noisy_sigma: float = 8.0
    noisy_factor: float = 2.0

    def __post_init__(self) -> None:
        if not 0 < self.dead_response < 1:
            raise BadParameters(f"dead_response is {self.dead_response}; it must lie between 0 and 1")
        if not (
            min(self.hot_sigma, self.noisy_sigma) > 0 and self.hot_excess >= 0 and self.noisy_factor >= 1
        ):
            raise BadParameters(f"limits that would flag typical pixels: {self}")


def find_bad_pixels(
    *,
    dark_current: Rows | None = None,
    flat: Rows | None = None,
    scatter: Rows | None = None,
    limits: BadPixelLimits | None = None,
) -> MaskPlane:
    """Return the bad pixels of a chip; each master is optional, but one must be given.

    Parameters
    ----------
    dark_current : Rows
        Master dark without pedestal, as electrons per second.
    flat : Rows
        Master flat, in any normalisation.
    scatter : Rows
        Scatter of each pixel between frames of one kind, in any unit; the standard error of a master
        bias or dark will do.
    limits : BadPixelLimits, optional
        What counts as bad.

    Returns
    -------
    ndarray of uint8
        Plane of ``HOT``, ``DEAD`` and ``NOISY`` bits. What is not a number is flagged like a pixel far
        above the limit.

    Raises
    ------
    BadParameters
        Without any master, or with a scatter that is unknown everywhere.
    WrongGeometry
        If the shapes differ.
    """
    limits = limits or BadPixelLimits()
    shapes = {tuple(plane.shape) for plane in (dark_current, flat, scatter) if plane is not None}
    if not shapes:
        raise BadParameters("bad pixels are found in a dark, a flat or a scatter plane; none was given")
    if len(shapes) > 1:
        raise WrongGeometry(f"the masters differ in size: {sorted(shapes)}")
    plane = np.zeros(shapes.pop(), np.uint8)
    if dark_current is not None:
        middle, spread = _typical(dark_current)
        limit = middle + max(limits.hot_sigma * spread, limits.hot_excess)
        _flag_above(plane, dark_current, limit, PixelFlag.HOT)
    if scatter is not None:
        middle, spread = _typical(scatter)
        limit = max(middle + limits.noisy_sigma * spread, limits.noisy_factor * middle)
        _flag_above(plane, scatter, limit, PixelFlag.NOISY)
    if flat is not None:
        for rows in _bands(plane.shape[0]):
            response = _relative_response(np.nan_to_num(flat[rows], posinf=0, neginf=0))
            trusted = np.abs(response - 1) <= np.float32(1 - limits.dead_response)
            raise_flag(plane[rows], ~trusted, PixelFlag.DEAD)
    return plane


def _typical(plane: Rows) -> tuple[float, float]:
    """Return median and robust scatter of a sample of whole rows."""
    step = max(1, plane.shape[0] // _SAMPLE_ROWS)
    sample = np.concatenate([plane[row : row + 1][0] for row in range(0, plane.shape[0], step)])
    sample = sample[np.isfinite(sample)]
    if not sample.size:
        raise BadParameters("a master holds no finite value; a scatter needs at least two frames")
    middle = np.median(sample)
    return float(middle), float(MAD_TO_SIGMA * np.median(np.abs(sample - middle)))


def _flag_above(plane: MaskPlane, values: Rows, limit: float, flag: PixelFlag) -> None:
    for rows in tiles_of(plane.shape[0], max(1, _TILE_PIXELS // plane.shape[1])):
        raise_flag(plane[rows], ~(values[rows] <= limit), flag)


def _bands(height: int) -> Iterator[slice]:
    """Cut the rows into bands of about a block's height, none much thinner."""
    count = max(1, round(height / _BLOCK))
    for index in range(count):
        yield slice(index * height // count, (index + 1) * height // count)


def _relative_response(band: NDArray[Any]) -> NDArray[np.float32]:
    """Return the values of a band over the median of their block; zero where the block got no light."""
    height, width = band.shape
    blocks = math.ceil(width / _BLOCK)
    padded = np.pad(band, ((0, 0), (0, blocks * _BLOCK - width)), mode="reflect")
    cells = padded.reshape(height, blocks, _BLOCK).swapaxes(0, 1).reshape(blocks, -1)
    local = np.repeat(np.median(cells, axis=1), _BLOCK)[:width]
    response = np.zeros(band.shape, np.float32)
    np.divide(band, local, out=response, where=local > 0)
    return response
