"""Cosmic rays in a single frame: L.A.Cosmic, evaluated where a cosmic ray can be.

L.A.Cosmic (van Dokkum 2001, PASP 113, 1420) finds edges sharper than the optics can make: a Laplacian of the
frame in units of its noise, freed of its own local median, and compared with the fine structure of
the sky, so that stars are spared. Its medians over whole frames are what makes it slow. But freeing a
positive Laplacian of its median can only lower it: pixels whose Laplacian is below the limit
need no median at all. Some 0.1 % remain, and they alone are looked at closely.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toros.errors import BadParameters, NotFinite, WrongGeometry
from toros.science.flags import MaskPlane, PixelFlag, is_flagged
from toros.science.geometry import tiles_of
from toros.science.noise import sky_level
from toros.science.sorting import median_of

Indices = NDArray[np.intp]

_MARGIN = 4
"""Pixels mirrored around the frame: the reach of a median of 7 x 7 medians of 3 x 3."""

_ROWS = 32
_CELL = 64
_CHUNK = 1 << 14
_LEAST_STRUCTURE = 0.01
_LEAST_VARIANCE = 1e-5


def find_cosmic_rays(
    data: NDArray[np.float32],
    variance: NDArray[np.float32],
    mask: MaskPlane | None = None,
    *,
    sigma_clip: float = 6.0,
    sigma_fraction: float = 0.3,
    object_limit: float = 5.0,
    iterations: int = 4,
) -> NDArray[np.bool_]:
    """Return where cosmic rays hit a frame.

    Parameters
    ----------
    data : ndarray of float32
        Calibrated frame, sky included, in any unit.
    variance : ndarray of float32
        Of `data`, in its unit squared. Its median over 5 x 5 pixels is the noise model.
    mask : ndarray of uint8, optional
        Bits of `PixelFlag`. Flagged pixels are never reported, nor are those within two pixels of
        a saturated one: the edges of saturated stars and their trails are as sharp as cosmic rays.
        Flagged pixels that are not saturated are replaced by the median of their good neighbours.
    sigma_clip : float
        Limit of the Laplacian, in units of the noise. At 4.5, astroscrappy's default, noise peaks
        are found by the hundred in a large frame; at 6 they are not.
    sigma_fraction : float
        Neighbours of a cosmic ray belong to it above this part of `sigma_clip`.
    object_limit : float
        Least contrast between Laplacian and fine structure; raise it for a sharper point-spread function.
    iterations : int
        Rounds at most. In each one the pixels found are replaced, and what lay behind them is looked at.

    Returns
    -------
    ndarray of bool

    Raises
    ------
    WrongGeometry, NotFinite, BadParameters
        If shapes differ, unmasked values are not finite, or limits make no sense.

    Notes
    -----
    Against the paper: the noise of the central pixel stands for that of its 24 neighbours in the median
    of the Laplacian. Saturated stars must be flagged.
    """
    _require_usable(data, variance, mask)
    if not (sigma_clip > 0 and 0 < sigma_fraction <= 1 and object_limit > 0 and iterations >= 1):
        raise BadParameters("the limits of the search for cosmic rays must be above zero")
    if mask is not None and mask.all():
        return np.zeros(data.shape, np.bool_)
    frame = _Frame(data, variance, mask)
    found = np.zeros(frame.pixels.size, np.bool_)
    candidates = frame.candidates(sigma_clip)
    for _ in range(iterations):
        hits = _grow(frame, frame.peaks(candidates, sigma_clip, object_limit), sigma_clip, sigma_fraction)
        new = hits[~found[hits]]
        if not new.size:
            break
        found[new] = True
        frame.replace(new, found)
        candidates = frame.neighbours(new, 2)
    return frame.unpadded(found).copy()


def _require_usable(data: NDArray[Any], variance: NDArray[Any], mask: MaskPlane | None) -> None:
    for name, plane in (("variance", variance), ("mask", mask)):
        if plane is not None and plane.shape != data.shape:
            raise WrongGeometry(f"the {name} has {plane.shape} pixels, the frame {data.shape}")
    if min(data.shape) <= _MARGIN:
        raise WrongGeometry(f"a frame of {data.shape} pixels is too small to look for cosmic rays")
    with np.errstate(invalid="ignore"):
        is_finite = np.isfinite(data.sum()) and np.isfinite(variance.sum())
    if not is_finite:
        raise NotFinite("the frame or its variance holds values that are not numbers")


class _Frame:
    """The frame inside a mirrored margin, where pixels are named by flat indices."""

    def __init__(
        self, data: NDArray[np.float32], variance: NDArray[np.float32], mask: MaskPlane | None
    ) -> None:
        self.shape = data.shape
        self.variance = variance
        self.stride = data.shape[1] + 2 * _MARGIN
        padded = np.empty((data.shape[0] + 2 * _MARGIN, self.stride), np.float32)
        usable = np.zeros(padded.shape, np.bool_)
        self.pixels, self.usable = padded.reshape(-1), usable.reshape(-1)
        self.unpadded(padded)[...] = data
        self.unpadded(usable)[...] = True if mask is None else mask == 0
        if mask is not None:
            self._exclude(data, mask)
        _mirror(padded)
        _mirror(padded.T)

    def _exclude(self, data: NDArray[np.float32], mask: MaskPlane) -> None:
        """Keep away from saturated stars, and replace the other flagged pixels by what is around them."""
        saturated = is_flagged(mask, PixelFlag.SATURATED)
        for part in _chunks(self.padded_index(saturated)):
            self.usable[part[:, np.newaxis] + self.square(2).ravel()] = False
        worthless = self.padded_index((mask != 0) & ~saturated)
        near = [self.usable[worthless + step] for step in self.square(2)[::2, ::2].ravel()]
        self.pixels[worthless] = sky_level(data, mask)
        self.replace(worthless[np.logical_or.reduce(near)])

    def padded_index(self, where: NDArray[np.bool_]) -> Indices:
        """Return the flat indices of the pixels of the frame where an array of its shape is true."""
        row, column = np.divmod(np.flatnonzero(where), self.shape[1])
        index: Indices = (row + _MARGIN) * self.stride + column + _MARGIN
        return index

    def unpadded(self, plane: NDArray[Any]) -> NDArray[Any]:
        """Return the part of a padded plane that is the frame."""
        return plane.reshape(-1, self.stride)[_MARGIN:-_MARGIN, _MARGIN:-_MARGIN]

    def square(self, radius: int) -> NDArray[np.intp]:
        """Return the flat offsets of a square around a pixel, shape (side, side)."""
        reach = np.arange(-radius, radius + 1)
        offsets: Indices = reach[:, np.newaxis] * self.stride + reach
        return offsets

    def neighbours(self, index: Indices, radius: int) -> Indices:
        """Return the usable pixels within squares around others, each of them once."""
        near = np.unique(index[:, np.newaxis] + self.square(radius).ravel())
        return near[self.usable[near]]

    def replace(self, index: Indices, found: NDArray[np.bool_] | None = None) -> None:
        """Replace pixels by the median of those of 5 x 5 that are usable and not found yet, if any."""
        for part in _chunks(index):
            window = part[:, np.newaxis] + self.square(2).ravel()
            known = self.usable[window] if found is None else self.usable[window] & ~found[window]
            values = np.sort(np.where(known, self.pixels[window], np.float32(np.inf)), axis=1)
            count = known.sum(axis=1)
            middle = np.take_along_axis(values, (np.maximum(count, 1) - 1)[:, np.newaxis] // 2, axis=1)[:, 0]
            self.pixels[part] = np.where(count > 0, middle, self.pixels[part])

    def candidates(self, sigma_clip: float) -> Indices:
        """Return the pixels that are sharp enough for a cosmic ray, and some more.

        The Laplacian never exceeds ``2 v - min(left, right) - min(above, below)``, which is cheaper.
        """
        frame = self.pixels.reshape(-1, self.stride)
        height, width = self.shape
        found = []
        for rows in tiles_of(height, _ROWS):
            top, bottom, right = rows.start + _MARGIN, rows.stop + _MARGIN, _MARGIN + width
            sharpness = frame[top:bottom, _MARGIN:right] * np.float32(2)
            sharpness -= np.minimum(
                frame[top:bottom, _MARGIN - 1 : right - 1], frame[top:bottom, _MARGIN + 1 : right + 1]
            )
            sharpness -= np.minimum(
                frame[top - 1 : bottom - 1, _MARGIN:right], frame[top + 1 : bottom + 1, _MARGIN:right]
            )
            limit = np.float32(2 * sigma_clip) * np.sqrt(_variance_floor(self.variance[rows]))
            row, column = np.divmod(np.flatnonzero(sharpness > limit), width)
            found.append((row + top) * self.stride + column + _MARGIN)
        index = np.concatenate(found)
        usable: Indices = index[self.usable[index]]
        return usable

    def peaks(self, index: Indices, sigma_clip: float, object_limit: float) -> Indices:
        """Return the pixels among those given that are the heart of a cosmic ray."""
        hits = [index[:0]]
        for part in _chunks(index):
            noise = self.noise(part)
            sharp = self.laplacian(part) > 2 * sigma_clip * noise
            part, noise = part[sharp], noise[sharp]
            significance = self.significance(part, noise)
            sharp = significance > sigma_clip
            part, noise, significance = part[sharp], noise[sharp], significance[sharp]
            hits.append(part[significance > object_limit * self.fine_structure(part, noise)])
        return np.concatenate(hits)

    def laplacian(self, index: Indices) -> NDArray[np.float32]:
        """Return the positive part of the Laplacian of the frame subsampled two times (eqs. 5 to 10)."""
        twice = 2 * self.pixels[index]
        left, right = twice - self.pixels[index - 1], twice - self.pixels[index + 1]
        above, below = self.pixels[index - self.stride], self.pixels[index + self.stride]
        total: NDArray[np.float32] = np.maximum(left - above, 0)
        for side, other in ((left, below), (right, above), (right, below)):
            total += np.maximum(side - other, 0)
        return total * np.float32(0.25)

    def noise(self, index: Indices) -> NDArray[np.float32]:
        """Return the root of the median variance of 5 x 5 pixels (eq. 11)."""
        row, column = np.divmod(index, self.stride)
        rows = [np.clip(row - _MARGIN + step, 0, self.shape[0] - 1) for step in range(-2, 3)]
        columns = [np.clip(column - _MARGIN + step, 0, self.shape[1] - 1) for step in range(-2, 3)]
        median = median_of([self.variance[y, x] for y in rows for x in columns])
        noise: NDArray[np.float32] = np.sqrt(np.maximum(median, np.float32(_LEAST_VARIANCE)))
        return noise

    def significance(self, index: Indices, noise: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the Laplacian over its noise, freed of its median over 5 x 5 pixels (eqs. 12 and 13)."""
        values = [self.laplacian(index + offset) for offset in self.square(2).ravel()]
        freed: NDArray[np.float32] = (values[12] - median_of(values)) / (2 * noise)
        return freed

    def fine_structure(self, index: Indices, noise: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the median of 3 x 3 pixels without its median over 7 x 7, over the noise (eq. 14)."""
        window = self.pixels[self.square(4)[:, :, np.newaxis] + index]
        smooth = median_of([window[y : y + 7, x : x + 7] for y in range(3) for x in range(3)])
        structure: NDArray[np.float32] = (smooth[3, 3] - median_of(list(smooth.reshape(49, -1)))) / noise
        return structure.clip(np.float32(_LEAST_STRUCTURE))


def _grow(frame: _Frame, hits: Indices, sigma_clip: float, sigma_fraction: float) -> Indices:
    """Return the hits and their neighbours: those as significant, then once more those less so."""
    for limit in (sigma_clip, sigma_clip * sigma_fraction):
        for part in _chunks(frame.neighbours(hits, 1)):
            grown = part[frame.significance(part, frame.noise(part)) > limit]
            hits = np.union1d(hits, grown)
    return hits


def _chunks(index: Indices) -> Iterator[Indices]:
    for start in range(0, index.size, _CHUNK):
        yield index[start : start + _CHUNK]


def _variance_floor(variance: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return, for every column of a tile, a variance that medians of 5 x 5 pixels nearby do not fall below.

    It is half of the first decile of a cell: low enough for a variance that rises ten times across it.
    """
    step = 8
    sample = variance[:: step // 2, ::step]
    cells = -(-sample.shape[1] // (_CELL // step))
    padded = np.pad(sample, ((0, 0), (0, cells * (_CELL // step) - sample.shape[1])), mode="edge")
    values = padded.reshape(sample.shape[0], cells, -1).swapaxes(0, 1).reshape(cells, -1)
    decile = np.partition(values, values.shape[1] // 10, axis=1)[:, values.shape[1] // 10]
    floor = np.float32(0.5) * np.maximum(decile, np.float32(_LEAST_VARIANCE))
    return np.repeat(floor, _CELL)[: variance.shape[1]]


def _mirror(padded: NDArray[Any]) -> None:
    """Fill the first and the last rows of the margin with the rows they face."""
    padded[:_MARGIN] = padded[2 * _MARGIN : _MARGIN : -1]
    padded[-_MARGIN:] = padded[-_MARGIN - 2 : -2 * _MARGIN - 2 : -1]
