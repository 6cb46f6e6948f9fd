"""A loaded catalogue: stars in a cone, at the epoch of a frame."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from astropy import units as u
from astropy.table import Table
from numpy.typing import NDArray

from toros.catalogues.description import CatalogueDescription, names_in, read_description, versions_of
from toros.errors import BadCatalogue, CatalogueTooShallow, FileMissing, NoCatalogue
from toros.science.healpix import Vectors, cone_ranges, is_within, positions_of, unit_vectors
from toros.store.store import translated_os_errors

_MAS = math.radians(1 / 3.6e6)
_ATTEMPTS = 3


@dataclass(frozen=True, eq=False)
class Catalogue:
    """One version of a catalogue, its columns mapped from the disk."""

    description: CatalogueDescription
    columns: Mapping[str, NDArray[Any]]

    @property
    def name(self) -> str:
        """The name that it was given."""
        return self.description.name

    @property
    def bands(self) -> tuple[str, ...]:
        """Its bands."""
        return self.description.bands

    def cone(
        self, ra: float, dec: float, radius: float, epoch: float | None = None, *, band: str | None = None
    ) -> Table:
        """Return the stars around a position.

        Parameters
        ----------
        ra, dec, radius : float
            ICRS degrees.
        epoch : float, optional
            Julian year for which positions are wanted; by default they are as the catalogue gives them.
        band : str, optional
            What `mag` is to be; by default the main band.

        Returns
        -------
        Table
            source_id, ra, dec (deg, at the epoch), mag, and a column for each band (mag; NaN where
            unknown) with ``_err`` after it for its error, where the catalogue has errors. Brightest first.
            The meta data name catalogue, version, band and epoch.
        """
        band = band or self.description.main_band
        at = self.description.epoch if epoch is None else epoch
        rows, positions = self._rows_within(ra, dec, radius, at - self.description.epoch)
        order = np.argsort(self.columns[band][rows], kind="stable")
        rows, (east, north) = rows[order], (axis[order] for axis in positions)
        table = Table({"source_id": self._names(rows), "ra": east * u.deg, "dec": north * u.deg})
        table["mag"] = self._magnitudes(band, rows)
        for name in self.bands:
            table[name] = self._magnitudes(name, rows)
            if f"{name}_err" in self.columns:
                table[f"{name}_err"] = self._magnitudes(f"{name}_err", rows)
        table.meta |= {"catalogue": self.name, "version": self.description.version, "band": band, "epoch": at}
        return table

    def _rows_within(
        self, ra: float, dec: float, radius: float, years: float
    ) -> tuple[NDArray[np.intp], tuple[NDArray[np.float64], NDArray[np.float64]]]:
        """Return rows, and where their stars are that many years later than the catalogue says."""
        drift = math.degrees(abs(years) * self.description.fastest * _MAS)
        edges = cone_ranges(ra, dec, min(radius + drift, 180.0), self.description.order)
        cells = self.columns["healpix"]
        starts = np.searchsorted(cells, edges[:, 0], side="left")
        stops = np.searchsorted(cells, edges[:, 1], side="right")
        rows = np.concatenate([np.arange(start, stop) for start, stop in zip(starts, stops, strict=True)])
        east, north = self.columns["ra"][rows], self.columns["dec"][rows]
        if years and "pmra" in self.columns:
            vectors = moved(
                unit_vectors(east, north), self.columns["pmra"][rows], self.columns["pmdec"][rows], years
            )
            east, north = positions_of(vectors)
        inside = is_within(east, north, (ra, dec), radius)
        return rows[inside], (east[inside], north[inside])

    def _names(self, rows: NDArray[np.intp]) -> NDArray[Any]:
        names = self.columns["source_id"][rows]
        return np.char.decode(names, "utf-8", "replace") if names.dtype.kind == "S" else names

    def _magnitudes(self, column: str, rows: NDArray[np.intp]) -> u.Quantity:
        return self.columns[column][rows].astype(np.float64) * u.mag


def moved(
    vectors: Vectors,
    pmra: NDArray[Any],
    pmdec: NDArray[Any],
    years: float | NDArray[np.float64],
) -> Vectors:
    """Return where stars are after some years: along straight lines, parallax and radial motion left out.

    Parameters
    ----------
    vectors : ndarray
        Unit vectors, shape (n, 3).
    pmra, pmdec : ndarray
        Proper motions, mas/yr; pmra includes the cosine of the declination.
    years : float or ndarray
        Time that passes.

    Returns
    -------
    ndarray
        Vectors of about unit length.
    """
    x, y, z = vectors.T
    longitude = np.arctan2(y, x)
    sin_ra, cos_ra = np.sin(longitude), np.cos(longitude)
    across = np.hypot(x, y)
    east = np.stack([-sin_ra, cos_ra, np.zeros_like(x)], axis=-1)
    north = np.stack([-z * cos_ra, -z * sin_ra, across], axis=-1)
    to_east, to_north = (np.asarray(pm, np.float64) * years * _MAS for pm in (pmra, pmdec))
    shifted: Vectors = vectors + to_east[:, np.newaxis] * east + to_north[:, np.newaxis] * north
    return shifted


def open_catalogue(folder: Path, name: str) -> Catalogue:
    """Open the newest version of a catalogue.

    Raises
    ------
    NoCatalogue
        There is none of that name.
    BadCatalogue
        Its files are damaged.
    StorageUnavailable
    """
    for _ in range(_ATTEMPTS):  # a version may be removed while we open it: then there is a newer one
        versions = versions_of(folder, name)
        if not versions:
            break
        try:
            with translated_os_errors(versions[-1]):
                return _open_version(versions[-1])
        except FileMissing:
            continue
    raise NoCatalogue(f"no catalogue is called {name!r}", advice="`toros catalogue list` names them")


def open_catalogues(folder: Path) -> list[Catalogue]:
    """Open all catalogues of a folder, sorted by name; none if there is no such folder."""
    found = []
    for name in names_in(folder):
        with suppress(NoCatalogue):  # removed a moment ago
            found.append(open_catalogue(folder, name))
    return found


def reference_stars(
    folder: Path,
    ra: float,
    dec: float,
    radius: float,
    epoch: float | None,
    *,
    catalogue: str | None = None,
    band: str | None = None,
    faintest: float | None = None,
    limit: int | None = None,
    at_least: int = 1,
) -> Table:
    """Return stars around a position, from the catalogue that has most of them there.

    Parameters
    ----------
    folder : Path
        Folder of the catalogues.
    ra, dec, radius : float
        ICRS degrees.
    epoch : float or None
        Julian year of the positions.
    catalogue : str, optional
        Only the catalogue of this name.
    band : str, optional
        Only catalogues that have this band, only stars that were measured in it, and `mag` is of this
        band. By default it is the main band of the catalogue.
    faintest : float, optional
        Only stars as bright as this in that band.
    limit : int, optional
        Only so many, the brightest.
    at_least : int
        How many are needed.

    Returns
    -------
    Table
        As `Catalogue.cone`.

    Raises
    ------
    NoCatalogue
        None is loaded, none has the band, or none has stars there.
    CatalogueTooShallow
        The best one has fewer than `at_least` stars there.
    """
    catalogues = open_catalogues(folder) if catalogue is None else [open_catalogue(folder, catalogue)]
    if not catalogues:
        raise NoCatalogue(f"no reference catalogue is loaded in {folder}")
    able = [each for each in catalogues if band is None or band in each.bands]
    if not able:
        known = ", ".join(f"{c.name} ({' '.join(c.bands)})" for c in catalogues)
        raise NoCatalogue(f"no catalogue has the band {band}: there are {known}")
    found = [_usable(each.cone(ra, dec, radius, epoch, band=band), band, faintest) for each in able]
    best = max(found, key=len)  # the first of equal ones, by name
    if len(best) < max(at_least, 1):
        raise _too_few(best, able, (ra, dec, radius), faintest, at_least)
    return best[:limit]


def _usable(stars: Table, band: str | None, faintest: float | None) -> Table:
    if faintest is not None:
        return stars[stars["mag"] <= faintest]
    return stars if band is None else stars[np.isfinite(stars["mag"])]


def _too_few(
    best: Table,
    able: Sequence[Catalogue],
    cone: tuple[float, float, float],
    faintest: float | None,
    at_least: int,
) -> NoCatalogue | CatalogueTooShallow:
    ra, dec, radius = cone
    where = f"within {radius:.4g} deg of {ra:.5f} {dec:+.5f}"
    kept = "" if faintest is None else f" of magnitude {faintest:g} or brighter"
    if len(best):
        return CatalogueTooShallow(
            f"{best.meta['catalogue']} has only {len(best)} stars{kept} {where}; {at_least} are needed"
        )
    names = ", ".join(catalogue.name for catalogue in able)
    return NoCatalogue(f"no catalogue ({names}) has stars{kept} {where}")


def _open_version(folder: Path) -> Catalogue:
    description = read_description(folder)
    columns = {}
    for column in description.columns:
        dtype = np.dtype(column.dtype)
        path = folder / column.file
        if path.stat().st_size != description.stars * dtype.itemsize:
            raise BadCatalogue(f"{path} is damaged", advice="load the catalogue again")
        # A plain array on the map: slices of np.memmap are slow.
        columns[column.name] = np.memmap(path, dtype, "r").view(np.ndarray)
    return Catalogue(description, columns)
