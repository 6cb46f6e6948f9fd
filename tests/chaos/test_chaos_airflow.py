"""Processes of a real Airflow are killed at random instants, and the night comes to its end all the same."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from accounts import account_of, assert_nothing_is_lost, differences
from airflow_storm import AirflowStorm, Camera, airflow_of
from chaos_dose import Dose, Tell
from stormy_nights import count_runs, frames_of_night, open_observatory, work

from toros.config import Settings
from toros.demo.progress import look
from toros.models.database import Database
from toros.sandbox import Sandbox
from toros.sandbox.api import FINISHED
from toros.sandbox.processes import wait_until
from toros.store.inbox import scan

pytestmark = [pytest.mark.chaos, pytest.mark.airflow]

PATIENCE_SECONDS = 900.0
"""After so long without any step that succeeds, the night will never end; tries of a task that was killed several
times lie minutes apart."""

STANDSTILL_SECONDS = 120.0
"""After so long without any step an operator looks after Airflow."""

REPOSITORY = Path(__file__).parents[2]


@dataclass(frozen=True)
class Observatories:
    """One whose steps are run by Airflow, and one without Airflow that looks into the same inbox."""

    airflow: Sandbox
    stormy: Settings
    undisturbed: Settings


@pytest.fixture(scope="module")
def observatories(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Observatories]:
    folder = tmp_path_factory.mktemp("observatories")
    stormy, undisturbed = (
        open_observatory(folder / name, inbox=folder / "inbox") for name in ("stormy", "undisturbed")
    )
    with airflow_of(stormy, folder / "airflow", REPOSITORY / "dags") as airflow:
        yield Observatories(airflow, stormy, undisturbed)


def test_processes_of_airflow_killed_at_random_instants_lose_nothing(
    observatories: Observatories, dose: Dose, tell: Tell
) -> None:
    """When it is over, the last frames are taken by two runs of toros_survey at once."""
    airflow, settings = observatories.airflow, observatories.stormy
    wanted = dose.kills(short=20)
    camera = Camera(frames_of_night(0, exposures=max(3, wanted // 20)), settings)
    storm = AirflowStorm(airflow, random.Random(dose.seed))

    while storm.kills.total() < wanted:
        camera.write(share=0.8 * storm.kills.total() / wanted)
        storm.strike()
    storm.look_after()
    while not camera.has_calibrated:
        camera.write(share=0.8)
        time.sleep(1)
    camera.write(share=1)
    for _ in range(2):
        airflow.api.trigger("toros_survey")
    end_the_night(observatories, storm)
    tell(
        f"{storm.kills.total()} kills: {dict(storm.kills)}; {storm.wakes} times looked after; {_tries(airflow)}"
    )

    assert_nothing_is_lost(settings)
    assert differences(account_of(settings), account_of(observatories.undisturbed)) == {}


def end_the_night(observatories: Observatories, storm: AirflowStorm) -> None:
    """Wait until all has come to its end, in both observatories."""
    airflow, settings = observatories.airflow, observatories.stormy
    database, files = Database(settings.database_url), sum(1 for _ in scan(settings.inbox))

    def has_ended() -> bool:
        return look(database).is_complete(files) and all(
            run["state"] in FINISHED for run in airflow.api.runs()
        )

    succeeded, since = count_runs(settings, "succeeded"), time.monotonic()
    while time.monotonic() < since + PATIENCE_SECONDS:
        runs = count_runs(settings)
        if wait_until(has_ended, seconds=STANDSTILL_SECONDS, every=1.0):
            break
        if count_runs(settings) == runs:
            storm.look_after()
        if count_runs(settings, "succeeded") > succeeded:
            succeeded, since = count_runs(settings, "succeeded"), time.monotonic()
    assert has_ended(), f"the night does not end: {look(database).counts}, {_tries(airflow)}"
    work(observatories.undisturbed)


def _tries(airflow: Sandbox) -> str:
    """Say how the tasks ended, and after how many tries."""
    tasks = airflow.api.task_instances()
    states = Counter(task["state"] for task in tasks)
    tries = Counter(task["try_number"] for task in tasks if task["try_number"] > 1)
    return f"tasks {dict(states)}, tries {dict(sorted(tries.items()))}"
