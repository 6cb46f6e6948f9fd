"""The sensor that waits until a field is quiet, and the operator that wakes up toros_stack for it."""

from __future__ import annotations

import datetime as dt
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.standard.triggers.temporal import DateTimeTrigger
from airflow.sdk.exceptions import AirflowSkipException, DagRunTriggerException, TaskDeferred

from new_sky import MeasuredSky
from toros.models import utcnow
from toros.operators.wake_stacks import WakeStacksOperator
from toros.sensors.stacks import FieldQuietSensor
from toros.steps import survey_rules
from toros.steps.plan_stacks import PlanStacks
from toros.steps.survey_rules import read_survey_rules

from .local_airflow import AIRFLOWS_OWN_WARNINGS
from .small_observatory import Observatory

pytestmark = AIRFLOWS_OWN_WARNINGS

SHIPPED = Path(survey_rules.__file__).with_suffix(".toml")
RULES = read_survey_rules().stacks
QUIET = dt.timedelta(seconds=RULES.quiet_seconds)
CONTEXT: Any = {
    "ti": SimpleNamespace(dag_id="toros_stack", run_id="r", task_id="wait", map_index=-1, try_number=1)
}


@pytest.fixture
def sky(observatory: Observatory) -> MeasuredSky:
    """Fields of an observatory that is as patient as the shipped rules."""
    shutil.copyfile(SHIPPED, observatory.folder / "survey.toml")
    return MeasuredSky(observatory.runner.database)


def key(sky: MeasuredSky, filter_: str = "V") -> str:
    return f"field={sky.field}|filter={filter_}|night=2026-11-20"


def sense(set_key: str) -> Any:
    return FieldQuietSensor(task_id="wait", set_key=set_key).execute(CONTEXT)


def wake() -> DagRunTriggerException | None:
    """Return the run that is asked for."""
    operator = WakeStacksOperator(task_id="wake", trigger_dag_id="toros_stack")
    with pytest.raises((DagRunTriggerException, AirflowSkipException)) as raised:
        operator.execute(CONTEXT)
    return raised.value if isinstance(raised.value, DagRunTriggerException) else None


def test_it_waits_in_the_triggerer_until_the_field_has_been_quiet(sky: MeasuredSky) -> None:
    last = utcnow()
    for seconds in (40, 0, 20):
        sky.measured(at=last - dt.timedelta(seconds=seconds))
    with pytest.raises(TaskDeferred) as deferred:
        sense(key(sky))

    trigger = deferred.value.trigger
    assert isinstance(trigger, DateTimeTrigger)
    assert trigger.moment == last + QUIET
    assert deferred.value.method_name == "execute"


def test_it_goes_on_where_the_field_is_quiet_or_stacked_or_nothing_was_named(
    sky: MeasuredSky, observatory: Observatory
) -> None:
    for _ in range(RULES.fewest_frames):
        sky.measured(at=utcnow() - 2 * QUIET)
    assert sense(key(sky)) is None
    observatory.runner.run(PlanStacks())
    assert sense(key(sky)) is None
    assert sense("") is None


def test_it_does_not_wait_for_another_set(sky: MeasuredSky) -> None:
    for _ in range(RULES.fewest_frames):
        sky.measured(at=utcnow(), filter="R")
    assert sense(key(sky)) is None
    with pytest.raises(TaskDeferred):
        sense(key(sky, "R"))


@pytest.mark.usefixtures("sky")
def test_nobody_is_woken_where_there_is_nothing_to_stack() -> None:
    assert wake() is None


def test_one_run_is_asked_for_however_many_frames_come(sky: MeasuredSky) -> None:
    first, *_ = [sky.measured(at=utcnow()) for _ in range(RULES.fewest_frames)]
    for _ in range(3):
        run = wake()
        assert run is not None
        assert (run.trigger_dag_id, run.dag_run_id) == ("toros_stack", f"from_frame_{first}")
        assert run.conf == {"set": key(sky)}
        assert run.skip_when_already_exists
        sky.measured(at=utcnow())


def test_the_run_is_for_the_set_that_began_last(sky: MeasuredSky) -> None:
    for _ in range(RULES.fewest_frames):
        sky.measured()
    latest, *_ = [sky.measured(filter="R") for _ in range(RULES.fewest_frames)]
    run = wake()
    assert run is not None
    assert (run.dag_run_id, run.conf) == (f"from_frame_{latest}", {"set": key(sky, "R")})
