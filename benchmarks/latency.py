"""From the last byte of a frame to its calibrated product, through a real Airflow: ``python -m benchmarks.latency``.

A simulated camera writes science frames, one every few seconds, whose masters are there already. What is told is
how long a frame takes, and where the time goes: in the steps, in the tasks around them, and between the tasks.
"""

from __future__ import annotations

import argparse
import datetime as dt
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sqlalchemy import select

from benchmarks.airflow_hops import seconds_of
from toros.config import load_settings
from toros.migrations import migrate
from toros.models import Arrival, State, StepRun
from toros.models.database import Database
from toros.sandbox import Sandbox, processes
from toros.sim import Field, NightPlan, SimulatedFrame, azulcito, feed, simulate_night, write_profile
from toros.steps.pending import items_waiting_for
from toros.steps.registry import find_step
from toros.steps.runner import Runner

_NIGHT = dt.date(2026, 11, 20)
_STEPS = ("load", "clean", "preprocess")
_DAGS = Path(__file__).parents[1] / "dags"
_PATIENCE = 300.0


def main(arguments: list[str] | None = None) -> int:
    """Send frames through Airflow and print where their time went; 1 if one did not get through."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.latency", description=__doc__)
    parser.add_argument(
        "--frames",
        nargs=2,
        type=int,
        action="append",
        metavar=("NUMBER", "SIZE"),
        help="so many frames of so many rows and columns; by default 20 of 1024 and 5 of 4096",
    )
    parser.add_argument("--interval", type=float, default=4.0, help="seconds from one frame to the next")
    parser.add_argument("--folder", type=Path, help="where to put everything, by default a temporary folder")
    options = parser.parse_args(arguments)
    complete = True
    for number, size in options.frames or [(20, 1024), (5, 4096)]:
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            journeys = _send_frames(Path(folder), number, size, options.interval)
        print(f"\n{len(journeys)} of {number} frames of {size} x {size}, one every {options.interval:g} s\n")
        complete &= len(journeys) == number
        if journeys:
            _print_table(journeys)
    return 0 if complete else 1


@dataclass(frozen=True)
class Journey:
    """Where the time of a frame went, in seconds."""

    noticed: float
    """From the last byte to the task that registers it: event, new run, first task."""
    in_steps: dict[str, float]
    around_steps: float
    """In the tasks, before and after their step."""
    between_tasks: float

    @property
    def total(self) -> float:
        return self.noticed + sum(self.in_steps.values()) + self.around_steps + self.between_tasks


def _print_table(journeys: Sequence[Journey]) -> None:
    rows = {
        "noticed, new run, first task": [journey.noticed for journey in journeys],
        **{f"step {step}": [journey.in_steps[step] for journey in journeys] for step in _STEPS},
        "tasks around their steps": [journey.around_steps for journey in journeys],
        "between tasks": [journey.between_tasks for journey in journeys],
        "all": [journey.total for journey in journeys],
    }
    whole = statistics.mean(rows["all"])
    print("| from the last byte to the calibrated product | median s | p95 s | share |")
    print("| --- | --- | --- | --- |")
    for name, seconds in rows.items():
        share = statistics.mean(seconds) / whole
        print(f"| {name} | {statistics.median(seconds):.2f} | {_p95(seconds):.2f} | {share:.0%} |")


def _p95(seconds: Sequence[float]) -> float:
    return sorted(seconds)[min(len(seconds) - 1, round(0.95 * len(seconds)))]


# ------------------------------------------------------------------------------------------ the observatory


def _send_frames(folder: Path, number: int, size: int, interval: float) -> list[Journey]:
    """Make masters, start Airflow, let the camera write, and follow the frames."""
    environ = {
        "TOROS_DATA_ROOT": str(folder / "data"),
        "TOROS_INBOX": str(folder / "inbox"),
        "TOROS_PROFILES_DIR": str(folder / "profiles"),
    }
    runner = Runner.from_settings(load_settings({"HOME": str(folder), **environ}))
    migrate(Database(runner.settings.database_url))
    frames = _night(folder, number + 1, size)
    _make_masters(runner, folder, [frame for frame in frames if frame.kind != "light"])
    lights = [frame for frame in frames if frame.kind == "light"]
    with Sandbox(
        folder / "airflow", dags=_DAGS, dag_ids=("toros_survey", "toros_masters"), environ=environ
    ) as airflow:
        _take(lights[:1], runner, interval)  # it meets an Airflow that has just begun, and is not counted
        _take(lights[1:], runner, interval)
        processes.wait_until(lambda: _is_idle(airflow), seconds=60, every=0.5)
        tasks = _task_times(airflow)
    return [_journey(frame, tasks) for frame in _frames_that_got_through(runner)[1:]]


def _night(folder: Path, lights: int, size: int) -> list[SimulatedFrame]:
    camera = azulcito((size, size))
    write_profile(camera, folder / "profiles")
    field = Field("M31", ra=10.7, dec=-24.6, exptime=60.0, exposures=lights)
    plan = NightPlan(_NIGHT, bias=3, darks=((60.0, 3),), flats=3, fields=(field,))
    return list(simulate_night(plan, camera, seed=1))


def _make_masters(runner: Runner, folder: Path, frames: Sequence[SimulatedFrame]) -> None:
    for _ in feed(frames, folder / "inbox"):
        pass
    time.sleep(0.5)  # no file is registered in the moment of its last byte
    for name in ("discover", "load", "clean_calibration"):
        _run_on_all(runner, name)
    an_hour_later = runner.clock() + dt.timedelta(hours=1)  # by then all sets are complete
    for name in ("plan_masters", "combine_bias", "combine_dark", "combine_flat"):
        _run_on_all(replace(runner, clock=lambda: an_hour_later), name)


def _run_on_all(runner: Runner, name: str) -> None:
    step = find_step(name)
    items: Sequence[int | None] = [None]
    if step.takes is not None:
        with runner.database.read() as session:
            items = items_waiting_for(session, step)
    for item in items:
        runner.run(step(), item)


def _take(frames: Sequence[SimulatedFrame], runner: Runner, interval: float) -> None:
    """Let the camera write frames, and wait until they are calibrated."""
    expected = len(_frames_that_got_through(runner)) + len(frames)
    for _ in feed(frames, runner.settings.inbox[0], interval=interval):
        pass
    processes.wait_until(
        lambda: len(_frames_that_got_through(runner)) >= expected, seconds=_PATIENCE, every=0.5
    )


# ------------------------------------------------------------------------------------- what became of them


def _is_idle(airflow: Sandbox) -> bool:
    return all(run["state"] in ("success", "failed") for run in airflow.api.runs())


def _frames_that_got_through(runner: Runner) -> list[tuple[float, dict[str, StepRun]]]:
    """Return, for each calibrated frame in the order of their arrival, its last byte and its step runs."""
    query = (
        select(Arrival, StepRun)
        .join(Arrival.state)
        .join(StepRun, StepRun.item_id.in_((Arrival.id, Arrival.exposure_id)))
        .where(State.name == "registered", StepRun.status == "succeeded", StepRun.step.in_(_STEPS))
        .order_by(Arrival.mtime_ns, StepRun.id)
    )
    frames: dict[int, tuple[float, dict[str, StepRun]]] = {}
    with runner.database.read() as session:
        for arrival, run in session.execute(query):
            frames.setdefault(arrival.id, (arrival.mtime_ns / 1e9, {}))[1][run.step] = run
    return [frame for frame in frames.values() if len(frame[1]) == len(_STEPS)]


TaskKey = tuple[str | None, str | None, int | None]


def _task_times(airflow: Sandbox) -> dict[TaskKey, tuple[float, float]]:
    """Return begin and end of every task, by run, task and map index."""
    return {
        (task["dag_run_id"], task["task_id"], task["map_index"]): (
            seconds_of(task["start_date"]),
            seconds_of(task["end_date"]),
        )
        for task in airflow.api.task_instances("toros_survey")
        if task["start_date"] and task["end_date"]
    }


def _journey(frame: tuple[float, dict[str, StepRun]], tasks: dict[TaskKey, tuple[float, float]]) -> Journey:
    closed, runs = frame
    in_steps = {step: _end(run) - run.started_at.timestamp() for step, run in runs.items()}
    times = {step: tasks[run.run_id, run.task_id, run.map_index] for step, run in runs.items()}
    first, last = times["load"], runs["preprocess"]
    # The last task counts up to the product; its end is no concern of the frame's.
    inside = (
        sum(end - start for start, end in (times["load"], times["clean"]))
        + _end(last)
        - times["preprocess"][0]
    )
    noticed = first[0] - closed
    return Journey(
        noticed=noticed,
        in_steps=in_steps,
        around_steps=inside - sum(in_steps.values()),
        between_tasks=_end(last) - first[0] - inside,
    )


def _end(run: StepRun) -> float:
    if run.ended_at is None:
        raise LookupError(f"step run {run.id} has not ended")
    return run.ended_at.timestamp()


if __name__ == "__main__":
    sys.exit(main())
