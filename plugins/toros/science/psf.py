"""The image of a star, and how it changes over the frame.

The model is an effective point-spread function (Anderson & King 2000, PASP 112, 1360): its value at a
pixel's centre is the light that falls into the pixel. It is an elliptical Moffat profile, whose shape may change
over the field as a polynomial, plus a table of what real optics add to it. `toros.science.psf_stars`
measures it, `toros.science.psf_fit` fits it to all sources.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from toros.science.shapes import StarShape, star_shape
from toros.science.stamps import Stamps, discs_at, parts_of

Plane = NDArray[np.float32]
Values = NDArray[np.float64]

TABLE_STEP = 0.5
"""Distance of the places of a `Psf.table`, px."""

_BETA = 3.0
"""Slope of the wings where no star tells: between the 2.5 of good optics and the 4.8 of pure turbulence."""

_LEAST_REACH = 2.0
_LARGEST_RADIUS = 120


@dataclass(frozen=True, eq=False)
class Psf:
    """The point-spread function of one frame.

    Parameters
    ----------
    shape : (int, int)
        Of the frame, (ny, nx).
    beta : float
        Slope of the Moffat profile.
    moments : ndarray of float64, shape (3, terms)
        Polynomials over the field of the squared Moffat radii: xx, yy, xy (px^2). The terms are
        1, u, v, u^2, uv, v^2 with u and v from -1 to 1 across the frame.
    n_stars : int
        Stars it was measured from; 0 if it is a guess.
    table : ndarray of float32, shape (side, side)
        What is to be added to the profile of a star of unit flux, in steps of half a pixel around its centre.
    """

    shape: tuple[int, int]
    beta: float
    moments: Values
    n_stars: int = 0
    table: Plane = field(default_factory=lambda: np.zeros((0, 0), np.float32))

    def moments_at(self, x: Values, y: Values) -> Values:
        """Return the squared Moffat radii xx, yy, xy (px^2) at positions (0-based px), shape (3, n)."""
        moments: Values = self.moments @ field_terms(self.shape, x, y, self.moments.shape[1])
        xx, yy = (
            np.maximum(radii, 0.1 * middle)
            for radii, middle in zip(moments[:2], self.moments[:2, 0], strict=True)
        )
        limit = 0.98 * np.sqrt(xx * yy)
        return np.stack([xx, yy, moments[2].clip(-limit, limit)])

    def shape_at(self, x: Values, y: Values) -> list[StarShape]:
        """Return FWHM, ellipticity and angle at positions (0-based px)."""
        width = 2 * float(np.sqrt(2 ** (1 / self.beta) - 1))
        return [
            star_shape(float(xx), float(yy), float(xy), width, self.n_stars)
            for xx, yy, xy in self.moments_at(x, y).T
        ]

    @property
    def middle(self) -> StarShape:
        """FWHM, ellipticity and angle in the middle of the frame."""
        height, width = self.shape
        [shape] = self.shape_at(np.array([(width - 1) / 2]), np.array([(height - 1) / 2]))
        return shape

    @property
    def fwhm(self) -> float:
        """Full width at half maximum in the middle of the frame, px: geometric mean of the axes."""
        return self.middle.fwhm

    @property
    def noise_area(self) -> float:
        """Pixels of sky whose noise a fitted flux carries (King 1983, PASP 95, 163)."""
        radius = int(np.ceil(5 * self.fwhm))
        dy, dx = np.mgrid[-radius : radius + 1, -radius : radius + 1].astype(np.float32)
        profile = self.profile(dx.reshape(1, -1), dy.reshape(1, -1), self.moments[:, :1])
        return float(1 / np.square(profile, dtype=np.float64).sum())

    def profile(self, dx: Plane, dy: Plane, moments: Values) -> Plane:
        """Return the light per pixel of stars of unit flux at offsets (n, pixels), with moments (3, n)."""
        return self.profile_and_slopes(dx, dy, moments)[0]

    def profile_and_slopes(self, dx: Plane, dy: Plane, moments: Values) -> tuple[Plane, Plane, Plane]:
        """Return the profile and its derivatives by the star's x and y."""
        xx, yy, xy = moments[:, :, np.newaxis]
        determinant = xx * yy - xy**2
        inverse_xx, inverse_yy, inverse_xy = (
            (part / determinant).astype(np.float32) for part in (yy, xx, -xy)
        )
        peak = ((self.beta - 1) / (np.pi * np.sqrt(determinant))).astype(np.float32)
        along_x = inverse_xx * dx + inverse_xy * dy
        along_y = inverse_xy * dx + inverse_yy * dy
        spread = np.float32(1) + along_x * dx + along_y * dy
        profile = peak * np.exp(np.float32(-self.beta) * np.log(spread))
        slope = np.float32(2 * self.beta) * profile / spread
        if self.table.size:
            profile = profile + _looked_up(self.table, dx, dy)
        return profile, slope * along_x, slope * along_y


def guess_psf(shape: tuple[int, int], typical: StarShape) -> Psf:
    """Return a constant Moffat profile of a typical star's shape."""
    width = 2 * np.sqrt(2 ** (1 / _BETA) - 1)
    stretch = 1 / max(1 - typical.ellipticity, 0.02)
    major, minor = (typical.fwhm / width) ** 2 * np.array([stretch, 1 / stretch])
    cos, sin = np.cos(np.radians(typical.angle)), np.sin(np.radians(typical.angle))
    moments = [major * cos**2 + minor * sin**2, major * sin**2 + minor * cos**2, (major - minor) * cos * sin]
    return Psf(shape, _BETA, np.array(moments)[:, np.newaxis])


def draw(plane: Plane, psf: Psf, x: Values, y: Values, flux: Values, faintest: float | Values) -> None:
    """Add stars to a plane in place, each out to where it falls below `faintest` (positive) per pixel."""
    moments, radii = psf.moments_at(x, y), drawn_radii(psf, x, y, flux, faintest)
    flat = plane.reshape(-1)
    for radius in np.unique(radii):
        members = np.flatnonzero(radii == radius)
        for part in parts_of(members, int(4 * radius**2)):
            discs = discs_at(psf.shape, x[part], y[part], float(radius))
            light = psf.profile(*discs.offsets(x[part], y[part]), moments[:, part])
            light *= flux[part].astype(np.float32)[:, np.newaxis]
            np.add.at(flat, discs.index[discs.inside], light[discs.inside])


def drawn_radii(psf: Psf, x: Values, y: Values, flux: Values, faintest: float | Values) -> Values:
    """Return how far out, px, stars are drawn that end at `faintest` (positive): one of a few radii, not less."""
    xx, yy, _ = psf.moments_at(x, y)
    peak = np.abs(flux) * (psf.beta - 1) / (np.pi * np.sqrt(xx * yy))
    reach = np.sqrt(np.maximum(xx, yy) * np.maximum(peak / faintest, 1) ** (1 / psf.beta))
    reach = reach.clip(_LEAST_REACH * psf.fwhm, max(_LARGEST_RADIUS, _LEAST_REACH * psf.fwhm))
    return np.asarray(2 ** (np.ceil(2 * np.log2(reach)) / 2))


def light_in(stamps: Stamps, psf: Psf, x: Values, y: Values, flux: Values) -> Plane:
    """Return the light of stars in their own stamps, (n, side, side)."""
    count, *side = stamps.index.shape
    offsets = stamps.dx[:, np.newaxis], stamps.dy[:, :, np.newaxis]
    dx, dy = (np.broadcast_to(part, (count, *side)).reshape(count, side[0] * side[1]) for part in offsets)
    light = psf.profile(dx, dy, psf.moments_at(x, y)) * flux.astype(np.float32)[:, np.newaxis]
    return light.reshape(count, *side)


def field_terms(shape: tuple[int, int], x: Values, y: Values, count: int) -> Values:
    """Return the first terms of a polynomial over the field, (count, n)."""
    u, v = (2 * place / max(length - 1, 1) - 1 for place, length in ((x, shape[1]), (y, shape[0])))
    return np.stack([np.ones_like(u), u, v, u * u, u * v, v * v][:count])


def _looked_up(table: Plane, dx: Plane, dy: Plane) -> Plane:
    """Return the table at offsets, linear between its places; nothing beyond its rim."""
    last = table.shape[0] - 1
    x, y = (offset / np.float32(TABLE_STEP) + np.float32(last / 2) for offset in (dx, dy))
    x, y = x.clip(0, last - np.float32(1e-3)), y.clip(0, last - np.float32(1e-3))
    column, row = x.astype(np.intp), y.astype(np.intp)
    x -= column
    y -= row
    flat, corner = table.reshape(-1), row * table.shape[1] + column
    below = flat[corner] * (1 - x) + flat[corner + 1] * x
    above = flat[corner + table.shape[1]] * (1 - x) + flat[corner + table.shape[1] + 1] * x
    looked_up: Plane = below * (1 - y) + above * y
    return looked_up
