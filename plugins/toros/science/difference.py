"""The difference of two frames of the same sky: what has changed.

The sharper frame is convolved until its stars look like those of the other one (Alard & Lupton 1998, ApJ 503, 325;
Bramich 2008), then they are subtracted. What is left is given on the flux scale of the science frame, whichever
was convolved.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from astropy.table import QTable
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from toros.errors import TooFewStars, WrongGeometry
from toros.science.convolution import convolve
from toros.science.difference_quality import (
    BRIGHT,
    DifferenceQuality,
    is_clean,
    noise_factor,
    residual_chis,
    sky_sample,
    star_columns,
    stars_in,
)
from toros.science.geometry import tiles_of
from toros.science.image import Image
from toros.science.kernel import Kernel, kernel_radius
from toros.science.kernel_fit import LEAST_STAMPS, KernelFit, fit_kernel
from toros.science.psf import Psf

Plane = NDArray[np.float32]
Values = NDArray[np.float64]
Convolved = Literal["reference", "science", "both"]

_STARS = 300
_CELLS = 10
"""The frame is divided into 10 x 10 cells, each of which gives its brightest stars."""

_SNR = (20.0, 10.0, 6.0)
_FEW = 60
_HALF_STAMP = 3.0
"""Half the side of a stamp, in FWHM of the broader stars."""

_LEAST_HALF, _LARGEST_HALF = 7, 30
_SHARPER = 0.97
"""The science frame is convolved only if its stars are narrower than this part of the reference's."""

_LEAST_ERROR_STARS = 3
_TILE_PIXELS = 1 << 17


@dataclass(frozen=True, eq=False)
class Difference:
    """What a science frame shows more, or less, than its reference.

    Parameters
    ----------
    image : Image
        Science minus reference, electron of the science frame; the variance is that of each pixel alone.
    psf : Psf
        Of what is new in it: that of the less sharp frame.
    convolved : {"reference", "science", "both"}
        Which frame was convolved.
    noise_factor : float
        Standard deviation of the flux of a point source over that for pixels of independent noise, measured on the sky.
        Convolution and resampling make neighbours alike: errors of fluxes are to be multiplied by this.
    quality : DifferenceQuality
        How good it is.
    kernel : Kernel or None
        None if both were convolved.
    score : ndarray of float32 or None
        Significance of a point source at each pixel, if it was made for that (`toros.science.zogy`).
    """

    image: Image
    psf: Psf
    convolved: Convolved
    noise_factor: float
    quality: DifferenceQuality
    kernel: Kernel | None = None
    score: Plane | None = None

    def normalised(self) -> Plane:
        """Return the image in units in which `detect` with `rms` 1 gives true signal-to-noise ratios; 0 where flagged.

        A variance that was counted from the pixel itself makes low values weigh more than high ones: that is made even.
        """
        plane = np.empty_like(self.image.data)
        offset = np.float32(np.median(sky_sample(self.image)) / self.noise_factor)
        for rows in _tiles(self.image):
            noise = np.sqrt(self.image.variance[rows])
            noise *= np.float32(self.noise_factor)
            plane[rows] = 0
            good = self.image.mask[rows] == 0
            np.divide(self.image.data[rows], noise, out=plane[rows], where=good)
            np.subtract(plane[rows], offset, out=plane[rows], where=good)
        return plane


def subtract(
    science: Image,
    reference: Image,
    stars: QTable,
    science_psf: Psf,
    reference_psf: Psf,
    *,
    avoid: Values | None = None,
) -> Difference:
    """Subtract a reference from a science frame.

    Parameters
    ----------
    science, reference : Image
        On one grid of pixels, each with its sky or without it, in any units.
    stars : QTable
        Sources of the science frame as of `measure_sources`: x, y (px), snr, flags.
    science_psf, reference_psf : Psf
        Of the two frames, as they are given here.
    avoid : ndarray of float64, shape (n, 2), optional
        x, y (px) of what is known to vary: no star near it is used.

    Returns
    -------
    Difference

    Raises
    ------
    WrongGeometry
        The frames differ in shape.
    NotFinite
        A frame is masked altogether, or holds values that are not numbers.
    TooFewStars
        The frames have less than three usable stars in common, or most of them do not agree with any kernel.
    """
    fit, is_science = match_seeing(science, reference, stars, science_psf, reference_psf, avoid=avoid)
    frame, target = (science, reference) if is_science else (reference, science)
    fwhm = max(science_psf.fwhm, reference_psf.fwhm)
    convolved = convolve(frame, fit.kernel, level=fit.level)
    model_error = _model_error(convolved, target, fit.kernel, fit.level, stars, fwhm)
    image = _subtracted(convolved, target, fit.kernel, fit.level, model_error, is_science=is_science)
    quality = DifferenceQuality(
        *flux_scale(fit.kernel, is_science=is_science),
        *residual_chis(image, stars, fwhm),
        model_error,
        fit.x.size,
        fit.n_rejected,
        float(np.count_nonzero(image.mask) / image.mask.size),
    )
    return Difference(
        image,
        reference_psf if is_science else science_psf,
        "science" if is_science else "reference",
        noise_factor(image, fwhm),
        quality,
        fit.kernel,
    )


def match_seeing(
    science: Image,
    reference: Image,
    stars: QTable,
    science_psf: Psf,
    reference_psf: Psf,
    *,
    avoid: Values | None = None,
) -> tuple[KernelFit, bool]:
    """Fit the kernel that turns the sharper of two frames into the other one.

    Parameters and errors are those of `subtract`.

    Returns
    -------
    fit : KernelFit
    is_science : bool
        Whether the science frame is the sharper one.
    """
    if science.shape != reference.shape:
        raise WrongGeometry(f"a science frame of {science.shape} pixels, a reference of {reference.shape}")
    is_science = science_psf.fwhm < _SHARPER * reference_psf.fwhm
    frame, target = (science, reference) if is_science else (reference, science)
    widths = sorted((science_psf.fwhm, reference_psf.fwhm))
    half = int(np.clip(round(_HALF_STAMP * widths[1]), _LEAST_HALF, _LARGEST_HALF))
    x, y = kernel_stars(stars, science.shape, near=1.5 * half, avoid=avoid)
    return fit_kernel(frame, target, x, y, radius=kernel_radius(*widths), half=half), is_science


def flux_scale(kernel: Kernel, *, is_science: bool) -> tuple[float, tuple[float, float]]:
    """Return flux in the science frame over that in the reference: in the middle of the field, and its range."""
    sums = kernel.scale, *kernel.scale_range
    scale, *limits = (1 / each for each in sums) if is_science else sums
    return scale, (min(limits), max(limits))


def kernel_stars(
    stars: QTable, shape: tuple[int, int], *, near: float, avoid: Values | None
) -> tuple[Values, Values]:
    """Choose up to some hundred bright, clean stars from all over the frame; return x, y (px).

    Raises
    ------
    TooFewStars
        If there are less than three.
    """
    x, y, snr = star_columns(stars)
    clean = is_clean(stars)
    if avoid is not None and len(avoid):
        clean &= cKDTree(avoid).query(np.column_stack([x, y]))[0] > near
    for limit in _SNR:
        chosen = np.flatnonzero(clean & (snr >= limit))
        if chosen.size >= _FEW:
            break
    if chosen.size < LEAST_STAMPS:
        raise TooFewStars(
            f"{chosen.size} clean stars for the kernel; {LEAST_STAMPS} are needed",
            advice="expose longer, or look at the frame: clouds, bad guiding?",
        )
    chosen = chosen[np.argsort(-snr[chosen], kind="stable")]
    ny, nx = shape
    cell = (_CELLS * y[chosen] / ny).astype(int) * _CELLS + (_CELLS * x[chosen] / nx).astype(int)
    rank = np.empty(chosen.size, int)
    order = np.argsort(cell, kind="stable")
    starts = np.flatnonzero(np.diff(cell[order], prepend=-1))
    rank[order] = np.arange(order.size) - np.repeat(starts, np.diff(np.append(starts, order.size)))
    chosen = chosen[np.argsort(rank, kind="stable")[:_STARS]]
    return x[chosen], y[chosen]


def _tiles(image: Image) -> list[slice]:
    ny, nx = image.shape
    return list(tiles_of(ny, max(1, _TILE_PIXELS // nx)))


def _model_error(
    convolved: Image, target: Image, kernel: Kernel, level: float, stars: QTable, fwhm: float
) -> float:
    """Return the relative error of bright stars that the noise does not explain."""
    discs, good = stars_in(convolved.mask | target.mask, stars, fwhm, BRIGHT, np.inf)
    if len(good) < _LEAST_ERROR_STARS:
        return 0.0
    light, variance, theirs, noise = (
        plane.reshape(-1)[discs.index]
        for plane in (convolved.data, convolved.variance, target.data, target.variance)
    )
    at = discs.x.astype(float), discs.y.astype(float)
    rest = theirs - light - kernel.background_at(*at)[:, np.newaxis]
    starlight = light - level * kernel.sum_at(*at)[:, np.newaxis]
    excess = np.square(rest) - variance - noise
    squares = ((good * part).sum(axis=1) for part in (excess, np.square(starlight)))
    return float(np.sqrt(max(np.median(np.divide(*squares)), 0.0)))


def _subtracted(
    convolved: Image, target: Image, kernel: Kernel, level: float, error: float, *, is_science: bool
) -> Image:
    """Turn the convolved frame into the difference, in place."""
    # numba is for those who subtract, not for all who import this module
    from toros.science.difference_kernels import subtract_planes

    scale, background = np.zeros((2, 6), np.float32)
    scale[: len(kernel.weights)] = kernel.weights.sum(axis=(1, 2))
    background[: kernel.background.size] = kernel.background
    subtract_planes(
        *(convolved.data, convolved.variance, convolved.mask),
        *(target.data, target.variance, target.mask),
        *(scale, background, level, error, is_science),
    )
    return convolved
