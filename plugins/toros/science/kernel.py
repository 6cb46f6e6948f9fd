"""The kernel that turns the stars of one frame into those of another, and what it is made of.

Its pixels are free numbers (Bramich 2008, MNRAS 386, L77; Miller et al. 2008, AJ 136, 2083), each a polynomial
over the field. Beyond a core they are bound together in squares of nine, so that a broad kernel has hardly
more unknowns than a narrow one.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

import numpy as np
from numpy.typing import NDArray

from toros.errors import BadParameters
from toros.science.psf import field_terms

Plane = NDArray[np.float32]
Values = NDArray[np.float64]

CORE = 4
"""Radius (px) within which each pixel of a kernel is free."""

_BIN = 3
_WIDEST = CORE + 4 * _BIN
_GRID = 9
"""Points along each axis of the field at which the range of a kernel is looked up."""


@dataclass(frozen=True, eq=False)
class Kernel:
    """A convolution kernel that changes over the field, and the difference of the skies.

    The frame it is fitted to is ``kernel * frame + background``.

    Parameters
    ----------
    shape : (int, int)
        Of the frame, (ny, nx).
    weights : ndarray of float64, shape (terms, side, side)
        Polynomials over the field of each pixel of the kernel, with the terms of `field_terms`. Light is moved from
        the middle to the pixel's place (a convolution, not a correlation). 1, 3 or 6 terms.
    background : ndarray of float64, shape (terms,)
        Polynomial over the field of what is to be added afterwards, electron.
    """

    shape: tuple[int, int]
    weights: Values
    background: Values

    def __post_init__(self) -> None:
        terms, ny, nx = self.weights.shape
        if (
            terms not in (1, 3, 6)
            or self.background.shape not in {(1,), (3,), (6,)}
            or ny != nx
            or nx % 2 == 0
        ):
            raise BadParameters(
                f"no kernel: weights {self.weights.shape}, background {self.background.shape}"
            )

    @property
    def radius(self) -> int:
        """Pixels from the middle to the edge."""
        return int(self.weights.shape[1] // 2)

    @property
    def order(self) -> int:
        """Of the polynomials over the field."""
        return {1: 0, 3: 1, 6: 2}[self.weights.shape[0]]

    def at(self, x: Values, y: Values) -> Values:
        """Return the kernel at positions (0-based px), (n, side, side)."""
        terms = field_terms(self.shape, x, y, self.weights.shape[0])
        return np.tensordot(terms.T, self.weights, axes=1)

    def sum_at(self, x: Values, y: Values) -> Values:
        """Return the ratio of the fluxes (fitted frame over convolved frame) at positions."""
        terms = field_terms(self.shape, x, y, self.weights.shape[0])
        total: Values = self.weights.sum(axis=(1, 2)) @ terms
        return total

    def background_at(self, x: Values, y: Values) -> Values:
        """Return the difference of the skies at positions, electron."""
        background: Values = self.background @ field_terms(self.shape, x, y, self.background.size)
        return background

    def level_of(self, level: float) -> Plane:
        """Return what the fitted frame has in every pixel where the convolved one has that level, electron."""
        terms = max(len(self.weights), self.background.size)
        sums, background = np.zeros((2, terms))
        sums[: len(self.weights)] = self.weights.sum(axis=(1, 2))
        background[: self.background.size] = self.background
        return surface(self.shape, level * sums + background)

    @property
    def middle(self) -> Values:
        """The kernel in the middle of the field, (side, side)."""
        ny, nx = self.shape
        kernel: Values = self.at(np.array([(nx - 1) / 2]), np.array([(ny - 1) / 2]))[0]
        return kernel

    @property
    def scale(self) -> float:
        """Sum in the middle of the field."""
        return float(self.middle.sum())

    @property
    def scale_range(self) -> tuple[float, float]:
        """Least and largest sum over the field."""
        ny, nx = self.shape
        y, x = (part.ravel() for part in np.mgrid[0 : ny - 1 : _GRID * 1j, 0 : nx - 1 : _GRID * 1j])
        sums = self.sum_at(x, y)
        return float(sums.min()), float(sums.max())


def surface(shape: tuple[int, int], coefficients: Values) -> Plane:
    """Return a polynomial over the field, with the terms of `field_terms`, in every pixel."""
    v, u = (np.linspace(-1, 1, length, dtype=np.float32) for length in shape)
    one, x, y, xx, xy, yy = np.append(coefficients, np.zeros(6 - coefficients.size)).astype(np.float32)
    v = v[:, np.newaxis]
    plane: Plane = (x + xy * v + xx * u) * u
    plane += one + (y + yy * v) * v
    return plane


def kernel_radius(sharp_fwhm: float, broad_fwhm: float) -> int:
    """Return the radius (px) of the kernel that turns stars of one width into those of another.

    It reaches into the wings, where even stars of thousands of sigma must vanish.
    """
    difference = max(broad_fwhm**2 - sharp_fwhm**2, 0.0) ** 0.5
    wanted = 1.5 * (difference + sharp_fwhm)
    return int(min(CORE + _BIN * max(0, ceil((wanted - CORE) / _BIN)), _WIDEST))


def kernel_basis(radius: int) -> Values:
    """Return what a kernel is made of: pixels in the core, means of 3 x 3 pixels beyond, (parts, side, side)."""
    if radius < CORE or (radius - CORE) % _BIN:
        raise BadParameters(f"no basis of a kernel of radius {radius}")
    offset = np.arange(-radius, radius + 1)
    block = (offset + radius) // _BIN
    down, right = np.meshgrid(offset, offset, indexing="ij")
    is_core = np.maximum(np.abs(down), np.abs(right)) <= CORE
    number = np.where(
        is_core, (down + radius) * offset.size + right + radius, -1 - np.add.outer(1000 * block, block)
    )
    parts: Values = (number == np.unique(number)[:, np.newaxis, np.newaxis]).astype(float)
    return parts


def roughness(basis: Values) -> Values:
    """Return the quadratic form of a kernel's parts that tells how rough it is (Becker et al. 2012, MNRAS 425, 1341).

    The sum of the squared Laplacians, beyond the rim of the kernel too, where it is zero.
    """
    padded = np.pad(basis, ((0, 0), (2, 2), (2, 2)))
    laplacian = -4 * padded
    for axis in (1, 2):
        laplacian += np.roll(padded, 1, axis) + np.roll(padded, -1, axis)
    flat = laplacian.reshape(basis.shape[0], -1)
    form: Values = flat @ flat.T
    return form
