"""Reading the frames that earlier steps left."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.time import Time
from astropy.wcs import WCS
from numpy.typing import NDArray

from toros.models import Pawprint
from toros.science.calibrate import variance_of
from toros.science.image import Image
from toros.science.psf import Psf
from toros.store import fits_file
from toros.store.psf_hdu import read_psf


@dataclass(frozen=True, eq=False)
class Frame:
    """A calibrated frame: its header, its pixels in electrons, sky included, and their mask."""

    header: fits.Header
    data: NDArray[np.float32]
    mask: NDArray[np.uint8]

    @property
    def image(self) -> Image:
        """The frame with the noise of its pixels."""
        return Image(self.data, self.variance, self.mask)

    @property
    def variance(self) -> NDArray[np.float32]:
        """Variance of its pixels, electron^2."""
        return variance_of(self.data, read_noise=float(self.header.get("RDNOISE", 0.0)))

    @property
    def wcs(self) -> WCS:
        """Where it looks; meaningful after it was solved."""
        return WCS(self.header)


def read_frame(path: Path) -> Frame:
    """Read a calibrated frame into memory."""
    image = fits_file.inspect(path)
    whole = slice(0, image.shape[0])
    return Frame(image.header, image.rows()[whole], fits_file.inspect(path, "MASK").rows()[whole])


@dataclass(frozen=True, eq=False)
class StackedImage:
    """A stack: its header, and its image without sky."""

    header: fits.Header
    image: Image

    @property
    def wcs(self) -> WCS:
        """Where it looks."""
        return WCS(self.header)


def read_stack(path: Path) -> StackedImage:
    """Read a stack into memory."""
    image = fits_file.inspect(path)
    whole = slice(0, image.shape[0])
    noise = fits_file.inspect(path, "UNCERT").rows()[whole]
    mask = fits_file.inspect(path, "MASK").rows()[whole]
    return StackedImage(image.header, Image(image.rows()[whole], np.square(noise), mask))


@dataclass(frozen=True, eq=False)
class DifferenceImage:
    """A difference, the reference on its grid and scale, and the image of a star in it."""

    header: fits.Header
    image: Image
    reference: NDArray[np.float32]
    psf: Psf

    @property
    def scale(self) -> float:
        """Flux of a star in the frame over that in the reference."""
        return float(self.header["KERNSUM"])


def read_difference(path: Path) -> DifferenceImage:
    """Read a difference image into memory."""
    stack = read_stack(path)
    reference = fits_file.inspect(path, "REFERENCE").rows()[slice(0, stack.image.shape[0])]
    return DifferenceImage(stack.header, stack.image, reference, read_psf(path))


def epoch_of(frame: Pawprint) -> float:
    """Return the Julian year of a frame."""
    return float(Time(frame.jd, format="jd", scale="utc").jyear)
