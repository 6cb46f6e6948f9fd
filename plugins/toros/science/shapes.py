"""Size, elongation and direction of sources from their second moments."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FWHM_OF_SIGMA = float(2 * np.sqrt(2 * np.log(2)))
"""Full width at half maximum of a normal distribution over its standard deviation."""

_SMALLEST = 0.4
"""Least width of the weight (sigma, px): finer than that no pixel can tell."""


@dataclass(frozen=True, eq=False)
class Shapes:
    """What n sources look like.

    Parameters
    ----------
    x, y : ndarray
        Offsets of their centroids from the positions given, px.
    xx, yy, xy : ndarray
        Second moments, px^2; not a number where a source has none (noise, a hole).
    """

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    xx: NDArray[np.float64]
    yy: NDArray[np.float64]
    xy: NDArray[np.float64]

    @property
    def fwhm(self) -> NDArray[np.float64]:
        """Full width at half maximum of the round normal distribution of the same area, px."""
        determinant = np.maximum(self.xx * self.yy - self.xy**2, 0)
        return np.asarray(FWHM_OF_SIGMA * determinant**0.25)

    @property
    def ellipticity(self) -> NDArray[np.float64]:
        """1 - minor / major axis."""
        mean, half = (self.xx + self.yy) / 2, np.hypot((self.xx - self.yy) / 2, self.xy)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(1 - np.sqrt(np.maximum(mean - half, 0) / (mean + half)))

    @property
    def angle(self) -> NDArray[np.float64]:
        """Of the major axis, degrees from +x towards +y, in [0, 180)."""
        return np.asarray(np.degrees(0.5 * np.arctan2(2 * self.xy, self.xx - self.yy)) % 180)


@dataclass(frozen=True)
class StarShape:
    """The typical image of a star.

    Parameters
    ----------
    fwhm : float
        Full width at half maximum of the round normal profile of the same area, px.
    ellipticity, angle : float
        1 - minor / major axis; degrees of the major axis from +x towards +y.
    n_stars : int
        Stars it was measured from.
    """

    fwhm: float
    ellipticity: float
    angle: float
    n_stars: int


def star_shape(xx: float, yy: float, xy: float, width: float, n_stars: int) -> StarShape:
    """Return the shape that belongs to squared radii (px^2) along x and y and across; `width` makes them an FWHM."""
    mean, half = (xx + yy) / 2, float(np.hypot((xx - yy) / 2, xy))
    major, minor = max(mean + half, 0.0) ** 0.5, max(mean - half, 0.0) ** 0.5
    angle = float(np.degrees(0.5 * np.arctan2(2 * xy, xx - yy)) % 180)
    return StarShape(width * (major * minor) ** 0.5, 1 - minor / major if major else 0.0, angle, n_stars)


def measure_shapes(
    stamps: NDArray[np.float32],
    dx: NDArray[np.float32],
    dy: NDArray[np.float32],
    fwhm: float,
    *,
    rounds: int = 1,
    follow: bool = False,
) -> Shapes:
    """Measure moments under a round normal weight, and free them of the weight.

    Parameters
    ----------
    stamps : ndarray of float32, shape (n, side, side)
        Sources without sky, in any unit.
    dx, dy : ndarray of float32, shape (n, side)
        Offsets of columns and rows from the positions, px.
    fwhm : float
        Of the weight, px: about that of the sources.
    rounds : int
        How often they are measured, each time under a weight as wide as the source was found to be.
    follow : bool
        Whether the weight also moves to the centroid that was found.

    Returns
    -------
    Shapes

    Notes
    -----
    A normal source of covariance C under a weight of covariance W has the weighted moments
    ``inv(inv(C) + inv(W))``: adaptive moments (Bernstein & Jarvis 2002, AJ 123, 583) with a round weight.
    For a Moffat profile of beta = 3 the FWHM comes out some 7 % too large.
    """
    count = stamps.shape[0]
    sigma = np.full(count, max(fwhm / FWHM_OF_SIGMA, _SMALLEST))
    centre_x, centre_y = np.zeros(count), np.zeros(count)
    for turn in range(rounds):
        shapes = _weighted(stamps, dx, dy, centre_x, centre_y, sigma)
        if turn == rounds - 1:
            break
        if follow:
            reach = sigma / 2
            centre_x = centre_x + np.nan_to_num(2 * (shapes.x - centre_x)).clip(-reach, reach)
            centre_y = centre_y + np.nan_to_num(2 * (shapes.y - centre_y)).clip(-reach, reach)
        size = shapes.fwhm / FWHM_OF_SIGMA
        sigma = np.where(np.isfinite(size), size.clip(sigma / 1.5, sigma * 1.5), sigma).clip(_SMALLEST)
    return shapes


def _weighted(
    stamps: NDArray[np.float32],
    dx: NDArray[np.float32],
    dy: NDArray[np.float32],
    centre_x: NDArray[np.float64],
    centre_y: NDArray[np.float64],
    sigma: NDArray[np.float64],
) -> Shapes:
    """Moments of the stamps under round normal weights, freed of the weights."""
    along_x, along_y = (
        _weights(offset - centre[:, np.newaxis].astype(np.float32), sigma)
        for offset, centre in ((dx, centre_x), (dy, centre_y))
    )
    sums = along_y.swapaxes(1, 2) @ stamps @ along_x  # (n, power of y, power of x)
    total = sums[:, 0, 0].astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        total = np.where(total > 0, total, np.nan)
        x, y = sums[:, 0, 1] / total, sums[:, 1, 0] / total
        xx, yy = sums[:, 0, 2] / total - x**2, sums[:, 2, 0] / total - y**2
        xy = sums[:, 1, 1] / total - x * y
        return _freed(centre_x + x, centre_y + y, xx, yy, xy, sigma)


def _weights(offset: NDArray[np.float32], sigma: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return weight, weight * offset and weight * offset^2, (n, side, 3)."""
    scale = sigma[:, np.newaxis].astype(np.float32)
    weight = np.exp(np.float32(-0.5) * np.square(offset / scale))
    return np.stack([weight, weight * offset, weight * offset * offset], axis=2)


def _freed(
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    xx: NDArray[np.float64],
    yy: NDArray[np.float64],
    xy: NDArray[np.float64],
    sigma: NDArray[np.float64],
) -> Shapes:
    """Take the weight out of weighted moments: the inverse of the source is that of the moments minus its own."""
    determinant = xx * yy - xy**2
    inverse_xx = yy / determinant - sigma**-2
    inverse_yy = xx / determinant - sigma**-2
    inverse_xy = -xy / determinant
    determinant = inverse_xx * inverse_yy - inverse_xy**2
    good = (determinant > 0) & (inverse_xx > 0)
    determinant = np.where(good, determinant, np.nan)
    return Shapes(x, y, inverse_yy / determinant, inverse_xx / determinant, -inverse_xy / determinant)
