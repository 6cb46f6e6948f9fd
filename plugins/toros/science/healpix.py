"""Positions on the sky as numbers: nested HEALPix cells, and the ranges of cells that a cone touches.

HEALPix (Gorski et al. 2005, ApJ 622, 759) divides the sphere into cells of equal area. In the nested scheme the four
children of a cell have neighbouring numbers, so that a patch of sky is a few ranges of numbers, and what is
sorted by them is found by a range scan.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from astropy_healpix.core import healpix_to_xyz, xyz_to_healpix
from numpy.typing import ArrayLike, NDArray

Cells = NDArray[np.int64]
Vectors = NDArray[np.float64]

_FINENESS = 0.25
"""Cells are divided until their radius is this part of the cone's: some 25 ranges, and a third more sky than asked."""

_ROUNDING = 1e-9
"""Radians: a cell that touches the cone within the rounding of its centre counts as touching."""


def cells_of(ra: ArrayLike, dec: ArrayLike, order: int) -> Cells:
    """Return the nested cells in which positions lie.

    Parameters
    ----------
    ra, dec : array_like
        Degrees, any shape. Positions that are not finite have no cell: they are not allowed.
    order : int
        0 to 29; there are 12 * 4**order cells.

    Returns
    -------
    ndarray of int64
    """
    x, y, z = np.moveaxis(unit_vectors(ra, dec), -1, 0)
    cells: Cells = np.asarray(xyz_to_healpix(x, y, z, nside=1 << order, order="nested"), np.int64)
    return cells


def cone_ranges(ra: float, dec: float, radius: float, order: int) -> Cells:
    """Return ranges of nested cells that hold all positions of a cone, and some around it.

    Parameters
    ----------
    ra, dec, radius : float
        Degrees.
    order : int
        Order of the cells.

    Returns
    -------
    ndarray of int64
        Shape (n, 2): first cell and last cell of each range, both belonging to it, in rising order. n is about
        25 for a wide cone, fewer for one that is not much larger than a cell.
    """
    centre = unit_vectors(ra, dec)
    cells = np.arange(12, dtype=np.int64)
    reach = math.radians(radius)
    for depth in range(order + 1):
        if depth:
            cells = (4 * cells[:, np.newaxis] + np.arange(4)).ravel()
        cell_radius = _cell_radius(depth)
        if reach + cell_radius < math.pi:
            distance = _distance(np.stack(healpix_to_xyz(cells, 1 << depth, order="nested"), -1), centre)
            cells = cells[distance <= reach + cell_radius + _ROUNDING]
        if cell_radius <= _FINENESS * reach:
            break
    share = 4 ** (order - depth)
    ranges: Cells = _merged(cells) * share + np.array([0, share - 1])
    return ranges


def is_within(ra: ArrayLike, dec: ArrayLike, centre: tuple[float, float], radius: float) -> NDArray[np.bool_]:
    """Return which positions lie within `radius` of `centre`; all in degrees."""
    distance = _distance(unit_vectors(ra, dec), unit_vectors(*centre))
    inside: NDArray[np.bool_] = distance <= math.radians(radius)
    return inside


def unit_vectors(ra: ArrayLike, dec: ArrayLike) -> Vectors:
    """Return the Cartesian unit vectors of positions in degrees, shape (..., 3)."""
    lon, lat = np.radians(ra), np.radians(dec)
    return np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=-1)


def positions_of(vectors: Vectors) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return right ascension (0 to 360) and declination of vectors of any length, degrees."""
    x, y, z = np.moveaxis(vectors, -1, 0)
    ra = np.degrees(np.arctan2(y, x)) % 360.0
    ra = np.where(ra >= 360.0, 0.0, ra)  # what lies a rounding error west of 0
    return ra, np.degrees(np.arctan2(z, np.hypot(x, y)))


def _distance(vectors: Vectors, centre: Vectors) -> NDArray[np.float64]:
    """Return the angles (radians) between unit vectors and one of them, exact for small ones, too."""
    chord = np.linalg.norm(vectors - centre, axis=-1)
    angle: NDArray[np.float64] = 2 * np.arcsin(np.minimum(chord / 2, 1.0))
    return angle


def _cell_radius(depth: int) -> float:
    """Return the largest distance (radians) of a cell's corner from its centre: that of the cells next to z = 2/3."""
    nside = 1 << depth
    centre = _vector(2 / 3, math.pi / (4 * nside))
    corner = _vector(1 - (1 - 1 / nside) ** 2 / 3, 0.0)
    return float(_distance(corner, centre))


def _vector(z: float, longitude: float) -> Vectors:
    s = math.sqrt((1 - z) * (1 + z))
    return np.array([s * math.cos(longitude), s * math.sin(longitude), z])


def _merged(cells: NDArray[Any]) -> Cells:
    """Return the ranges of neighbouring numbers among sorted cells."""
    if not cells.size:
        return np.empty((0, 2), np.int64)
    first = np.flatnonzero(np.diff(cells, prepend=cells[0] - 2) != 1)
    last = np.append(first[1:], cells.size) - 1
    return np.stack([cells[first], cells[last]], axis=-1)
