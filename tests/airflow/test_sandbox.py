"""The sandbox: its processes, its API, and one real Airflow from its start to its end."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import psutil
import pytest

from toros.errors import AirflowFailed
from toros.sandbox import AirflowApi, Sandbox, Services, processes

# ------------------------------------------------------------------------------------------- processes

A_FAMILY = """
import os, signal, sys, time
from setproctitle import setproctitle

if os.fork() == 0:
    os.setsid()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
setproctitle("somebody else")
print("up", flush=True)
time.sleep(600)
"""


def test_a_process_that_renamed_itself_and_lost_its_parent_is_found_and_killed(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "family.log"
    mark = str(tmp_path)
    head = processes.start(
        [sys.executable, "-c", A_FAMILY], mark=mark, environ=os.environ, log=log, folder=tmp_path
    )
    assert processes.wait_until(lambda: log.read_text().count("up") == 2, seconds=10)
    head.kill()
    head.wait()

    (orphan,) = processes.marked(mark)
    processes.kill([orphan])

    assert processes.marked(mark) == []
    assert not psutil.pid_exists(orphan.pid)


def test_processes_of_another_sandbox_are_left_alone(tmp_path: Path) -> None:
    stranger = processes.start(
        ["sleep", "60"],
        mark=str(tmp_path / "b"),
        environ=os.environ,
        log=tmp_path / "b.log",
        folder=tmp_path,
    )
    try:
        assert processes.marked(str(tmp_path / "a")) == []
        assert [process.pid for process in processes.marked(str(tmp_path / "b"))] == [stranger.pid]
    finally:
        stranger.kill()
        stranger.wait()


def test_a_family_is_a_process_and_its_descendants() -> None:
    with subprocess.Popen(["sh", "-c", "sleep 60 & wait"], start_new_session=True) as shell:
        assert processes.wait_until(lambda: len(processes.family(shell.pid)) == 2, seconds=5)
        processes.kill(processes.family(shell.pid))
    assert processes.family(shell.pid) == []


# -------------------------------------------------------------------------------------------- settings


def test_a_sandbox_has_nothing_of_its_owners_airflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", "KubernetesExecutor")
    monkeypatch.setenv("AIRFLOW_CONN_TOROS_DEFAULT", "toros://production")
    monkeypatch.setenv("TOROS_DATA_ROOT", "/data/production")

    environ = Sandbox(tmp_path, dags=tmp_path, environ={"TOROS_INBOX": "/here"}).airflow_environ()

    assert environ["AIRFLOW__CORE__EXECUTOR"] == "LocalExecutor"
    assert environ["AIRFLOW_HOME"].startswith(str(tmp_path))
    assert environ["TOROS_INBOX"] == "/here"
    assert not {"AIRFLOW_CONN_TOROS_DEFAULT", "TOROS_DATA_ROOT"} & environ.keys()


def test_a_sandbox_keeps_its_address_and_its_secrets_for_itself(tmp_path: Path) -> None:
    first, again = Sandbox(tmp_path, dags=tmp_path), Sandbox(tmp_path, dags=tmp_path)

    assert again.url == first.url
    assert again.airflow_environ() == first.airflow_environ()
    assert stat.S_IMODE((tmp_path / "sandbox.json").stat().st_mode) == 0o600


def test_with_redis_the_tasks_run_in_a_celery_worker(tmp_path: Path) -> None:
    services = Services("postgresql+psycopg2://toros@db/airflow", "redis://broker/0")
    environ = Sandbox(tmp_path, dags=tmp_path, services=services).airflow_environ()

    assert "worker" in services.components
    assert environ["AIRFLOW__CORE__EXECUTOR"] == "CeleryExecutor"
    assert environ["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"] == "postgresql+psycopg2://toros@db/airflow"
    assert environ["AIRFLOW__CELERY__RESULT_BACKEND"] == "db+postgresql+psycopg2://toros@db/airflow"


# ------------------------------------------------------------------------------------------------- API


class TroubledServer(BaseHTTPRequestHandler):
    """An API server that wants a login, and whose database is locked each second time."""

    requests: list[str]

    def do_GET(self) -> None:
        self.requests.append(self.path)
        if self.headers.get("Authorization") != "Bearer let-me-in":
            self._answer(401, {"detail": "Not authenticated"})
        elif self.path.endswith("/gone"):
            self._answer(404, {"detail": "no such run"})
        elif len(self.requests) % 2:
            self._answer(500, {"detail": "database is locked"})
        else:
            self._answer(200, {"state": "success"})

    def do_POST(self) -> None:
        self._answer(201, {"access_token": "let-me-in"})

    def _answer(self, status: int, body: dict[str, str]) -> None:
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, *args: object) -> None:
        """Keep quiet."""


@pytest.fixture
def troubled_api() -> Iterator[AirflowApi]:
    handler = type("Handler", (TroubledServer,), {"requests": []})
    with HTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        with AirflowApi(f"http://127.0.0.1:{server.server_port}", user="admin", password="admin") as api:
            yield api
        server.shutdown()
        thread.join()


def test_an_overloaded_server_is_asked_again_and_a_login_is_renewed(troubled_api: AirflowApi) -> None:
    assert [troubled_api.run("toros_survey", str(n))["state"] for n in range(3)] == ["success"] * 3


def test_a_wrong_question_is_an_error_with_the_servers_answer(troubled_api: AirflowApi) -> None:
    with pytest.raises(AirflowFailed, match=r"404: .*no such run"):
        troubled_api.run("toros_survey", "gone")


def test_a_server_that_is_down_is_not_healthy() -> None:
    with AirflowApi("http://127.0.0.1:1", user="admin", password="admin") as api:
        assert not api.is_healthy()


# -------------------------------------------------------------------------------------- a real Airflow

DAGS = """
import os

from airflow.sdk import DAG, Asset, AssetWatcher, task
from toros.triggers.frames import NewFramesTrigger

frames = Asset("frames", watchers=[AssetWatcher(name="inbox", trigger=NewFramesTrigger([os.environ["INBOX"]]))])

with DAG("woken", schedule=[frames]):

    @task
    def announce(triggering_asset_events):
        return [event.extra["payload"] for event in triggering_asset_events[frames]]

    announce()

with DAG("warm"):

    @task
    def look():
        import sys

        print("astropy is", "there" if "astropy.io.fits" in sys.modules else "missing")

    look()
"""


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    folder = tmp_path_factory.mktemp("sandbox")
    for name in ("dags", "inbox"):
        (folder / name).mkdir()
    (folder / "dags" / "frames.py").write_text(DAGS)
    with Sandbox(
        folder,
        dags=folder / "dags",
        dag_ids=["woken", "warm"],
        environ={"INBOX": str(folder / "inbox")},
        parallelism=2,
    ) as airflow:
        yield airflow
    assert processes.marked(str(airflow.folder)) == []


@pytest.mark.airflow
def test_toros_is_in_the_airflow_without_errors(sandbox: Sandbox) -> None:
    assert sandbox.api.is_healthy()
    assert sandbox.api.dag_ids() == {"woken", "warm"}
    assert sandbox.api.import_errors() == {}
    assert sandbox.ended_components() == []


@pytest.mark.airflow
def test_tasks_are_forked_from_a_warm_process(sandbox: Sandbox) -> None:
    run_id = sandbox.api.trigger("warm")
    run = sandbox.api.wait_for("warm", run_id, seconds=60)
    (task,) = sandbox.api.task_instances("warm", run_id)

    assert run["state"] == "success"
    assert "astropy is there" in sandbox.api.task_log(task)


@pytest.mark.airflow
def test_a_file_in_the_inbox_wakes_a_dag(sandbox: Sandbox) -> None:
    (sandbox.folder / "inbox" / "m31.txt").write_text("clear sky, seeing 1.8 arcsec")
    assert processes.wait_until(lambda: sandbox.api.runs("woken") != [], seconds=60)
    (run,) = sandbox.api.runs("woken")

    assert sandbox.api.wait_for("woken", run["dag_run_id"], seconds=60)["state"] == "success"


@pytest.mark.airflow
@pytest.mark.parametrize("component", ["scheduler", "triggerer"])
def test_a_component_that_was_killed_can_be_started_again(sandbox: Sandbox, component: str) -> None:
    sandbox.kill_component(component)
    assert sandbox.ended_components() == [component]

    sandbox.start_component(component)
    sandbox.wait_until_ready()
    run_id = sandbox.api.trigger("warm")
    assert sandbox.api.wait_for("warm", run_id, seconds=90)["state"] == "success"


@pytest.mark.airflow
def test_what_a_power_cut_left_behind_is_cleared_away(sandbox: Sandbox) -> None:
    """A runner that is killed itself cannot stop its Airflow; the next one in the same folder does."""
    runs = {run["dag_run_id"] for run in sandbox.api.runs()}
    before = {process.pid for process in processes.marked(str(sandbox.folder))}
    sandbox.start()

    assert before & {process.pid for process in processes.marked(str(sandbox.folder))} == set()
    assert {run["dag_run_id"] for run in sandbox.api.runs()} >= runs


@pytest.mark.airflow
def test_an_airflow_that_cannot_start_says_why(tmp_path: Path) -> None:
    (tmp_path / "dags").mkdir()
    airflow = Sandbox(
        tmp_path / "airflow",
        dags=tmp_path / "dags",
        environ={"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": "sqlite:////nowhere/airflow.db"},
    )
    with pytest.raises(AirflowFailed, match="unable to open database file"):
        airflow.start()
    airflow.stop()
    assert processes.marked(str(airflow.folder)) == []
