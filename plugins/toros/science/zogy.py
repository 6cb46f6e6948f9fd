"""The proper difference of two frames, and the significance of what is new at each pixel.

Both frames are filtered with the point-spread function of the other one, so that neither is favoured and the noise
stays independent from pixel to pixel (Zackay, Ofek & Gal-Yam 2016, ApJ 830, 27: ZOGY). It is done in tiles, each
with the point-spread functions, the sky and its noise as they are there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import scipy.fft
from astropy.table import QTable
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter

from toros.errors import BadParameters, TooFewStars, WrongGeometry
from toros.science.background import estimate_background
from toros.science.difference import Difference
from toros.science.difference_quality import (
    DifferenceQuality,
    is_clean,
    noise_factor,
    residual_chis,
    star_columns,
)
from toros.science.flags import MaskPlane, PixelFlag
from toros.science.image import Image
from toros.science.noise import MAD_TO_SIGMA
from toros.science.psf import Psf, light_in
from toros.science.psf_stars import measure_psf
from toros.science.stamps import stamps_at

Plane = NDArray[np.float32]
Values = NDArray[np.float64]

_TILE = 480
_REACH = 5.0
"""Radius of the point-spread functions, and margin of the tiles, in FWHM of the broader stars."""

_CORE = 1.0
"""Flags spread by so many FWHM ..."""

_WINGS = 3.0
"""... and those of saturated pixels, which leave a hole in a bright star, by so many."""

_LEAST_STARS = 3
_SNR = 20.0
_STARS = 300
_UNIT = 1e6


def subtract_zogy(
    science: Image,
    reference: Image,
    stars: QTable,
    science_psf: Psf,
    reference_psf: Psf,
    *,
    astrometric_error: tuple[float, float] = (0.0, 0.0),
) -> Difference:
    """Make the proper difference of a science frame and a reference.

    Parameters
    ----------
    science, reference : Image
        On one grid of pixels, each with its sky or without it.
    stars : QTable
        Sources of the science frame as of `measure_sources`: x, y (px), snr, flags. They give the ratio of the fluxes.
    science_psf, reference_psf : Psf
        Of the two frames, as they are given here.
    astrometric_error : (float, float)
        Standard deviation (px) along x and y of the position of a star between the frames.

    Returns
    -------
    Difference
        Its score (S_corr of the paper) is the significance of a point source centred on each pixel, with the noise of
        the sources and of their positions; 0 where flagged.

    Raises
    ------
    WrongGeometry, NoSky, NotFinite
        Shapes differ, or a frame shows no sky.
    TooFewStars
        The ratio of the fluxes cannot be measured.
    """
    if science.shape != reference.shape:
        raise WrongGeometry(f"a science frame of {science.shape} pixels, a reference of {reference.shape}")
    if min(astrometric_error) < 0:
        raise BadParameters(f"positions cannot be uncertain by {astrometric_error} px")
    fwhm = max(science_psf.fwhm, reference_psf.fwhm)
    mesh = max(64, round(10 * fwhm))
    flagged = science.mask | reference.mask
    pair = tuple(_flattened(image, flagged, mesh) for image in (science, reference))
    scale, error, n_stars = _flux_ratio(pair, (science_psf, reference_psf), stars)
    data, variance, score = (np.empty(science.shape, np.float32) for _ in range(3))
    reach = int(np.ceil(_REACH * fwhm))
    profile = np.zeros((0, 0))
    for tile in _tiles(science.shape, reach):
        proper = _proper(pair, (science_psf, reference_psf), scale, tile, reach, astrometric_error)
        data[tile.inner], variance[tile.inner], score[tile.inner] = proper.inner(tile)
        profile = proper.profile if tile.is_middle else profile
    saturated = flagged & np.uint8(PixelFlag.SATURATED)
    mask = maximum_filter(saturated, 2 * round(_WINGS * fwhm) + 1)
    mask |= maximum_filter(flagged, 2 * round(_CORE * fwhm) + 1)
    for plane in (data, score):
        plane[mask != 0] = 0
    image = Image(data, variance, mask)
    masked = float(np.count_nonzero(mask) / mask.size)
    quality = DifferenceQuality(
        scale, (scale, scale), *residual_chis(image, stars, fwhm), error, n_stars, 0, masked
    )
    psf = _psf_of(profile, science.shape, science_psf)
    return Difference(image, psf, "both", noise_factor(image, psf.fwhm), quality, score=score)


@dataclass(frozen=True)
class _Tile:
    """A part of the frame, and the wider part that it is computed from."""

    inner: tuple[slice, slice]
    outer: tuple[slice, slice]
    is_middle: bool

    @property
    def middle(self) -> tuple[float, float]:
        """Row and column of its middle."""
        row, column = ((axis.start + axis.stop - 1) / 2 for axis in self.inner)
        return row, column


@dataclass(frozen=True, eq=False)
class _Proper:
    """What is known of one tile, with its margins: flux per pixel, its variance, its significance, and the profile."""

    data: Plane
    variance: Plane
    score: Plane
    profile: Values

    def inner(self, tile: _Tile) -> tuple[Plane, Plane, Plane]:
        """Return the planes without their margins."""
        cut = tuple(
            slice(own.start - wide.start, own.stop - wide.start)
            for own, wide in zip(tile.inner, tile.outer, strict=True)
        )
        return self.data[cut], self.variance[cut], self.score[cut]


def _tiles(shape: tuple[int, int], reach: int) -> Iterator[_Tile]:
    axes = []
    for length in shape:
        count = -(-length // _TILE)
        edges = np.linspace(0, length, count + 1).astype(int)
        axes.append(
            [
                (slice(a, b), slice(max(a - reach, 0), min(b + reach, length)), number == count // 2)
                for number, (a, b) in enumerate(pairwise(edges.tolist()))
            ]
        )
    for row, wide_row, row_is_middle in axes[0]:
        for column, wide_column, column_is_middle in axes[1]:
            yield _Tile((row, column), (wide_row, wide_column), row_is_middle and column_is_middle)


def _flattened(image: Image, flagged: MaskPlane, mesh: int) -> Image:
    """Return an image without its sky, and with nothing where either of the two is flagged."""
    data = estimate_background(image.data, image.mask, mesh=mesh).subtracted(image.data)
    data[flagged != 0] = 0
    return replace(image, data=data)


def _flux_ratio(pair: tuple[Image, ...], psfs: tuple[Psf, Psf], stars: QTable) -> tuple[float, float, int]:
    """Return flux in the science frame over that in the reference, the scatter of it, and the number of stars."""
    x, y, snr = star_columns(stars)
    chosen = np.flatnonzero(is_clean(stars) & (snr > _SNR))
    chosen = chosen[np.argsort(-snr[chosen], kind="stable")[:_STARS]]
    x, y = x[chosen], y[chosen]
    stamps = stamps_at(pair[0].shape, x, y, round(2 * max(psf.fwhm for psf in psfs)))
    good = stamps.inside & (stamps.cut(pair[0].mask | pair[1].mask) == 0)
    fluxes = []
    for image, psf in zip(pair, psfs, strict=True):
        light = light_in(stamps, psf, x, y, np.ones(x.size)) * good
        weight = light / np.median(stamps.cut(image.variance), axis=(1, 2), keepdims=True)
        total = (weight * light).sum(axis=(1, 2), dtype=np.float64)
        usable = np.maximum(total, 1e-30)
        fluxes.append((weight * stamps.cut(image.data)).sum(axis=(1, 2), dtype=np.float64) / usable)
    whole = good.mean(axis=(1, 2)) > 0.9
    whole &= fluxes[1] > 0
    if np.count_nonzero(whole) < _LEAST_STARS:
        raise TooFewStars(
            f"{np.count_nonzero(whole)} stars to compare the fluxes of the frames; {_LEAST_STARS} are needed",
            advice="look at both frames, and at how they were aligned",
        )
    ratios = fluxes[0][whole] / fluxes[1][whole]
    ratio = float(np.median(ratios))
    scatter = float(MAD_TO_SIGMA * np.median(np.abs(ratios / ratio - 1)))
    return ratio, scatter, int(np.count_nonzero(whole))


def _proper(
    pair: tuple[Image, ...],
    psfs: tuple[Psf, Psf],
    scale: float,
    tile: _Tile,
    reach: int,
    astrometric_error: tuple[float, float],
) -> _Proper:
    """Compute one tile: equations 13 to 33 of the paper, with the flux of the reference's stars as unit."""
    shape = tuple(scipy.fft.next_fast_len(axis.stop - axis.start + reach, real=True) for axis in tile.outer)
    height, width = (axis.stop - axis.start for axis in tile.outer)

    def spectrum(plane: Plane) -> NDArray[np.complex64]:
        return np.asarray(scipy.fft.rfft2(plane, shape))

    def image_of(product: NDArray[np.complex64]) -> Plane:
        plane: Plane = scipy.fft.irfft2(product, shape)[:height, :width]
        return plane

    variances = [image.variance[tile.outer] for image in pair]
    sky = [float(np.median(variance[image.mask[tile.outer] == 0])) if (image.mask[tile.outer] == 0).any() else 1.0
           for variance, image in zip(variances, pair, strict=True)]  # fmt: skip
    new, old = (spectrum(image.data[tile.outer]) for image in pair)
    new_psf, old_psf = (spectrum(_profile_at(psf, tile.middle, reach, shape)) for psf in psfs)
    power_new, power_old = np.square(np.abs(new_psf)), np.square(np.abs(old_psf))
    noise = sky[1] * scale**2 * power_new + sky[0] * power_old
    noise = np.maximum(noise, 1e-6 * noise.max())
    unit = scale / np.sqrt(sky[0] + sky[1] * scale**2)  # F_D: flux of the proper difference
    root = np.sqrt(noise)
    proper = (old_psf * new - scale * new_psf * old) / root
    proper_psf = scale * new_psf * old_psf / (unit * root)
    to_science = scale / unit
    variance = sum(
        image_of(
            spectrum(plane) * spectrum(np.square(scipy.fft.irfft2(filtered / root, shape).astype(np.float32)))
        )
        for plane, filtered in ((variances[0], old_psf), (variances[1], scale * new_psf))
    )
    filters = (
        scale * power_old * np.conj(new_psf) / noise,
        scale**2 * power_new * np.conj(old_psf) / noise,
    )
    score = image_of(filters[0] * new - filters[1] * old)
    score_variance: Plane = np.zeros_like(score)
    for image, one, light in zip(variances, filters, (new, old), strict=True):
        squared = np.square(scipy.fft.irfft2(one, shape).astype(np.float32))
        score_variance += image_of(spectrum(image) * spectrum(squared))
        if any(astrometric_error):
            along_y, along_x = np.gradient(image_of(one * light))
            score_variance += np.square(astrometric_error[0] * along_x) + np.square(
                astrometric_error[1] * along_y
            )
    least = 1e-6 * float(score_variance.max())
    profile = np.fft.fftshift(scipy.fft.irfft2(proper_psf, shape))
    row, column = (length // 2 for length in shape)
    cut = profile[row - reach : row + reach + 1, column - reach : column + reach + 1]
    return _Proper(
        image_of(proper) * np.float32(to_science),
        np.maximum(variance, 1e-12) * np.float32(to_science**2),
        (score / np.sqrt(np.maximum(score_variance, least))).astype(np.float32),
        cut.astype(float),
    )


def _profile_at(psf: Psf, middle: tuple[float, float], reach: int, shape: tuple[int, ...]) -> Plane:
    """Return the image of a star of unit flux at a place, centred on the first pixel of a plane."""
    offset = np.arange(-reach, reach + 1, dtype=np.float32)
    dx, dy = (part.reshape(1, -1) for part in np.meshgrid(offset, offset))
    moments = psf.moments_at(np.array([middle[1]]), np.array([middle[0]]))
    light = psf.profile(dx, dy, moments).reshape(offset.size, offset.size)
    plane = np.zeros(shape, np.float32)
    plane[: offset.size, : offset.size] = light / light.sum()
    return np.roll(plane, (-reach, -reach), axis=(0, 1))


def _psf_of(profile: Values, shape: tuple[int, int], guess: Psf) -> Psf:
    """Describe a star of the proper difference in the middle of the frame as a `Psf`."""
    light = (_UNIT * profile / profile.sum()).astype(np.float32)
    middle = np.full(1, profile.shape[0] // 2, float)
    start = replace(
        guess, shape=light.shape, moments=guess.moments[:, :1], table=np.zeros((0, 0), np.float32)
    )
    psf = measure_psf(light, np.zeros(light.shape, np.uint8), 1.0, middle, middle, np.full(1, _UNIT), start)
    return replace(psf, shape=shape)
