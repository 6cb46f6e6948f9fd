"""Where the light falls on a raw frame: amplifiers, their overscan, and the trimmed image.

Sections are ``(rows, columns)`` pairs of slices, 0-based and half open, as numpy indexes arrays.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from toros.errors import BadProfile, WrongGeometry

Section = tuple[slice, slice]


class Rows(Protocol):
    """A plane that is read by rows: an array, a memory map, or a FITS image decoded on demand."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows and columns of the whole plane."""

    def __getitem__(self, rows: slice, /) -> NDArray[Any]:
        """Return the rows asked for; the array may be a view and is never written to."""


@dataclass(frozen=True)
class Amplifier:
    """One read-out of the chip.

    Parameters
    ----------
    data : Section
        Illuminated pixels in the raw frame.
    overscan : Section or None
        Overscan columns in the raw frame, beside the same rows as `data`.
    target : Section
        Where `data` lands in the trimmed image.
    gain : float
        Electrons per ADU.
    read_noise : float
        Electrons, per pixel and read-out.
    """

    data: Section
    overscan: Section | None
    target: Section
    gain: float
    read_noise: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.gain) and self.gain > 0):
            raise BadProfile(f"the gain of an amplifier is {self.gain} e-/ADU; it must be above zero")
        if not (math.isfinite(self.read_noise) and self.read_noise >= 0):
            raise BadProfile(f"the read noise of an amplifier is {self.read_noise} e-; it cannot be negative")
        if _extent(self.data) != _extent(self.target):
            raise BadProfile(
                f"an amplifier reads {_text(self.data)} into {_text(self.target)}, of another size"
            )
        if self.overscan is not None and _bounds(self.overscan[0]) != _bounds(self.data[0]):
            raise BadProfile(
                f"the overscan {_text(self.overscan)} does not lie beside its amplifier {_text(self.data)}",
                advice="give the overscan columns of the same rows as the data section",
            )


@dataclass(frozen=True)
class Geometry:
    """The layout of a raw frame, and of the image that is trimmed from it.

    Parameters
    ----------
    raw_shape, shape : tuple of int
        Rows and columns of the raw frame, and of the trimmed image.
    amplifiers : tuple of Amplifier
        Their targets tile `shape` exactly: no gap, no overlap. All of them have overscan, or none.

    Raises
    ------
    BadProfile
        If a section lies outside its frame or the targets do not tile the image.
    """

    raw_shape: tuple[int, int]
    shape: tuple[int, int]
    amplifiers: tuple[Amplifier, ...]
    has_overscan: bool = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.amplifiers:
            raise BadProfile("a camera geometry needs at least one amplifier")
        for amplifier in self.amplifiers:
            _require_inside(amplifier.data, self.raw_shape, "the raw frame")
            _require_inside(amplifier.target, self.shape, "the trimmed image")
            if amplifier.overscan is not None:
                _require_inside(amplifier.overscan, self.raw_shape, "the raw frame")
        _require_tiling([amplifier.target for amplifier in self.amplifiers], self.shape)
        with_overscan = {amplifier.overscan is not None for amplifier in self.amplifiers}
        if len(with_overscan) > 1:
            raise BadProfile("some amplifiers have overscan and some have none; give it for all, or for none")
        object.__setattr__(self, "has_overscan", with_overscan.pop())

    @classmethod
    def single(cls, shape: tuple[int, int], gain: float, read_noise: float) -> Geometry:
        """Return the geometry of a chip with one amplifier and nothing to trim."""
        whole = (slice(0, shape[0]), slice(0, shape[1]))
        return cls(shape, shape, (Amplifier(whole, None, whole, gain, read_noise),))

    def within(self, rows: slice) -> Iterator[tuple[Amplifier, Section]]:
        """Yield each amplifier that meets these trimmed rows, and its section relative to their start."""
        start, stop = bounds_of(rows, self.shape[0])
        for amplifier in self.amplifiers:
            top, bottom = _bounds(amplifier.target[0])
            if top < stop and bottom > start:
                part = slice(max(top, start) - start, min(bottom, stop) - start)
                yield amplifier, (part, amplifier.target[1])

    def plane(self, quantity: Literal["gain", "read_noise"], rows: slice) -> NDArray[np.float32]:
        """Return the gain (e-/ADU) or the read noise (e-) of every pixel in these trimmed rows."""
        start, stop = bounds_of(rows, self.shape[0])
        values = np.empty((stop - start, self.shape[1]), np.float32)
        for amplifier, section in self.within(rows):
            values[section] = getattr(amplifier, quantity)
        return values


class TrimmedRows:
    """A raw frame seen through its geometry: trimmed, and freed of the overscan level, row by row.

    Without overscan and without anything to reorder, rows are views of the raw rows. With overscan
    they are float32: from every row the level of the amplifier in that row is subtracted, the
    mean of the middle half of its overscan values. The noise of the level is 1.1 times the read noise
    divided by the root of the number of overscan columns, and a quarter of wrong values on either
    side does no harm. The level is not smoothed from row to row: jitter between rows is removed too.
    """

    def __init__(self, raw: Rows, geometry: Geometry) -> None:
        if tuple(raw.shape) != geometry.raw_shape:
            raise WrongGeometry(f"the frame has {tuple(raw.shape)} pixels, its camera {geometry.raw_shape}")
        self.shape = geometry.shape
        self._raw = raw
        self._geometry = geometry
        self._shift = _common_shift(geometry)

    def __getitem__(self, rows: slice, /) -> NDArray[Any]:
        return self.read(rows)[1]

    def read(self, rows: slice) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return trimmed rows twice: as the converter gave them (ADU), and without the overscan level.

        The two are the same array where the geometry has no overscan.
        """
        start, stop = bounds_of(rows, self.shape[0])
        if self._shift is not None:
            down, right = self._shift
            block = self._raw[slice(start + down, stop + down)]
            adu = block if block.shape[1] == self.shape[1] else block[:, right : right + self.shape[1]]
            return adu, adu
        return self._assemble(slice(start, stop))

    def _assemble(self, rows: slice) -> tuple[NDArray[Any], NDArray[Any]]:
        size = (rows.stop - rows.start, self.shape[1])
        adu: NDArray[Any] | None = None
        signal = np.empty(size, np.float32) if self._geometry.has_overscan else None
        blocks: dict[tuple[int, int], NDArray[Any]] = {}
        for amplifier, section in self._geometry.within(rows):
            down = amplifier.data[0].start - amplifier.target[0].start + rows.start
            source = (section[0].start + down, section[0].stop + down)
            if source not in blocks:
                blocks[source] = self._raw[slice(*source)]
            data = blocks[source][:, amplifier.data[1]]
            if adu is None:
                adu = np.empty(size, data.dtype)
            adu[section] = data
            if signal is not None and amplifier.overscan is not None:
                level = overscan_level(blocks[source][:, amplifier.overscan[1]])
                np.subtract(data, level[:, np.newaxis], out=signal[section], dtype=np.float32)
        if adu is None:
            adu = np.empty(size, np.float32)
        return adu, adu if signal is None else signal


def trim_rows(raw: Rows, geometry: Geometry) -> Rows:
    """Return a lazy view of a raw frame: trimmed, with the overscan level subtracted.

    Parameters
    ----------
    raw : Rows
        The raw frame, ADU, of shape ``geometry.raw_shape``.
    geometry : Geometry
        Layout of the camera.

    Returns
    -------
    Rows
        Of shape ``geometry.shape``: float32 where the camera has overscan, otherwise in the dtype of
        `raw` and without a copy where possible. `raw` itself if there is nothing to trim.

    Raises
    ------
    WrongGeometry
        If `raw` has another shape than the geometry states.
    """
    trimmed = TrimmedRows(raw, geometry)
    nothing_to_trim = geometry.raw_shape == geometry.shape and _common_shift(geometry) is not None
    return raw if nothing_to_trim else trimmed


def overscan_level(overscan: NDArray[Any]) -> NDArray[np.float32]:
    """Return the level of each row: the mean of the middle half of its values (ADU)."""
    ordered = np.sort(overscan, axis=1)
    cut = ordered.shape[1] // 4
    level: NDArray[np.float32] = ordered[:, cut : ordered.shape[1] - cut].mean(axis=1, dtype=np.float32)
    return level


def bounds_of(rows: slice, length: int) -> tuple[int, int]:
    """Return start and stop of a slice of consecutive rows in a plane of `length` rows."""
    start, stop, step = rows.indices(length)
    if step != 1:
        raise ValueError(f"rows are read one after another, not in steps of {step}")
    return start, max(start, stop)


def tiles_of(length: int, height: int) -> Iterator[slice]:
    """Yield the slices that cut `length` rows into tiles of `height` rows, the last one shorter."""
    for start in range(0, length, height):
        yield slice(start, min(start + height, length))


def _bounds(axis: slice) -> tuple[int, int]:
    if axis.step not in (None, 1) or axis.start is None or axis.stop is None:
        raise BadProfile(f"a section needs a start, a stop and no step, not {axis}")
    return axis.start, axis.stop


def _extent(section: Section) -> tuple[int, int]:
    (top, bottom), (left, right) = map(_bounds, section)
    return bottom - top, right - left


def _text(section: Section) -> str:
    (top, bottom), (left, right) = map(_bounds, section)
    return f"[{top}:{bottom}, {left}:{right}]"


def _require_inside(section: Section, shape: tuple[int, int], what: str) -> None:
    for axis, length in zip(section, shape, strict=True):
        start, stop = _bounds(axis)
        if not 0 <= start < stop <= length:
            raise BadProfile(
                f"the section {_text(section)} is empty or lies outside {what} of {shape} pixels"
            )


def _require_tiling(targets: Sequence[Section], shape: tuple[int, int]) -> None:
    """Sections inside the image tile it if no two of them meet and their areas add up."""
    for index, one in enumerate(targets):
        for other in targets[:index]:
            if all(a.start < b.stop and b.start < a.stop for a, b in zip(one, other, strict=True)):
                raise BadProfile(f"the amplifiers {_text(one)} and {_text(other)} overlap")
    area = sum(math.prod(_extent(target)) for target in targets)
    if area != math.prod(shape):
        raise BadProfile(f"the amplifiers cover {area} of the {math.prod(shape)} pixels of the image")


def _common_shift(geometry: Geometry) -> tuple[int, int] | None:
    """Return the one offset from image to raw frame, None where amplifiers must be put together."""
    if geometry.has_overscan:
        return None
    shifts = {
        tuple(
            source.start - goal.start for source, goal in zip(amplifier.data, amplifier.target, strict=True)
        )
        for amplifier in geometry.amplifiers
    }
    if len(shifts) > 1:
        return None
    down, right = shifts.pop()
    return down, right
