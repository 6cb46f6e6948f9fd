"""Small squares and discs around many positions of a frame, cut out all at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

CHUNK_PIXELS = 1 << 18
"""Pixels that are worked on at a time: they stay in the processor's cache."""


@dataclass(frozen=True, eq=False)
class Stamps:
    """Where the stamps of n positions lie: squares of side ``2 * radius + 1`` around their nearest pixels.

    Parameters
    ----------
    shape : (int, int)
        Of the frame, (ny, nx).
    dx, dy : ndarray of float32, shape (n, side)
        Offsets of the columns and of the rows of each stamp from its position, px.
    index : ndarray of int, shape (n, side, side)
        Flat indices into the frame; those outside of it are clipped to its edge.
    inside : ndarray of bool, shape (n, side, side)
        Which of them lie in the frame.
    """

    shape: tuple[int, int]
    dx: NDArray[np.float32]
    dy: NDArray[np.float32]
    index: NDArray[np.intp]
    inside: NDArray[np.bool_]

    def cut(self, plane: NDArray[Any]) -> NDArray[Any]:
        """Return the pixels of a plane, (n, side, side); those outside repeat the edge."""
        cut: NDArray[Any] = plane.reshape(-1).take(self.index)
        return cut


def stamps_at(shape: tuple[int, ...], x: NDArray[np.float64], y: NDArray[np.float64], radius: int) -> Stamps:
    """Lay stamps of `radius` px around positions (0-based px)."""
    ny, nx = shape
    reach = np.arange(-radius, radius + 1)
    columns = np.rint(x).astype(np.intp)[:, np.newaxis] + reach
    rows = np.rint(y).astype(np.intp)[:, np.newaxis] + reach
    index = rows.clip(0, ny - 1)[:, :, np.newaxis] * nx + columns.clip(0, nx - 1)[:, np.newaxis, :]
    inside = ((rows >= 0) & (rows < ny))[:, :, np.newaxis] & ((columns >= 0) & (columns < nx))[:, np.newaxis]
    dx = (columns - x[:, np.newaxis]).astype(np.float32)
    dy = (rows - y[:, np.newaxis]).astype(np.float32)
    return Stamps((ny, nx), dx, dy, index, inside)


@dataclass(frozen=True, eq=False)
class Discs:
    """The pixels within a radius of n positions.

    Parameters
    ----------
    index : ndarray of int, shape (n, pixels)
        Flat indices into the frame; those outside of it are clipped to its edge.
    inside : ndarray of bool, shape (n, pixels)
        Which of them lie in the frame.
    column, row : ndarray of int, shape (n, pixels)
        Their coordinates.
    x, y : ndarray of int, shape (n,)
        Their middles.
    radius : float
        px.
    """

    index: NDArray[np.intp]
    inside: NDArray[np.bool_]
    column: NDArray[np.intp]
    row: NDArray[np.intp]
    x: NDArray[np.intp]
    y: NDArray[np.intp]
    radius: float

    def offsets(
        self, x: NDArray[np.float64], y: NDArray[np.float64], which: NDArray[np.intp] | slice = slice(None)
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return dx, dy (n, pixels) from positions, for some of the discs."""
        return (
            (self.column[which] - x[:, np.newaxis]).astype(np.float32),
            (self.row[which] - y[:, np.newaxis]).astype(np.float32),
        )

    def hold(self, discs: NDArray[np.intp], others: NDArray[np.intp]) -> NDArray[np.bool_]:
        """Tell which pixels of other discs lie in some discs too, one with one, (discs, pixels)."""
        across = self.column[others] - self.x[discs, np.newaxis]
        along = self.row[others] - self.y[discs, np.newaxis]
        return np.asarray(across**2 + along**2 <= self.radius**2)


def discs_at(shape: tuple[int, ...], x: NDArray[np.float64], y: NDArray[np.float64], radius: float) -> Discs:
    """Lay discs of `radius` px around positions (0-based px)."""
    ny, nx = shape
    reach = int(radius)
    down, right = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    near = down**2 + right**2 <= radius**2
    middle_x, middle_y = np.rint(x).astype(np.intp), np.rint(y).astype(np.intp)
    column, row = middle_x[:, np.newaxis] + right[near], middle_y[:, np.newaxis] + down[near]
    inside = (column >= 0) & (column < nx) & (row >= 0) & (row < ny)
    index = row.clip(0, ny - 1) * nx + column.clip(0, nx - 1)
    return Discs(index, inside, column, row, middle_x, middle_y, radius)


def parts_of(members: NDArray[np.intp], pixels: int) -> Iterator[NDArray[np.intp]]:
    """Yield sources, with so many pixels each, in parts of `CHUNK_PIXELS`."""
    step = max(1, CHUNK_PIXELS // max(pixels, 1))
    for start in range(0, members.size, step):
        yield members[start : start + step]
