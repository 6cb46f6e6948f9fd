"""A cone search is a scan of the HEALPix index, on SQLite and on PostgreSQL alike."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from sqlalchemy import insert, select, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from toros.errors import BadParameters
from toros.models import HEALPIX_ORDER
from toros.models.base import OnSky
from toros.models.cone import within
from toros.models.database import Database
from toros.science.healpix import cells_of, is_within

CONES = [
    (10.0, 41.0, 0.5),
    (0.0, 0.0, 1.0),
    (359.9999, -0.0001, 0.01),
    (77.0, 90.0, 0.7),
    (200.0, -89.9, 2.0),
    (120.0, -30.0, 40.0),
    (5.0, 5.0, 180.0),
    (10.0, 41.0, 0.0),
]
ROWS_OF_A_CONE = 400


class Sky(DeclarativeBase):
    """Tables of this test only."""


class Star(OnSky, Sky):
    """A position."""

    __tablename__ = "star"
    id: Mapped[int] = mapped_column(primary_key=True)


@pytest.fixture
def stars(database: Database) -> SkyCoord:
    """Rows all over the sky, crowded around the places that are asked for; the first of them at one."""
    rng = np.random.default_rng(4)
    ra, dec = [np.array([10.0])], [np.array([41.0])]
    for lon, lat, radius in CONES:
        spread = radius / np.cos(np.radians(min(abs(lat), 89)))
        ra.append(rng.normal(lon, spread, ROWS_OF_A_CONE) % 360)
        dec.append(np.clip(rng.normal(lat, radius, ROWS_OF_A_CONE), -90, 90))
    position = SkyCoord(np.concatenate(ra), np.concatenate(dec), unit="deg")
    columns = (position.ra.deg, position.dec.deg)
    rows = zip(*(c.tolist() for c in (*columns, cells_of(*columns, HEALPIX_ORDER))), strict=True)
    Sky.metadata.create_all(database.engine)
    with database.write() as session:
        session.execute(
            insert(Star),
            [{"id": i, "ra": a, "dec": d, "healpix": h} for i, (a, d, h) in enumerate(rows)],
        )
    return position


@pytest.mark.parametrize("cone", CONES, ids=str)
def test_all_rows_of_a_cone_are_found(
    database: Database, stars: SkyCoord, cone: tuple[float, float, float]
) -> None:
    ra, dec, radius = cone
    with database.read() as session:
        rows = session.scalars(select(Star).where(*within(Star, ra, dec, radius))).all()
    found = {row.id for row in rows if is_within(row.ra, row.dec, (ra, dec), radius)}
    distance = stars.separation(SkyCoord(ra, dec, unit="deg")).deg
    assert found == set(np.flatnonzero(distance <= radius).tolist())
    assert found


def test_hardly_any_rows_outside_the_cone_are_read(database: Database, stars: SkyCoord) -> None:
    with database.read() as session:
        rows = session.scalars(select(Star).where(*within(Star, 10.0, 41.0, 0.5))).all()
    assert len(rows) < 1.7 * np.count_nonzero(is_within(stars.ra.deg, stars.dec.deg, (10.0, 41.0), 0.5))


def test_sqlite_reads_the_index_and_not_the_table(database: Database, stars: SkyCoord) -> None:
    if not database.is_sqlite:
        pytest.skip("PostgreSQL chooses by the size of the table")
    with database.read() as session:
        query = select(Star.id).where(*within(Star, 10.0, 41.0, 0.5))
        sql = str(query.compile(database.engine, compile_kwargs={"literal_binds": True}))
        plan = [str(row[3]) for row in session.execute(text(f"EXPLAIN QUERY PLAN {sql}"))]
    assert any("USING INDEX ix_star_healpix" in line for line in plan)
    assert not any(line.startswith("SCAN") for line in plan)


@pytest.mark.parametrize("cone", [(0, 91, 1), (0, 0, -1), (0, float("nan"), 1)])
def test_what_is_no_cone_is_refused(cone: tuple[float, float, float]) -> None:
    with pytest.raises(BadParameters):
        within(Star, *cone)
