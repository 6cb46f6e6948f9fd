"""Loading a catalogue from a file: columns recognised, stars sorted along the sky, published in one rename."""

from __future__ import annotations

import datetime as dt
import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from astropy import units as u
from numpy.typing import NDArray

from toros.catalogues.catalogue import Catalogue, moved, open_catalogue
from toros.catalogues.columns import ColumnMap, is_flux_over_error, map_columns
from toros.catalogues.description import (
    LOCK,
    STAGING,
    CatalogueDescription,
    Column,
    Coverage,
    Origin,
    checked_name,
    next_version,
    version_folder,
    versions_of,
)
from toros.catalogues.table_files import (
    Piece,
    TableFile,
    angles,
    identifiers,
    is_sexagesimal,
    numbers,
    open_table,
)
from toros.errors import BadCatalogue, BadParameters, ItemBusy, NoCatalogue
from toros.science.healpix import cells_of, positions_of, unit_vectors
from toros.science.magnitudes import POGSON
from toros.store.store import translated_os_errors

Stars = dict[str, NDArray[Any]]

_UNITS = {"ra": u.deg, "dec": u.deg, "pmra": u.mas / u.yr, "pmdec": u.mas / u.yr}
_IMPOSSIBLE_MOTION = 11_000.0
"""mas/yr: Barnard's star, the fastest of all, moves by 10 400."""

_MAGNITUDES = (-30.0, 50.0)
"""Limits of what is a magnitude; files write 99.999 for unknown ones."""

_ORDER = 14
_COVERAGE_ORDER = 7
_SORTED_ROWS = 1 << 20


def add_catalogue(
    file: Path,
    folder: Path,
    name: str | None = None,
    *,
    columns: Mapping[str, str] | None = None,
    bands: Mapping[str, str] | None = None,
    units: Mapping[str, str] | None = None,
    epoch: float | None = None,
    now: dt.datetime,
) -> Catalogue:
    """Load a file of stars; from now on it is found under its name, a new version where there was one.

    Parameters
    ----------
    file : Path
        FITS, VOTable, CSV, TSV, ECSV or Parquet, also compressed.
    folder : Path
        Folder of the catalogues.
    name : str, optional
        Name of the catalogue; by default that of the file.
    columns, bands : mapping, optional
        What `map_columns` cannot know.
    units : mapping, optional
        Units of ra, dec, pmra and pmdec where the file does not tell them, as astropy writes units. Without any,
        positions are degrees (sexagesimal texts: hours and degrees) and motions mas/yr.
    epoch : float, optional
        Julian year of the positions.
    now : datetime
        Goes on record.

    Returns
    -------
    Catalogue

    Raises
    ------
    BadCatalogue
        The file is no table, its columns are not known, or no row has a position.
    BadParameters
        A name, column, band or unit makes no sense.
    ItemBusy
        Another process loads or removes a catalogue.
    DiskFull, FileMissing, StorageUnavailable

    Notes
    -----
    pmra is taken to include the cosine of the declination, as all modern catalogues give it. Memory is bounded by
    a piece of the table and some 40 bytes a star; only VOTable and ECSV are read in one go. Readers hold on
    to the version that they opened: the last but one stays on the disk.
    """
    name = checked_name(_stem(file) if name is None else name)
    with translated_os_errors(file):
        table = open_table(file)
        mapped = map_columns(table.units, columns=columns, bands=bands, epoch=epoch)
        reader = _Reader(table, mapped, {**_units_of(table, mapped), **_checked_units(units or {})})
        with _sole_writer(folder):
            staged = folder / STAGING / name
            staged.mkdir(parents=True)
            sorted_columns = _write_columns(reader, staged)
            description = _describe(
                name, next_version(folder, name), file, reader, sorted_columns, staged, now
            )
            _publish(description, staged, folder)
            _remove_old_versions(folder, name)
    return open_catalogue(folder, name)


def remove_catalogue(folder: Path, name: str) -> None:
    """Remove all versions of a catalogue.

    Raises
    ------
    NoCatalogue
        There is none of that name.
    ItemBusy, StorageUnavailable
    """
    with translated_os_errors(folder):
        if not versions_of(folder, name):
            raise NoCatalogue(f"no catalogue is called {name!r}", advice="`toros catalogue list` names them")
        with _sole_writer(folder):
            (folder / STAGING).mkdir()
            (folder / name).rename(folder / STAGING / name)  # gone for readers in one go
            shutil.rmtree(folder / STAGING)


# --------------------------------------------------------------------------------------- rows into stars


@dataclass
class _Reader:
    """Turns pieces of a table into stars, and counts what it leaves out."""

    table: TableFile
    columns: ColumnMap
    units: Mapping[str, u.UnitBase]
    epoch: float = field(init=False)
    rows: int = 0
    without_position: int = 0
    without_magnitude: int = 0
    impossible_motion: int = 0
    fastest: float = 0.0

    def __post_init__(self) -> None:
        self.epoch = self.columns.epoch
        self._names_are_numbers: bool | None = None
        self._epoch_is_settled = "ref_epoch" not in self.columns.names

    def stars(self) -> Iterator[Stars]:
        """Yield the stars of each piece that have a position."""
        for piece in self.table.pieces(self.columns.used):
            first = self.rows
            self.rows += len(next(iter(piece.values())))
            stars = self._stars_of(piece, first)
            self.without_position += len(piece[self.columns.names["ra"]]) - len(stars["ra"])
            if len(stars["ra"]):
                yield stars

    def _stars_of(self, piece: Piece, first: int) -> Stars:
        names = self.columns.names
        ra, dec = self._position(piece, "ra"), self._position(piece, "dec")
        kept = np.isfinite(ra) & np.isfinite(dec) & (np.abs(dec) <= 90) & (np.abs(ra) <= 360)
        stars: Stars = {"ra": ra[kept] % 360.0, "dec": dec[kept]}
        stars["source_id"] = self._names(piece, first, self.rows - first)[kept]
        if "pmra" in names:
            stars |= self._motion(piece, kept)
        if "ref_epoch" in names:
            self._bring_to_one_epoch(stars, numbers(piece[names["ref_epoch"]])[kept])
        stars |= self._magnitudes(piece, kept)
        stars["healpix"] = cells_of(stars["ra"], stars["dec"], _ORDER)
        return stars

    def _position(self, piece: Piece, axis: str) -> NDArray[np.float64]:
        array, unit = piece[self.columns.names[axis]], self.units[axis]
        if is_sexagesimal(array):
            return angles(array, in_hours=axis == "ra")
        found: NDArray[np.float64] = numbers(array) * unit.to(_UNITS[axis])
        return found

    def _names(self, piece: Piece, first: int, size: int) -> NDArray[Any]:
        """Return the names of the stars; where they have none, the numbers of their rows."""
        if "source_id" not in self.columns.names:
            return np.arange(first, first + size)
        names = identifiers(piece[self.columns.names["source_id"]])
        if self._names_are_numbers is None:  # the first piece says what all are
            self._names_are_numbers = names.dtype.kind == "i"
        if self._names_are_numbers:
            return names if names.dtype.kind == "i" else np.full(size, -1)
        return names.astype("S32")

    def _motion(self, piece: Piece, kept: NDArray[np.bool_]) -> Stars:
        """Return proper motions in mas/yr; 0 where they are unknown."""
        found = [
            np.nan_to_num(numbers(piece[self.columns.names[axis]])[kept] * self.units[axis].to(_UNITS[axis]))
            for axis in ("pmra", "pmdec")
        ]
        speed = np.hypot(*found)
        impossible = speed > _IMPOSSIBLE_MOTION
        self.impossible_motion += int(impossible.sum())
        self.fastest = max(self.fastest, float(np.max(speed, where=~impossible, initial=0.0)))
        return {
            axis: np.where(impossible, 0.0, motion).astype("f4")
            for axis, motion in zip(("pmra", "pmdec"), found, strict=True)
        }

    def _bring_to_one_epoch(self, stars: Stars, epochs: NDArray[np.float64]) -> None:
        """Move the stars to the epoch of the first one that has a believable one."""
        known = (epochs > 1850) & (epochs < 2150)
        if known.any() and not self._epoch_is_settled:
            self.epoch, self._epoch_is_settled = float(epochs[np.argmax(known)]), True
        years = np.where(known, self.epoch - epochs, 0.0)
        if "pmra" in stars and years.any():
            vectors = moved(unit_vectors(stars["ra"], stars["dec"]), stars["pmra"], stars["pmdec"], years)
            stars["ra"], stars["dec"] = positions_of(vectors)

    def _magnitudes(self, piece: Piece, kept: NDArray[np.bool_]) -> Stars:
        found: Stars = {}
        for band, column in self.columns.bands.items():
            found[band] = _within(numbers(piece[column])[kept], *_MAGNITUDES).astype("f4")
        for band, column in self.columns.errors.items():
            error = numbers(piece[column])[kept]
            if is_flux_over_error(column):
                error = POGSON / np.where(error > 0, error, np.nan)
            found[f"{band}_err"] = _within(error, 0.0, 10.0).astype("f4")
        dark = np.logical_and.reduce([np.isnan(found[band]) for band in self.columns.bands])
        self.without_magnitude += int(dark.sum())
        return found


def _within(values: NDArray[np.float64], least: float, most: float) -> NDArray[np.float64]:
    with np.errstate(invalid="ignore"):
        return np.where((values > least) & (values < most), values, np.nan)


def _units_of(table: TableFile, columns: ColumnMap) -> dict[str, u.UnitBase]:
    """Return the units that the file gives, where they can be understood and are of the right kind."""
    found: dict[str, u.UnitBase] = dict(_UNITS)
    for axis, usual in _UNITS.items():
        text = table.units.get(columns.names.get(axis, ""))
        if text:
            unit = u.Unit(text.replace("hr", "h"), parse_strict="silent")
            unit = u.hourangle if axis == "ra" and unit == u.h else unit
            if unit.is_equivalent(usual):
                found[axis] = unit
    return found


def _checked_units(units: Mapping[str, str]) -> dict[str, u.UnitBase]:
    found = {}
    for axis, text in units.items():
        if axis not in _UNITS:
            raise BadParameters(f"no unit can be given for {axis!r}", advice=f"but for {', '.join(_UNITS)}")
        unit = u.Unit(text, parse_strict="silent")
        if not unit.is_equivalent(_UNITS[axis]):
            raise BadParameters(
                f"{text!r} is no unit of {axis}", advice="for example deg, hourangle, rad; mas/yr, arcsec/yr"
            )
        found[axis] = unit
    return found


# ------------------------------------------------------------------------------------------- stars to disk


def _write_columns(reader: _Reader, folder: Path) -> list[Column]:
    """Write the stars as they come, then each column sorted along the sky."""
    columns: list[Column] = []
    files: dict[str, BinaryIO] = {}
    try:
        for stars in reader.stars():
            if not files:
                columns = [_column(number, *item) for number, item in enumerate(stars.items())]
                files = {c.name: (folder / f"{c.file}.unsorted").open("wb") for c in columns}
            for column in columns:
                files[column.name].write(stars[column.name].astype(column.dtype, copy=False).data)
    finally:
        for file in files.values():
            file.close()
    if not columns:
        raise BadCatalogue(f"no row has a position ({reader.rows} rows were read)")
    order = np.argsort(_unsorted(_named("healpix", columns), folder), kind="stable")
    for column in columns:
        _sort(column, folder, order)
    return columns


def _column(number: int, name: str, values: NDArray[Any]) -> Column:
    dtype = values.dtype.newbyteorder("<")
    # Numbered, because a file system may not tell the band g from the band G.
    return Column(
        name=name, file=f"{number:02d}_{name.lower()}.{dtype.kind.lower()}{dtype.itemsize}", dtype=dtype.str
    )


def _named(name: str, columns: Sequence[Column]) -> Column:
    return next(column for column in columns if column.name == name)


def _unsorted(column: Column, folder: Path) -> NDArray[Any]:
    return np.fromfile(folder / f"{column.file}.unsorted", column.dtype)


def _sort(column: Column, folder: Path, order: NDArray[np.intp]) -> None:
    values = _unsorted(column, folder)
    with (folder / column.file).open("wb") as file:
        for start in range(0, len(order), _SORTED_ROWS):
            file.write(values[order[start : start + _SORTED_ROWS]].data)
    (folder / f"{column.file}.unsorted").unlink()


def _describe(
    name: str,
    version: int,
    file: Path,
    reader: _Reader,
    columns: Sequence[Column],
    folder: Path,
    now: dt.datetime,
) -> CatalogueDescription:
    mapped = reader.columns
    return CatalogueDescription(
        name=name,
        version=version,
        stars=reader.rows - reader.without_position,
        epoch=reader.epoch,
        epoch_assumed=mapped.epoch_assumed,
        bands=tuple(mapped.bands),
        main_band=mapped.main_band,
        order=_ORDER,
        fastest=reader.fastest,
        coverage=_coverage(columns, folder),
        origin=Origin(
            file=file.name,
            size=file.stat().st_size,
            checksum=_checksum(file),
            columns=mapped.by_our_names,
            rows=reader.rows,
            without_position=reader.without_position,
            without_magnitude=reader.without_magnitude,
            unreadable=reader.table.unreadable,
            impossible_motion=reader.impossible_motion,
        ),
        added_at=now,
        columns=tuple(columns),
    )


def _coverage(columns: Sequence[Column], folder: Path) -> Coverage:
    """Tell where the stars lie on the sky."""
    from astropy_healpix import healpix_to_lonlat, nside_to_pixel_area

    nside = 1 << _COVERAGE_ORDER
    shift = 2 * (_ORDER - _COVERAGE_ORDER)
    cells = np.unique(np.concatenate([np.unique(p >> shift) for p in _parts("healpix", columns, folder)]))
    lon, lat = healpix_to_lonlat(cells, nside, order="nested")
    east, north = positions_of(unit_vectors(lon.deg, lat.deg).mean(axis=0))
    middle = unit_vectors(east, north)
    positions = zip(_parts("ra", columns, folder), _parts("dec", columns, folder), strict=True)
    farthest = min(float(np.min(unit_vectors(ra, dec) @ middle)) for ra, dec in positions)
    return Coverage(
        area=float(nside_to_pixel_area(nside).to_value(u.deg**2) * cells.size),
        ra=float(east),
        dec=float(north),
        radius=float(np.degrees(np.arccos(np.clip(farthest, -1.0, 1.0)))),
    )


def _parts(name: str, columns: Sequence[Column], folder: Path) -> Iterator[NDArray[Any]]:
    """Yield a sorted column piece by piece."""
    column = _named(name, columns)
    with (folder / column.file).open("rb") as file:
        while (part := np.fromfile(file, column.dtype, _SORTED_ROWS)).size:
            yield part


def _publish(description: CatalogueDescription, staged: Path, folder: Path) -> None:
    """Flush the files of a version and give its folder the final name."""
    description.write(staged)
    for path in (*staged.iterdir(), staged):
        _flush(path)
    target = version_folder(folder, description.name, description.version)
    target.parent.mkdir(exist_ok=True)
    staged.rename(target)
    for parent in (target.parent, folder):
        _flush(parent)


def _remove_old_versions(folder: Path, name: str) -> None:
    """Remove all but the newest two: a reader may hold the one before."""
    for old in versions_of(folder, name)[:-2]:
        doomed = folder / STAGING / old.name
        old.rename(doomed)
        shutil.rmtree(doomed)


@contextmanager
def _sole_writer(folder: Path) -> Iterator[None]:
    """Hold the lock of the folder; what a killed writer left behind is removed."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("wb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ItemBusy(
                f"another process loads or removes a catalogue in {folder}",
                advice="try again when it has ended",
            ) from None
        shutil.rmtree(folder / STAGING, ignore_errors=True)
        try:
            yield
        finally:
            shutil.rmtree(folder / STAGING, ignore_errors=True)


def _stem(file: Path) -> str:
    """Return the name of a file without its suffixes, as a catalogue may be called."""
    stem = file.name.partition(".")[0]
    return (
        "".join(c if c.isascii() and (c.isalnum() or c in "._+-") else "_" for c in stem)
        .lstrip("._+-")
        .lower()
    )


def _checksum(file: Path) -> str:
    with file.open("rb", buffering=0) as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
