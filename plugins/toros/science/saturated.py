"""Saturated stars: their cores are lost, but their wings tell where they are and how bright."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import maximum, minimum
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from toros.science.background import Background
from toros.science.flags import MaskPlane, PixelFlag, is_flagged
from toros.science.psf import Psf
from toros.science.psf_fit import fit_sources

Plane = NDArray[np.float32]
Values = NDArray[np.float64]

_WINGS = 3.0
"""The wings are fitted out to so many FWHM beyond the saturated pixels."""

_LARGEST_RADIUS = 64
_SIGNIFICANT = 5.0
_FITTED = ("x", "y", "x_err", "y_err", "flux", "flux_err", "chi2")


@dataclass(frozen=True, eq=False)
class Saturated:
    """Saturated stars, the brightest first.

    Parameters
    ----------
    x, y : ndarray of float64
        0-based px.
    x_err, y_err : ndarray of float64
        px.
    flux, flux_err : ndarray of float64
        Of the profile fitted to the wings, in the unit of the frame; rough.
    chi2 : ndarray of float64
        Of the fit, per degree of freedom.
    pixels : ndarray of float64, shape (m, 2)
        x and y of all their saturated pixels.
    reach : float
        Distance from these, px, within which nothing else can be told apart.
    """

    x: Values
    y: Values
    x_err: Values
    y_err: Values
    flux: Values
    flux_err: Values
    chi2: Values
    pixels: Values
    reach: float

    def __len__(self) -> int:
        return self.x.size

    @property
    def snr(self) -> Values:
        """Signal-to-noise ratio of the flux."""
        return self.flux / self.flux_err

    def covers(self, x: Values, y: Values) -> NDArray[np.bool_]:
        """Tell which positions are so near that they are the same star."""
        if not len(self) or not x.size:
            return np.zeros(x.size, np.bool_)
        distance, _ = cKDTree(self.pixels).query(np.column_stack([x, y]), distance_upper_bound=self.reach)
        return np.asarray(np.isfinite(distance))


def find_saturated(frame: Plane, mask: MaskPlane, rms: float | Background, psf: Psf) -> Saturated:
    """Find connected saturated pixels with the wings of a star around them, and take these stars out.

    Parameters
    ----------
    frame : ndarray of float32, shape (ny, nx), contiguous
        Without its sky, electron. It is changed in place: the stars are subtracted.
    mask : ndarray of uint8
        Bits of `PixelFlag`.
    rms : float or Background
        Standard deviation of the sky in a pixel.
    psf : Psf
        Of stars that are not saturated; a guess will do.

    Returns
    -------
    Saturated
        Fitted in their unsaturated wings. Trails of overflowing charge belong to their stars;
        saturated pixels without wings (hot ones) are left out.
    """
    row, column = np.divmod(np.flatnonzero(is_flagged(mask, PixelFlag.SATURATED)), mask.shape[1])
    if not row.size:
        nothing = {name: np.zeros(0) for name in _FITTED}
        return Saturated(**nothing, pixels=np.zeros((0, 2)), reach=0.0)
    star = _components(row, column)
    x, y = _hearts(row, column, star)
    every = np.arange(x.size)
    height, width = (
        maximum(values, star, every) - minimum(values, star, every) + 1 for values in (row, column)
    )
    extent = np.minimum(height, width) / 2
    sky = rms.noise_at(x, y) if isinstance(rms, Background) else np.full(x.size, float(rms))
    near_saturated = mask | _beside(mask, row, column)
    real = np.zeros(x.size, np.bool_)
    fits = {name: np.full(x.size, np.nan) for name in _FITTED}
    for radius, members in _size_classes(extent + _WINGS * psf.fwhm):
        start = x[members], y[members], 1e3 * psf.noise_area**0.5 * sky[members]
        fit = fit_sources(frame, near_saturated, sky[members], psf, *start, radius=radius)
        for name, values in fits.items():
            values[members] = getattr(fit, name)
        moved = np.hypot(fit.x - x[members], fit.y - y[members])
        real[members] = moved < np.maximum(psf.fwhm, extent[members])
        real[members] &= fit.flux > _SIGNIFICANT * fit.flux_err
        fit.put_back(frame, psf, np.flatnonzero(~real[members]))
    order = np.flatnonzero(real)[np.argsort(-fits["flux"][real], kind="stable")]
    pixels = np.column_stack([column, row])[real[star]].astype(float)
    columns = {name: values[order] for name, values in fits.items()}
    return Saturated(**columns, pixels=pixels, reach=1.5 * psf.fwhm)


def _components(row: NDArray[np.intp], column: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return the number of the star that each saturated pixel belongs to; gaps of a pixel or two are bridged."""
    stride = int(column.max()) // 2 + 3
    cells, cell_of_pixel = np.unique((row // 2) * stride + column // 2, return_inverse=True)
    one, other = [], []
    for step in (1, stride - 1, stride, stride + 1):
        place = np.searchsorted(cells, cells + step).clip(max=cells.size - 1)
        touching = np.flatnonzero(cells[place] == cells + step)
        one.append(touching)
        other.append(place[touching])
    ends = np.concatenate(one), np.concatenate(other)
    graph = coo_array((np.ones(ends[0].size), ends), shape=(cells.size, cells.size))
    _, star = connected_components(graph, directed=False)
    return np.asarray(star[cell_of_pixel], np.intp)


def _hearts(row: NDArray[np.intp], column: NDArray[np.intp], star: NDArray[np.intp]) -> tuple[Values, Values]:
    """Return the middle (x, y) of the widest rows of each star: a trail of overflowing charge is narrower."""
    stride = int(row.max()) + 1
    lines, line_of_pixel, width = np.unique(star * stride + row, return_inverse=True, return_counts=True)
    of_line = lines // stride
    widest = maximum(width, of_line, np.arange(star.max() + 1))
    chosen = (width >= 0.75 * widest[of_line])[line_of_pixel]
    count = np.bincount(star, chosen)
    return np.bincount(star, chosen * column) / count, np.bincount(star, chosen * row) / count


def _size_classes(radius: Values) -> Iterator[tuple[int, NDArray[np.intp]]]:
    """Group stars by the stamps they need, so that each group is fitted as one array."""
    sizes = 2 ** np.ceil(np.log2(radius.clip(8, _LARGEST_RADIUS))).astype(int)
    for size in np.unique(sizes):
        yield int(size), np.flatnonzero(sizes == size)


def _beside(mask: MaskPlane, row: NDArray[np.intp], column: NDArray[np.intp]) -> MaskPlane:
    """Flag the pixels around saturated ones as well: overflowing charge has touched them."""
    flagged = np.zeros_like(mask)
    for down in (-1, 0, 1):
        for right in (-1, 0, 1):
            rows, columns = (
                (row + down).clip(0, mask.shape[0] - 1),
                (column + right).clip(0, mask.shape[1] - 1),
            )
            flagged[rows, columns] = PixelFlag.SATURATED
    return flagged
