"""A real Airflow whose processes are killed at random instants, while the camera writes on."""

from __future__ import annotations

import random
import signal
import sqlite3
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Literal

import psutil

from toros.config import Settings
from toros.demo.progress import look
from toros.models.database import Database
from toros.sandbox import Sandbox, processes
from toros.sim import SimulatedFrame, feed

DAGS = ("toros_survey", "toros_masters")

RECOVERY = {
    # A task whose supervisor died is tried again after so many seconds without a sign of life (default: 300).
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "15",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "3",
    # A scheduler counts as dead after so many seconds (30), and so often its successor looks for its tasks (300).
    "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "15",
    "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "5",
    # The same for the triggerer (30).
    "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "15",
}
"""How soon Airflow notices that a process of its own is gone."""

IDLE_SECONDS = 40.0
"""After so long without any task an operator looks after Airflow."""

Victim = Literal["task", "supervisor", "scheduler", "triggerer", "dag-processor"]

HAND: tuple[Victim, ...] = (
    *("task",) * 11,
    *("supervisor",) * 5,
    "scheduler",
    *("triggerer",) * 2,
    "dag-processor",
)
"""Twenty kills; their order is shuffled."""

EXECUTOR_TITLE = "airflow worker -- LocalExecutor: "
"""Of the processes that a LocalExecutor has forked: each supervises one task after another, in a process of its own."""

MOST_HITS = 2
"""Later tries of a task are left alone."""


def airflow_of(settings: Settings, folder: Path, dags: Path) -> Sandbox:
    """Make an Airflow for an observatory."""
    environ = {
        "TOROS_DATA_ROOT": str(settings.data_root),
        "TOROS_INBOX": str(settings.inbox[0]),
        "TOROS_DATABASE_URL": settings.database_url,
        "TOROS_PROFILES_DIR": str(settings.profiles_dir),
        "TOROS_RULES": str(settings.rules),
        "TOROS_SURVEY_RULES": str(settings.survey_rules),
        "TOROS_SETTLE_SECONDS": str(settings.settle_seconds),
        "TOROS_PATIENCE_SECONDS": str(settings.patience_seconds),
    }
    return Sandbox(folder, dags=dags, dag_ids=DAGS, environ=RECOVERY | environ, parallelism=3)


class AirflowStorm:
    """Kills processes of an Airflow.

    Components are started again at once, as a service supervisor does; tasks and their supervisors are Airflow's own
    affair.

    Parameters
    ----------
    airflow : Sandbox
        A running one.
    chance : random.Random
        Decides whom it hits, and when.
    """

    def __init__(self, airflow: Sandbox, chance: random.Random) -> None:
        self.airflow = airflow
        self.kills: Counter[str] = Counter()
        self.wakes = 0
        self._chance = chance
        self._order = self._shuffled()

    def strike(self) -> None:
        """Kill the next victim at a random instant of its life."""
        victim = next(self._order)
        if victim not in ("task", "supervisor"):
            time.sleep(self._chance.uniform(0, 1))
            self.strike_component(victim)
        elif not self._strike_task(victim):
            self.look_after()

    def look_after(self) -> None:
        """Do what an operator does with an Airflow that does nothing: start its scheduler anew, wake up the survey.

        The survey wakes up by itself every ten minutes; a LocalExecutor one of whose idle workers was killed hands
        out no more tasks.
        """
        self.strike_component("scheduler")
        self.airflow.wait_until_ready()
        self.airflow.api.trigger("toros_survey")
        self.wakes += 1

    def strike_component(self, name: str) -> None:
        """Kill a component with all its children, and start it again."""
        if name not in self.airflow.ended_components():
            self.airflow.kill_component(name)
            self.kills[name] += 1
        self.airflow.start_component(name)

    def _strike_task(self, victim: Victim) -> bool:
        deadline = time.monotonic() + IDLE_SECONDS
        while time.monotonic() < deadline:
            time.sleep(self._chance.uniform(0, 1))
            alive = self._tasks(victim)
            if alive:
                processes.send(self._chance.choice(alive), signal.SIGKILL)
                self.kills[victim] += 1
                return True
        return False

    def _tasks(self, victim: Victim) -> list[psutil.Process]:
        """Find the living processes of tasks, or those that supervise one."""
        marked = processes.marked(str(self.airflow.folder))
        workers = [process for process in marked if _title(process).startswith(EXECUTOR_TITLE)]
        spared = _tried_often(self.airflow)
        tasks = {
            task: worker
            for worker in workers
            for task in processes.family(worker.pid)[1:]
            if not any(one.startswith(_task_id(task)) for one in spared)
        }
        return list(tasks if victim == "task" else tasks.values())

    def _shuffled(self) -> Iterator[Victim]:
        while True:
            hand = list(HAND)
            self._chance.shuffle(hand)
            yield from hand


def _title(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return ""


def _task_id(process: psutil.Process) -> str:
    """Return as much of the id of a task's try as there is room for in the title of its process."""
    return _title(process).rstrip().rpartition(" ")[2].replace("-", "")


def _tried_often(airflow: Sandbox) -> list[str]:
    """Return the ids of those tries that, if killed, would be followed by the next one after minutes only."""
    file = airflow.folder / "airflow" / "airflow.db"
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as metadata:
        tries = metadata.execute("SELECT id FROM task_instance WHERE try_number > ?", [MOST_HITS])
        return [one for (one,) in tries]


class Camera:
    """Writes the frames of a night.

    Bias, dark and flat frames come each when the master before them is there: at a telescope, hours lie between them.
    What comes from the sky does not care.

    Parameters
    ----------
    frames : sequence of SimulatedFrame
        Of the night, in their order.
    settings : Settings
        Of the observatory.
    """

    def __init__(self, frames: Sequence[SimulatedFrame], settings: Settings) -> None:
        self._database = Database(settings.database_url)
        self._inbox = settings.inbox[0]
        self._rolls = [[frame for frame in frames if frame.kind == kind] for kind in ("bias", "dark", "flat")]
        self._sky = [frame for frame in frames if frame.kind not in ("bias", "dark", "flat")]
        self._masters = accepted_masters(self._database)
        self._written = 0

    @property
    def has_calibrated(self) -> bool:
        """Whether all calibration frames are written."""
        return not self._rolls

    def write(self, share: float) -> None:
        """Write the calibration frames that may come now, and of what comes from the sky as much as this share."""
        if self._rolls and accepted_masters(self._database) >= self._masters:
            self._write(self._rolls.pop(0))
            self._masters += 1
        end = max(self._written, round(share * len(self._sky)))
        self._write(self._sky[self._written : end])
        self._written = end

    def _write(self, frames: Sequence[SimulatedFrame]) -> None:
        for _ in feed(frames, self._inbox, pieces=3):
            pass


def accepted_masters(database: Database) -> int:
    """Count the masters that can be used."""
    return look(database).counts["MasterCal", "master_accepted"]
