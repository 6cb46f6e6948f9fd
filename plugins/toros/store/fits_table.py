"""Tables as FITS files, readable everywhere."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.table import QTable, Table
from astropy.units import Unit
from numpy.typing import NDArray

from toros.errors import BadHeader
from toros.store.store import translated_os_errors


def write_table(
    path: Path,
    table: Table,
    name: str,
    header: fits.Header | None = None,
    further: Sequence[fits.ImageHDU] = (),
) -> None:
    """Write a table as the first extension of a new FITS file.

    Units are written as astropy spells them: FITS's own list lacks the electron, which every reader knows.

    Parameters
    ----------
    path : Path
        File to make.
    table : Table
        Its columns may be quantities.
    name : str
        EXTNAME of the extension.
    header : astropy.io.fits.Header, optional
        Further cards of the extension.
    further : sequence of ImageHDU
        Extensions that follow it.
    """
    units = {column: table[column].unit for column in table.colnames}
    plain = Table({column: getattr(table[column], "value", table[column]) for column in table.colnames})
    hdu = fits.BinTableHDU(plain.as_array(), header=header, name=name)
    for column, unit in units.items():
        if unit is not None:
            hdu.columns[column].unit = unit.to_string()
    with translated_os_errors(path):
        fits.HDUList([fits.PrimaryHDU(), hdu, *further]).writeto(path)


def read_table(path: Path, name: str) -> QTable:
    """Read a table that `write_table` wrote, with its units.

    Raises
    ------
    BadHeader
        The file holds no such table.
    """
    with fits.open(path) as hdus:
        if name not in hdus:
            raise BadHeader(f"{path.name} holds no table {name}")
        hdu = hdus[name]
        columns = {
            column.name: _with_unit(np.asarray(hdu.data[column.name]), column.unit) for column in hdu.columns
        }
        return QTable(columns, meta=dict(hdu.header))


def _with_unit(values: NDArray[Any], unit: str | None) -> NDArray[Any]:
    native = values.astype(values.dtype.newbyteorder("="))
    return native if unit is None else native * Unit(unit)
