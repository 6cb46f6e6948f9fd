"""FITS files on disk: finding the one image of a raw frame, and reading it by rows.

Raw frames come as the capture program left them: plain, packed (gzip, bzip2, Unix compress), tile-compressed,
in the primary HDU or in an extension, cut short by a lost connection, or not FITS at all. The content
decides, not the suffix, and whatever is wrong ends in one of the errors of :mod:`toros.errors`.

Products are written by :mod:`toros.store.fits_writer`, whose names are found here too.
"""

from __future__ import annotations

import bz2
import gzip
import io
import os
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from astropy.io import fits
from astropy.io.fits.hdu.compressed._compression import CfitsioException
from astropy.io.fits.verify import VerifyError
from astropy.utils.exceptions import AstropyWarning
from numpy.typing import NDArray

from toros.errors import BadHeader, NoImage, NotFits, StorageUnavailable, Truncated
from toros.science.geometry import Rows
from toros.store.completeness import HeaderUnit, scan
from toros.store.fits_pixels import PixelEncoding, StoredRows, read_pixels
from toros.store.fits_writer import LAYOUT_CARDS, FrameWriter, Plane, ccd_planes
from toros.store.store import translated_os_errors
from toros.store.unix_compress import expand

__all__ = ["FitsImage", "FrameWriter", "Plane", "StoredRows", "ccd_planes", "inspect", "read"]


@dataclass(frozen=True, eq=False)
class FitsImage:
    """The one two-dimensional image of a FITS file.

    Parameters
    ----------
    path : Path
        The file.
    header : astropy.io.fits.Header
        Cards of the image's HDU, then those of the primary HDU that it does not have itself.
    hdu : int
        Index of the HDU that holds the image.
    shape : tuple of int
        Rows and columns, (ny, nx).
    bitpix : int
        BITPIX of the stored pixels.
    dtype : numpy.dtype
        Native type of the pixels that a reader gets, BSCALE and BZERO applied.
    data_offset : int or None
        Where the pixels lie in the file, in bytes; None when they have to be unpacked first.
    """

    path: Path
    header: fits.Header
    hdu: int
    shape: tuple[int, int]
    bitpix: int
    dtype: np.dtype[Any]
    data_offset: int | None

    def rows(self) -> Rows:
        """Give access to the pixels by rows.

        A plain file is read piece by piece as rows are asked for; a packed one is unpacked here, once.

        Raises
        ------
        Truncated, BadHeader
            The packed pixels cannot be decoded.
        FileMissing, StorageUnavailable
            The file cannot be read (any more).
        """
        encoding = PixelEncoding.of(self.header, self.bitpix)
        if self.data_offset is not None:
            return StoredRows(self.path, self.shape, self.data_offset, encoding)
        with _opened(self.path) as stream:
            unit = _units(stream, self.path)[self.hdu]
            if unit.is_tile_compressed:
                return _unpack_tiles(stream, self.path, self.hdu, self.shape, self.dtype)
            stream.seek(unit.data_offset)
            return read_pixels(stream, self.path, self.shape, encoding)

    def rows_on_disk(self, scratch: Path) -> Rows:
        """Give access to the pixels by rows without holding them: a packed file is unpacked to ``scratch``."""
        if self.data_offset is not None:
            return self.rows()
        pixels = self.rows()[slice(0, self.shape[0])]
        with FrameWriter(scratch, [Plane("DATA", self.shape, pixels.dtype)]) as writer:
            writer.write("DATA", 0, pixels)
        return inspect(scratch).rows()


def inspect(path: str | os.PathLike[str], extension: str | None = None) -> FitsImage:
    """Find the image of a FITS file, without keeping its pixels.

    Parameters
    ----------
    path : path-like
        Any file.
    extension : str, optional
        EXTNAME of the HDU to take. By default the first HDU with a two-dimensional image of at least 2x2
        pixels; further axes of length 1 do not count.

    Raises
    ------
    NotFits
        The file is something else.
    Truncated
        The file, or the compressed stream that it holds, ends too early or is damaged.
    NoImage
        There are only tables, cubes, spectra or headers.
    BadHeader
        A card that describes the pixels cannot be understood.
    FileMissing, StorageUnavailable
        The file cannot be read.
    """
    path = Path(path)
    with _opened(path) as stream:
        units = _units(stream, path)
        _require_whole(stream, path, units[-1])
        with _named(path):
            index = _find_image(units, extension)
        unit = units[index]
        primary = _parse_header(units[0].cards, path)
        if unit.is_tile_compressed:
            own = _image_header_of_tiles(stream, path, index)
        else:
            own = _parse_header(unit.cards, path)
        is_plain = isinstance(stream, io.BufferedReader)
    columns, rows = unit.axes[:2]
    bitpix = unit.integer("ZBITPIX" if unit.is_tile_compressed else "BITPIX")
    header = own if index == 0 else _merge(own, primary)
    return FitsImage(
        path=path,
        header=header,
        hdu=index,
        shape=(rows, columns),
        bitpix=bitpix,
        dtype=PixelEncoding.of(own, bitpix).dtype,
        data_offset=unit.data_offset if is_plain and not unit.is_tile_compressed else None,
    )


def read(path: str | os.PathLike[str]) -> NDArray[Any]:
    """Read the one image of a FITS file into memory, in native byte order, BSCALE and BZERO applied.

    Raises
    ------
    NotFits, Truncated, NoImage, BadHeader, FileMissing, StorageUnavailable
        As `inspect` and `FitsImage.rows` do.
    """
    image = inspect(path)
    return image.rows()[slice(0, image.shape[0])]


# ------------------------------------------------------------------------------------------------- pixels


def _unpack_tiles(
    stream: BinaryIO, path: Path, index: int, shape: tuple[int, int], dtype: np.dtype[Any]
) -> NDArray[Any]:
    stream.seek(0)
    with _astropy_errors(path), fits.open(stream, memmap=False) as hdus:
        pixels = np.asarray(hdus[index].data)
    return pixels.reshape(shape).astype(dtype, copy=False)


# ---------------------------------------------------------------------------------------- finding the image


def _units(stream: BinaryIO, path: Path) -> list[HeaderUnit]:
    with _named(path):
        return list(scan(stream))


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Put the name of the file in front of what is wrong with it."""
    try:
        yield
    except (NotFits, Truncated, NoImage, BadHeader) as error:
        raise type(error)(f"{path.name}: {error.message}") from None


def _require_whole(stream: BinaryIO, path: Path, last: HeaderUnit) -> None:
    length = stream.seek(0, os.SEEK_END)
    if length < last.data_end:
        raise Truncated(f"{path.name} is {length:,} bytes long; the header promises {last.padded_end:,}")


def _find_image(units: list[HeaderUnit], extension: str | None) -> int:
    for index, unit in enumerate(units):
        named = extension is None or (unit.text("EXTNAME") or "").upper() == extension.upper()
        if named and _is_image(unit, index):
            return index
    wanted = "a two-dimensional image" if extension is None else f"a two-dimensional image named {extension}"
    held = ", ".join(_what(unit, index) for index, unit in enumerate(units))
    raise NoImage(f"not {wanted}, only {held}")


def _is_image(unit: HeaderUnit, index: int) -> bool:
    is_array = index == 0 or unit.text("XTENSION") == "IMAGE" or unit.is_tile_compressed
    axes = unit.axes
    return is_array and len(axes) >= 2 and min(axes[:2]) >= 2 and all(axis == 1 for axis in axes[2:])


def _what(unit: HeaderUnit, index: int) -> str:
    if index > 0 and unit.text("XTENSION") != "IMAGE" and not unit.is_tile_compressed:
        return f"a table ({unit.text('EXTNAME') or unit.text('XTENSION')})"
    axes = unit.axes
    return f"an array of {' x '.join(map(str, axes))}" if axes else "a header without data"


# ------------------------------------------------------------------------------------------------ headers


def _parse_header(cards: bytes, path: Path) -> fits.Header:
    with _astropy_errors(path):
        header = fits.Header.fromstring(cards)
        return _without_bad_cards(header)


def _without_bad_cards(header: fits.Header) -> fits.Header:
    """Mend cards that break the standard, so that nobody stumbles over them later; drop the hopeless ones."""
    good = fits.Header()
    for card in header.cards:
        try:
            card.verify("silentfix")
        except (VerifyError, ValueError):
            continue
        good.append(card, end=True)
    return good


def _image_header_of_tiles(stream: BinaryIO, path: Path, index: int) -> fits.Header:
    stream.seek(0)
    with _astropy_errors(path), fits.open(stream, memmap=False) as hdus:
        return _without_bad_cards(hdus[index].header)


def _merge(own: fits.Header, primary: fits.Header) -> fits.Header:
    merged = own.copy()
    inherited = primary.copy(strip=True)
    for keyword in LAYOUT_CARDS:
        inherited.remove(keyword, ignore_missing=True, remove_all=True)
    merged.extend(inherited, unique=True, end=True)
    return merged


# ---------------------------------------------------------------------------------------- files and errors


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """Open a file for reading; a packed one is unpacked into memory, whatever its name."""
    with translated_os_errors(path):
        opened = path.open("rb")
    with opened as stream:
        with translated_os_errors(path):
            magic = stream.read(4)
            stream.seek(0)
        if magic[:2] == b"\x1f\x8b":
            yield _unpacked(gzip.GzipFile(fileobj=stream), path, "gzip")
        elif magic[:3] == b"BZh":
            yield _unpacked(bz2.BZ2File(stream), path, "bzip2")
        elif magic[:2] == b"\x1f\x9d":
            with translated_os_errors(path):
                packed = stream.read()
            yield io.BytesIO(expand(packed, path.name))
        else:
            yield stream


def _unpacked(packed: gzip.GzipFile | bz2.BZ2File, path: Path, kind: str) -> BinaryIO:
    try:
        return io.BytesIO(packed.read())
    except EOFError:
        raise Truncated(f"{path.name}: the {kind} stream ends too early") from None
    except (gzip.BadGzipFile, zlib.error, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise StorageUnavailable(f"{path}: {error.strerror}") from error
        raise Truncated(f"{path.name}: the {kind} stream is damaged ({error})") from None


_ASTROPY_FAILS_WITH = (
    CfitsioException,  # has no public name, and no base but Exception
    VerifyError,
    OSError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    RuntimeError,
)


@contextmanager
def _astropy_errors(path: Path) -> Iterator[None]:
    """Keep astropy's remarks about sloppy headers quiet, and tell its failures in our words."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", AstropyWarning)
            yield
    except _ASTROPY_FAILS_WITH as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise StorageUnavailable(f"{path}: {error.strerror}") from error
        raise BadHeader(f"{path.name}: header or packed pixels cannot be decoded ({error})") from error
