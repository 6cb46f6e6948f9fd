"""Which calibration frames belong together, and when they are combined."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from typing import Any

import pytest
from catalogue import NIGHT, Catalogue
from observing import run_waiting
from sqlalchemy import select

from small_steps import last_run
from toros.errors import NothingToDo
from toros.models import CalFile, Campaign, Combination, MasterCal
from toros.steps.calibration_rules import read_rules
from toros.steps.combine import CombineBias
from toros.steps.plan_masters import PlanMasters, first_quiet
from toros.steps.runner import Runner

QUIET = 31.0
"""Seconds: a little more than the rules ask for."""


class Sky:
    """A camera whose calibration frames are rows, and the plans made for them."""

    def __init__(self, runner: Runner) -> None:
        self.runner = runner
        with runner.database.write() as session:
            self.campaign_id = Catalogue(session).campaign().id
        self.taken = 0

    def take(self, imagetype: str, *frames: dict[str, Any], count: int = 0, **columns: Any) -> list[int]:
        """Add calibration frames, created now."""
        with self.runner.database.write() as session:
            rows = Catalogue(session)
            next_number = self.taken + 1
            rows.numbers = iter(range(next_number, 10_000))  # type: ignore[assignment]
            campaign = session.get_one(Campaign, self.campaign_id)
            added = [
                rows.calibration(
                    campaign, imagetype, **{"created_at": self.runner.clock()} | columns | one
                ).id
                for one in frames or [{}] * count
            ]
            self.taken += len(added)
            return added

    def plan(self) -> list[MasterCal]:
        """Plan; return the masters that are wanted now."""
        try:
            spawned = self.runner.run(PlanMasters()).spawned
        except NothingToDo:
            return []
        with self.runner.database.read() as session:
            return [session.get_one(MasterCal, item) for item in spawned]

    def members(self, master: MasterCal) -> list[int]:
        with self.runner.database.read() as session:
            return sorted(
                session.scalars(select(Combination.calfile_id).where(Combination.mastercal_id == master.id))
            )


@pytest.fixture
def sky(runner: Runner) -> Sky:
    return Sky(runner)


def _wait(runner: Runner, seconds: float = QUIET) -> None:
    runner.clock.advance(seconds=seconds)  # type: ignore[attr-defined]


def _keys(masters: Iterable[MasterCal]) -> set[str]:
    return {master.set_key for master in masters}


# ------------------------------------------------------------------------------------------ when it is time


def test_a_set_is_combined_when_no_frame_of_it_came_for_a_while(runner: Runner, sky: Sky) -> None:
    frames = sky.take("Bias", count=5)
    _wait(runner, 29)
    assert sky.plan() == []
    assert last_run(runner).status == "skipped"
    _wait(runner, 2)
    (master,) = sky.plan()
    assert sky.members(master) == frames
    assert (master.state.name, master.version, master.night) == ("master_wanted", 1, NIGHT)


def test_a_set_that_still_grows_does_not_hold_up_one_that_is_quiet(runner: Runner, sky: Sky) -> None:
    bias = sky.take("Bias", count=3)
    _wait(runner)
    sky.take("Flat", count=2)
    (master,) = sky.plan()
    assert sky.members(master) == bias


def test_nothing_is_planned_twice(runner: Runner, sky: Sky) -> None:
    sky.take("Bias", count=3)
    _wait(runner)
    assert len(sky.plan()) == 1
    assert sky.plan() == []


def test_a_set_that_has_grown_gets_a_second_version_of_all_its_frames(runner: Runner, sky: Sky) -> None:
    first = sky.take("Bias", count=3)
    _wait(runner)
    (one,) = sky.plan()
    later = sky.take("Bias", count=2)
    _wait(runner)
    (two,) = sky.plan()
    assert (two.set_key, two.version) == (one.set_key, 2)
    assert sky.members(two) == first + later
    assert sky.members(one) == first, "what is made is never changed"


def test_the_set_that_will_be_quiet_first_sets_the_alarm(runner: Runner, sky: Sky) -> None:
    rules = read_rules()
    quiet = dt.timedelta(seconds=rules.masters.quiet_seconds)
    with runner.database.read() as session:
        assert first_quiet(session, rules) is None
    sky.take("Bias", count=3)
    began = runner.clock()
    _wait(runner, 10)
    sky.take("Flat", count=3)
    with runner.database.read() as session:
        assert first_quiet(session, rules) == began + quiet
    _wait(runner, QUIET - 10)
    sky.plan()
    with runner.database.read() as session:
        assert first_quiet(session, rules) == began + dt.timedelta(seconds=10) + quiet


def test_too_few_frames_are_planned_and_end_as_failed(runner: Runner, sky: Sky) -> None:
    sky.take("Bias", count=1)
    _wait(runner)
    (master,) = sky.plan()
    assert run_waiting(runner, CombineBias) == {"too_few_frames": 1}
    with runner.database.read() as session:
        assert session.get_one(MasterCal, master.id).state.name == "failed_to_combine"
    assert sky.plan() == [], "it is not tried again and again"
    sky.take("Bias", count=1)
    _wait(runner)
    (master,) = sky.plan()
    assert (master.version, len(sky.members(master))) == (2, 2)


@pytest.mark.parametrize("state", ["raw_data", "failed_to_clean"])
def test_frames_that_were_not_found_clean_are_left_out(runner: Runner, sky: Sky, state: str) -> None:
    sky.take("Flat", count=2, state=state)
    _wait(runner)
    assert sky.plan() == []


# ------------------------------------------------------------------------------------------ what is alike


@pytest.mark.parametrize(
    ("imagetype", "column", "values"),
    [
        ("Bias", "xbinning", (1, 2)),
        ("Bias", "gain_setting", (100.0, 200.0)),
        ("Bias", "gain_setting", (100.0, None)),
        ("Bias", "offset_setting", (10.0, 20.0)),
        ("Bias", "readoutm", ("Normal", "Fast")),
        ("Bias", "naxis1", (128, 64)),
        ("Bias", "set_temp", (-20.0, -10.0)),
        ("Bias", "night", (NIGHT, NIGHT - dt.timedelta(days=1))),
        ("Dark", "exptime", (60.0, 120.0)),
        ("Flat", "filter", ("B", "V")),
        ("Flat", "filter", ("B", None)),
    ],
)
def test_frames_that_differ_in_what_the_rules_name_are_two_sets(
    runner: Runner, sky: Sky, imagetype: str, column: str, values: tuple[object, object]
) -> None:
    sky.take(imagetype, *({column: value} for value in values * 2), ccdtemp=None)
    _wait(runner)
    planned = sky.plan()
    assert [len(sky.members(master)) for master in planned] == [2, 2]
    assert len({(master.set_key, master.night) for master in planned}) == 2


@pytest.mark.parametrize(
    ("imagetype", "column", "values"),
    [
        ("Bias", "exptime", (0.0, 0.001)),
        ("Flat", "exptime", (1.0, 8.0)),
        ("Flat", "set_temp", (-20.0, 5.0)),
        ("Bias", "observer", ("Ana", "Bruno")),
        ("Bias", "egain", (1.0, None)),
    ],
)
def test_frames_that_differ_in_other_things_are_one_set(
    runner: Runner, sky: Sky, imagetype: str, column: str, values: tuple[object, object]
) -> None:
    sky.take(imagetype, *({column: value} for value in values * 2), ccdtemp=None)
    _wait(runner)
    (master,) = sky.plan()
    assert len(sky.members(master)) == 4


def test_two_cameras_never_share_a_set(runner: Runner, sky: Sky) -> None:
    sky.take("Bias", count=2)
    with runner.database.write() as session:
        sky.campaign_id = Catalogue(session).campaign("Another camera").id
    sky.take("Bias", count=2)
    _wait(runner)
    assert [len(sky.members(master)) for master in sky.plan()] == [2, 2]


def test_a_master_carries_the_set_up_of_its_frames(runner: Runner, sky: Sky) -> None:
    sky.take("Dark", count=2, exptime=60.0)
    sky.take("Flat", count=2, exptime=5.0)
    _wait(runner)
    dark, flat = sky.plan()
    for master in (dark, flat):
        assert (master.xbinning, master.naxis1, master.naxis2) == (1, 128, 96)
        assert (master.gain_setting, master.offset_setting, master.readoutm) == (100.0, 10.0, "Normal")
        assert master.set_temp == -20.0
    assert (dark.exptime, dark.filter) == (60.0, None)
    assert (flat.exptime, flat.filter) == (None, "V")


# ------------------------------------------------------------------------------------------- temperature


def test_an_uncooled_camera_that_drifts_a_little_stays_in_one_set(runner: Runner, sky: Sky) -> None:
    """24.5 and 25.2 degrees lie on two sides of no border."""
    warm = [{"ccdtemp": t} for t in (26.0, 24.5, 25.2, 22.1, 30.4)]
    sky.take("Dark", *warm, set_temp=None, exptime=100.0)
    _wait(runner)
    (master,) = sky.plan()
    assert master.set_temp == 26.0, "that of the first frame"
    assert len(sky.members(master)) == 5


def test_an_uncooled_camera_that_drifts_far_makes_several_sets(runner: Runner, sky: Sky) -> None:
    warm = [{"ccdtemp": t} for t in (30.0, 29.0, 24.0, 20.0, 19.0, 18.0)]
    frames = sky.take("Dark", *warm, set_temp=None, exptime=100.0)
    _wait(runner)
    planned = sky.plan()
    assert {master.set_temp: sky.members(master) for master in planned} == {
        30.0: frames[:2],
        24.0: frames[2:5],
        18.0: frames[5:],
    }
    assert len(_keys(planned)) == 3


def test_set_points_next_to_each_other_are_told_apart_and_their_rounding_is_not(
    runner: Runner, sky: Sky
) -> None:
    sky.take("Bias", *({"set_temp": t, "ccdtemp": t} for t in (-15.0, -14.98, -15.02, -17.0, -17.0)))
    _wait(runner)
    assert [len(sky.members(master)) for master in sky.plan()] == [3, 2]


def test_a_set_point_that_is_not_reached_is_no_temperature(runner: Runner, sky: Sky) -> None:
    frames = sky.take("Bias", *({"set_temp": -27.2, "ccdtemp": t} for t in (-27.1, -27.3, -18.7, -18.8)))
    _wait(runner)
    planned = sky.plan()
    assert {master.set_temp: sky.members(master) for master in planned} == {
        -27.2: frames[:2],
        -18.7: frames[2:],
    }


def test_the_name_of_a_set_is_the_same_on_every_night(runner: Runner, sky: Sky) -> None:
    for days, jitter in ((0, 0.01), (1, -0.01)):
        sky.take(
            "Dark", count=2, exptime=60.0, night=NIGHT + dt.timedelta(days=days), ccdtemp=-20.0 + 10 * jitter
        )
    _wait(runner)
    planned = sky.plan()
    assert len(planned) == 2
    assert len(_keys(planned)) == 1


def test_a_frame_of_unknown_temperature_is_no_companion_of_one_that_is_known(
    runner: Runner, sky: Sky
) -> None:
    sky.take("Bias", {"ccdtemp": 20.0}, {"ccdtemp": None}, {"ccdtemp": 21.0}, set_temp=None)
    _wait(runner)
    assert sorted(len(sky.members(master)) for master in sky.plan()) == [1, 2]


def test_frames_are_ordered_by_the_sky_and_not_by_their_arrival(runner: Runner, sky: Sky) -> None:
    """The temperature of a set is that of its first exposure, in whatever order the files came."""
    first, second = dt.datetime(2026, 11, 21, 1, tzinfo=dt.UTC), dt.datetime(2026, 11, 21, 2, tzinfo=dt.UTC)
    sky.take(
        "Dark",
        {"observation_date": second, "ccdtemp": 21.0},
        {"observation_date": first, "ccdtemp": 24.0},
        set_temp=None,
        exptime=60.0,
    )
    _wait(runner)
    (master,) = sky.plan()
    assert master.set_temp == 24.0


def test_planned_frames_are_rows_of_a_calibration_set(runner: Runner, sky: Sky) -> None:
    sky.take("Bias", count=2)
    _wait(runner)
    (master,) = sky.plan()
    with runner.database.read() as session:
        frames = session.scalars(
            select(CalFile).join(Combination).where(Combination.mastercal_id == master.id)
        ).all()
        assert {frame.imagetype for frame in frames} == {"Bias"}
