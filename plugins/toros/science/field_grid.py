"""The pixel grid of a field: one tangent plane on which all its frames find room."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from astropy.wcs import WCS
from numpy.typing import NDArray

from toros.errors import BadParameters


def field_grid(
    centre: tuple[float, float], frames: Sequence[tuple[WCS, tuple[int, int]]], *, widest: float = 1.5
) -> tuple[WCS, tuple[int, int]]:
    """Lay out a grid without distortion that covers frames of a field.

    Parameters
    ----------
    centre : (float, float)
        Of the field: right ascension and declination, ICRS degrees.
    frames : sequence of (WCS, (ny, nx))
        Plate solutions and shapes; the first one gives the scale and the direction of the axes.
    widest : float
        The grid is at most so many times as wide and as high as the first frame: one frame that strayed shall not
        make all stacks of the field huge.

    Returns
    -------
    WCS, (ny, nx)
        Of the grid: TAN, ICRS.

    Raises
    ------
    BadParameters
        There is no frame.
    """
    if not frames:
        raise BadParameters("a field without frames has no grid")
    first, (height, width) = frames[0]
    grid = WCS(naxis=2)
    grid.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    grid.wcs.cunit = ["deg", "deg"]
    grid.wcs.radesys = "ICRS"
    grid.wcs.crval = list(centre)
    grid.wcs.crpix = [1.0, 1.0]
    grid.wcs.cd = first.pixel_scale_matrix
    grid.wcs.set()
    corners = np.concatenate([_corners_on(grid, wcs, shape) for wcs, shape in frames])
    half = np.array([width, height]) * widest / 2
    low = np.floor(np.maximum(corners.min(axis=0), -half)).astype(int)
    high = np.ceil(np.minimum(corners.max(axis=0), half)).astype(int)
    grid.wcs.crpix = (1.0 - low).tolist()
    grid.wcs.set()
    columns, rows = (high - low + 1).tolist()
    grid.pixel_shape = (columns, rows)
    return grid, (rows, columns)


def _corners_on(grid: WCS, wcs: WCS, shape: tuple[int, int]) -> NDArray[np.float64]:
    """Return the corners of a frame as places x, y on a grid, shape (4, 2)."""
    height, width = shape
    x, y = (
        np.array([-0.5, width - 0.5, width - 0.5, -0.5]),
        np.array([-0.5, -0.5, height - 0.5, height - 0.5]),
    )
    return np.column_stack(grid.all_world2pix(*wcs.all_pix2world(x, y, 0), 0))
