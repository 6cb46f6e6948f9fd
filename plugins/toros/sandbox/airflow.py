"""One Airflow in one folder: its settings, its processes, its end."""

from __future__ import annotations

import base64
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from toros.errors import AirflowFailed
from toros.sandbox import processes
from toros.sandbox.api import AirflowApi

COMPONENTS: dict[str, tuple[str, ...]] = {
    "api-server": ("api-server",),
    "scheduler": ("scheduler",),
    "dag-processor": ("dag-processor",),
    "triggerer": ("triggerer",),
}
CELERY_WORKER = ("celery", "worker")

IMPATIENCE = {
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "10",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "2",
    "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "5",
    "AIRFLOW__SCHEDULER__SCHEDULER_HEARTBEAT_SEC": "1",
    "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "10",
    "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "1",
    "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "10",
}
"""Settings with which Airflow notices within seconds, not minutes, what was lost with a killed process."""


@dataclass(frozen=True)
class Services:
    """What a sandbox uses of the services of an observatory, instead of files and forks.

    Parameters
    ----------
    metadata_url : str
        An empty database for Airflow itself, ``postgresql+psycopg2://...``; by default an SQLite file.
    broker_url : str
        A Redis, ``redis://...``. With it, tasks run in a Celery worker.
    """

    metadata_url: str = ""
    broker_url: str = ""

    @property
    def components(self) -> dict[str, tuple[str, ...]]:
        """The processes to start, and their command lines."""
        return COMPONENTS | ({"worker": CELERY_WORKER} if self.broker_url else {})

    def environ(self) -> dict[str, str]:
        """Airflow's settings for these services."""
        settings = {"AIRFLOW__CORE__EXECUTOR": "CeleryExecutor" if self.broker_url else "LocalExecutor"}
        if self.metadata_url:
            settings["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"] = self.metadata_url
        if self.broker_url:
            settings["AIRFLOW__CELERY__BROKER_URL"] = self.broker_url
            settings["AIRFLOW__CELERY__RESULT_BACKEND"] = f"db+{self.metadata_url}"
        return settings


@dataclass
class Sandbox:
    """A real Airflow on this machine.

    Each component is a process of its own, as in an observatory, and can be killed and started again. The
    folder holds everything: a sandbox can be stopped, or lose its power, and be started again in it.

    ::

        with Sandbox(folder, dags=Path("dags")) as airflow:
            run_id = airflow.api.trigger("toros_survey")
            airflow.api.wait_for("toros_survey", run_id, seconds=60)

    Parameters
    ----------
    folder : Path
        Where Airflow's home and the logs go; made if needed.
    dags : Path
        The DAG files.
    dag_ids : collection of str
        `start` waits until these have been parsed.
    environ : mapping
        Further environment of all processes: settings, connections.
    services : Services
        PostgreSQL and Redis, where they are to be used.
    parallelism : int
        How many tasks run at once. SQLite as metadata database does not bear many.
    user, password : str
        Who may log in.
    patience : float
        Seconds that a start may take.
    """

    folder: Path
    dags: Path
    dag_ids: Collection[str] = ()
    environ: Mapping[str, str] = field(default_factory=dict)
    services: Services = field(default_factory=Services)
    parallelism: int = 4
    user: str = "admin"
    password: str = "admin"  # noqa: S105  # of a sandbox that listens to this machine only
    patience: float = 180.0

    def __post_init__(self) -> None:
        self.folder = self.folder.resolve()
        self.folder.mkdir(parents=True, exist_ok=True)
        self._facts = _Facts.of(self.folder)
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self.url = f"http://127.0.0.1:{self._facts.api_port}"
        self.api = AirflowApi(self.url, user=self.user, password=self.password)

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()
        self.api.close()

    # -------------------------------------------------------------------------------------- start and stop

    def start(self) -> None:
        """Start everything, and wait until it works.

        What an earlier sandbox in the same folder left behind is killed first.

        Raises
        ------
        AirflowFailed
            A process ended, a DAG or the plugin cannot be imported, or it takes too long. The message holds
            the end of the log that tells why.
        """
        self.pull_the_plug()
        self._lay_out()
        self._migrate()
        for component in self.services.components:
            self.start_component(component)
        self.wait_until_ready()

    def stop(self, *, seconds: float = 15.0) -> None:
        """End everything: politely first, then by force. Nothing is left behind.

        Raises
        ------
        AirflowFailed
            A process could not be killed.
        """
        for process in self._running.values():
            process.send_signal(signal.SIGINT)
        processes.wait_until(lambda: self.ended_components() == [*self.services.components], seconds=seconds)
        self.pull_the_plug()

    def pull_the_plug(self) -> None:
        """Kill everything at once, as a power cut does.

        Raises
        ------
        AirflowFailed
            A process could not be killed.
        """
        if not processes.wait_until(self._nothing_left, seconds=20):
            raise AirflowFailed(f"processes survive: {processes.marked(self._mark)}")
        for process in self._running.values():
            process.wait()
        self._running.clear()

    def start_component(self, component: str) -> None:
        """Start one of the processes: scheduler, dag-processor, api-server, triggerer, worker."""
        self._running[component] = processes.start(
            [sys.executable, "-m", "airflow", *self.services.components[component]],
            mark=self._mark,
            environ=self.airflow_environ(),
            log=self.log_of(component),
            folder=self.folder,
        )

    def kill_component(self, component: str) -> None:
        """Kill one of the processes and its children at once, as a service supervisor does."""
        process = self._running.pop(component)
        processes.kill(processes.family(process.pid))
        process.wait()

    def ended_components(self) -> list[str]:
        """Which components do not run (any more)."""
        return [
            name
            for name in self.services.components
            if name not in self._running or self._running[name].poll() is not None
        ]

    def wait_until_ready(self) -> None:
        """Wait until all components are healthy and the DAGs are parsed.

        Raises
        ------
        AirflowFailed
            See `start`.
        """
        if not processes.wait_until(self._is_ready, seconds=self.patience, every=0.3):
            logs = "\n".join(self.log_tail(name, lines=8) for name in self.services.components)
            raise AirflowFailed(f"Airflow is not ready after {self.patience:.0f} s\n{logs}")

    def airflow_environ(self) -> dict[str, str]:
        """Give the environment of every process, which has nothing of the caller's own Airflow."""
        inherited = {
            k: v for k, v in os.environ.items() if not k.startswith(("AIRFLOW", "_AIRFLOW", "TOROS_"))
        }
        return inherited | self._settings() | self.services.environ() | dict(self.environ)

    # ------------------------------------------------------------------------------------------------ logs

    def log_of(self, component: str) -> Path:
        """Give the log file of a component."""
        return self.folder / "logs" / f"{component}.log"

    def log_tail(self, component: str, *, lines: int = 30) -> str:
        """Give the end of it, with a headline."""
        try:
            text = self.log_of(component).read_text(errors="replace").splitlines()[-lines:]
        except FileNotFoundError:
            text = []
        return "\n".join([f"--- {component}:", *text])

    # --------------------------------------------------------------------------------------------- inwards

    @property
    def _mark(self) -> str:
        return str(self.folder)

    @property
    def _home(self) -> Path:
        return self.folder / "airflow"

    def _settings(self) -> dict[str, str]:
        facts = self._facts
        return {
            "AIRFLOW_HOME": str(self._home),
            "AIRFLOW__CORE__DAGS_FOLDER": str(self.dags.resolve()),
            "AIRFLOW__CORE__PLUGINS_FOLDER": str(self._home / "plugins"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            # A trigger that watches for an asset is only noticed when its DAG is parsed while it is not paused.
            "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
            "AIRFLOW__CORE__PARALLELISM": str(self.parallelism),
            "AIRFLOW__CELERY__WORKER_CONCURRENCY": str(self.parallelism),
            "AIRFLOW__CORE__FERNET_KEY": facts.fernet_key,
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": f"{self.user}:admin",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(self._home / "passwords.json"),
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{self.url}/execution/",
            "AIRFLOW__API__HOST": "127.0.0.1",
            "AIRFLOW__API__PORT": str(facts.api_port),
            "AIRFLOW__API__BASE_URL": self.url,
            "AIRFLOW__API__WORKERS": "1",
            "AIRFLOW__API__SECRET_KEY": facts.secret_key,
            "AIRFLOW__API_AUTH__JWT_SECRET": facts.jwt_secret,
            "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(facts.worker_log_port),
            "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(facts.trigger_log_port),
            "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.1",
            "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "10",
            # A supervisor that just misses the end of its task holds the slot until the next heartbeat (5 s).
            "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
            "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        }

    def _lay_out(self) -> None:
        (self._home / "plugins").mkdir(parents=True, exist_ok=True)
        passwords = self._home / "passwords.json"
        passwords.touch(mode=0o600)
        passwords.write_text(json.dumps({self.user: self.password}))

    def _migrate(self) -> None:
        done = self._home / "migrated"
        if done.exists():
            return
        process = processes.start(
            [sys.executable, "-m", "airflow", "db", "migrate"],
            mark=self._mark,
            environ=self.airflow_environ(),
            log=self.log_of("migrate"),
            folder=self.folder,
        )
        try:
            failed = process.wait(timeout=self.patience) != 0
        except subprocess.TimeoutExpired:
            failed = True
        if failed:
            raise AirflowFailed(f"the metadata database cannot be set up\n{self.log_tail('migrate')}")
        done.touch()

    def _is_ready(self) -> bool:
        for component in self.ended_components():
            raise AirflowFailed(f"the {component} ended by itself\n{self.log_tail(component)}")
        if not self.api.is_healthy():
            return False
        for source, error in self.api.import_errors().items():
            raise AirflowFailed(f"{source} cannot be imported\n{error}")
        return set(self.dag_ids) <= self.api.dag_ids()

    def _nothing_left(self) -> bool:
        left = processes.marked(self._mark)
        processes.kill(left)
        return not left


@dataclass(frozen=True)
class _Facts:
    """What a sandbox keeps from one start to the next: its ports and its secrets."""

    api_port: int
    worker_log_port: int
    trigger_log_port: int
    fernet_key: str
    secret_key: str
    jwt_secret: str

    @classmethod
    def of(cls, folder: Path) -> _Facts:
        path = folder / "sandbox.json"
        if path.exists():
            return cls(**json.loads(path.read_text()))
        api, worker_log, trigger_log = _free_ports(3)
        facts = cls(
            api_port=api,
            worker_log_port=worker_log,
            trigger_log_port=trigger_log,
            fernet_key=base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
            secret_key=secrets.token_urlsafe(32),
            jwt_secret=secrets.token_urlsafe(64),
        )
        path.touch(mode=0o600)
        path.write_text(json.dumps(vars(facts)))
        return facts


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for listener in sockets:
            listener.bind(("127.0.0.1", 0))
        return [listener.getsockname()[1] for listener in sockets]
    finally:
        for listener in sockets:
            listener.close()
