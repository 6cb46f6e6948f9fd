"""Tables of stars as people have them: FITS, VOTable, CSV (and TSV, and plain columns), Parquet; read piece by piece.

Whatever the format, a piece is a set of Arrow arrays with nulls where the file says nothing, and `numbers`
turns one into plain numbers with NaN there. What cannot be understood becomes NaN, too: one bad row never
stops the others.
"""

from __future__ import annotations

import csv
import gzip
import io
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from toros.errors import BadCatalogue

Piece = Mapping[str, Any]
"""Arrow arrays by the names of their columns."""

ROWS = 1 << 18
"""Rows in a piece."""

_FORMATS: dict[str, tuple[str, ...]] = {
    "fits": (".fits", ".fit", ".fts", ".fz"),
    "votable": (".vot", ".votable", ".xml"),
    "parquet": (".parquet", ".pq"),
    "table": (".ecsv",),
}
_NULLS = ["", "nan", "NaN", "NAN", "null", "NULL", "None", "NA", "N/A", "--", "-", "~"]
_NUMBER = r"^[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eEdD][-+]?[0-9]+)?$"
_SEXAGESIMAL = re.compile(
    r"""([+-]?)\s*(\d{1,3})\s*[:hd°\s]\s*(\d{1,2}(?:\.\d*)?)(?:\s*[:m'′\s]\s*(\d{1,2}(?:\.\d*)?)?)?\s*[s"″]?"""
)


@dataclass
class TableFile:
    """An open table: its columns with their units, and its rows in pieces."""

    units: dict[str, str | None]
    """Units by columns, in the order of the file; None where the file says nothing."""
    pieces: Callable[[Sequence[str]], Iterator[Piece]]
    """Takes the columns that are wanted."""
    unreadable: int = 0
    """Lines that are no rows of the table, as far as it was read."""


def open_table(path: Path) -> TableFile:
    """Open a table; the format is told by the name of the file, else by its first bytes.

    Raises
    ------
    BadCatalogue
        The file is no table.
    """
    try:
        return _OPENERS[_format_of(path)](path)
    except (ValueError, TypeError, IndexError, KeyError, EOFError, pa.ArrowException, csv.Error) as error:
        raise BadCatalogue(f"{path} cannot be read as a table: {error}", advice="") from error
    except OSError as error:
        if error.errno is not None:  # the disk's fault; a library's complaints have no number
            raise
        raise BadCatalogue(f"{path} cannot be read as a table: {error}", advice="") from error


def numbers(array: Any) -> NDArray[np.float64]:
    """Return an Arrow array as numbers; NaN for nulls and for what is none."""
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if _is_text(array.type):
        array = _numbers_in(array)
    try:
        found = pc.cast(array, pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        found = np.full(len(array), np.nan)
    return np.asarray(found, np.float64)


def angles(array: Any, *, in_hours: bool) -> NDArray[np.float64]:
    """Return an Arrow array as numbers, sexagesimal texts among them as degrees.

    Parameters
    ----------
    array : Arrow array
        Numbers, or texts such as ``05:35:17.3``.
    in_hours : bool
        Whether sexagesimal texts are hours, as right ascensions are.
    """
    found = numbers(array)
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if _is_text(array.type):
        found = found.copy()
        factor = 15.0 if in_hours else 1.0
        for row in np.flatnonzero(np.isnan(found)):
            found[row] = _sexagesimal(array[int(row)].as_py()) * factor
    return found


def is_sexagesimal(array: Any) -> bool:
    """Tell whether an Arrow array holds texts such as ``05:35:17.3``."""
    return _is_text(array.type) and any(
        not np.isnan(_sexagesimal(text.as_py())) for text in array.slice(0, 100)
    )


def identifiers(array: Any) -> NDArray[Any]:
    """Return an Arrow array of names as integers where all are, else as bytes (32 at most)."""
    if pa.types.is_integer(array.type) or _is_text(array.type):
        try:
            whole = pc.cast(array, pa.int64())
            return np.asarray(pc.fill_null(whole, -1).to_numpy(zero_copy_only=False), np.int64)
        except pa.ArrowInvalid:
            pass
    texts = [b"" if value is None else str(value).encode("utf-8", "replace") for value in array.to_pylist()]
    return np.array(texts, "S32")


def _format_of(path: Path) -> str:
    suffix = next((s.lower() for s in reversed(path.suffixes) if s.lower() not in (".gz", ".bz2")), "")
    for name, suffixes in _FORMATS.items():
        if suffix in suffixes:
            return name
    head = _head(path, 4096).lstrip()
    if head.startswith(b"SIMPLE  ="):
        return "fits"
    if head.startswith(b"PAR1"):
        return "parquet"
    if head.startswith(b"<"):
        return "votable"
    return "table" if head.startswith(b"# %ECSV") else "text"


def _head(path: Path, size: int) -> bytes:
    with path.open("rb") as file:
        if file.read(2) == b"\x1f\x8b":
            with gzip.open(path) as unpacked:
                return unpacked.read(size)
        file.seek(0)
        return file.read(size)


# ---------------------------------------------------------------------------------------------- formats


def _open_fits(path: Path) -> TableFile:
    from astropy.io import fits
    from astropy.utils.exceptions import AstropyWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AstropyWarning)
        hdus = fits.open(path, memmap=True)
        hdu = next((h for h in hdus if isinstance(h, fits.BinTableHDU | fits.TableHDU)), None)
    if hdu is None:
        raise BadCatalogue(f"{path} holds no table", advice="")
    columns = {column.name: column for column in hdu.columns}

    def pieces(wanted: Sequence[str]) -> Iterator[Piece]:
        with hdus, warnings.catch_warnings():
            warnings.simplefilter("ignore", AstropyWarning)
            rows = hdu.header["NAXIS2"]
            for start in range(0, rows, ROWS):
                part = hdu.data[start : start + ROWS]
                yield {name: _of_numpy(part[name], columns[name].null) for name in wanted}

    return TableFile({name: column.unit or None for name, column in columns.items()}, pieces)


def _open_whole(path: Path, **options: Any) -> TableFile:
    """Open what astropy reads in one go."""
    from astropy.table import Table
    from astropy.utils.exceptions import AstropyWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AstropyWarning)
        table = Table.read(path, **options)

    def pieces(wanted: Sequence[str]) -> Iterator[Piece]:
        for start in range(0, len(table), ROWS):
            part = table[start : start + ROWS]
            yield {name: _of_numpy(part[name]) for name in wanted}

    return TableFile({name: str(table[name].unit or "") or None for name in table.colnames}, pieces)


def _open_votable(path: Path) -> TableFile:
    return _open_whole(path, format="votable", use_names_over_ids=True)


def _open_ecsv(path: Path) -> TableFile:
    return _open_whole(path, format="ascii.ecsv")


def _open_parquet(path: Path) -> TableFile:
    import pyarrow.parquet as pq

    file = pq.ParquetFile(path, pre_buffer=False)

    def pieces(wanted: Sequence[str]) -> Iterator[Piece]:
        with file:
            for batch in file.iter_batches(ROWS, columns=list(wanted)):
                yield {name: batch.column(name) for name in wanted}

    return TableFile(dict.fromkeys(file.schema_arrow.names), pieces)


def _open_text(path: Path) -> TableFile:
    """Open text whose columns are separated by one character, with a line of names above them."""
    from pyarrow import csv as arrow_csv

    remarks, header = _header_of(path)
    delimiter = next((mark for mark in ("\t", ",", ";", "|") if mark in header), None)
    if delimiter is None:
        return _open_whole(path, format="ascii", guess=True, fast_reader=False)
    raw = next(csv.reader([header], delimiter=delimiter))
    names = [name.strip().lstrip("#").strip() for name in raw]
    table = TableFile(dict.fromkeys(names), lambda _: iter(()))

    def skip(_row: Any) -> str:
        table.unreadable += 1
        return "skip"

    def pieces(wanted: Sequence[str]) -> Iterator[Piece]:
        reader = arrow_csv.open_csv(
            pa.input_stream(path, compression="detect"),
            read_options=arrow_csv.ReadOptions(
                column_names=names, skip_rows=remarks + 1, block_size=1 << 24, use_threads=False
            ),
            parse_options=arrow_csv.ParseOptions(delimiter=delimiter, invalid_row_handler=skip),
            convert_options=arrow_csv.ConvertOptions(
                check_utf8=False,
                column_types=dict.fromkeys(names, pa.string()),
                include_columns=list(wanted),
                strings_can_be_null=True,
                null_values=_NULLS,
            ),
        )
        with reader:
            for batch in reader:
                yield {name: batch.column(name) for name in wanted}

    table.pieces = pieces
    return table


_OPENERS: dict[str, Callable[[Path], TableFile]] = {
    "fits": _open_fits,
    "votable": _open_votable,
    "parquet": _open_parquet,
    "table": _open_ecsv,
    "text": _open_text,
}


def _header_of(path: Path) -> tuple[int, str]:
    """Return the number of remarks above the names of the columns, and the line of names."""
    lines = io.StringIO(_head(path, 1 << 20).decode("utf-8-sig", "replace"))
    before = ""
    for number, line in enumerate(lines):
        text = line.rstrip("\r\n")
        if text.strip() and not text.startswith("#"):
            return number, text
        before = text
    raise BadCatalogue(f"{path} holds no table{': only remarks' if before else ''}", advice="")


# ------------------------------------------------------------------------------------------------ values


def _of_numpy(column: Any, null: object = None) -> Any:
    """Return a column of FITS or astropy as an Arrow array."""
    mask = np.ma.getmaskarray(column) if np.ma.isMaskedArray(column) else None
    values = np.ma.getdata(column)
    if values.ndim != 1:
        return pa.nulls(len(values))
    if values.dtype.kind in "SUO":
        texts = [v.decode("utf-8", "replace") if isinstance(v, bytes) else str(v) for v in values.tolist()]
        array = pa.array(texts, pa.string())
        return pc.if_else(pa.array(mask), None, array) if mask is not None else array
    if isinstance(null, int | np.integer) and values.dtype.kind in "iu":
        mask = values == null
    native = np.ascontiguousarray(values).astype(values.dtype.newbyteorder("="), copy=False)
    return pa.array(native, mask=mask)


def _is_text(kind: Any) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _numbers_in(array: Any) -> Any:
    try:
        return pc.cast(array, pa.float64())
    except pa.ArrowInvalid:
        text = pc.replace_substring_regex(pc.utf8_trim_whitespace(array), r"^\+", "")
        text = pc.replace_substring_regex(text, "[dD]", "e")
        return pc.cast(pc.if_else(pc.match_substring_regex(text, _NUMBER), text, None), pa.float64())


def _sexagesimal(text: str | None) -> float:
    """Return degrees, or hours, of a text such as ``-31 35 56.1``; NaN if it is none."""
    match = _SEXAGESIMAL.fullmatch((text or "").strip())
    if match is None:
        return float("nan")
    sign, whole, minutes, seconds = match.groups()
    if float(minutes) >= 60 or float(seconds or 0) > 60:
        return float("nan")
    value = int(whole) + float(minutes) / 60 + float(seconds or 0) / 3600
    return -value if sign == "-" else value
