"""The sensor that waits until a calibration set is complete."""

from __future__ import annotations

import datetime as dt
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.standard.triggers.temporal import DateTimeTrigger
from airflow.sdk.exceptions import TaskDeferred

from toros.models import CalFile
from toros.sensors.calibration import CalibrationQuietSensor
from toros.steps.clean import CleanCalibration

from .local_airflow import AIRFLOWS_OWN_WARNINGS, LocalAirflow
from .small_observatory import Observatory

pytestmark = AIRFLOWS_OWN_WARNINGS

TASK = SimpleNamespace(dag_id="toros_masters", run_id="r", task_id="wait", map_index=-1, try_number=1)


def take_biases(observatory: Observatory) -> dt.datetime:
    """Let three bias frames come in; return when the last one did."""
    observatory.take("bias")
    observatory.load()
    for frame in observatory.items(CalFile):
        observatory.runner.run(CleanCalibration(), frame)
    with observatory.runner.database.read() as session:
        return max(session.get_one(CalFile, frame).created_at for frame in observatory.items(CalFile))


def sense() -> Any:
    return CalibrationQuietSensor(task_id="wait").execute({"ti": TASK})  # type: ignore[typeddict-item]


def test_without_calibration_frames_there_is_nothing_to_wait_for(observatory: Observatory) -> None:
    assert sense() is None


def test_it_waits_in_the_triggerer_until_the_set_has_been_quiet(observatory: Observatory) -> None:
    observatory.change_rules("quiet_seconds = 0", "quiet_seconds = 300")
    last = take_biases(observatory)
    with pytest.raises(TaskDeferred) as deferred:
        sense()

    trigger = deferred.value.trigger
    assert isinstance(trigger, DateTimeTrigger)
    assert trigger.moment == last + dt.timedelta(seconds=300)
    assert deferred.value.method_name == "execute"


def test_it_goes_on_where_the_set_is_quiet_already(observatory: Observatory) -> None:
    take_biases(observatory)
    assert sense() is None


def test_a_run_goes_on_when_the_moment_has_come(airflow: LocalAirflow, observatory: Observatory) -> None:
    observatory.change_rules("quiet_seconds = 0", "quiet_seconds = 1.5")
    last = take_biases(observatory)
    run = airflow.run("toros_masters")

    assert run.states["wait_for_complete_set"] == "success"
    (plan,) = observatory.step_runs("plan_masters")
    assert plan.status == "succeeded"
    assert plan.started_at >= last + dt.timedelta(seconds=1.5)
