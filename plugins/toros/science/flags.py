"""What can be wrong with a pixel: the bits of every mask plane."""

from __future__ import annotations

import enum

import numpy as np
from numpy.typing import NDArray

MaskPlane = NDArray[np.uint8]


class PixelFlag(enum.IntFlag):
    """Bits of a mask plane (uint8). Zero is a good pixel; a bit never changes its meaning.

    numpy takes a member for an int64: use `raise_flag` and `is_flagged` on whole planes.
    """

    HOT = 1
    """Its dark current is far above that of the chip."""

    DEAD = 2
    """It answers to light far less, or far more, than its neighbours."""

    NOISY = 4
    """It scatters between frames of the same exposure far more than the typical pixel."""

    SATURATED = 8
    """The raw value reached the saturation level of the camera: only a lower limit of the signal."""

    COSMIC_RAY = 16
    """Hit by a cosmic ray in this exposure."""

    NO_DATA = 32
    """No usable value: outside the flat field, outside the frame, or not a number."""


def raise_flag(plane: MaskPlane, where: NDArray[np.bool_], flag: PixelFlag) -> None:
    """Set the bits of `flag` in a mask plane, in place, where the array of its shape is true."""
    plane |= where.view(np.uint8) * np.uint8(flag)


def is_flagged(plane: MaskPlane, flag: PixelFlag) -> NDArray[np.bool_]:
    """Return where any bit of `flag` is set in a mask plane."""
    return np.asarray(plane & np.uint8(flag), bool)
