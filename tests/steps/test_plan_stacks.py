"""Which frames are stacked, and when."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from clock import Clock
from new_sky import NIGHT, START, MeasuredSky, NewSky
from toros.errors import NothingToDo
from toros.models import Stack
from toros.models.database import Database
from toros.steps.plan_stacks import PlanStacks, Wanted, wanted_stacks
from toros.steps.runner import Runner
from toros.steps.survey_rules import StackRules, read_survey_rules

RULES = read_survey_rules().stacks
QUIET = dt.timedelta(seconds=RULES.quiet_seconds)
FEWEST = RULES.fewest_frames
TOMORROW = NIGHT + dt.timedelta(days=1)


@pytest.fixture
def sky(database: Database, clock: Clock) -> MeasuredSky:
    clock.now = START + QUIET
    return MeasuredSky(database)


def measured(sky: MeasuredSky, count: int = FEWEST, **columns: Any) -> list[int]:
    return [sky.measured(**columns) for _ in range(count)]


def wanted(sky: MeasuredSky, **rules: Any) -> list[Wanted]:
    with sky.database.read() as session:
        return list(wanted_stacks(session, StackRules(**RULES.model_dump() | rules)))


def planned(runner: Runner) -> list[Stack]:
    """Plan; return the stacks that are asked for."""
    spawned = runner.run(PlanStacks()).spawned
    with runner.database.read() as session:
        stacks = [session.get_one(Stack, item) for item in spawned]
        for stack in stacks:
            assert stack.members
            assert stack.state.name == "stack_wanted"
        return stacks


def members(stack: Stack) -> list[int]:
    return sorted(member.pawprint_id for member in stack.members)


def test_the_frames_of_a_night_are_one_stack(sky: MeasuredSky, runner: Runner) -> None:
    frames = measured(sky)
    (stack,) = planned(runner)
    assert members(stack) == frames
    assert (stack.field_id, stack.filter, stack.night, stack.version) == (sky.field, "V", NIGHT, 1)
    assert [member.weight for member in stack.members] == [None] * FEWEST


def test_too_few_frames_are_no_stack(sky: MeasuredSky, runner: Runner) -> None:
    measured(sky, FEWEST - 1)
    with pytest.raises(NothingToDo):
        planned(runner)
    sky.measured()
    assert len(planned(runner)) == 1


def test_frames_of_a_colour_sensor_are_not_stacked(sky: MeasuredSky) -> None:
    measured(sky, bayer="GRBG")
    assert wanted(sky) == []


def test_trailed_frames_are_left_out(sky: MeasuredSky) -> None:
    frames = measured(sky)
    sky.measure(sky.measured(), trailing=0.5)
    sky.measure(frames[0], trailing=0.1)
    (stack,) = wanted(sky)
    assert list(stack.frames) == frames


def test_where_there_is_a_reference_frames_are_searched_before_they_are_stacked(database: Database) -> None:
    sky = NewSky(database)
    measured(sky, night=1)
    assert wanted(sky) == []
    searched = measured(sky, night=1, state="searched")
    assert [list(stack.frames) for stack in wanted(sky) if stack.night == TOMORROW] == [searched]


def test_fields_filters_and_nights_are_stacked_apart_and_all_nights_together(sky: MeasuredSky) -> None:
    other = sky.add_field("J060000-250000")
    sets = {
        (sky.field, "V", NIGHT): measured(sky),
        (sky.field, "V", TOMORROW): measured(sky, night=1),
        (sky.field, "R", NIGHT): measured(sky, filter="R"),
        (sky.field, None, NIGHT): measured(sky, filter=None),
        (other, "V", NIGHT): measured(sky, field_id=other),
    }
    sets[sky.field, "V", None] = sets[sky.field, "V", NIGHT] + sets[sky.field, "V", TOMORROW]
    assert {(one.field_id, one.filter, one.night): [*one.frames] for one in wanted(sky)} == sets
    assert len({one.set_key for one in wanted(sky)}) == len(sets)


def test_few_frames_of_each_night_are_stacked_when_the_nights_have_enough(sky: MeasuredSky) -> None:
    frames = [sky.measured(night=night) for night in range(FEWEST)]
    (deep,) = wanted(sky)
    assert (deep.night, deep.frames) == (None, tuple(frames))


def test_frames_with_broad_stars_are_left_out(sky: MeasuredSky) -> None:
    sharp, soft = measured(sky, 4), sky.measured(fwhm=2.0 * RULES.worst_fwhm - 0.01)
    sky.measured(fwhm=2.0 * RULES.worst_fwhm + 0.01)
    unknown = sky.measured(fwhm=None)
    (stack,) = wanted(sky)
    assert stack.frames == (*sharp, soft, unknown)


def test_the_newest_measure_of_a_frame_counts(sky: MeasuredSky) -> None:
    *sharp, blurred = measured(sky, 5)
    sky.measure(blurred, fwhm=9.0)
    assert wanted(sky)[0].frames == tuple(sharp)


def test_of_too_many_frames_the_deepest_are_stacked(sky: MeasuredSky) -> None:
    limits = (20.1, 19.0, 20.4, None, 20.2, 20.0)
    frames = [sky.measured(limit=limit) for limit in limits]
    (stack,) = wanted(sky, most_frames=3)
    assert stack.frames == (frames[0], frames[2], frames[4])


def test_what_became_of_its_difference_does_not_matter_but_its_quality_does(sky: MeasuredSky) -> None:
    good = [
        sky.measured(state=state)
        for state in ("measured", "differenced", "failed_difference", "searched", "failed_search")
    ]
    sky.measured(state="failed_quality")
    sky.measured(field_id=None)
    assert wanted(sky)[0].frames == tuple(good)


def test_a_set_waits_until_it_is_quiet(sky: MeasuredSky, runner: Runner, clock: Clock) -> None:
    measured(sky, at=START - dt.timedelta(minutes=9))
    last = START + dt.timedelta(seconds=30)
    sky.measured(at=last)
    with pytest.raises(NothingToDo):
        planned(runner)
    clock.now = last + QUIET
    assert len(members(planned(runner)[0])) == FEWEST + 1


def test_a_quiet_set_does_not_wait_for_another(sky: MeasuredSky, runner: Runner) -> None:
    frames = measured(sky)
    measured(sky, at=START + dt.timedelta(seconds=1), filter="R")
    (stack,) = planned(runner)
    assert members(stack) == frames


def test_what_is_planned_is_not_planned_again(sky: MeasuredSky, runner: Runner) -> None:
    measured(sky)
    planned(runner)
    with pytest.raises(NothingToDo):
        planned(runner)


def test_a_late_frame_makes_a_new_version_beside_the_old(sky: MeasuredSky, runner: Runner) -> None:
    frames = measured(sky)
    (first,) = planned(runner)
    late = sky.measured()
    (second,) = planned(runner)
    assert (first.set_key, first.version, second.version) == (second.set_key, 1, 2)
    assert (members(first), members(second)) == (frames, [*frames, late])


def test_a_late_frame_that_is_left_out_makes_no_new_version(sky: MeasuredSky, runner: Runner) -> None:
    measured(sky)
    planned(runner)
    sky.measured(fwhm=9.0)
    assert wanted(sky) == []


def test_the_first_new_frame_stays_while_frames_come(sky: MeasuredSky, runner: Runner) -> None:
    frames = measured(sky)
    for _ in range(3):
        assert [one.first_new for one in wanted(sky)] == [frames[0]]
        sky.measured(at=START - dt.timedelta(hours=1))
    planned(runner)
    late = sky.measured()
    for _ in range(3):
        assert [one.first_new for one in wanted(sky)] == [late]
        sky.measured()


def test_a_set_is_as_new_as_its_newest_frame(sky: MeasuredSky) -> None:
    moments = [START + dt.timedelta(minutes=minutes) for minutes in (3, 7, 5)]
    for moment in moments:
        sky.measured(at=moment)
    assert [one.newest for one in wanted(sky)] == [moments[1]]
