"""Light in circles: exact apertures, the sky in rings around them, and the curve of growth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from toros.errors import BadParameters, WrongGeometry
from toros.science.flags import MaskPlane
from toros.science.noise import MAD_TO_SIGMA
from toros.science.stamps import stamps_at

Plane = NDArray[np.float32]
Values = NDArray[np.float64]

_CHUNK_PIXELS = 1 << 17
_CLIP_SIGMA = 3.0
_ROUNDS = 5
_LEAST_RING = 10
"""Good pixels in a ring below which its sky is not known."""


@dataclass(frozen=True, eq=False)
class Apertures:
    """Light of n sources in circles of r radii.

    Parameters
    ----------
    radii : tuple of float
        px.
    flux, flux_err : ndarray of float64, shape (n, r)
        Sums over the good part of the circles, without the sky; electron.
    area : ndarray of float64, shape (n, r)
        Good part of the circles, px^2. Where it is smaller than the circle, light is missing.
    sky, sky_noise : ndarray of float64, shape (n,)
        Level of the sky in the ring, and the standard deviation of a pixel of it; zero and what
        was given if no ring was asked for.
    """

    radii: tuple[float, ...]
    flux: Values
    flux_err: Values
    area: Values
    sky: Values
    sky_noise: Values


@dataclass(frozen=True, eq=False)
class CurveOfGrowth:
    """How the light in a circle grows with its radius.

    Parameters
    ----------
    radii : tuple of float
        px.
    correction : ndarray of float64, shape (r,)
        Factor from the light in each circle to the whole light.
    scatter : ndarray of float64, shape (r,)
        Relative standard deviation of the factor from star to star.
    n_stars : int
        Stars it was measured from; with none the factors are not numbers.
    """

    radii: tuple[float, ...]
    correction: Values
    scatter: Values
    n_stars: int


def measure_apertures(
    data: Plane,
    mask: MaskPlane,
    x: Values,
    y: Values,
    radii: Sequence[float],
    *,
    sky_noise: float | Values,
    ring: tuple[float, float] | None = None,
) -> Apertures:
    """Sum the light in circles, each pixel weighted by the exact part of it that lies inside.

    Parameters
    ----------
    data : ndarray of float32, shape (ny, nx)
        Frame in electrons; without its sky unless `ring` is given.
    mask : ndarray of uint8
        Bits of `PixelFlag`; flagged pixels are left out, and so are those outside of the frame.
    x, y : ndarray of float64
        Centres, 0-based px.
    radii : sequence of float
        px.
    sky_noise : float or ndarray of float64
        Standard deviation of a pixel of the sky around each source; with a ring it is measured there.
    ring : (float, float), optional
        Inner and outer radius (px) of a ring whose clipped median is subtracted as the local sky.

    Returns
    -------
    Apertures

    Raises
    ------
    BadParameters, WrongGeometry
        If radii are not positive and ordered, or shapes differ.

    Notes
    -----
    The variance is that of the sky in the circle plus the electrons of the source; with a ring, plus that
    of its level.
    """
    if mask.shape != data.shape:
        raise WrongGeometry(f"the mask has {mask.shape} pixels, the frame {data.shape}")
    if not radii or min(radii) <= 0 or (ring is not None and not 0 < ring[0] < ring[1]):
        raise BadParameters(f"no apertures of the radii {tuple(radii)} px with a ring of {ring} px")
    noise = np.array(np.broadcast_to(sky_noise, x.shape), np.float64)
    sky, counted = np.zeros(x.size), np.full(x.size, np.inf)
    if ring is not None:
        sky, noise, counted = _ring_sky(data, mask, x, y, ring)
    flux, area = np.empty((x.size, len(radii))), np.empty((x.size, len(radii)))
    for number, radius in enumerate(radii):
        side = int(np.ceil(radius + 1))
        for part in _parts(x.size, (2 * side + 1) ** 2):
            stamps = stamps_at(data.shape, x[part], y[part], side)
            good = stamps.inside & (stamps.cut(mask) == 0)
            values = np.where(good, stamps.cut(data), np.float32(0))
            light, covered = aperture_sums([values, good], stamps.dx, stamps.dy, radius)
            flux[part, number], area[part, number] = light - sky[part] * covered, covered
    variance = area * noise[:, np.newaxis] ** 2 + np.maximum(flux, 0)
    variance += (area * noise[:, np.newaxis]) ** 2 * (np.pi / 2) / counted[:, np.newaxis]
    return Apertures(tuple(radii), flux, np.sqrt(variance), area, sky, noise)


def aperture_sums(planes: Sequence[NDArray[np.generic]], dx: Plane, dy: Plane, radius: float) -> list[Values]:
    """Return the sums over a circle of several quantities in stamps.

    Parameters
    ----------
    planes : sequence of ndarray, shape (n, side, side)
        Stamps.
    dx, dy : ndarray, shape (n, side)
        Offsets of their columns and rows from the centres of the circles, px.
    radius : float
        px.

    Returns
    -------
    list of ndarray of float64, shape (n,)
        In the order of `planes`.
    """
    weights = _overlaps(dx.astype(np.float64), dy.astype(np.float64), radius)
    return [np.einsum("nij,nij->n", weights, plane, dtype=np.float64, casting="unsafe") for plane in planes]


def grow_curve(apertures: Apertures, whole: Values, good: NDArray[np.bool_]) -> CurveOfGrowth:
    """Measure the curve of growth.

    Parameters
    ----------
    apertures : Apertures
        Of all sources.
    whole : ndarray of float64, shape (n,)
        Their whole light, electron: from the fit of the point-spread function, or a large aperture.
    good : ndarray of bool, shape (n,)
        Bright, isolated, unsaturated stars.

    Returns
    -------
    CurveOfGrowth
        Medians over the good stars.
    """
    use = good & (whole > 0) & (apertures.flux > 0).all(axis=1)
    if not use.any():
        unknown = np.full(len(apertures.radii), np.nan)
        return CurveOfGrowth(apertures.radii, unknown, unknown, 0)
    ratio = whole[use, np.newaxis] / apertures.flux[use]
    correction = np.median(ratio, axis=0)
    scatter = MAD_TO_SIGMA * np.median(np.abs(ratio / correction - 1), axis=0)
    return CurveOfGrowth(apertures.radii, correction, scatter, int(use.sum()))


def _overlaps(dx: Values, dy: Values, radius: float) -> Values:
    """Return the part of each pixel that lies in a circle, (n, side, side), exactly.

    The area that a circle shares with a rectangle from its centre to a corner has a closed form;
    that of a pixel is the difference of four of them.
    """
    right = np.concatenate([dx - 0.5, dx[:, -1:] + 0.5], axis=1).clip(-radius, radius)
    upper = np.concatenate([dy - 0.5, dy[:, -1:] + 0.5], axis=1).clip(-radius, radius)
    a, b = np.abs(right), np.abs(upper)
    reach = np.sqrt(radius**2 - b**2)  # of the circle at the height of the corner
    below_arc = (b * reach - _segment(reach, radius))[:, :, np.newaxis] + _segment(a, radius)[:, np.newaxis]
    corner = b[:, :, np.newaxis] * a[:, np.newaxis]
    np.copyto(corner, below_arc, where=a[:, np.newaxis] > reach[:, :, np.newaxis])
    corner *= np.sign(upper)[:, :, np.newaxis] * np.sign(right)[:, np.newaxis]
    columns = corner[:, :, 1:] - corner[:, :, :-1]
    return np.asarray(columns[:, 1:] - columns[:, :-1])


def _segment(t: Values, radius: float) -> Values:
    """Return the area under a quarter of a circle from 0 to t."""
    return 0.5 * (
        t * np.sqrt(np.maximum(radius**2 - t**2, 0)) + radius**2 * np.arcsin(np.minimum(t / radius, 1))
    )


def _ring_sky(
    data: Plane, mask: MaskPlane, x: Values, y: Values, ring: tuple[float, float]
) -> tuple[Values, Values, Values]:
    """Return the clipped median and standard deviation of the pixels in rings, and how many they are."""
    side = int(np.ceil(ring[1]))
    level, noise, counted = np.empty(x.size), np.empty(x.size), np.empty(x.size)
    for part in _parts(x.size, (2 * side + 1) ** 2):
        stamps = stamps_at(data.shape, x[part], y[part], side)
        distance = np.hypot(stamps.dy[:, :, np.newaxis], stamps.dx[:, np.newaxis])
        use = stamps.inside & (stamps.cut(mask) == 0) & (distance >= ring[0]) & (distance <= ring[1])
        values = np.where(use, stamps.cut(data), np.float32(np.nan)).reshape(use.shape[0], -1).astype(float)
        level[part], noise[part], counted[part] = _clipped(values)
    return level, noise, counted


def _clipped(values: Values) -> tuple[Values, Values, Values]:
    ordered = np.sort(values, axis=1)  # those that are left out, NaN, come last
    count = np.isfinite(ordered).sum(axis=1)
    every, first, last = np.arange(ordered.shape[0]), np.zeros_like(count), count
    for _ in range(_ROUNDS):
        median = 0.5 * (ordered[every, (first + last - 1) // 2] + ordered[every, (first + last) // 2])
        deviation = np.sort(
            np.where(_between(ordered, first, last), np.abs(ordered - median[:, np.newaxis]), np.inf)
        )
        noise = MAD_TO_SIGMA * deviation[every, (last - first - 1).clip(0) // 2]
        first = (ordered < (median - _CLIP_SIGMA * noise)[:, np.newaxis]).sum(axis=1)
        last = (ordered <= (median + _CLIP_SIGMA * noise)[:, np.newaxis]).sum(axis=1)
    known = count >= _LEAST_RING
    return (
        np.where(known, median, np.nan),
        np.where(known, noise, np.nan),
        np.maximum(last - first, 1).astype(float),
    )


def _between(ordered: Values, first: NDArray[np.intp], last: NDArray[np.intp]) -> NDArray[np.bool_]:
    rank = np.arange(ordered.shape[1])
    return np.asarray((rank >= first[:, np.newaxis]) & (rank < last[:, np.newaxis]))


def _parts(count: int, pixels: int) -> list[slice]:
    step = max(1, _CHUNK_PIXELS // pixels)
    return [slice(start, start + step) for start in range(0, count, step)]
