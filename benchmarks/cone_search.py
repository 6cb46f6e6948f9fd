"""A cone of a large reference catalogue, and of as many rows in SQL, beside a search through all stars."""

from __future__ import annotations

import datetime as dt
import sqlite3
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import Table
from sqlalchemy import Integer
from sqlalchemy.orm import declarative_base, mapped_column

from benchmarks.unit import Bench, Case, Work, Wrong

_RADIUS = 0.5
_EPOCH = 2026.9
_FRAME = (286.04, 36.63)


def _rows(bench: Bench) -> int:
    return 10_000_000 if bench.size >= 4096 else 1_000_000


@cache
def _sky(rows: int) -> dict[str, np.ndarray[Any, Any]]:
    """Stars all over the sky, with proper motions; 2000 of them in the field of a frame."""
    rng = np.random.default_rng(1)
    ra, dec = rng.uniform(0, 360, rows), np.degrees(np.arcsin(rng.uniform(-1, 1, rows)))
    here = slice(0, 2000)
    ra[here] = _FRAME[0] + rng.uniform(-0.4, 0.4, 2000) / np.cos(np.radians(_FRAME[1]))
    dec[here] = _FRAME[1] + rng.uniform(-0.4, 0.4, 2000)
    return {
        "source_id": np.arange(rows),
        "ra": ra % 360,
        "dec": dec,
        "pmra": rng.normal(0, 10, rows),
        "pmdec": rng.normal(0, 10, rows),
        "phot_g_mean_mag": rng.uniform(8, 18, rows),
        "phot_bp_mean_mag": rng.uniform(8, 18, rows),
        "phot_rp_mean_mag": rng.uniform(8, 18, rows),
    }


def _file(bench: Bench) -> Path:
    path = bench.folder / "sky.parquet"
    if not path.exists():
        Table(_sky(_rows(bench)), copy=False).write(path)
    return path


def _load(bench: Bench) -> Path:
    from toros.catalogues.loading import add_catalogue

    folder = bench.folder / "catalogues"
    add_catalogue(_file(bench), folder, "sky", epoch=2016.0, now=dt.datetime.now(dt.UTC))
    return folder


def _cone(bench: Bench) -> Work:
    from toros.catalogues import reference_stars

    folder = _load(bench)
    return lambda: reference_stars(folder, *_FRAME, _RADIUS, _EPOCH)


def _tiny_cone(bench: Bench) -> Work:
    from toros.catalogues import open_catalogue

    catalogue = open_catalogue(_load(bench), "sky")
    return lambda: catalogue.cone(*_FRAME, 10 / 3600, _EPOCH)


def _sql_cone(bench: Bench) -> Work:
    """Search among as many rows of a table with positions, on SQLite."""
    from sqlalchemy import select
    from sqlalchemy.orm import Session

    from toros.models import HEALPIX_ORDER
    from toros.models.base import OnSky
    from toros.models.cone import within
    from toros.models.database import Database
    from toros.science.healpix import cells_of

    base: Any = declarative_base()
    star: Any = type(
        "Star", (OnSky, base), {"__tablename__": "star", "id": mapped_column(Integer, primary_key=True)}
    )
    path = bench.folder / "stars.db"
    database = Database(f"sqlite:///{path}")
    base.metadata.create_all(database.engine)
    sky = _sky(_rows(bench))
    cells = cells_of(sky["ra"], sky["dec"], HEALPIX_ORDER)
    order = np.argsort(cells)
    columns = (order.tolist(), *(c[order].tolist() for c in (sky["ra"], sky["dec"], cells)))
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executemany(
            "INSERT INTO star (id, ra, dec, healpix) VALUES (?, ?, ?, ?)", zip(*columns, strict=True)
        )

    def work() -> list[Any]:
        with Session(database.engine) as session:
            return list(
                session.execute(select(star.id, star.ra, star.dec).where(*within(star, *_FRAME, 0.1))).all()
            )

    return work


def _brute_force(bench: Bench) -> Work:
    """Search through all positions, which somebody has brought to the epoch before."""
    sky = _sky(_rows(bench))
    stars = SkyCoord(sky["ra"], sky["dec"], unit="deg")
    centre = SkyCoord(*_FRAME, unit="deg")
    return lambda: np.flatnonzero(stars.separation(centre) < _RADIUS * u.deg)


def _loading(bench: Bench) -> Work:
    _file(bench)
    return lambda: _load(bench)


def _count(stars: Table) -> str:
    if not 1000 < len(stars) < 10000:
        raise Wrong(f"{len(stars)} stars")
    return f"{len(stars)} stars at the epoch of the frame"


CASES = (
    Case(
        "reference stars of a field, catalogue opened anew",
        _cone,
        limit=0.2,
        library=_brute_force,
        remark=_count,
    ),
    Case("reference stars within 10 arcsec", _tiny_cone, limit=0.05),
    Case(
        "rows within 0.1 deg of as many in SQL", _sql_cone, limit=0.2, remark=lambda rows: f"{len(rows)} rows"
    ),
    Case("load a catalogue of that size", _loading, megabytes=600),
)
