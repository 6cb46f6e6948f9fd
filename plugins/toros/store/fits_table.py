"""Tables as FITS files, readable everywhere."""

from __future__ import annotations

from pathlib import Path

from astropy.io import fits
from astropy.table import Table

from toros.store.store import translated_os_errors


def write_table(path: Path, table: Table, name: str, header: fits.Header | None = None) -> None:
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
    """
    units = {column: table[column].unit for column in table.colnames}
    plain = Table({column: getattr(table[column], "value", table[column]) for column in table.colnames})
    hdu = fits.BinTableHDU(plain.as_array(), header=header, name=name)
    for column, unit in units.items():
        if unit is not None:
            hdu.columns[column].unit = unit.to_string()
    with translated_os_errors(path):
        hdu.writeto(path)
