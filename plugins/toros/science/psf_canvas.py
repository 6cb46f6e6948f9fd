"""What remains of a frame while its sources are taken out of it: the frame itself, or copies of the pixels that matter.

A fit looks at the discs of its sources only. Where the frame is to be left as it was and sources are few, those pixels
are copied, each once, and a source's wings are drawn into those of its neighbours alone.
"""

from __future__ import annotations

from itertools import chain
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from toros.science.psf import Psf, draw, drawn_radii
from toros.science.stamps import Discs, parts_of

Plane = NDArray[np.float32]
Values = NDArray[np.float64]
Indices = NDArray[np.intp]


class Canvas(Protocol):
    """Pixels that light is added to.

    Attributes
    ----------
    flat : ndarray of float32, shape (pixels,)
        What remains.
    index : ndarray of int, shape (n, pixels of a disc)
        Where the pixels of each disc are in it; without meaning outside of the frame.
    """

    flat: Plane
    index: Indices

    def draw(self, x: Values, y: Values, flux: Values, faintest: Values) -> None:
        """Add stars (0-based px), each out to where it falls below `faintest` per pixel."""

    def add(self, index: Indices, light: Plane) -> None:
        """Add light to some pixels, those that occur twice included."""


class FrameCanvas:
    """The whole frame, which is changed."""

    def __init__(self, frame: Plane, psf: Psf, discs: Discs) -> None:
        self.frame, self.psf = frame, psf
        self.flat, self.index = frame.reshape(-1), discs.index

    def draw(self, x: Values, y: Values, flux: Values, faintest: Values) -> None:
        """See `Canvas`."""
        draw(self.frame, self.psf, x, y, flux, faintest)

    def add(self, index: Indices, light: Plane) -> None:
        """See `Canvas`."""
        np.add.at(self.flat, index, light)


class DiscCanvas:
    """Copies of the pixels in the discs, times a sign: the frame is left as it was."""

    def __init__(self, frame: Plane, psf: Psf, discs: Discs, sign: int) -> None:
        self.psf, self.discs = psf, discs
        keys = np.where(discs.inside, discs.index, -1).reshape(-1)
        pixels, first, place = np.unique(keys, return_index=True, return_inverse=True)
        self.flat = frame.reshape(-1)[pixels] * np.float32(sign)
        self.index: Indices = place.reshape(discs.index.shape)
        once = np.zeros(keys.size, np.bool_)
        once[first] = True
        self.once = once.reshape(discs.index.shape) & discs.inside  # of discs that share a pixel one draws it
        self.tree = cKDTree(np.column_stack([discs.x, discs.y]))

    def draw(self, x: Values, y: Values, flux: Values, faintest: Values) -> None:
        """See `Canvas`."""
        radius, moments = drawn_radii(self.psf, x, y, flux, faintest), self.psf.moments_at(x, y)
        middle_x, middle_y = np.rint(x), np.rint(y)
        touched = self.tree.query_ball_point(
            np.column_stack([middle_x, middle_y]), radius + self.discs.radius
        )
        stars = np.repeat(np.arange(x.size), [len(each) for each in touched])
        discs = np.fromiter(chain.from_iterable(touched), np.intp)
        for part in parts_of(np.arange(stars.size), self.index.shape[1]):
            star, disc = stars[part], discs[part]
            across, along = self.discs.offsets(middle_x[star], middle_y[star], disc)
            drawn = (across**2 + along**2 <= np.square(radius[star])[:, np.newaxis]) & self.once[disc]
            light = self.psf.profile(*self.discs.offsets(x[star], y[star], disc), moments[:, star])
            light *= flux[star].astype(np.float32)[:, np.newaxis]
            self.add(self.index[disc][drawn], light[drawn])

    def add(self, index: Indices, light: Plane) -> None:
        """See `Canvas`."""
        self.flat += np.bincount(index, light, self.flat.size)  # one pass over few pixels
