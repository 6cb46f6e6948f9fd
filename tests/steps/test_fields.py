"""A field is where frames point, whatever they are called."""

from __future__ import annotations

import itertools

import pytest
from catalogue import Catalogue
from sqlalchemy import func, select

from toros.models import Astrometry, Campaign, Field, Pawprint
from toros.models.base import HEALPIX_ORDER
from toros.models.database import Database
from toros.science.healpix import cells_of
from toros.steps.fields import field_of, name_of_position

SHAPE = (1000, 600)
"""Columns and rows; of an arcsecond each."""
RADIUS = 0.25
REACH = RADIUS * 600 / 3600
"""Degrees."""


class Pointings:
    """A telescope whose frames are rows; each gets its field."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.cameras = itertools.count(1)
        self.camera = self.new_camera()

    def new_camera(self) -> int:
        """Put another camera on the telescope."""
        with self.database.write() as session:
            return Catalogue(session).campaign(f"Camera {next(self.cameras)}").id

    def at(
        self, ra: float, dec: float, camera: int | None = None, object_: str = "M31", scale: float = 1.0
    ) -> int:
        """Point there, with pixels of so many arcsec; return the number of the field."""
        columns, rows = SHAPE
        frame = Pawprint(campaign_id=camera or self.camera, naxis1=columns, naxis2=rows, object_=object_)
        cell = int(cells_of(ra, dec, HEALPIX_ORDER))
        solution = Astrometry(ra=ra, dec=dec, healpix=cell, pixel_scale=scale)
        with self.database.write() as session:
            field = field_of(session, frame, solution, RADIUS)
            session.flush()
            return field.id

    def fields(self) -> int:
        with self.database.read() as session:
            return session.scalars(select(func.count()).select_from(Field)).one()


@pytest.fixture
def pointings(database: Database) -> Pointings:
    return Pointings(database)


def test_frames_of_one_place_are_one_field_whatever_they_are_called(pointings: Pointings) -> None:
    first = pointings.at(75.0, -25.0, object_="NGC 1808")
    assert pointings.at(75.0, -25.0 + 0.9 * REACH, object_="test") == first
    assert pointings.fields() == 1


def test_frames_of_one_name_and_two_places_are_two_fields(pointings: Pointings) -> None:
    first = pointings.at(75.0, -25.0, object_="mosaic")
    assert pointings.at(75.0, -25.0 + 1.1 * REACH, object_="mosaic") != first


def test_tiny_fields_within_a_second_have_names_of_their_own(pointings: Pointings) -> None:
    for number in range(3):
        pointings.at(75.0, -25.0 - number * 0.2 / 3600, scale=0.001)
    with pointings.database.read() as session:
        names = session.scalars(select(Field.name).order_by(Field.id)).all()
    assert names == ["J050000-250000", "J050000-250000-2", "J050000-250000-3"]


def test_two_cameras_have_fields_of_their_own(pointings: Pointings) -> None:
    first = pointings.at(75.0, -25.0)
    other = pointings.at(75.0, -25.0, camera=pointings.new_camera())
    assert first != other
    assert pointings.at(75.0, -25.0) == first


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ((359.99, 0.0), (0.01, 0.0)),
        ((0.005, 60.0), (359.96, 60.0)),
        ((0.0, 89.99), (180.0, 89.99)),
        ((10.0, -90.0), (200.0, -89.98)),
        ((37.0, 89.97), (37.0 + 70.0, 89.97)),
    ],
)
def test_the_sky_has_no_seam_and_no_hole_at_its_poles(
    pointings: Pointings, one: tuple[float, float], other: tuple[float, float]
) -> None:
    assert pointings.at(*one) == pointings.at(*other)


def test_right_ascensions_are_narrow_near_the_pole_but_not_without_end(pointings: Pointings) -> None:
    assert pointings.at(0.0, 89.9) != pointings.at(180.0, 89.9)


def test_a_frame_between_two_fields_belongs_to_the_nearer_one(pointings: Pointings) -> None:
    south, north = pointings.at(75.0, -25.0), pointings.at(75.0, -25.0 + 1.5 * REACH)
    assert pointings.at(75.0, -25.0 + 0.6 * REACH) == south
    assert pointings.at(75.0, -25.0 + 0.9 * REACH) == north


DITHERS = ((0.0, 0.0), (0.3, 0.2), (-0.4, 0.1), (0.1, -0.4))
"""Shares of the reach."""


def test_dithered_frames_are_one_field_in_whatever_order_they_come(pointings: Pointings) -> None:
    for number, order in enumerate(itertools.permutations(DITHERS)):
        ra = 10.0 * number
        assert len({pointings.at(ra + x * REACH, y * REACH) for x, y in order}) == 1
    assert pointings.fields() == number + 1


def test_a_field_knows_where_it_is_how_wide_and_whose(pointings: Pointings, database: Database) -> None:
    number = pointings.at(83.63308, 22.01450)
    with database.read() as session:
        field = session.get_one(Field, number)
        assert (field.ra, field.dec, field.name) == (83.63308, 22.01450, "J053431+220052")
        assert field.radius == pytest.approx(REACH)
        assert field.healpix == int(cells_of(field.ra, field.dec, HEALPIX_ORDER))
        assert session.get_one(Campaign, field.campaign_id).name == "Camera 1 here"


@pytest.mark.parametrize(
    ("ra", "dec", "name"),
    [
        (0.0, 0.0, "J000000+000000"),
        (75.0, -25.0, "J050000-250000"),
        (75.0039, -25.0002, "J050000-250000"),  # truncated: 0.94 seconds, 0.7 arcsec
        (0.5 / 3600, -0.5 / 3600, "J000000-000000"),
        (359.999, 5.99999, "J235959+055959"),
        (15.0, 89.9999, "J010000+895959"),
        (200.0, -90.0, "J132000-900000"),
    ],
)
def test_a_name_is_the_place_truncated_to_seconds(ra: float, dec: float, name: str) -> None:
    assert name_of_position(ra, dec) == name
