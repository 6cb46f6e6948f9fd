"""Nights on which something is missing, broken or too much: what fails, what goes on, and whom it wakes up."""

from __future__ import annotations

import os

import pytest

from toros.models import Arrival, CalFile, MasterCal
from toros.steps.plan_masters import PlanMasters

from .conftest import NIGHT
from .local_airflow import AIRFLOWS_OWN_WARNINGS, LocalAirflow
from .small_observatory import Observatory

pytestmark = AIRFLOWS_OWN_WARNINGS


def test_calibration_frames_wake_the_masters_for_their_night(
    airflow: LocalAirflow, observatory: Observatory
) -> None:
    observatory.take("bias")
    run = airflow.run("toros_survey")

    assert run.events() == [("toros_calibration_frames", NIGHT.isoformat())]
    assert run.states_of("science_frames", "more_frames") == {"skipped"}


def test_an_empty_inbox_is_no_failure(airflow: LocalAirflow, observatory: Observatory) -> None:
    survey, masters = airflow.run("toros_survey"), airflow.run("toros_masters")

    assert survey.state == masters.state == "success"
    assert not {"failed", "upstream_failed"} & {*survey.states.values(), *masters.states.values()}
    assert masters.states["wake_survey"] == "skipped"
    assert survey.events() == []


# --------------------------------------------------------------------------- what fails, and what does not


def test_a_bad_file_is_refused_and_the_others_go_on(airflow: LocalAirflow, observatory: Observatory) -> None:
    observatory.take("light")
    picture = observatory.inbox / "allsky.fits"
    picture.write_bytes(b"a picture, not a frame")
    os.utime(picture, (0, 0))  # it came long ago, and will not grow any more
    run = airflow.run("toros_survey")

    assert run.states["load"] == "success"
    assert observatory.states(Arrival) == {"registered": 3, "rejected": 1}
    assert run.states_of("exposure.clean") == {"success"}


def test_a_frame_that_cannot_be_processed_is_to_blame_itself(
    airflow: LocalAirflow, observatory: Observatory
) -> None:
    """Its task fails, the others go on, and the run is no failure: nobody need get up at night."""
    observatory.take("bias", "light")
    for dag_id in ("toros_survey", "toros_masters"):
        airflow.run(dag_id)
    observatory.damage_raw_file(observatory.items()[1])

    run = airflow.run("toros_survey")

    preprocessed = [run.states[f"exposure.preprocess[{index}]"] for index in range(3)]
    assert preprocessed == ["success", "failed", "success"]
    assert observatory.states() == {"measured": 2, "failed_to_preprocess": 1}
    assert run.states["verdict"] == "success"
    assert run.state == "success"


def test_a_single_bad_frame_makes_no_run_a_failure(airflow: LocalAirflow, observatory: Observatory) -> None:
    """In the night, most runs have one frame: what its fate means cannot hang on how many others there are."""
    observatory.take("light", count=1)
    observatory.load()
    observatory.damage_raw_file(observatory.items()[0])
    run = airflow.run("toros_survey")

    assert run.states["exposure.clean[0]"] == "failed"
    assert run.states["exposure.preprocess[0]"] == "upstream_failed"
    assert run.state == "success"


def test_what_a_person_must_set_right_makes_the_run_a_failure(
    airflow: LocalAirflow, observatory: Observatory
) -> None:
    observatory.take("light")
    observatory.load()
    observatory.break_profile()
    run = airflow.run("toros_survey")

    assert run.states_of("exposure.clean") == {"failed"}
    assert run.states["verdict"] == "failed"
    assert run.state == "failed"
    assert observatory.states() == {"raw_data": 3}  # and they wait until it is set right


def test_a_set_that_cannot_be_combined_stops_no_other(
    airflow: LocalAirflow, observatory: Observatory
) -> None:
    observatory.take("bias", count=1)  # too few
    observatory.take("dark")
    observatory.take("light")
    airflow.run("toros_survey")
    masters = airflow.run("toros_masters")

    assert masters.states["bias.combine[0]"] == "failed"
    assert masters.states["dark.combine[0]"] == "success"
    assert masters.states["wake_survey"] == "success"
    assert masters.state == "success"
    assert airflow.run("toros_survey").state == "success"
    assert observatory.states() == {"measured": 3}


def test_darks_are_combined_in_a_night_without_any_bias(
    airflow: LocalAirflow, observatory: Observatory
) -> None:
    observatory.take("dark")
    airflow.run("toros_survey")
    masters = airflow.run("toros_masters")

    assert masters.states_of("bias.combine", "flat.combine") == {"skipped"}
    assert masters.states_of("dark.combine") == {"success"}
    assert masters.states["wake_survey"] == "success"


def test_masters_that_an_earlier_run_could_not_finish_are_made_by_the_next(
    airflow: LocalAirflow, observatory: Observatory
) -> None:
    observatory.take("dark")
    airflow.run("toros_survey")
    observatory.runner.run(PlanMasters())  # and then the power failed
    masters = airflow.run("toros_masters")

    assert masters.states["plan_masters"] == "skipped"
    assert observatory.states(MasterCal) == {"master_accepted": 1}


def test_a_set_that_was_given_up_wakes_the_frames_that_waited_for_it(
    airflow: LocalAirflow, observatory: Observatory
) -> None:
    observatory.take("bias", count=1)  # too few
    observatory.take("light")
    airflow.run("toros_survey")
    masters = airflow.run("toros_masters")

    assert masters.states_of("bias.combine") == {"failed"}
    assert masters.states_of("dark.combine", "flat.combine") == {"skipped"}
    assert masters.states["wake_survey"] == "success"


def test_a_calibration_frame_that_cannot_be_measured_stops_no_other(
    airflow: LocalAirflow, observatory: Observatory
) -> None:
    observatory.take("bias", "flat")
    observatory.load()
    observatory.damage_raw_file(observatory.items(CalFile)[0])
    run = airflow.run("toros_survey")

    assert observatory.states(CalFile) == {"cleaned_data": 5, "failed_to_clean": 1}
    assert run.states["wake_masters"] == "success"
    assert run.state == "success"


def test_calibration_frames_of_a_wrong_profile_do_not_keep_masters_from_being_made(
    airflow: LocalAirflow, observatory: Observatory
) -> None:
    """There may be other cameras; but the run is a failure, and says so."""
    observatory.take("bias")
    observatory.load()
    observatory.break_profile()
    run = airflow.run("toros_survey")

    assert run.states["clean_calibration"] == "failed"
    assert run.states["wake_masters"] == "success"
    assert run.state == "failed"


# ------------------------------------------------------------------------------------------- more frames


def test_frames_beyond_the_limit_wake_the_next_run(
    airflow: LocalAirflow, observatory: Observatory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOROS_FRAMES_PER_RUN", "2")
    observatory.take("light")
    first = airflow.run("toros_survey")
    second = airflow.run("toros_survey")

    frames = observatory.items()
    assert first.xcom("science_frames") == frames[:2]  # the oldest
    assert first.xcom("more_frames") == 1
    assert first.events() == [("toros_more_frames", None)]
    assert second.xcom("science_frames") == frames[2:]
    assert second.events() == []


def test_runs_that_get_nowhere_do_not_wake_each_other(
    airflow: LocalAirflow, observatory: Observatory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOROS_FRAMES_PER_RUN", "2")
    observatory.take("light")
    observatory.load()
    observatory.break_profile()
    run = airflow.run("toros_survey")

    assert len(run.xcom("science_frames")) == 2
    assert run.states["more_frames"] == "skipped"
    assert run.events() == []
