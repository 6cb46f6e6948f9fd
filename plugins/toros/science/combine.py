"""One master out of many frames: exact median, or clipped mean, with its standard error.

Frames are read a few rows at a time, so that the memory needed depends neither on the number of
frames nor on their height.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from statistics import NormalDist
from typing import Any, Literal

import numpy as np
from astropy.nddata import CCDData, StdDevUncertainty
from numpy.typing import NDArray

from toros.errors import BadParameters, NotFinite, TooFewFrames, WrongGeometry
from toros.science.geometry import Rows, Section, bounds_of, tiles_of
from toros.science.noise import MAD_TO_SIGMA
from toros.science.sorting import Values, order_values

Method = Literal["median", "clipped_mean"]

_CACHE_BYTES = 12_000_000
"""Working memory of a tile that is fastest; what is in use at a time then fits into the second-level cache."""

_PLANES_OF_SUMS = 20
"""Working planes of a tile beside the values of the frames."""


@dataclass(frozen=True)
class CombinedRows:
    """Some rows of a master frame.

    Parameters
    ----------
    rows : slice
        Which rows.
    data : ndarray of float32
        Median or clipped mean, in the unit of the frames.
    uncertainty : ndarray of float32
        Standard error of `data`. Infinite for a single frame, which says nothing about its noise.
    n_used : ndarray of uint16, or None
        How many values were kept in each pixel; None for a median, which uses all of them.
    """

    rows: slice
    data: NDArray[np.float32]
    uncertainty: NDArray[np.float32]
    n_used: NDArray[np.uint16] | None


def combine_rows(
    frames: Sequence[Rows],
    *,
    method: Method = "median",
    memory_limit: int = 64_000_000,
    clip_sigma: float = 4.0,
) -> Iterator[CombinedRows]:
    """Combine frames into a master, a few rows at a time.

    Parameters
    ----------
    frames : sequence of Rows
        Frames of one shape. Integers of up to 32 bits are sorted as they are; wider types as float32,
        and mixed ones in the narrowest type that holds them all.
    method : {"median", "clipped_mean"}
        ``median``: the exact median. Its standard error is taken from the distance between two order
        statistics, those that leave out an eighth of the values at either end: cheap, since the
        network has them at hand, and blind to a few cosmic rays. Below eight frames it is
        the full range, which a cosmic ray widens: the pixel is then taken for less certain than it is.
        ``clipped_mean``: the mean of the values within `clip_sigma` standard deviations of the exact
        median, the deviation taken from the exact median absolute deviation, as ccdproc does with
        ``sigma_clip_func=median, sigma_clip_dev_func=mad_std``. Its standard error is that of
        the mean of the values kept, corrected for the good values that are clipped by chance.
    memory_limit : int
        Bytes of working memory at most. A tile is as large as the processor's cache likes, or smaller.
    clip_sigma : float
        Distance from the median beyond which a value does not count, at least 1.

    Yields
    ------
    CombinedRows
        From the first row to the last.

    Raises
    ------
    TooFewFrames
        Without frames.
    WrongGeometry
        If the frames differ in shape.
    NotFinite
        If NaN or infinite values of a frame would reach the master.
    BadParameters
        If the limits make no sense, or a single row of all frames does not fit into `memory_limit`.

    Notes
    -----
    Integers are not taken more literally than the converter meant them. Its step is the greatest common
    divisor of their differences: 1, or 16 where 12 bits are stored as 16. The error is at least that of
    rounding to this step, and a median deviation of zero, which many equal counts give, is taken as half of it.
    """
    shape, kind = _common_shape(frames), _common_kind(frames)
    if method not in ("median", "clipped_mean"):
        raise BadParameters(f"frames are combined by median or clipped_mean, not by {method!r}")
    if not clip_sigma >= 1:
        raise BadParameters(f"clipping at {clip_sigma} sigma throws away good values; use 3 to 5")
    height = _tile_height(kind, len(frames), shape, memory_limit)
    step = _converter_step(frames) if kind.kind in "iu" else 0
    clips = method == "clipped_mean"
    for rows in tiles_of(shape[0], height):
        values = [frame[rows].astype(kind, copy=False) for frame in frames]
        with np.errstate(invalid="ignore"):  # NaN and infinity are looked for in the result
            combined = _clipped_mean(rows, values, clip_sigma, step) if clips else _median(rows, values, step)
        _require_finite(combined, values)
        yield combined


def combine(
    frames: Sequence[Rows], method: Method = "median", *, unit: str = "adu", clip_sigma: float = 4.0
) -> CCDData:
    """Combine frames into a master that fits into memory; the parameters are those of `combine_rows`.

    Returns
    -------
    CCDData
        Data (float32) in `unit`, with a `StdDevUncertainty`; ``meta["NCOMBINE"]`` is the number of frames.
    """
    shape = _common_shape(frames)
    data, uncertainty = np.empty(shape, np.float32), np.empty(shape, np.float32)
    for tile in combine_rows(frames, method=method, clip_sigma=clip_sigma):
        data[tile.rows], uncertainty[tile.rows] = tile.data, tile.uncertainty
    error = StdDevUncertainty(uncertainty, copy=False)
    return CCDData(data, uncertainty=error, unit=unit, meta={"NCOMBINE": len(frames)})


class CorrectedRows:
    """A frame on its way into a master: ``(frame - bias - dark * dark_scale) * scale``, float32."""

    def __init__(
        self, frame: Rows, bias: Rows | None, dark: Rows | None, dark_scale: float, scale: float
    ) -> None:
        for name, master in (("bias", bias), ("dark", dark)):
            if master is not None and tuple(master.shape) != tuple(frame.shape):
                raise WrongGeometry(
                    f"the master {name} has {tuple(master.shape)} pixels, the frame {tuple(frame.shape)}"
                )
        self.shape = frame.shape
        self._frame, self._bias, self._dark = frame, bias, dark
        self._dark_scale, self._scale = np.float32(dark_scale), np.float32(scale)

    def __getitem__(self, rows: slice, /) -> NDArray[np.float32]:
        values = self._frame[rows].astype(np.float32)
        if self._bias is not None:
            values -= self._bias[rows]
        if self._dark is not None:
            values -= self._dark[rows] * self._dark_scale
        if self._scale != 1:
            values *= self._scale
        return values


def corrected_rows(
    frame: Rows,
    *,
    bias: Rows | None = None,
    dark: Rows | None = None,
    dark_scale: float = 1.0,
    scale: float = 1.0,
) -> Rows:
    """Return a lazy view of a frame on its way into a dark or a flat.

    Parameters
    ----------
    frame : Rows
        Trimmed frame, ADU.
    bias, dark : Rows, optional
        Master frames, ADU, of the same shape.
    dark_scale : float
        Exposure time of the frame over that of the master dark.
    scale : float
        Factor applied last: ``1 / level(...)`` makes the flats of a set alike.

    Returns
    -------
    Rows
        float32, computed when rows are asked for.
    """
    return CorrectedRows(frame, bias, dark, dark_scale, scale)


def level(frame: Rows, region: Section | None = None, *, step: int = 15) -> float:
    """Return the typical value of a frame: the median of every `step`-th pixel of every `step`-th row.

    Parameters
    ----------
    frame : Rows
        Frame, in any unit.
    region : Section, optional
        ``(rows, columns)`` to look at, the whole frame by default; for flats it should be a part
        without vignetting, on one amplifier.
    step : int
        One pixel in ``step**2`` is used; smaller steps are taken by themselves where a region is small.

    Returns
    -------
    float
        In the unit of the frame. At least some 4000 values of any region decide, if it has them: the
        error is at most a fiftieth of the noise of a pixel.
    """
    rows, columns = region if region is not None else (slice(None), slice(None))
    start, stop = bounds_of(rows, frame.shape[0])
    width = len(range(*columns.indices(frame.shape[1])))
    if not (stop > start and width):
        raise BadParameters(f"the region {region} holds no pixel of a frame of {tuple(frame.shape)}")
    step = max(1, min(step, math.isqrt((stop - start) * width) // 64)) | 1  # odd: meets all Bayer colours
    sample = [frame[slice(row, row + 1)][0, columns][::step] for row in range(start, stop, step)]
    middle = float(np.median(np.concatenate(sample)))
    if not math.isfinite(middle):
        raise NotFinite("a frame whose level was asked for holds NaN or infinite values")
    return middle


# ------------------------------------------------------------------------------------------ input


def _common_shape(frames: Sequence[Rows]) -> tuple[int, int]:
    if not frames:
        raise TooFewFrames("there is no frame to combine")
    shapes = {tuple(frame.shape) for frame in frames}
    if len(shapes) > 1:
        raise WrongGeometry(f"the frames to combine differ in size: {sorted(shapes)}")
    height, width = shapes.pop()
    return height, width


def _common_kind(frames: Sequence[Rows]) -> np.dtype[Any]:
    """Return the type in which the frames are sorted: their own, or float32 where that is too wide."""
    kind = np.result_type(*{frame[0:1].dtype.newbyteorder("=") for frame in frames})
    return kind if kind.kind in "iu" and kind.itemsize <= 4 else np.dtype(np.float32)


def _converter_step(frames: Sequence[Rows]) -> int:
    """Return the greatest common divisor of the differences of the counts in the middle row of every frame."""
    middle = frames[0].shape[0] // 2
    counts = np.concatenate([frame[middle : middle + 1][0] for frame in frames]).astype(np.int64)
    return int(np.gcd.reduce(counts - counts[0])) or 1


def _tile_height(kind: np.dtype[Any], count: int, shape: tuple[int, int], memory_limit: int) -> int:
    """Return how many rows of all frames are read at once.

    The values are held as read, ordered, and as distances from the middle; some planes of sums are added.
    """
    row = shape[1] * (3 * count * kind.itemsize + _PLANES_OF_SUMS * _wide(kind).itemsize)
    if row > memory_limit:
        raise BadParameters(
            f"one row of {count} frames takes {row} bytes, more than the limit of {memory_limit}",
            advice="raise the memory limit, or combine fewer frames",
        )
    return max(1, min(memory_limit, _CACHE_BYTES) // row)


def _require_finite(result: CombinedRows, values: Values) -> None:
    """Blame the frame with the bad values: a NaN among the values of a pixel always reaches its result."""
    if values[0].dtype.kind != "f" or (len(values) > 1 and np.isfinite(result.uncertainty).all()):
        return
    for number, value in enumerate(values, start=1):
        if not np.isfinite(value).all():
            where = f"rows {result.rows.start} to {result.rows.stop - 1}"
            raise NotFinite(f"frame {number} of {len(values)} holds NaN or infinite values in {where}")


# ------------------------------------------------------------------------------------- statistics


def _median(rows: slice, values: Values, step: int) -> CombinedRows:
    count, kind = len(values), values[0].dtype
    margin = count // 8
    low, high = margin, count - 1 - margin
    ordered = order_values(values, (low, (count - 1) // 2, count // 2, high))
    wide = _wide(kind)
    data = np.add(ordered[(count - 1) // 2], ordered[count // 2], dtype=wide)
    data *= wide.type(0.5)
    if count == 1:
        uncertainty = np.full(data.shape, np.inf, np.float32)
    else:
        uncertainty = _distance(ordered[low], ordered[high]).astype(np.float32)
        uncertainty *= np.float32(_median_error(count) / _expected_distance(margin, count))
        _add_rounding(uncertainty, step, count)
    return CombinedRows(rows, data.astype(np.float32, copy=False), uncertainty, None)


def _clipped_mean(rows: slice, values: Values, clip_sigma: float, step: int) -> CombinedRows:
    data, error, n_used = _mean_of_the_kept(values, clip_sigma, step)
    if len(values) == 1:
        error = np.full_like(error, np.inf)
    else:
        error *= np.float32(_small_sample_correction(len(values), clip_sigma))
        _add_rounding(error, step, len(values))
    return CombinedRows(rows, data, error, n_used)


def _mean_of_the_kept(
    values: Values, clip_sigma: float, step: int
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.uint16]]:
    """Return the clipped mean, its standard error, and the number of values kept.

    It is the distances from the middle value (of an even number: from the nearer one of the two) that
    are clipped and summed: they are exact, and stay in the narrow type of the values.
    """
    count = len(values)
    half, wide = count // 2, _wide(values[0].dtype)
    ordered = order_values(values, tuple(range(count)))
    lower, upper = ordered[(count - 1) // 2], ordered[half]
    gap = _distance(lower, upper).astype(wide) * wide.type(0.5)
    below = [_distance(ordered[half - 1 - rank], lower) for rank in range(half)]
    above = [_distance(upper, ordered[count - half + rank]) for rank in range(half)]
    limit = _clip_distance(below, above, gap, clip_sigma, step, is_even=count % 2 == 0)
    n_below, sum_below, squares_below = _sums_within(below, limit, gap)
    n_above, sum_above, squares_above = _sums_within(above, limit, gap)
    n_used = n_below + n_above + count % 2
    offset = (sum_above - sum_below) / n_used
    mean = np.add(lower, upper, dtype=wide) * wide.type(0.5) + offset
    squares = np.maximum(squares_below + squares_above - n_used * offset**2, 0)
    error = np.sqrt(squares / (n_used * np.maximum(n_used - 1, 1)))
    return mean.astype(np.float32), error.astype(np.float32), n_used.astype(np.uint16)


@cache
def _small_sample_correction(count: int, clip_sigma: float) -> float:
    """Return true over stated error of a clipped mean of normal values.

    The scatter of the few values that are kept is too small: where the median deviation is small by
    chance, good values are clipped. There is no closed form; a fixed set of random values gives it to 1 %.
    """
    if count > 40:
        return 1.0
    random = np.random.default_rng(count)
    values = list(random.standard_normal((count, 1, 1 << 15), dtype=np.float32))
    mean, error, _ = _mean_of_the_kept(values, clip_sigma, step=0)
    return float(np.sqrt(np.mean(mean**2) / np.mean(error**2)))


def _clip_distance(
    below: Values, above: Values, gap: NDArray[Any], clip_sigma: float, step: int, *, is_even: bool
) -> NDArray[Any]:
    """Return how far from its middle value, in the type of the distances, a value still counts.

    `below` and `above` ascend. Paired one up, the other down, the smaller of each pair are the
    nearer half of all distances and the larger the farther half (Batcher's bitonic step): their
    maximum and minimum enclose the median distance.
    """
    if not below:
        return gap
    deviation = np.minimum(below[0], above[-1])
    farther = np.maximum(below[0], above[-1])
    for one, other in zip(below[1:], above[-2::-1], strict=True):
        np.maximum(deviation, np.minimum(one, other), out=deviation)
        np.minimum(farther, np.maximum(one, other), out=farther)
    mad: NDArray[Any] = deviation.astype(gap.dtype)
    if is_even:
        mad = (mad + farther) * gap.dtype.type(0.5) + gap
    np.maximum(mad, step / 2, out=mad)
    limit: NDArray[Any] = mad * gap.dtype.type(MAD_TO_SIGMA * clip_sigma) - gap
    kind = below[0].dtype
    return limit if kind.kind == "f" else np.minimum(limit, np.iinfo(kind).max).astype(kind)


def _sums_within(
    distances: Values, limit: NDArray[Any], gap: NDArray[Any]
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Return number, sum and sum of squares of the distances (plus `gap`) that do not exceed `limit`."""
    total, squares = np.zeros_like(gap), np.zeros_like(gap)
    count = np.zeros(gap.shape, np.uint8 if len(distances) < 256 else np.uint16)
    for distance in distances:
        kept = (distance <= limit).view(np.uint8)
        count += kept
        value = (distance * kept).astype(gap.dtype, copy=False)  # many times faster than np.where
        total += value
        value *= value
        squares += value
    number = count.astype(gap.dtype)
    squares += gap * (2 * total + gap * number)
    total += gap * number
    return number, total, squares


def _wide(kind: np.dtype[Any]) -> np.dtype[Any]:
    """Return the float type in which sums of two values of `kind` are exact enough."""
    return np.dtype(np.float64 if kind.kind in "iu" and kind.itemsize > 2 else np.float32)


def _distance(low: NDArray[Any], high: NDArray[Any]) -> NDArray[Any]:
    """Return ``high - low >= 0`` in the type of the values, unsigned: it never overflows."""
    if low.dtype.kind == "i":
        unsigned = np.dtype(f"u{low.dtype.itemsize}")
        low, high = low.view(unsigned), high.view(unsigned)
    distance: NDArray[Any] = np.subtract(high, low)
    return distance


def _add_rounding(uncertainty: NDArray[np.float32], step: int, count: int) -> None:
    np.maximum(uncertainty, np.float32(step / math.sqrt(12 * count)), out=uncertainty)


def _median_error(count: int) -> float:
    """Return the standard error of the median of normal values over their deviation (to 1 %, from 2 up)."""
    correction = 1.4 - 0.5 / count if count % 2 == 0 else 0.43 + 0.2 / count
    return math.sqrt(math.pi / 2 / (count + correction))


def _expected_distance(margin: int, count: int) -> float:
    """Return the mean distance of two symmetric order statistics of normal values (Blom 1958), to 1 %."""
    alpha = 0.375 - 0.1 / count
    return -2 * NormalDist().inv_cdf((margin + 1 - alpha) / (count + 1 - 2 * alpha))
