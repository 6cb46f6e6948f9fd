"""What an error of a step does to its task, through Airflow's own task runner."""

from __future__ import annotations

from datetime import timedelta

import pytest

from toros.errors import Misconfigured, Transient
from toros.operators.batches import BatchOperator

from .fateful_steps import Fussy, Trial
from .local_airflow import AIRFLOWS_OWN_WARNINGS, LocalAirflow, Run
from .small_observatory import Observatory

pytestmark = AIRFLOWS_OWN_WARNINGS


@pytest.fixture(autouse=True)
def _our_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the pipeline know our steps."""
    monkeypatch.setenv("TOROS_STEP_MODULES", Trial.__module__)


@pytest.fixture
def frame(observatory: Observatory) -> int:
    """A raw science frame."""
    observatory.take("light", count=1)
    observatory.load()
    (frame,) = observatory.items()
    return frame


def run_trial(airflow: LocalAirflow, frame: int, error: str) -> Run:
    """Run a step that meets an error at its first try, with no pause before the second one."""
    dag = airflow.dag("toros_step")
    dag.get_task("run").retry_delay = timedelta(0)
    return airflow.run(dag, step="trial", item_id=frame, parameters={"error": error})


def test_a_passing_trouble_is_tried_again(
    airflow: LocalAirflow, observatory: Observatory, frame: int
) -> None:
    run = run_trial(airflow, frame, "storage_unavailable")

    assert run.states == {"run": "success"}
    runs = observatory.step_runs("trial")
    assert [(r.try_number, r.status, r.error_code) for r in runs] == [
        (1, "failed", "storage_unavailable"),
        (2, "succeeded", None),
    ]


def test_a_frame_that_cannot_be_processed_fails_at_once(
    airflow: LocalAirflow, observatory: Observatory, frame: int
) -> None:
    run = run_trial(airflow, frame, "bad_header")

    assert run.states == {"run": "failed"}
    assert run.tasks["run"].try_number == 1
    assert observatory.states() == {"failed_to_clean": 1}
    assert "as it was told" in run.xcom("run", "toros_unprocessable")


def test_a_task_without_work_is_skipped(airflow: LocalAirflow, observatory: Observatory, frame: int) -> None:
    run = run_trial(airflow, frame, "waiting_for_master")

    assert run.states == {"run": "skipped"}
    assert run.state == "success"
    assert observatory.states() == {"raw_data": 1}


def test_what_a_person_must_set_right_fails_at_once(
    airflow: LocalAirflow, observatory: Observatory, frame: int
) -> None:
    run = run_trial(airflow, frame, "bad_profile")

    assert run.states == {"run": "failed"}
    assert run.tasks["run"].try_number == 1
    assert observatory.states() == {"raw_data": 1}


# ---------------------------------------------------------------------------------------------- batches


def run_fussy(
    observatory: Observatory, monkeypatch: pytest.MonkeyPatch, errors: list[str | None]
) -> list[int]:
    """Run a step on three raw frames in one task, which meets these errors; return what was done."""
    observatory.take("light")
    observatory.load()
    frames = observatory.items()
    chosen = {frame: error for frame, error in zip(frames, errors, strict=True) if error is not None}
    monkeypatch.setattr(Fussy, "errors", chosen)
    return BatchOperator(task_id="fussy", step="fussy").run_all(observatory.runner, frames)


def test_a_bad_frame_stops_no_batch(observatory: Observatory, monkeypatch: pytest.MonkeyPatch) -> None:
    done = run_fussy(observatory, monkeypatch, ["bad_header", None, "nothing_to_do"])

    assert done == [observatory.items()[1]]
    assert observatory.states() == {"failed_to_clean": 1, "cleaned_data": 1, "raw_data": 1}


@pytest.mark.parametrize(
    ("errors", "fate"),
    [
        (["storage_unavailable", "bad_profile", None], Transient),
        (["bad_profile", "storage_unavailable", None], Transient),
        (["bad_profile", "bad_header", None], Misconfigured),
    ],
)
def test_a_batch_in_trouble_fails_when_all_have_had_their_turn(
    observatory: Observatory,
    monkeypatch: pytest.MonkeyPatch,
    errors: list[str | None],
    fate: type[Exception],
) -> None:
    """And it is tried again as long as that helps one of them."""
    with pytest.raises(fate):
        run_fussy(observatory, monkeypatch, errors)
    assert observatory.states()["cleaned_data"] == 1
