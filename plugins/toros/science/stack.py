"""Stacks: many frames of one field, on different pixel grids, as one deep image.

Every frame is freed of its sky, brought onto the grid of the stack (`toros.science.resample`) and to a common unit of
flux. What disagrees with the median - satellites, cosmic rays, asteroids - is left out: it must be off by
more than the noise and a share of the light nearby, because a star in better seeing has a brighter core, and that is
no error (Gruen, Seitz & Bernstein 2014, PASP 126, 158). The rest is averaged with constant weights for each frame,
so that stars keep one profile, and fluxes are not biased by their own noise.

The stack is made in bands of rows, and a frame is only asked for the rows that a band needs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import maximum_filter1d

from toros.errors import BadParameters, TooFewFrames, WrongGeometry
from toros.science.background import Background
from toros.science.flags import MaskPlane
from toros.science.geometry import Rows, tiles_of
from toros.science.image import Image, Plane
from toros.science.resample import PixelMap, resample
from toros.science.sorting import order_values

VarianceOf = Callable[[NDArray[Any], slice], Plane]

_BAND_BYTES = 48e6
"""Memory for the rows of all frames that are stacked at a time."""

_LEAST_ROWS, _MOST_ROWS = 16, 256
_BYTES = 9
"""Of a pixel of an image: data, variance and mask."""

_TILE_PIXELS = 1 << 14
"""Pixels of each frame that are ordered at a time: those of many frames stay in the processor's cache."""

_SIGMA = 4.0
_SIGMA_BESIDE = 2.0
"""Standard deviations from which on a value is left out, and a value beside one that is left out."""

_SHARE = 0.3
"""Share of the light nearby by which frames of the same seeing may differ: sampling, guiding, alignment."""

_NEARBY = 5
"""Side of the square, px, in which the light nearby is looked for."""

_RIM = _NEARBY // 2 + 1
"""Rows above and below that have a say in whether a value is left out."""

_ABOVE_NOISE = 2.5
"""The brightest of the pixels nearby stands out of the noise of the median by that much on empty sky."""


@dataclass(frozen=True, eq=False)
class StackFrame:
    """A calibrated frame that goes into a stack.

    Parameters
    ----------
    data, mask : Rows
        Pixels with the sky (electron), and bits of `PixelFlag`: arrays, or images that are
        read when rows are asked for.
    variance : callable
        Takes some rows of `data` and the slice that they are; returns their variance, electron^2, as
        `toros.science.calibrate.variance_of` does.
    places : PixelMap
        Where the pixels of the stack lie in the frame.
    sky : Background or float
        What is subtracted, electron.
    scale : float
        What a value is multiplied with for the common unit of flux.
    weight : float
        Of the frame in the mean, above 0.
    fwhm : float
        Of its stars, in any unit that is the same for all frames.
    """

    data: Rows
    mask: Rows
    variance: VarianceOf
    places: PixelMap
    sky: Background | float = 0.0
    scale: float = 1.0
    weight: float = 1.0
    fwhm: float = 1.0

    def __post_init__(self) -> None:
        if tuple(self.mask.shape) != tuple(self.data.shape):
            raise WrongGeometry(f"the mask has {self.mask.shape} pixels, the frame {self.data.shape}")
        if not (0 < self.scale < np.inf and 0 < self.weight < np.inf and 0 < self.fwhm < np.inf):
            raise BadParameters(
                f"scale {self.scale}, weight {self.weight} and FWHM {self.fwhm} of a frame must be above zero"
            )

    def aligned(self, rows: slice) -> Image:
        """Return rows of the frame as the stack needs them: without sky, on its grid, in its unit."""
        needed = self.places.source_rows(rows, self.data.shape[0])
        pixels = self.data[needed]
        sky = self.sky.level(needed) if isinstance(self.sky, Background) else np.float32(self.sky)
        source = Image(
            np.subtract(pixels, sky, dtype=np.float32),
            self.variance(pixels, needed),
            np.asarray(self.mask[needed]),
        )
        found = resample(source, self.places.below(needed.start), rows)
        found.data[...] *= np.float32(self.scale)
        found.variance[...] *= np.float32(self.scale**2)
        return found


@dataclass(frozen=True, eq=False)
class Stack:
    """A deep image, and what it is made of.

    Attributes
    ----------
    image : Image
        Without sky. Where no frame has a good value, flags say why, and data are the mean of the flagged
        ones. A star that is saturated in some of the frames is flagged so.
    n_frames : ndarray of uint16, shape (ny, nx)
        Frames that each pixel is the mean of.
    clipped : ndarray of float64, shape (n,)
        Part of the good pixels of each frame that were left out because they disagreed.
    """

    image: Image
    n_frames: NDArray[np.uint16]
    clipped: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class StackWeights:
    """What brings frames to one unit of flux, and what they count.

    Attributes
    ----------
    scale, weight : ndarray of float64, shape (n,)
        Of `StackFrame`; the greatest weight is 1.
    standard : int
        The frame of the greatest weight. The stack has its unit: its zero point and exposure time hold for the stack.
    """

    scale: NDArray[np.float64]
    weight: NDArray[np.float64]
    standard: int


def stack_weights(
    zero_point: ArrayLike, sky_noise: ArrayLike, fwhm: ArrayLike, exptime: ArrayLike
) -> StackWeights:
    """Weigh frames by what they tell of a faint star: the inverse of the variance of its flux.

    Parameters
    ----------
    zero_point : array, shape (n,)
        Magnitude of one electron per second (`toros.science.zero_point`).
    sky_noise : array, shape (n,)
        Standard deviation of a pixel of the sky, electron.
    fwhm : array, shape (n,)
        Of the stars, px.
    exptime : array, shape (n,)
        s.

    Returns
    -------
    StackWeights
        ``1 / (scale * sky_noise * fwhm)**2``, relative to the greatest (e.g. Annis et al. 2014, ApJ 794, 120).

    Raises
    ------
    BadParameters
        If a number is not finite, or one but the zero point not positive.
    """
    zero_point, sky_noise, fwhm, exptime = (
        np.atleast_1d(np.asarray(values, np.float64)) for values in (zero_point, sky_noise, fwhm, exptime)
    )
    numbers = np.stack(np.broadcast_arrays(10 ** (-0.4 * zero_point), sky_noise, fwhm, exptime))
    if not (np.isfinite(numbers).all() and (numbers > 0).all()):
        raise BadParameters(
            "zero points, sky noises, widths and exposure times of frames must be positive numbers"
        )
    scale = 10 ** (-0.4 * zero_point) / exptime
    weight = 1 / np.square(scale * sky_noise * fwhm)
    standard = int(np.argmax(weight))
    return StackWeights(scale / scale[standard], weight / weight[standard], standard)


def stack(frames: Sequence[StackFrame]) -> Stack:
    """Stack frames.

    Parameters
    ----------
    frames : sequence of StackFrame
        Their maps are from one grid. From three on each value is compared with the median. Of two the one
        farther from the sky is left out if they disagree grossly; a single frame is passed on.

    Returns
    -------
    Stack

    Raises
    ------
    TooFewFrames
        If there is none.
    WrongGeometry
        If the maps are from different grids.
    StorageUnavailable, FileMissing, Truncated
        As the rows of the frames raise them.

    Notes
    -----
    The variance is that of single pixels; that of sums over many is higher by the factor
    `toros.science.resample.CORRELATION`.
    """
    if not frames:
        raise TooFewFrames("there is no frame to stack")
    shapes = {frame.places.shape for frame in frames}
    if len(shapes) > 1:
        raise WrongGeometry(
            f"the frames are mapped from grids of {' and '.join(map(str, sorted(shapes)))} pixels"
        )
    shape = shapes.pop()
    image = Image(np.empty(shape, np.float32), np.empty(shape, np.float32), np.empty(shape, np.uint8))
    n_frames = np.empty(shape, np.uint16)
    good, left_out = np.zeros(len(frames)), np.zeros(len(frames))
    shares = _shares(frames)
    height = int(np.clip(_BAND_BYTES / (_BYTES * len(frames) * shape[1]), _LEAST_ROWS, _MOST_ROWS))
    for rows in tiles_of(shape[0], height):
        band = slice(max(rows.start - _RIM, 0), min(rows.stop + _RIM, shape[0]))
        inner = slice(rows.start - band.start, rows.stop - band.start)
        cube = _Cube.of(frames, band)
        cube.clip(shares)
        kept, dropped = cube.counts(inner)
        good += kept + dropped
        left_out += dropped
        cube.average(
            frames, inner, Image(image.data[rows], image.variance[rows], image.mask[rows]), n_frames[rows]
        )
    return Stack(image, n_frames, left_out / np.maximum(good, 1))


def _shares(frames: Sequence[StackFrame]) -> Plane:
    """Return for each frame by what share of the light nearby it may differ from the median.

    The peak of a star is inversely proportional to the square of its width.
    """
    fwhm = np.array([frame.fwhm for frame in frames])
    shares: Plane = np.asarray(_SHARE + np.abs(np.square(np.median(fwhm) / fwhm) - 1), np.float32)
    return shares


@dataclass(frozen=True, eq=False)
class _Cube:
    """Rows of all frames on one grid, shape (frames, rows, columns)."""

    values: Plane
    variances: Plane
    flags: MaskPlane

    @classmethod
    def of(cls, frames: Sequence[StackFrame], rows: slice) -> _Cube:
        size = (len(frames), rows.stop - rows.start, frames[0].places.shape[1])
        cube = cls(np.empty(size, np.float32), np.empty(size, np.float32), np.empty(size, np.uint8))
        for number, frame in enumerate(frames):
            image = frame.aligned(rows)
            cube.values[number], cube.variances[number], cube.flags[number] = (
                image.data,
                image.variance,
                image.mask,
            )
        return cube

    def clip(self, shares: Plane) -> None:
        """Flag what disagrees with the median."""
        from toros.science.stack_kernels import clip, complete_medians

        size = self.values.shape[1:]
        middle, noise, count = self._medians(), np.empty(size, np.float32), np.empty(size, np.uint16)
        complete_medians(self.values, self.variances, self.flags, middle, noise, count)
        brightest = maximum_filter1d(maximum_filter1d(middle, _NEARBY, 0), _NEARBY, 1)
        structure = np.maximum(brightest - np.float32(_ABOVE_NOISE) * noise, 0)
        clip(
            self.values,
            self.variances,
            self.flags,
            middle,
            noise,
            count,
            structure,
            shares,
            _SIGMA,
            _SIGMA_BESIDE,
        )

    def _medians(self) -> Plane:
        """Return the median of all frames, whatever their flags."""
        frames, height, width = self.values.shape
        ranks = tuple({(frames - 1) // 2, frames // 2})
        middle = np.empty((height, width), np.float32)
        for rows in tiles_of(height, max(1, _TILE_PIXELS // width)):
            ordered = order_values(list(self.values[:, rows]), ranks)
            np.add(ordered[ranks[0]], ordered[ranks[-1]], out=middle[rows])
        middle *= np.float32(0.5)
        return middle

    def counts(self, rows: slice) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Return how many values of each frame are good, and how many were left out."""
        from toros.science.stack_kernels import BESIDE, CLIPPED

        flags = self.flags[:, rows].reshape(len(self.flags), -1)
        return (flags == 0).sum(axis=1), (flags & np.uint8(BESIDE | CLIPPED) != 0).sum(axis=1)

    def average(
        self, frames: Sequence[StackFrame], rows: slice, image: Image, n_frames: NDArray[np.uint16]
    ) -> None:
        """Fill an image with the weighted mean of some rows."""
        from toros.science.stack_kernels import average

        weights = np.array([frame.weight for frame in frames], np.float32)
        average(
            self.values,
            self.variances,
            self.flags,
            rows.start,
            weights,
            image.data,
            image.variance,
            image.mask,
            n_frames,
        )
