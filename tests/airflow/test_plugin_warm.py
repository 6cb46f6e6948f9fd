"""The science stack is imported by the processes that fork tasks, and by no other."""

from __future__ import annotations

import pytest
from fresh_python import InFreshPython, Report

from toros.warm import is_celery_worker, is_scheduler_with_tasks

START_CELERY_WORKER = """
import json, sys

sys.argv = ["airflow", *sys.argv[1:]]
import toros.at_start

print(json.dumps({"warm": "astropy.io.fits" in sys.modules}))
"""

START_SCHEDULER_AND_FORK_A_TASK = """
import gc, json, os, sys

import psutil

sys.argv = ["airflow", "scheduler"]
from toros.plugin import TorosPlugin
from toros.warm import THREAD_COUNTS, warm_up

TorosPlugin.on_load()
before = set(sys.modules)
task = os.fork()
if task == 0:
    TorosPlugin.on_load()
    os._exit(0 if set(sys.modules) == before and warm_up.cache_info().misses == 1 else 1)
print(json.dumps({
    "asked for": warm_up(),
    "missing": [name for name in warm_up() if name not in sys.modules],
    "threads": psutil.Process().num_threads(),
    "frozen": gc.get_freeze_count(),
    "variables": [os.environ[name] for name in THREAD_COUNTS],
    "task": os.waitstatus_to_exitcode(os.waitpid(task, 0)[1]),
}))
"""


@pytest.mark.parametrize(
    ("command", "executor", "forks"),
    [
        ("scheduler", "LocalExecutor", True),
        ("scheduler --num-runs 5", "CeleryExecutor,LocalExecutor", True),
        ("scheduler", "CeleryExecutor", False),
        ("dag-processor", "LocalExecutor", False),
        ("triggerer", "LocalExecutor", False),
        ("api-server", "LocalExecutor", False),
        ("standalone", "LocalExecutor", False),
        ("tasks test toros_survey load", "LocalExecutor", False),
    ],
)
def test_a_scheduler_is_warm_if_it_forks_the_tasks_itself(
    monkeypatch: pytest.MonkeyPatch, command: str, executor: str, forks: bool
) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", executor)
    assert is_scheduler_with_tasks(["airflow", *command.split()]) == forks


@pytest.mark.parametrize(
    ("command", "forks"),
    [("celery worker --queues heavy", True), ("celery flower", False), ("celery", False)],
)
def test_of_celery_only_the_worker_is_warm(command: str, forks: bool) -> None:
    assert is_celery_worker(["airflow", *command.split()]) == forks


@pytest.mark.parametrize(("command", "warm"), [("celery worker", True), ("triggerer", False)])
def test_a_celery_worker_warms_up_when_it_starts(
    in_fresh_python: InFreshPython, command: str, warm: bool
) -> None:
    assert in_fresh_python(START_CELERY_WORKER, *command.split()) == {"warm": warm}


@pytest.fixture(scope="module")
def warm_scheduler(in_fresh_python: InFreshPython) -> Report:
    return in_fresh_python(START_SCHEDULER_AND_FORK_A_TASK)


def test_a_task_that_a_warm_scheduler_forks_has_nothing_left_to_import(warm_scheduler: Report) -> None:
    assert {"astropy.io.fits", "toros.steps"} <= set(warm_scheduler["asked for"])
    assert warm_scheduler["missing"] == []
    assert warm_scheduler["task"] == 0
    assert warm_scheduler["frozen"] > 0


def test_a_warm_process_has_one_thread_because_others_would_not_survive_a_fork(
    warm_scheduler: Report,
) -> None:
    assert warm_scheduler["threads"] == 1
    assert set(warm_scheduler["variables"]) == {"1"}
