"""The proper difference of two frames, and the significance of what is new at each pixel.

Both frames are filtered with the point-spread function of the other one, so that neither is favoured and the noise
stays independent from pixel to pixel (Zackay, Ofek & Gal-Yam 2016, ApJ 830, 27: ZOGY). It is done in tiles, each
with the point-spread functions, the ratio of the fluxes and the noise as they are there. What relates the frames -
fluxes, skies, and one point-spread function to the other - comes from the kernel between them, which
crowded fields do not mislead.
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

from toros.errors import BadParameters
from toros.science.difference import Difference, flux_scale, match_seeing
from toros.science.difference_quality import (
    DifferenceQuality,
    noise_factor,
    residual_chis,
)
from toros.science.flags import MaskPlane, PixelFlag
from toros.science.image import Image
from toros.science.kernel import Kernel
from toros.science.psf import Psf
from toros.science.psf_stars import measure_psf

Plane = NDArray[np.float32]
Values = NDArray[np.float64]
Spectrum = NDArray[np.complex64]

_TILE = 480
_REACH = 5.0
"""Radius of the point-spread functions, and margin of the tiles, in FWHM of the broader stars."""

_CORE = 1.0
"""Flags spread by so many FWHM ..."""

_WINGS = 3.0
"""... and those of saturated pixels, which leave a hole in a bright star, by so many."""

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
        Sources of the science frame as of `measure_sources`: x, y (px), snr, flags.
    science_psf, reference_psf : Psf
        Of the two frames, as they are given here.
    astrometric_error : (float, float)
        Standard deviation (px) along x and y of the position of a star between the frames.

    Returns
    -------
    Difference
        Its score (S_corr of the paper) is the significance of a point source centred on each pixel, with the noise of
        the sources and of their positions; 0 where flagged, and on the rim, where neighbours are missing.

    Raises
    ------
    WrongGeometry, NoSky, NotFinite
        Shapes differ, or a frame shows no sky.
    TooFewStars
        The frames cannot be compared: see `toros.science.difference.subtract`.
    """
    if min(astrometric_error) < 0:
        raise BadParameters(f"positions cannot be uncertain by {astrometric_error} px")
    fit, is_science = match_seeing(science, reference, stars, science_psf, reference_psf)
    fwhm = max(science_psf.fwhm, reference_psf.fwhm)
    flagged = science.mask | reference.mask
    levels: tuple[Plane | np.float32, Plane] = np.float32(fit.level), fit.kernel.level_of(fit.level)
    pair = tuple(
        _flattened(image, flagged, level)
        for image, level in zip((science, reference), levels if is_science else levels[::-1], strict=True)
    )
    seeing = _Seeing(fit.kernel, science_psf if is_science else reference_psf, is_science)
    data, variance, score = (np.empty(science.shape, np.float32) for _ in range(3))
    reach = int(np.ceil(_REACH * fwhm))
    profile = np.zeros((0, 0))
    for tile in _tiles(science.shape, reach):
        proper = _proper(pair, seeing, tile, reach, astrometric_error)
        data[tile.inner], variance[tile.inner], score[tile.inner] = proper.inner(tile)
        profile = proper.profile if tile.is_middle else profile
    saturated = flagged & np.uint8(PixelFlag.SATURATED)
    mask = maximum_filter(saturated, 2 * round(_WINGS * fwhm) + 1)
    mask |= maximum_filter(flagged, 2 * round(_CORE * fwhm) + 1)
    _flag_rim(mask, round(_CORE * fwhm) + int(np.ceil(np.abs(_moved(fit.kernel.middle)).max())))
    for plane in (data, score):
        plane[mask != 0] = 0
    image = Image(data, variance, mask)
    masked = float(np.count_nonzero(mask) / mask.size)
    quality = DifferenceQuality(
        *flux_scale(fit.kernel, is_science=is_science),
        *residual_chis(image, stars, fwhm),
        0.0,
        fit.x.size,
        fit.n_rejected,
        masked,
    )
    psf = _psf_of(profile, science.shape, science_psf)
    return Difference(image, psf, "both", noise_factor(image, psf.fwhm), quality, score=score)


@dataclass(frozen=True, eq=False)
class _Seeing:
    """The point-spread functions of both frames, of which that of the broader one follows from the kernel.

    Errors in that of the sharper one then make the difference a little noisier, but leave nothing of the stars.
    """

    kernel: Kernel
    psf: Psf
    is_science: bool

    def at(self, middle: tuple[float, float], reach: int, shape: tuple[int, ...]) -> _Profiles:
        """Return what holds at a place (row, column), on planes of a shape."""
        row, column = (np.array([place]) for place in middle)
        weights = self.kernel.at(column, row)[0]
        scale, radius = float(weights.sum()), self.kernel.radius
        moved = _moved(weights)
        plane = np.zeros(shape, np.float32)
        plane[: 2 * radius + 1, : 2 * radius + 1] = weights / scale
        kernel = scipy.fft.rfft2(np.roll(plane, (-radius, -radius), axis=(0, 1)))
        centre = 0 * moved if self.is_science else -moved
        sharp = np.asarray(scipy.fft.rfft2(_profile_at(self.psf, middle, centre, reach, shape)))
        if self.is_science:
            return _Profiles(sharp, sharp * kernel, 1 / scale, moved)
        return _Profiles(sharp * kernel, sharp, scale, centre)


@dataclass(frozen=True, eq=False)
class _Profiles:
    """Spectra of a star in both frames, of unit flux and centred in the science frame; the ratio of the fluxes.

    `displacement` is the place of the star in the reference, x and y.
    """

    new: Spectrum
    old: Spectrum
    scale: float
    displacement: Values

    def back(self, shape: tuple[int, ...]) -> Spectrum:
        """Return the spectrum that moves what was folded with the star of the reference to the science frame."""
        along_x, along_y = scipy.fft.rfftfreq(shape[1]), scipy.fft.fftfreq(shape[0])[:, np.newaxis]
        turns = along_x * self.displacement[0] + along_y * self.displacement[1]
        moves: Spectrum = np.exp(2j * np.pi * turns).astype(np.complex64)
        return moves


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


def _flattened(image: Image, flagged: MaskPlane, level: Plane | np.float32) -> Image:
    """Return an image without its sky, and with nothing where either of the two is flagged."""
    data = image.data - level
    data[flagged != 0] = 0
    return replace(image, data=data)


def _proper(
    pair: tuple[Image, ...],
    seeing: _Seeing,
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
    profiles = seeing.at(tile.middle, reach, shape)
    new_psf, old_psf, scale, back = profiles.new, profiles.old, profiles.scale, profiles.back(shape)
    power_new, power_old = np.square(np.abs(new_psf)), np.square(np.abs(old_psf))
    noise = sky[1] * scale**2 * power_new + sky[0] * power_old
    noise = np.maximum(noise, 1e-6 * noise.max())
    unit = scale / np.sqrt(sky[0] + sky[1] * scale**2)  # F_D: flux of the proper difference
    root = np.sqrt(noise)
    proper = back * (old_psf * new - scale * new_psf * old) / root
    proper_psf = scale * back * new_psf * old_psf / (unit * root)
    to_science = scale / unit
    variance = sum(
        image_of(
            spectrum(plane) * spectrum(np.square(scipy.fft.irfft2(filtered / root, shape).astype(np.float32)))
        )
        for plane, filtered in ((variances[0], back * old_psf), (variances[1], scale * back * new_psf))
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


def _profile_at(
    psf: Psf, middle: tuple[float, float], centre: Values, reach: int, shape: tuple[int, ...]
) -> Plane:
    """Return the image of a star of unit flux at a place, with its centre (x, y) from the first pixel of a plane."""
    offset = np.arange(-reach, reach + 1, dtype=np.float32)
    axes = (offset - np.float32(place) for place in centre)
    dx, dy = (part.reshape(1, -1) for part in np.meshgrid(*axes))
    moments = psf.moments_at(np.array([middle[1]]), np.array([middle[0]]))
    light = psf.profile(dx, dy, moments).reshape(offset.size, offset.size)
    plane = np.zeros(shape, np.float32)
    plane[: offset.size, : offset.size] = light / light.sum()
    return np.roll(plane, (-reach, -reach), axis=(0, 1))


def _moved(weights: Values) -> Values:
    """Return by how much a kernel moves light along x and y, px."""
    offset = np.arange(len(weights)) - len(weights) // 2
    moved: Values = np.array([weights.sum(axis=axis) @ offset for axis in (0, 1)]) / weights.sum()
    return moved


def _flag_rim(mask: MaskPlane, width: int) -> None:
    """Flag what lies so near to the edge that light is missing in one of the frames."""
    for side in (mask[:width], mask[-width:], mask[:, :width], mask[:, -width:]):
        side |= np.uint8(PixelFlag.NO_DATA)


def _psf_of(profile: Values, shape: tuple[int, int], guess: Psf) -> Psf:
    """Describe a star of the proper difference in the middle of the frame as a `Psf`."""
    light = (_UNIT * profile / profile.sum()).astype(np.float32)
    middle = np.full(1, profile.shape[0] // 2, float)
    start = replace(
        guess, shape=light.shape, moments=guess.moments[:, :1], table=np.zeros((0, 0), np.float32)
    )
    psf = measure_psf(light, np.zeros(light.shape, np.uint8), 1.0, middle, middle, np.full(1, _UNIT), start)
    return replace(psf, shape=shape)
