"""What has changed between two nights: each kind in its own way, and only then."""

from __future__ import annotations

import dataclasses
import datetime as dt

import numpy as np
import pytest
from astropy.coordinates import SkyCoord

from toros.sim import Change, Field, NightPlan, SimulatedCamera, Transient, changes_since, simulate_night
from toros.sim.sky import sky_field

DAYS = 10
EVENING = dt.date(2026, 11, 20)
FIELDS = (Field("F0400-25", 60.0, -25.0, exposures=3), Field("F0500-25", 75.0, -25.0, exposures=3))
PLAN = NightPlan(
    EVENING, bias=0, darks=(), flats=0, fields=FIELDS, density=120.0, pointing_error=3.0, dither=3.0
)
BEFORE = dataclasses.replace(PLAN, night=EVENING - dt.timedelta(days=DAYS))


@pytest.fixture(scope="module")
def changes(camera: SimulatedCamera) -> tuple[Transient, ...]:
    return changes_since(PLAN, camera, DAYS, seed=3)


def seen(plan: NightPlan, camera: SimulatedCamera, changes: tuple[Transient, ...]) -> list[dict[str, float]]:
    """Magnitudes of what changes on each frame of the second field, by name."""
    plan = dataclasses.replace(plan, transients=changes)
    tables = [frame.truth for frame in simulate_night(plan, camera) if frame.header["OBJECT"] == "F0500-25"]
    names = {one.name for one in changes}
    return [
        {row["name"]: row["mag"] for row in table if row["name"] in names}
        for table in tables
        if table is not None
    ]


def of_kind(changes: tuple[Transient, ...], kind: Change) -> list[Transient]:
    return [one for one in changes if one.kind == kind and one.name.startswith("F0500-25")]


def test_every_field_gets_two_of_every_kind_with_a_name_each(changes: tuple[Transient, ...]) -> None:
    assert len({one.name for one in changes}) == len(changes) == 2 * 2 * len(Change)
    for kind in Change:
        assert len(of_kind(changes, kind)) == 2


def test_the_same_seed_draws_the_same_changes(
    changes: tuple[Transient, ...], camera: SimulatedCamera
) -> None:
    places = [(one.name, one.ra, one.dec) for one in changes]
    again, others = (changes_since(PLAN, camera, DAYS, seed=seed) for seed in (3, 4))
    assert [(one.name, one.ra, one.dec) for one in again] == places
    assert [(one.name, one.ra, one.dec) for one in others] != places


def test_all_of_them_are_on_every_frame_of_their_field_and_the_truth_says_what_they_are(
    changes: tuple[Transient, ...], camera: SimulatedCamera
) -> None:
    plan = dataclasses.replace(PLAN, transients=changes)
    for frame in simulate_night(plan, camera):
        assert frame.truth is not None
        rows = frame.truth[np.isin(frame.truth["kind"], list(Change))]
        expected = {one.name: one.kind for one in changes if one.name.startswith(frame.header["OBJECT"])}
        assert dict(zip(rows["name"], rows["kind"], strict=True)) == expected


def test_before_only_the_variables_were_there_and_at_their_other_extreme(
    changes: tuple[Transient, ...], camera: SimulatedCamera
) -> None:
    then, now = seen(BEFORE, camera, changes)[0], seen(PLAN, camera, changes)[0]
    brightened, faded = (one.name for one in of_kind(changes, Change.VARIABLE))
    assert set(then) == {brightened, faded}
    assert 0.6 <= then[brightened] - now[brightened] <= 1.6
    assert 0.6 <= now[faded] - then[faded] <= 1.6


def test_supernovae_are_in_galaxies(changes: tuple[Transient, ...], camera: SimulatedCamera) -> None:
    sky = sky_field(75.0, -25.0, 0.1, density=PLAN.density)
    galaxies = sky[sky["kind"] == "galaxy"]
    for one in of_kind(changes, Change.SUPERNOVA):
        place = SkyCoord(one.ra, one.dec, unit="deg")
        distance = place.separation(SkyCoord(galaxies["ra"], galaxies["dec"], unit="deg")).arcsec
        assert (distance < 0.6 * galaxies["half_light_radius"]).any()


def test_asteroids_move_by_more_than_their_image_from_frame_to_frame(
    changes: tuple[Transient, ...], camera: SimulatedCamera
) -> None:
    step = (FIELDS[0].exptime + camera.readout_time) / 86400
    for one in of_kind(changes, Change.ASTEROID):
        first, second = (
            SkyCoord(*one.position(moment), unit="deg") for moment in (one.epoch, one.epoch + step)
        )
        assert 1.4 < first.separation(second).arcsec < 2.6
