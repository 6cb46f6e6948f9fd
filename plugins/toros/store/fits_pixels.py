"""How FITS stores pixels, and what becomes of them in memory (FITS 4.0, sections 4.4.2.5 and 5)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Self

import numpy as np
from astropy.io import fits
from numpy.typing import DTypeLike, NDArray

from toros.errors import BadHeader, Truncated
from toros.science.geometry import bounds_of
from toros.store.store import translated_os_errors

_STORED = {8: "u1", 16: ">i2", 32: ">i4", 64: ">i8", -32: ">f4", -64: ">f8"}
_FLIPPED = {8: ("i1", -(1 << 7)), 16: ("u2", 1 << 15), 32: ("u4", 1 << 31), 64: ("u8", 1 << 63)}
"""Types that FITS lacks, and the BZERO that makes them out of those that it has."""


@dataclass(frozen=True)
class PixelEncoding:
    """The type of the pixels in the file and in memory, and the way from one to the other.

    Parameters
    ----------
    stored : numpy.dtype
        Type in the file, big-endian.
    dtype : numpy.dtype
        Native type in memory.
    bscale, bzero : float
        ``value = bzero + bscale * stored``.
    blank : int, optional
        Stored number that means: no value.
    """

    stored: np.dtype[Any]
    dtype: np.dtype[Any]
    bscale: float = 1.0
    bzero: float = 0.0
    blank: int | None = None

    @classmethod
    def of(cls, header: fits.Header, bitpix: int) -> Self:
        """Read from a header how its pixels are stored.

        Integers stay integers where BZERO only makes them unsigned; other scalings give float32 or float64,
        and so does BLANK, which becomes NaN: all as astropy does it.

        Raises
        ------
        BadHeader
            BSCALE, BZERO or BLANK is not a number.
        """
        stored = np.dtype(_STORED[bitpix])
        bscale, bzero = _number(header, "BSCALE", 1.0), _number(header, "BZERO", 0.0)
        if bscale == 1 and bitpix in _FLIPPED and bzero == _FLIPPED[bitpix][1]:
            return cls(stored, np.dtype(_FLIPPED[bitpix][0]), bscale, bzero)
        blank = int(_number(header, "BLANK", 0.0)) if bitpix > 0 and "BLANK" in header else None
        if bscale == 1 and bzero == 0 and blank is None:
            return cls(stored, stored.newbyteorder("="))
        scaled = np.dtype(np.float32 if bitpix in {8, 16, -32} else np.float64)
        return cls(stored, scaled, bscale, bzero, blank)

    @classmethod
    def for_dtype(cls, wanted: DTypeLike) -> Self:
        """Choose how to store pixels of a type.

        Raises
        ------
        ValueError
            FITS has no such type.
        """
        dtype = np.dtype(wanted)
        for bitpix, (flipped, bzero) in _FLIPPED.items():
            if dtype == np.dtype(flipped):
                return cls(np.dtype(_STORED[bitpix]), np.dtype(flipped), 1.0, bzero)
        for code in _STORED.values():
            if dtype == np.dtype(code).newbyteorder("="):
                return cls(np.dtype(code), dtype)
        raise ValueError(f"FITS cannot store pixels of type {dtype}")

    @property
    def bitpix(self) -> int:
        """The card BITPIX."""
        return next(bitpix for bitpix, code in _STORED.items() if np.dtype(code) == self.stored)

    @property
    def is_flipped(self) -> bool:
        """Whether BZERO only turns signed into unsigned numbers: then it is the first bit that differs."""
        return self.bzero != 0 and self.dtype.kind in "iu"

    def decode(self, stored: NDArray[Any]) -> NDArray[Any]:
        """Turn pixels as stored into native ones; the array that is passed in is used up."""
        if not stored.dtype.isnative:
            stored = stored.byteswap(inplace=True).view(stored.dtype.newbyteorder("="))
        if self.is_flipped:
            return self._flip(stored).view(self.dtype)
        if stored.dtype == self.dtype and self.bscale == 1 and self.bzero == 0:
            return stored
        values = stored.astype(self.dtype)
        if self.bscale != 1:
            values *= self.bscale
        if self.bzero != 0:
            values += self.bzero
        if self.blank is not None:
            values[stored == self.blank] = np.nan
        return values

    def encode(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Turn native pixels into stored ones, in an array of their own where they have to change."""
        native = np.ascontiguousarray(rows).astype(self.dtype, casting="same_kind", copy=self.is_flipped)
        if self.is_flipped:
            native = self._flip(native).view(self.stored.newbyteorder("="))
        return native.astype(self.stored)

    @staticmethod
    def _flip(values: NDArray[Any]) -> NDArray[Any]:
        bits = values.view(f"u{values.itemsize}")
        bits ^= bits.dtype.type(1 << (8 * values.itemsize - 1))
        return bits


class StoredRows:
    """Rows of an image that is stored as it is, read from the file when they are asked for.

    The file is opened for every read and not kept open, so that hundreds of frames can be combined at once.
    It is not memory-mapped, so that a file cut short under our hands is an error, not the end of the process.
    """

    def __init__(self, path: Path, shape: tuple[int, int], data_offset: int, encoding: PixelEncoding) -> None:
        self.shape = shape
        self.dtype = encoding.dtype
        self._path = path
        self._data_offset = data_offset
        self._encoding = encoding

    def __getitem__(self, rows: slice, /) -> NDArray[Any]:
        start, stop = bounds_of(rows, self.shape[0])
        columns = self.shape[1]
        with translated_os_errors(self._path), self._path.open("rb") as stream:
            stream.seek(self._data_offset + start * columns * self._encoding.stored.itemsize)
            return read_pixels(stream, self._path, (stop - start, columns), self._encoding)


def read_pixels(
    stream: BinaryIO, path: Path, shape: tuple[int, int], encoding: PixelEncoding
) -> NDArray[Any]:
    """Read pixels from where the stream stands, and decode them.

    Raises
    ------
    Truncated
        The stream ends too early.
    """
    stored = np.empty(shape, encoding.stored)
    with translated_os_errors(path):
        got = stream.readinto(stored.reshape(-1).view(np.uint8))  # type: ignore[attr-defined]
    if got != stored.nbytes:
        raise Truncated(f"{path.name} has become shorter while it was read")
    return encoding.decode(stored)


def _number(header: fits.Header, keyword: str, default: float) -> float:
    try:
        return float(header.get(keyword, default))
    except (TypeError, ValueError):
        raise BadHeader(f"{keyword} = {header[keyword]!r} is not a number") from None
