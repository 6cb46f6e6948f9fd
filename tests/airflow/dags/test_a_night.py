"""A good night, run after run: what becomes of its frames, and what the tasks leave to be looked at."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from toros.models import MasterCal, Pawprint, Product

from .conftest import open_observatory
from .local_airflow import AIRFLOWS_OWN_WARNINGS, LocalAirflow, Run
from .small_observatory import Observatory

pytestmark = AIRFLOWS_OWN_WARNINGS


@dataclass(frozen=True)
class GoodNight:
    """The runs of a night, and the products after them."""

    observatory: Observatory
    evening: Run
    waiting: int
    masters: Run
    later: Run
    products: list[Product]


@pytest.fixture(scope="module")
def good_night(
    airflow: LocalAirflow, night: Path, sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GoodNight]:
    folder = tmp_path_factory.mktemp("observatory")
    shutil.copyfile(sqlite_template, folder / "toros.db")
    with open_observatory(folder, f"sqlite:///{folder / 'toros.db'}", night) as observatory:
        observatory.take("bias", "dark", "flat", "light")
        evening = airflow.run("toros_survey")
        waiting = observatory.states()["cleaned_data"]
        masters, later = airflow.run("toros_masters"), airflow.run("toros_survey")
        yield GoodNight(observatory, evening, waiting, masters, later, observatory.products())


def test_frames_wait_for_their_masters(good_night: GoodNight) -> None:
    assert good_night.evening.state == "success"
    assert good_night.evening.states_of("exposure.clean", "wake_masters") == {"success"}
    assert good_night.evening.states_of("exposure.preprocess") == {"skipped"}
    assert good_night.waiting == 3


def test_masters_are_made_and_wake_the_frames(good_night: GoodNight) -> None:
    assert good_night.masters.state == "success"
    assert set(good_night.masters.states.values()) == {"success"}
    assert good_night.observatory.states(MasterCal) == {"master_accepted": 3}


def test_frames_are_calibrated_and_measured_when_the_masters_are_there(good_night: GoodNight) -> None:
    assert good_night.later.state == "success"
    assert good_night.later.states_of("exposure.preprocess", "exposure.solve", "exposure.measure") == {
        "success"
    }
    assert good_night.later.states_of("exposure.retry_solve", "exposure.review") == {"skipped"}
    assert good_night.later.states_of("clean_calibration", "wake_masters") == {"skipped"}
    assert good_night.observatory.states() == {"measured": 3}


def test_every_step_run_knows_the_task_that_made_it(good_night: GoodNight) -> None:
    made_by = {
        (r.dag_id, r.run_id, r.task_id, r.map_index) for r in good_night.observatory.step_runs("clean")
    }
    run_id = good_night.evening.row.run_id
    assert made_by == {("toros_survey", run_id, "exposure.clean", index) for index in range(3)}


def test_a_mapped_task_carries_the_name_of_its_frame(good_night: GoodNight) -> None:
    tasks = [
        task
        for run in (good_night.evening, good_night.later)
        for name, task in run.tasks.items()
        if name.startswith("exposure.") and task.state == "success"
    ]
    names = {path.name for path in (good_night.observatory.night / "light").iterdir()}

    assert {task.rendered_map_index for task in tasks} == names
    assert "Bias" in (good_night.masters.tasks["bias.combine[0]"].rendered_map_index or "")


def test_a_task_links_to_its_step_run_and_its_frame(good_night: GoodNight) -> None:
    for made in good_night.observatory.step_runs("clean"):
        task = good_night.evening.xcoms(f"exposure.clean[{made.map_index}]")
        assert task["_link_StepRunLink"].endswith(f"/runs/{made.id}")
        assert task["_link_ProductLink"].endswith(f"/items/{made.item_id}")


def test_tasks_hand_on_numbers_of_rows(good_night: GoodNight) -> None:
    frames = good_night.observatory.items(Pawprint)

    assert good_night.evening.xcom("science_frames") == frames
    assert [good_night.later.xcom(f"exposure.preprocess[{index}]") for index in range(3)] == frames


def test_tasks_leave_nothing_large(good_night: GoodNight) -> None:
    for run in (good_night.evening, good_night.masters, good_night.later):
        for name in run.tasks:
            assert len(json.dumps(run.xcoms(name))) < 1000, name


def test_runs_that_are_repeated_change_nothing(airflow: LocalAirflow, good_night: GoodNight) -> None:
    for dag_id in ("toros_survey", "toros_masters"):
        assert airflow.run(dag_id).state == "success"
    again = good_night.observatory.products()
    assert [(product.id, product.checksum) for product in again] == [
        (product.id, product.checksum) for product in good_night.products
    ]
