"""What it costs to go from one task to the next, with warm workers and without: ``python -m benchmarks.airflow_hops``.

A real Airflow is started on this machine (about a minute for each kind of worker), and chains of tasks run in it:
tasks that do nothing, and tasks that import what the steps need.
"""

from __future__ import annotations

import argparse
import datetime as dt
import statistics
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from toros.sandbox import Sandbox
from toros.warm import LIBRARIES

_LENGTH = 8

_DAGS = f"""
import importlib

from airflow.sdk import DAG, chain, task

for dag_id, modules in (("empty", ()), ("science", {(*LIBRARIES, "toros.steps.preprocess")})):
    with DAG(dag_id):

        @task
        def work(modules=modules):
            for module in modules:
                importlib.import_module(module)

        chain(*(work.override(task_id=f"work_{{number}}")() for number in range({_LENGTH})))
"""

_WORKERS = {
    "forked from the scheduler, warm": {},
    # A worker that is started anew has nothing of what the scheduler had imported.
    "started anew, cold": {"AIRFLOW__SCHEDULER__MP_START_METHOD": "spawn"},
}


def main(arguments: list[str] | None = None) -> int:
    """Run the chains and print the seconds per task."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.airflow_hops", description=__doc__)
    parser.add_argument("--runs", type=int, default=3, help="of each chain; one more is not counted")
    parser.add_argument(
        "--folder", type=Path, help="where to put the Airflows, by default a temporary folder"
    )
    options = parser.parse_args(arguments)
    print("| tasks | workers | s per task | of them in the task | between tasks |")
    print("| --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        for number, (workers, environ) in enumerate(_WORKERS.items()):
            with _airflow(Path(folder) / str(number), environ) as airflow:
                for dag_id in ("empty", "science"):
                    hop, inside = _seconds_per_task(airflow, dag_id, options.runs)
                    print(
                        f"| {dag_id} | {workers} | {hop:.2f} | {inside:.2f} | {hop - inside:.2f} |",
                        flush=True,
                    )
    return 0


def _airflow(folder: Path, environ: dict[str, str]) -> Sandbox:
    (folder / "dags").mkdir(parents=True)
    (folder / "dags" / "chains.py").write_text(_DAGS)
    return Sandbox(
        folder,
        dags=folder / "dags",
        dag_ids=("empty", "science"),
        environ={"TOROS_DATA_ROOT": str(folder / "data"), **environ},
    )


def _seconds_per_task(airflow: Sandbox, dag_id: str, runs: int) -> tuple[float, float]:
    """Return the median seconds per task of a chain, and how many of them pass inside the task."""
    hops, inside = [], []
    for number in range(runs + 1):
        tasks = list(_tasks_of_run(airflow, dag_id))
        if number:  # the first run is slower: the scheduler has just begun
            hops.append((tasks[-1][1] - tasks[0][0]) / _LENGTH)
            inside.append(statistics.mean(end - start for start, end in tasks))
    return statistics.median(hops), statistics.median(inside)


def _tasks_of_run(airflow: Sandbox, dag_id: str) -> Iterator[tuple[float, float]]:
    """Run a chain; yield begin and end of each of its tasks, in seconds."""
    run_id = airflow.api.trigger(dag_id)
    airflow.api.wait_for(dag_id, run_id, seconds=300)
    tasks = airflow.api.task_instances(dag_id, run_id)
    for task in sorted(tasks, key=lambda task: task["start_date"]):
        yield seconds_of(task["start_date"]), seconds_of(task["end_date"])


def seconds_of(date: str) -> float:
    """Return a date of Airflow's API in seconds."""
    return dt.datetime.fromisoformat(date).timestamp()


if __name__ == "__main__":
    sys.exit(main())
