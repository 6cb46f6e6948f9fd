"""An image with its noise and its mask: what stacks, references and differences are made of and are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from toros.errors import WrongGeometry
from toros.science.flags import MaskPlane

Plane = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Image:
    """Three planes of one shape (ny, nx).

    Parameters
    ----------
    data : ndarray of float32
        electron, or any unit proportional to it.
    variance : ndarray of float32
        Square of that unit; infinite or NaN nowhere (a pixel without value is flagged, not infinite).
    mask : ndarray of uint8
        Bits of `PixelFlag`.

    Raises
    ------
    WrongGeometry
        The planes are not of one shape.
    """

    data: Plane
    variance: Plane
    mask: MaskPlane

    def __post_init__(self) -> None:
        if not self.data.shape == self.variance.shape == self.mask.shape:
            raise WrongGeometry(
                f"data, variance, mask have {self.data.shape}, {self.variance.shape}, {self.mask.shape} pixels"
            )

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.data.shape[0], self.data.shape[1]
