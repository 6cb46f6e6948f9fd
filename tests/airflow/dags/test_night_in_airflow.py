"""A night goes through the real Airflow: on one machine with SQLite, and with PostgreSQL, Redis and Celery."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

from toros.models import MasterCal, Stack
from toros.models.database import Database
from toros.sandbox import Sandbox, Services, processes

from .conftest import NIGHT
from .small_observatory import Observatory

pytestmark = pytest.mark.airflow

REPOSITORY = Path(__file__).parents[3]


@pytest.fixture
def services(request: pytest.FixtureRequest, database: Database) -> Iterator[Services]:
    """Nothing but files and forks beside SQLite; beside PostgreSQL, all that an observatory has."""
    if database.is_sqlite:
        yield Services()
        return
    redis = os.environ.get("TOROS_TEST_REDIS", "redis://127.0.0.1:6379/0")
    with request.getfixturevalue("postgresql").new_database() as metadata:
        url = make_url(metadata.url).set(drivername="postgresql+psycopg2")
        yield Services(url.render_as_string(hide_password=False), redis)


@pytest.fixture
def sandbox(observatory: Observatory, services: Services) -> Iterator[Sandbox]:
    """An Airflow with our DAGs; a calibration set is complete after two seconds of quiet."""
    observatory.change_rules("quiet_seconds = 0", "quiet_seconds = 2")
    toros = {name: value for name, value in os.environ.items() if name.startswith("TOROS_")}
    with Sandbox(
        observatory.folder / "airflow",
        dags=REPOSITORY / "dags",
        dag_ids=("toros_survey", "toros_masters", "toros_stack", "toros_step"),
        environ={**toros, "TOROS_SETTLE_SECONDS": "1"},
        services=services,
    ) as airflow:
        yield airflow


def test_a_night_goes_through_and_no_hand_is_moved(sandbox: Sandbox, observatory: Observatory) -> None:
    observatory.take("bias", "dark", "flat", "light")

    def all_over() -> bool:
        searched = observatory.states() == {"searched": 3}
        return searched and all(run["state"] in ("success", "failed") for run in sandbox.api.runs())

    assert processes.wait_until(all_over, seconds=400, every=0.5), (
        observatory.states(),
        sandbox.api.task_instances(),
    )
    assert observatory.states(MasterCal) == {"master_accepted": 3}
    assert observatory.states(Stack)["reference_chosen"] == 1
    surveys, masters = sandbox.api.runs("toros_survey"), sandbox.api.runs("toros_masters")
    assert {run["state"] for run in surveys + masters} == {"success"}
    assert {run["partition_key"] for run in masters} == {NIGHT.isoformat()}
    assert {"asset", "operator"} <= {run["triggered_by"] for run in surveys}  # a file; a finished master
