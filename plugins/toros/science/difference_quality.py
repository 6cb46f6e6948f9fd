"""The numbers by which the difference of two frames is judged: what is left of the sky and of the stars."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from astropy.table import QTable
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, maximum_filter

from toros.science.flags import MaskPlane
from toros.science.image import Image
from toros.science.noise import MAD_TO_SIGMA
from toros.science.shapes import FWHM_OF_SIGMA
from toros.science.sources import SourceFlag
from toros.science.stamps import Discs, discs_at

Plane = NDArray[np.float32]
Values = NDArray[np.float64]

_UNFIT = SourceFlag.SATURATED | SourceFlag.EDGE | SourceFlag.BAD_PIXELS | SourceFlag.COSMIC_RAY

FAINT, BRIGHT = 20.0, 100.0
"""Signal-to-noise ratio from which on stars are compared, and from which on they are bright."""

_MOST_COMPARED = 500
_SKY_PIXELS = 200_000
_SAMPLE_SIDE, _SAMPLES = 192, 5
_LEAST_SAMPLE = 1000


@dataclass(frozen=True)
class DifferenceQuality:
    """The numbers by which a difference is judged.

    Parameters
    ----------
    scale : float
        Flux of a star in the science frame over that in the reference, in the middle of the field.
    scale_range : (float, float)
        Least and largest over the field.
    chi_sky, chi_faint, chi_bright : float
        Root mean square of what is left over what the variance allows, in typical pixels: all of them, those of
        stars of S/N 20-100, those of brighter ones. 1 if all is well; NaN without such stars. `model_error` is in them.
    model_error : float
        Relative error of the light of a bright star in a pixel that the noise does not explain (kernel, positions,
        scintillation); its square times that of the light is part of the variance.
    n_stars, n_rejected : int
        Stamps that the kernel was fitted on, and those that did not follow it.
    masked_fraction : float
        Of all pixels.
    """

    scale: float
    scale_range: tuple[float, float]
    chi_sky: float
    chi_faint: float
    chi_bright: float
    model_error: float
    n_stars: int
    n_rejected: int
    masked_fraction: float


def star_columns(stars: QTable) -> tuple[Values, Values, Values]:
    """Return x, y (px) and the signal-to-noise ratio of a table of sources."""
    x, y, snr = (np.asarray(getattr(stars[name], "value", stars[name]), float) for name in ("x", "y", "snr"))
    return x, y, snr


def is_clean(stars: QTable) -> NDArray[np.bool_]:
    """Tell which sources are neither saturated nor cut by the edge, and hold neither bad pixels nor cosmic rays."""
    return np.asarray((np.asarray(stars["flags"]) & int(_UNFIT)) == 0)


def stars_in(
    mask: MaskPlane, stars: QTable, fwhm: float, least: float, most: float
) -> tuple[Discs, NDArray[np.bool_]]:
    """Lay discs of one FWHM around clean stars of some range of S/N, and tell which of their pixels are good."""
    x, y, snr = star_columns(stars)
    chosen = np.flatnonzero(is_clean(stars) & (snr >= least) & (snr < most))
    chosen = chosen[np.argsort(-snr[chosen], kind="stable")][:_MOST_COMPARED]
    discs = discs_at(mask.shape, x[chosen], y[chosen], fwhm)
    good = discs.inside & (mask.reshape(-1)[discs.index] == 0)
    kept = good.all(axis=1)
    return discs_at(mask.shape, x[chosen][kept], y[chosen][kept], fwhm), good[kept]


def residual_chis(image: Image, stars: QTable, fwhm: float) -> tuple[float, float, float]:
    """Return the root mean square of a difference over its noise: in the sky, in faint stars, in bright ones.

    Parameters
    ----------
    image : Image
        Difference.
    stars : QTable
        Sources of the science frame: x, y (px), snr, flags.
    fwhm : float
        Of the stars, px.

    Returns
    -------
    sky, faint, bright : float
        Of the typical pixel (by the median deviation), and of the typical star (by the median over the stars of
        their mean square within one FWHM): a variable among them does not count. NaN where there is nothing.
    """
    chi = sky_sample(image)
    sky = float(MAD_TO_SIGMA * np.median(np.abs(chi - np.median(chi))))
    faint = _star_chi(image, stars, fwhm, FAINT, BRIGHT)
    return sky, faint, _star_chi(image, stars, fwhm, BRIGHT, np.inf)


def sky_sample(image: Image) -> Plane:
    """Return some good pixels from all over a difference, over their noise."""
    step = max(1, round((image.data.size / _SKY_PIXELS) ** 0.5)) | 1
    data, variance, mask = (plane[::step, ::step] for plane in (image.data, image.variance, image.mask))
    good = mask == 0
    sample: Plane = data[good] / np.sqrt(variance[good])
    return sample if sample.size else np.zeros(1, np.float32)


def _star_chi(image: Image, stars: QTable, fwhm: float, least: float, most: float) -> float:
    discs, good = stars_in(image.mask, stars, fwhm, least, most)
    if not len(good):
        return float("nan")
    data, variance = (plane.reshape(-1)[discs.index] for plane in (image.data, image.variance))
    count = good.shape[1]
    median_of_mean = (1 - 2 / (9 * count)) ** 3  # of chi^2, by Wilson & Hilferty (1931)
    return float(np.sqrt(np.median(np.mean(np.square(data) / variance, axis=1)) / median_of_mean))


def noise_factor(image: Image, fwhm: float) -> float:
    """Return by how much the flux of a point source scatters more than independent pixels would let it.

    Parameters
    ----------
    image : Image
        Difference.
    fwhm : float
        Of the stars, px.

    Returns
    -------
    float
        Measured with a normal profile of that width on patches all over the frame; 1 where too little can be seen.
    """
    ny, nx = image.shape
    side = min(_SAMPLE_SIDE, ny, nx)
    across, down = (np.linspace(0, length - side, _SAMPLES).astype(int) for length in (nx, ny))
    patches = {(top, left) for top in down for left in across}
    sigma = fwhm / FWHM_OF_SIGMA
    radius = max(1, round(3.5 * sigma))
    line = np.exp(-0.5 * np.square(np.arange(-radius, radius + 1) / sigma))
    expected = np.square(line / line.sum()).sum()
    seen = []
    for top, left in sorted(patches):
        here = slice(top, top + side), slice(left, left + side)
        bad = image.mask[here] != 0
        chi = np.where(bad, 0, image.data[here] / np.sqrt(image.variance[here]))
        filtered = gaussian_filter(chi, sigma, radius=radius)
        seen.append(filtered[~maximum_filter(bad, 2 * radius + 1)])
    values = np.concatenate(seen)
    if values.size < _LEAST_SAMPLE:
        return 1.0
    return float(MAD_TO_SIGMA * np.median(np.abs(values - np.median(values))) / expected)
