"""Behind Airflow's login, over Airflow's connection, and reached from Airflow's tasks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from web_browser import AIRFLOW
from web_chronicle import Chronicle

from toros.models.database import Database

pytestmark = pytest.mark.airflow


@pytest.fixture
def connection(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection toros_default leads to the database and the data root of the test."""
    extra = {"url": database.url, "data_root": str(tmp_path / "data")}
    monkeypatch.setenv("AIRFLOW_CONN_TOROS_DEFAULT", json.dumps({"conn_type": "toros", "extra": extra}))


@pytest.fixture
def airflow(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FastAPI:
    """An application with our pages where Airflow mounts them, and Airflow's own way to tell people apart."""
    monkeypatch.setenv("AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE", str(tmp_path / "passwords.json"))
    monkeypatch.setenv("AIRFLOW__API_AUTH__JWT_SECRET", "a secret of this test that is long enough" * 2)
    from airflow.api_fastapi.app import create_auth_manager, purge_cached_app
    from airflow.models.revoked_token import RevokedToken

    from airflow import settings
    from toros.plugin import TorosPlugin

    RevokedToken.metadata.create_all(settings.engine, [RevokedToken.__table__])  # asked for every token
    purge_cached_app()
    create_auth_manager()
    app = FastAPI()
    for ours in TorosPlugin().fastapi_apps:
        app.mount(ours["url_prefix"], ours["app"])
    return app


def token_of(role: str) -> str:
    from airflow.api_fastapi.app import get_auth_manager
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser

    return get_auth_manager().generate_jwt(SimpleAuthManagerUser(username="vera", role=role))


@pytest.mark.usefixtures("connection")
@pytest.mark.filterwarnings("ignore:Using `httpx` with")  # Airflow's, when its API is imported
async def test_only_people_who_are_logged_in_to_airflow_see_anything(
    airflow: FastAPI, chronicle: Chronicle
) -> None:
    chronicle.frame(name="vera.fits")
    transport = httpx.ASGITransport(app=airflow)
    async with httpx.AsyncClient(transport=transport, base_url=AIRFLOW) as client:
        for path in ("/toros/", "/toros/api/nights", "/toros/static/toros.css", "/toros/products/1/file"):
            assert (await client.get(path)).status_code == 401
        with_header = await client.get("/toros/", headers={"Authorization": f"Bearer {token_of('viewer')}"})
        client.cookies.set("_token", token_of("viewer"))
        with_cookie = await client.get("/toros/")
    assert with_header.status_code == with_cookie.status_code == 200
    assert "vera.fits" in with_cookie.text


def test_the_views_lead_to_pages_that_exist() -> None:
    from toros.plugin import TorosPlugin

    nav, dag_run = TorosPlugin().external_views
    assert (nav["destination"], nav["href"]) == ("nav", "/toros/")
    assert dag_run["destination"] == "dag_run"
    assert dag_run["href"] == "/toros/runs?dag_id={DAG_ID}&run_id={RUN_ID}"
    static = Path(__file__).parents[2] / "plugins/toros/web/static"
    for view in (nav, dag_run):
        for icon in ("icon", "icon_dark_mode"):
            assert (static / view[icon].rpartition("/")[2]).is_file()


class Supervisor:
    """Answers a task that asks for its XComs, as the supervisor process does."""

    def __init__(self, xcoms: dict[str, int]) -> None:
        self.xcoms = xcoms

    def send(self, message: Any) -> Any:
        from airflow.sdk.execution_time.comms import XComResult

        return XComResult(key=message.key, value=self.xcoms.get(message.key))


def link(
    name: str, monkeypatch: pytest.MonkeyPatch, xcoms: dict[str, int], map_index: int = -1, **operator: Any
) -> str:
    """Return where a link of a task leads that pushed these XComs."""
    from airflow.sdk import BaseOperator
    from airflow.sdk.execution_time import task_runner
    from airflow.sdk.types import TaskInstanceKey

    from toros import links

    task = BaseOperator(task_id="exposure.clean")
    for attribute, value in operator.items():
        setattr(task, attribute, value)
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", Supervisor(xcoms), raising=False)
    key = TaskInstanceKey("toros_survey", "exposure.clean", "manual__2026-11-20T00:00:00+00:00", 1, map_index)
    found: str = getattr(links, name)().get_link(task, ti_key=key)
    return found


def test_a_task_leads_to_its_run_and_to_its_item(monkeypatch: pytest.MonkeyPatch) -> None:
    pushed = {"toros_run_id": 5, "toros_item_id": 7}
    assert link("StepRunLink", monkeypatch, pushed) == "/plugin/toros/toros/runs/5"
    assert link("ProductLink", monkeypatch, pushed) == "/plugin/toros/toros/items/7"


def test_a_task_that_failed_leads_to_its_runs_and_to_the_item_it_failed_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    query = "dag_id=toros_survey&run_id=manual__2026-11-20T00%3A00%3A00%2B00%3A00&task_id=exposure.clean"
    runs = link("StepRunLink", monkeypatch, {}, map_index=2)
    assert runs == f"/plugin/toros/toros/runs?{query}&map_index=2"
    assert link("ProductLink", monkeypatch, {}, item_id=7) == "/plugin/toros/toros/items/7"


def test_a_task_with_many_items_leads_to_the_night_board(monkeypatch: pytest.MonkeyPatch) -> None:
    assert link("ProductLink", monkeypatch, {}) == "/plugin/toros/toros/"


def test_links_stay_below_the_path_that_a_reverse_proxy_serves_airflow_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "https://andes.example/airflow/")
    pushed = {"toros_run_id": 5}
    assert link("StepRunLink", monkeypatch, pushed) == "/airflow/plugin/toros/airflow/toros/runs/5"
