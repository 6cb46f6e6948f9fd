"""Airflow's REST API, as far as a sandbox needs it."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from typing import Any, Self
from urllib.parse import quote

import httpx

from toros.errors import AirflowFailed

FINISHED = frozenset({"success", "failed"})

RETRIED = 8
"""An Airflow on SQLite answers with 500 while its database is locked, and not at all while it restarts."""


class AirflowApi:
    """A logged-in user of an Airflow.

    Every call is repeated while the server is overloaded or restarts; calls that would do something twice
    carry a key that makes the second one harmless.

    Parameters
    ----------
    url : str
        Where the API server listens, without a path.
    user, password : str
        For Airflow's SimpleAuthManager.
    """

    def __init__(self, url: str, *, user: str, password: str) -> None:
        self._http = httpx.Client(base_url=url, timeout=30, trust_env=False)
        self._login = {"username": user, "password": password}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def is_healthy(self) -> bool:
        """Whether the server answers users and tasks, and all components have given a sign of life."""
        try:
            answer = self._http.get("/api/v2/monitor/health", timeout=5)
            parts = answer.json().values() if answer.is_success else ()
            if not parts or not all(part is not None and part["status"] == "healthy" for part in parts):
                return False
            # The part of the API that tasks talk to is built when it is first asked: seconds, which the first
            # task would have to wait.
            return self._http.get("/execution/health").is_success
        except httpx.TransportError:
            return False

    def dag_ids(self) -> set[str]:
        """Name the DAGs that have been parsed."""
        return {dag["dag_id"] for dag in self._get("/dags", limit=1000, exclude_stale=True)["dags"]}

    def import_errors(self) -> dict[str, str]:
        """Give the stack trace of each DAG file and each plugin that cannot be imported."""
        errors = {e["filename"]: e["stack_trace"] for e in self._get("/importErrors")["import_errors"]}
        plugins = self._get("/plugins/importErrors")["import_errors"]
        return errors | {e["source"]: e["error"] for e in plugins}

    def unpause(self, *dag_ids: str) -> None:
        """Let these DAGs run."""
        for dag_id in dag_ids:
            self._call("PATCH", f"/dags/{dag_id}", json={"is_paused": False})

    def trigger(self, dag_id: str, *, conf: Mapping[str, Any] | None = None, run_id: str = "") -> str:
        """Start a run of a DAG, and give its run id."""
        run_id = run_id or f"toros__{uuid.uuid4()}"
        body = {"dag_run_id": run_id, "logical_date": None, "conf": dict(conf or {})}
        # 409: an earlier try got through after all.
        self._call("POST", f"/dags/{dag_id}/dagRuns", json=body, accept=(409,))
        return run_id

    def run(self, dag_id: str, run_id: str) -> dict[str, Any]:
        """Give one run: `state`, `start_date`, `end_date` and more."""
        return self._get(f"/dags/{dag_id}/dagRuns/{quote(run_id, safe='')}")

    def runs(self, dag_id: str = "~") -> list[dict[str, Any]]:
        """List the last hundred runs of a DAG (or of all), the newest first."""
        found: list[dict[str, Any]] = self._get(f"/dags/{dag_id}/dagRuns", order_by="-run_after", limit=100)[
            "dag_runs"
        ]
        return found

    def task_instances(self, dag_id: str = "~", run_id: str = "~") -> list[dict[str, Any]]:
        """List the tasks of a run, mapped ones one by one."""
        path = f"/dags/{dag_id}/dagRuns/{quote(run_id, safe='~')}/taskInstances"
        found: list[dict[str, Any]] = []
        while True:
            page = self._get(path, limit=100, offset=len(found))
            found += page["task_instances"]
            if len(found) >= page["total_entries"] or not page["task_instances"]:
                return found

    def task_log(self, task: Mapping[str, Any]) -> str:
        """Give what the last try of a task (one of `task_instances`) wrote."""
        path = (
            f"/dags/{task['dag_id']}/dagRuns/{quote(task['dag_run_id'], safe='')}"
            f"/taskInstances/{task['task_id']}/logs/{max(1, task['try_number'])}"
        )
        content = self._get(path, map_index=task["map_index"], full_content=True)["content"]
        return "\n".join(line["event"] if isinstance(line, dict) else str(line) for line in content)

    def wait_for(self, dag_id: str, run_id: str, *, seconds: float) -> dict[str, Any]:
        """Wait until a run has finished, well or badly.

        Raises
        ------
        AirflowFailed
            It has not finished in time.
        """
        deadline = time.monotonic() + seconds
        while (run := self.run(dag_id, run_id))["state"] not in FINISHED:
            if time.monotonic() > deadline:
                raise AirflowFailed(f"run {run_id} of {dag_id} is {run['state']} after {seconds:.0f} s")
            time.sleep(0.2)
        return run

    def _get(self, path: str, **params: Any) -> dict[str, Any]:
        answer: dict[str, Any] = self._call("GET", path, params=params).json()
        return answer

    def _call(
        self, method: str, path: str, *, accept: tuple[int, ...] = (), **request: Any
    ) -> httpx.Response:
        trouble = ""
        for attempt in range(RETRIED):
            time.sleep(0.2 * attempt)
            try:
                answer = self._http.request(method, f"/api/v2{path}", **request)
                if answer.status_code == httpx.codes.UNAUTHORIZED:
                    self._log_in()
                    continue
            except httpx.TransportError as error:
                trouble = repr(error)
                continue
            if answer.is_success or answer.status_code in accept:
                return answer
            trouble = f"{answer.status_code}: {answer.text[:500]}"
            if not answer.is_server_error:
                break
        raise AirflowFailed(f"{method} {path} was answered with {trouble or 'a demand to log in'}")

    def _log_in(self) -> None:
        answer = self._http.post("/auth/token", json=self._login)
        if answer.is_success:
            self._http.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
