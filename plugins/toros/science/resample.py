"""Images on another pixel grid: where each pixel lies in the source, and what it holds.

The value of a pixel is a weighted mean of the 6 x 6 source pixels around its place, with the weights of a Lanczos
kernel of three lobes (Duchon 1979, J. Appl. Meteorol. 18, 1016), normalised to one, times its area in source
pixels: fluxes are kept. Between grids of similar scale it widens stars by less than a per cent.

Noise: the variance of every pixel is carried exactly, ``sum(weight**2 * variance)``. But neighbours share
source pixels, so that sums over many pixels scatter more than their variances say: see `CORRELATION`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from astropy.wcs import WCS, NoConvergence
from numpy.typing import NDArray

from toros.errors import BadParameters
from toros.science.flags import MaskPlane, PixelFlag
from toros.science.geometry import bounds_of, tiles_of
from toros.science.image import Image, Plane

Floats = NDArray[np.float64]

CORRELATION = 1.25
"""Variance of sums over many resampled pixels, apertures for one, relative to the sum of their variances.

It is the inverse of the mean sum of the kernel's squared weights over all places within a pixel. The variance of single
pixels needs no such factor: for them measured and carried variance agree.
"""

MARGIN = 4
"""Source rows above and below a place that may be looked at."""

_ALIASED = 256
"""Rows of a multiple of so many values compete for the same lines of the cache."""

_PADDING = 16
"""Values by which such rows are moved apart: it almost halves the time."""

_BAND_ROWS = 256
"""Target rows that are filled at a time: of a frame that is turned little they need few source rows."""

_SPACING = 64
_LEAST_SPACING = 4
_MAP_ERROR = 0.0005
"""Pixels by which places between the nodes may be wrong; nodes are set closer until it holds."""

_ROUND_TRIP = 1e-3
"""Pixels by which a place may be off when it is mapped there and back; else the projection has no such place."""


@dataclass(frozen=True, eq=False)
class PixelMap:
    """Where the pixels of a target grid lie in a source frame.

    Parameters
    ----------
    shape : (int, int)
        Rows and columns of the target.
    nodes : ndarray of float64, shape (2, rows, columns)
        x and y (0-based px) in the source of every `spacing`-th target pixel, from pixel (0, 0) to beyond the last
        one; not a number where the source does not see that part of the sky. In between, places are linear
        in both directions.
    spacing : int
        px of the target.
    """

    shape: tuple[int, int]
    nodes: Floats
    spacing: int

    def source_rows(self, rows: slice, height: int) -> slice:
        """Return the rows of a source frame of some height that are needed for target rows; empty if none are."""
        start, stop = bounds_of(rows, self.shape[0])
        if start == stop:
            return slice(0, 0)
        inner = np.arange(start // self.spacing + 1, (stop - 1) // self.spacing + 1) * self.spacing
        upper, down = np.divmod(np.concatenate([[start], inner, [stop - 1]]), self.spacing)
        part = (down / self.spacing)[:, np.newaxis]
        y = (1 - part) * self.nodes[1, upper] + part * self.nodes[1, upper + 1]
        y = y[np.isfinite(y)]
        if not y.size:
            return slice(0, 0)
        first = int(np.clip(np.floor(y.min()) - MARGIN, 0, height))
        return slice(first, int(np.clip(np.ceil(y.max()) + MARGIN + 1, first, height)))

    def below(self, row: int) -> PixelMap:
        """Return the map into a source that begins at that row of the whole one."""
        return replace(self, nodes=self.nodes - np.array([0, row])[:, np.newaxis, np.newaxis])


@dataclass(frozen=True, eq=False)
class Polynomial:
    """A mapping of the plane: polynomials in x and y around a middle.

    Parameters
    ----------
    middle : (float, float)
        x and y, px, around which they are developed.
    unit : float
        px; the arguments are ``(x - middle) / unit``.
    coefficients : ndarray of float64, shape (terms, 2)
        px, for 1, x, y and, with six terms, x^2, x y, y^2.
    """

    middle: tuple[float, float]
    unit: float
    coefficients: Floats

    @property
    def matrix(self) -> Floats:
        """The linear part, shape (2, 2): how x and y of the result change by x and by y."""
        matrix: Floats = self.coefficients[1:3].T / self.unit
        return matrix

    def __call__(self, x: Floats, y: Floats) -> tuple[Floats, Floats]:
        """Return where positions (px) come to lie."""
        places = self.terms(x, y, len(self.coefficients)) @ self.coefficients
        return places[..., 0], places[..., 1]

    def terms(self, x: Floats, y: Floats, count: int) -> Floats:
        """Return the first 3 or 6 terms at positions, shape (..., count)."""
        x, y = (np.asarray(x) - self.middle[0]) / self.unit, (np.asarray(y) - self.middle[1]) / self.unit
        return np.stack([np.ones_like(x), x, y, x * x, x * y, y * y][:count], axis=-1)


def pixel_map(target: WCS | Polynomial, shape: tuple[int, int], source: WCS | None = None) -> PixelMap:
    """Map the pixels of a target grid into a source frame.

    Parameters
    ----------
    target : WCS or Polynomial
        World coordinates of the target grid, distortions included; or a polynomial from its pixels to those
        of the source (`toros.science.registration`), then without `source`.
    shape : (int, int)
        Rows and columns of the target.
    source : WCS, optional
        World coordinates of the source frame.

    Returns
    -------
    PixelMap
        Good to 0.001 px. It has a node every 64 px, or more where the mapping is bent so much.

    Raises
    ------
    BadParameters
        If `target` is a WCS without one of the source.
    """
    if isinstance(target, WCS) and source is None:
        raise BadParameters("to map one frame to another takes the world coordinates of both")
    spacing = _SPACING
    nodes = _nodes(target, source, shape, spacing)
    while spacing > _LEAST_SPACING:
        finer = _nodes(target, source, shape, spacing // 2)
        bend = np.abs(finer - _halved(nodes)[:, : finer.shape[1], : finer.shape[2]])
        if bend[np.isfinite(bend)].max(initial=0) < _MAP_ERROR:
            break
        nodes, spacing = finer, spacing // 2
    return PixelMap(shape, nodes, spacing)


def resample(image: Image, places: PixelMap, rows: slice = slice(None)) -> Image:
    """Bring an image onto another pixel grid.

    Parameters
    ----------
    image : Image
        Finite everywhere. The sky should be subtracted where the area of pixels varies.
    places : PixelMap
        Where the pixels of the result lie in it.
    rows : slice
        Consecutive rows of the target that are wanted.

    Returns
    -------
    Image
        Those rows, in the unit of `image`. Flagged pixels are left out of the sum, and the other weights grow in
        their place; a result in which flagged pixels have a share above a tenth has their flags. Where less than half
        of the kernel is left it is the nearest pixel as it is. Pixels outside the source, by more than half a pixel,
        are flagged ``NO_DATA``, with data and variance 0.
    """
    start, stop = bounds_of(rows, places.shape[0])
    size = (stop - start, places.shape[1])
    result = Image(np.empty(size, np.float32), np.empty(size, np.float32), np.empty(size, np.uint8))
    for band in tiles_of(stop - start, _BAND_ROWS):
        needed = places.source_rows(slice(start + band.start, start + band.stop), image.shape[0])
        source = Image(image.data[needed], image.variance[needed], image.mask[needed])
        target = Image(result.data[band], result.variance[band], result.mask[band])
        _fill(target, start + band.start, source, places.below(needed.start))
    return result


def _fill(target: Image, first: int, image: Image, places: PixelMap) -> None:
    """Fill rows of the target, from row `first` on, with what the rows of an image hold that are needed for them."""
    # numba is for those who resample, not for all who import this module
    from toros.science.resample_kernels import Source, Target, lanczos_table, mark_near_flags, resample_rows

    height, width = image.shape
    if height == 0:
        target.data[...] = target.variance[...] = 0
        target.mask[...] = np.uint8(PixelFlag.NO_DATA)
        return
    near: MaskPlane = np.zeros(image.shape, np.uint8)
    mark_near_flags(image.mask, near)
    stride = width + _PADDING * (width % _ALIASED == 0)
    data, variance = _in_rows(image.data, stride), _in_rows(image.variance, stride)
    mask = np.ascontiguousarray(image.mask)
    source = Source(height, width, stride, data, variance, mask.reshape(-1), near.reshape(-1))
    planes = Target(target.data, target.variance, target.mask)
    resample_rows(source, places.nodes, places.spacing, first, lanczos_table(), planes)


def _in_rows(plane: Plane, stride: int) -> Plane:
    """Return a plane in one dimension, its rows `stride` values apart; what lies between them is 0."""
    height, width = plane.shape
    if stride == width:
        return np.ascontiguousarray(plane, np.float32).reshape(-1)
    rows = np.empty((height, stride), np.float32)
    rows[:, :width], rows[:, width:] = plane, 0
    return rows.reshape(-1)


def _nodes(target: WCS | Polynomial, source: WCS | None, shape: tuple[int, int], spacing: int) -> Floats:
    """Return the places in the source of every so many target pixels, shape (2, rows, columns)."""
    along_y, along_x = (spacing * np.arange((length - 1) // spacing + 2.0) for length in shape)
    y, x = np.meshgrid(along_y, along_x, indexing="ij")
    if isinstance(target, Polynomial):
        return np.stack(target(x, y))
    assert source is not None
    return _through_the_sky(target, source, x, y)


def _halved(nodes: Floats) -> Floats:
    """Return nodes at half the distance, the new ones half-way between the old ones."""
    for axis in (1, 2):
        before, after = np.split(nodes, [1], axis)[1], np.split(nodes, [-1], axis)[0]
        pairs = np.stack([after, (before + after) / 2], axis + 1)
        size = list(nodes.shape)
        size[axis] = 2 * (size[axis] - 1)
        nodes = np.concatenate([pairs.reshape(size), np.split(nodes, [-1], axis)[1]], axis)
    return nodes


def _through_the_sky(target: WCS, source: WCS, x: Floats, y: Floats) -> Floats:
    """Return the places in the source of target pixels; not a number where it has none for that piece of sky."""
    sky = np.array(target.all_pix2world(x.ravel(), y.ravel(), 0))
    places = np.array(source.wcs_world2pix(*sky, 0))
    ahead = np.isfinite(places).all(axis=0)
    sky = sky[:, ahead]
    if sky.size:
        places[:, ahead] = _found(source, sky)
    return places.reshape(2, *x.shape)


def _found(source: WCS, sky: Floats) -> Floats:
    """Return the places, shape (2, n), of positions on the sky; not a number where there is none."""
    try:
        places = np.array(source.all_world2pix(*sky, 0, tolerance=1e-5, maxiter=30))
    except NoConvergence as error:  # far outside the frame distortion polynomials run wild
        places = np.array(error.best_solution.T)
    with np.errstate(invalid="ignore"):
        again = np.array(source.all_pix2world(*places, 0))
        east = _wrapped(again[0] - sky[0]) * np.cos(np.radians(sky[1]))
        miss = np.hypot(east, again[1] - sky[1])
        places[:, ~(miss < _ROUND_TRIP * _pixel_scale(source))] = np.nan
    return places


def _wrapped(degrees: Floats) -> Floats:
    """Return differences of angles between -180 and 180 degrees."""
    return (degrees + 180) % 360 - 180


def _pixel_scale(wcs: WCS) -> float:
    """Return degrees per pixel."""
    return float(np.sqrt(np.abs(np.linalg.det(wcs.pixel_scale_matrix))))
