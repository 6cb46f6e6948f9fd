"""The image of a point: an elliptical Moffat profile, and stars and galaxies drawn with it.

The profile is the effective PSF (Anderson & King 2000): it already contains the pixel's response, so that
its value at a pixel's centre is the light that the pixel receives.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import scipy.fft

from toros.errors import BadParameters

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

_LOST_LIGHT = 1e-3
"""Fraction of a star's light that may fall outside its stamp."""

_EDGE_ELECTRONS = 0.3
"""Electrons per pixel at which a bright star's stamp may end: well below any noise."""

_STAMP_PIXELS = 1 << 18
"""Pixels that are computed at a time: they stay in the processor's cache."""


@dataclass(frozen=True)
class Psf:
    """Elliptical Moffat profile (Moffat 1969).

    Attributes
    ----------
    fwhm : float
        Full width at half maximum of the minor axis, px.
    beta : float
        Slope of the wings; > 1.
    ellipticity : float
        1 - minor / major axis; the elongation makes the major axis longer and leaves the minor one.
    angle : float
        Of the major axis, degrees from +x towards +y.
    """

    fwhm: float
    beta: float = 3.0
    ellipticity: float = 0.0
    angle: float = 0.0

    def __post_init__(self) -> None:
        if self.fwhm <= 0 or self.beta <= 1 or not 0 <= self.ellipticity < 1:
            raise BadParameters(f"not a Moffat profile: {self}")

    @property
    def core(self) -> tuple[float, float]:
        """The Moffat radii alpha of the major and the minor axis, px."""
        minor = self.fwhm / (2 * math.sqrt(2 ** (1 / self.beta) - 1))
        return minor / (1 - self.ellipticity), minor

    @property
    def peak(self) -> float:
        """Fraction of the light in the central pixel of a star that is centred on it."""
        major, minor = self.core
        return (self.beta - 1) / (math.pi * major * minor)

    def __call__(self, dx: NDArray[np.float32], dy: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the fraction of light per pixel at offsets `dx`, `dy` (px) from the star; they broadcast."""
        major, minor = self.core
        cos, sin = math.cos(math.radians(self.angle)), math.sin(math.radians(self.angle))
        xx = np.float32((cos / major) ** 2 + (sin / minor) ** 2)
        yy = np.float32((sin / major) ** 2 + (cos / minor) ** 2)
        xy = np.float32(2 * cos * sin * (major**-2 - minor**-2))
        u2: NDArray[np.float32] = xx * dx * dx + (yy * dy * dy + np.float32(1))
        if xy:
            u2 += xy * dx * dy
        np.power(u2, np.float32(-self.beta), out=u2)
        u2 *= np.float32(self.peak)
        return u2

    def radius(self, flux: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the radius (px) of the stamp that a star of `flux` electrons needs."""
        lost = _LOST_LIGHT ** (1 / (1 - self.beta))
        edge = (np.maximum(flux, 1.0) * self.peak / _EDGE_ELECTRONS) ** (1 / self.beta)
        radius: NDArray[np.float64] = self.core[0] * np.sqrt(np.maximum(lost, edge))
        return radius


def add_stars(
    image: NDArray[np.float32],
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    flux: NDArray[np.float64],
    psf: Psf,
) -> None:
    """Add stars to `image` in place; what falls outside the image is lost.

    Parameters
    ----------
    image : float32 array (ny, nx)
        Electrons.
    x, y : float64 arrays (n,)
        0-based centres, px; they may lie outside.
    flux : float64 array (n,)
        Electrons in the whole profile.
    psf : Psf
        Of all of them.
    """
    for half, members in _size_classes(psf.radius(flux)):
        offset = np.arange(-half, half + 1)
        for part in _parts(members, offset.size**2):
            column, row = np.rint(x[part]).astype(np.intp), np.rint(y[part]).astype(np.intp)
            dx = (offset - (x[part] - column)[:, None]).astype(np.float32)
            dy = (offset - (y[part] - row)[:, None]).astype(np.float32)
            stamps = psf(dx[:, None, :], dy[:, :, None])
            stamps *= flux[part].astype(np.float32)[:, None, None]
            _add_stamps(image, stamps, row - half, column - half)


def add_galaxies(
    image: NDArray[np.float32],
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    flux: NDArray[np.float64],
    *,
    half_light_radius: NDArray[np.float64],
    axis_ratio: NDArray[np.float64],
    angle: NDArray[np.float64],
    sersic_index: NDArray[np.float64],
    psf: Psf,
) -> None:
    """Add Sersic (1963) galaxies, seen through the PSF, to `image` in place.

    A galaxy is drawn on a grid of half pixels always centred in the same way, and the PSF carries the
    fraction of a pixel: two exposures see exactly the same galaxy, whatever their pointing and seeing.

    Parameters
    ----------
    image : float32 array (ny, nx)
        Electrons.
    x, y, flux : float64 arrays (n,)
        As in `add_stars`.
    half_light_radius : float64 array (n,)
        Along the major axis, px.
    axis_ratio, angle, sersic_index : float64 arrays (n,)
        Minor / major axis; degrees of the major axis from +x towards +y; n of the profile.
    psf : Psf
        Of the exposure.
    """
    radius = psf.core[0] * 8 + 5 * half_light_radius
    for half, members in _size_classes(radius):
        fine = np.arange(-half, half, 0.5, dtype=np.float32)
        for part in _parts(members, fine.size**2):
            column, row = np.rint(x[part]).astype(np.intp), np.rint(y[part]).astype(np.intp)
            galaxy = _sersic(fine, half_light_radius[part], axis_ratio[part], angle[part], sersic_index[part])
            dx = (fine - (x[part] - column)[:, None]).astype(np.float32)
            dy = (fine - (y[part] - row)[:, None]).astype(np.float32)
            point = psf(dx[:, None, :], dy[:, :, None])
            spectrum = scipy.fft.rfft2(galaxy) * scipy.fft.rfft2(scipy.fft.ifftshift(point, axes=(1, 2)))
            stamps = scipy.fft.irfft2(spectrum, s=galaxy.shape[1:])[:, ::2, ::2]
            stamps *= flux[part].astype(np.float32)[:, None, None]
            _add_stamps(image, stamps, row - half, column - half)


def _sersic(
    fine: NDArray[np.float32],
    half_light_radius: NDArray[np.float64],
    axis_ratio: NDArray[np.float64],
    angle: NDArray[np.float64],
    sersic_index: NDArray[np.float64],
) -> NDArray[np.float32]:
    """Sersic profiles (n, fine, fine), each of sum 1; the cusp is softened by a quarter of a pixel."""
    cos, sin, ratio, radius, n = (
        values.astype(np.float32)[:, None, None]
        for values in (
            np.cos(np.radians(angle)),
            np.sin(np.radians(angle)),
            axis_ratio,
            half_light_radius,
            sersic_index,
        )
    )
    dx, dy = fine[None, None, :], fine[None, :, None]
    along = cos * dx + sin * dy
    across = (cos * dy - sin * dx) / ratio
    light: NDArray[np.float32] = np.square(along) + np.square(across)
    light += np.float32(0.0625)
    # The radius to the power 1 / n, taken from its square.
    np.power(light / (radius * radius), 1 / (2 * n), out=light)
    light *= 1 / 3 - 2 * n
    np.exp(light, out=light)
    light /= light.sum(axis=(1, 2), keepdims=True)
    return light


def _size_classes(radius: NDArray[np.float64]) -> Iterator[tuple[int, NDArray[np.intp]]]:
    """Group sources by stamp size, so that each group is computed as one array."""
    steps = np.ceil(2 * np.log2(np.maximum(radius, 4.0)))
    for step in np.unique(steps):
        yield math.ceil(2 ** (step / 2)), np.flatnonzero(steps == step)


def _parts(members: NDArray[np.intp], stamp_pixels: int) -> list[NDArray[np.intp]]:
    count = max(1, math.ceil(members.size * stamp_pixels / _STAMP_PIXELS))
    return np.array_split(members, min(count, members.size))


def _add_stamps(
    image: NDArray[np.float32],
    stamps: NDArray[np.float32],
    bottom: NDArray[np.intp],
    left: NDArray[np.intp],
) -> None:
    """Add each stamp with its first pixel at (bottom, left), cut at the edges of the image."""
    ny, nx = image.shape
    height, width = stamps.shape[1:]
    for stamp, y, x in zip(stamps, bottom.tolist(), left.tolist(), strict=True):
        if -height < y < ny and -width < x < nx:
            y0, x0 = max(y, 0), max(x, 0)
            here = image[y0 : y + height, x0 : x + width]
            here += stamp[y0 - y : y0 - y + here.shape[0], x0 - x : x0 - x + here.shape[1]]
