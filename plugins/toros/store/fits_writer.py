"""Writing FITS products by rows: masters and calibrated frames larger than the memory."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from astropy.io import fits
from astropy.units import UnitBase
from numpy.typing import DTypeLike, NDArray

from toros.science.geometry import Rows
from toros.store.completeness import padded_size
from toros.store.fits_pixels import PixelEncoding, StoredRows
from toros.store.store import translated_os_errors

LAYOUT_CARDS = ("EXTNAME", "EXTVER", "EXTLEVEL", "INHERIT", "BLANK", "CHECKSUM", "DATASUM")
"""Cards that belong to the HDU they stand in, beside those that astropy strips."""


@dataclass(frozen=True)
class Plane:
    """One image of a FITS product: its name, its size and type, and the cards to write with it.

    Cards that describe the layout of another file (BITPIX, NAXIS, BSCALE, CHECKSUM ...) are left out.
    """

    name: str
    shape: tuple[int, int]
    dtype: DTypeLike
    header: fits.Header = field(default_factory=fits.Header)


def ccd_planes(
    shape: tuple[int, int],
    unit: UnitBase,
    header: fits.Header,
    *,
    dtype: DTypeLike = np.float32,
    has_uncertainty: bool = True,
    has_mask: bool = True,
) -> tuple[Plane, ...]:
    """Lay out a product that ``CCDData.read`` reads back with its unit, uncertainty and mask.

    Parameters
    ----------
    shape : tuple of int
        Rows and columns.
    unit : astropy.units.Unit
        Unit of the pixels, and of their standard deviations.
    header : astropy.io.fits.Header
        Cards of the product.
    dtype : dtype
        Type of the pixels.
    has_uncertainty, has_mask : bool
        Whether a plane UNCERT (standard deviations, float32) and a plane MASK (uint8) follow.
    """
    bunit = fits.Header([("BUNIT", unit.to_string(), "unit of the pixels")])
    main = header.copy()
    main.update(bunit)
    planes = [Plane("DATA", shape, dtype, main)]
    if has_uncertainty:
        kind = fits.Header([("UTYPE", "StdDevUncertainty", "kind of uncertainty")])
        planes.append(Plane("UNCERT", shape, np.float32, kind + bunit))
    if has_mask:
        planes.append(Plane("MASK", shape, np.uint8))
    return tuple(planes)


class FrameWriter:
    """Writes a FITS file of known size by rows, in any order, without ever holding a whole plane.

    The first plane becomes the primary HDU. The file must not exist; it is allocated at once, so that a full
    disk is known before the work starts. The caller flushes it to disk (fsync) after it was closed.

    Parameters
    ----------
    path : path-like
        File to make.
    planes : sequence of Plane
        What it will hold.

    Raises
    ------
    DiskFull
        There is no room for the file.
    StorageUnavailable
        The file exists already, or cannot be written.
    """

    def __init__(self, path: str | os.PathLike[str], planes: Sequence[Plane]) -> None:
        self._path = Path(path)
        self._layout: dict[str, tuple[int, tuple[int, int], PixelEncoding]] = {}
        self._missing: dict[str, NDArray[np.bool_]] = {}
        headers: list[tuple[int, bytes]] = []
        end = 0
        for plane in planes:
            encoding = PixelEncoding.for_dtype(plane.dtype)
            cards = _product_header(plane, encoding, is_primary=not headers)
            headers.append((end, cards))
            start = end + len(cards)
            self._layout[plane.name] = (start, plane.shape, encoding)
            self._missing[plane.name] = np.ones(plane.shape[0], dtype=bool)
            size = plane.shape[0] * plane.shape[1] * encoding.stored.itemsize
            end = start + padded_size(size)
        with translated_os_errors(self._path):
            self._stream = self._path.open("xb")
            try:
                _allocate(self._stream.fileno(), end)
                for position, cards in headers:
                    self._stream.seek(position)
                    self._stream.write(cards)
            except OSError:
                self._stream.close()
                raise

    def write(self, name: str, start: int, rows: NDArray[Any]) -> None:
        """Write consecutive rows of one plane.

        Parameters
        ----------
        name : str
            Name of the plane.
        start : int
            First row.
        rows : array, shape (n, nx)
            Of the plane's type, or one that converts to it without changing its kind.

        Raises
        ------
        ValueError
            The rows do not fit into the plane.
        DiskFull, StorageUnavailable
            They cannot be written.
        """
        offset, shape, encoding = self._layout[name]
        stop = start + rows.shape[0]
        if rows.ndim != 2 or rows.shape[1] != shape[1] or start < 0 or stop > shape[0]:
            raise ValueError(f"an array of {rows.shape} does not fit into {name} {shape} at row {start}")
        stored = encoding.encode(rows)
        with translated_os_errors(self._path):
            self._stream.seek(offset + start * shape[1] * encoding.stored.itemsize)
            self._stream.write(stored.reshape(-1).view(np.uint8).data)
        self._missing[name][start:stop] = False

    def rows(self, name: str) -> Rows:
        """Read back what was written of a plane so far."""
        offset, shape, encoding = self._layout[name]
        with translated_os_errors(self._path):
            self._stream.flush()
        return StoredRows(self._path, shape, offset, encoding)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with translated_os_errors(self._path):
            self._stream.close()
        if kind is None:
            for name, missing in self._missing.items():
                if missing.any():
                    raise ValueError(f"{self._path.name}: row {missing.argmax()} of {name} was never written")


def _product_header(plane: Plane, encoding: PixelEncoding, *, is_primary: bool) -> bytes:
    rows, columns = plane.shape
    header = fits.Header()
    if is_primary:
        header["SIMPLE"] = (True, "conforms to FITS standard")
    else:
        header["XTENSION"] = ("IMAGE", "image extension")
    header["BITPIX"] = encoding.bitpix
    header["NAXIS"] = 2
    header["NAXIS1"] = columns
    header["NAXIS2"] = rows
    if is_primary:
        header["EXTEND"] = True
    else:
        header["PCOUNT"] = 0
        header["GCOUNT"] = 1
    if encoding.is_flipped:
        header["BSCALE"] = 1
        header["BZERO"] = int(encoding.bzero)
    header["EXTNAME"] = plane.name
    cards = plane.header.copy(strip=True)
    for keyword in LAYOUT_CARDS:
        cards.remove(keyword, ignore_missing=True, remove_all=True)
    header.extend(cards, end=True)
    return bytes(header.tostring(), "ascii")


def _allocate(descriptor: int, size: int) -> None:
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(descriptor, 0, size)
        except OSError as error:
            if error.errno not in {errno.EOPNOTSUPP, errno.EINVAL}:
                raise
        else:
            return
    os.ftruncate(descriptor, size)
