"""What the engine adds to the work of a step: claim, record and product, on SQLite."""

from __future__ import annotations

import datetime as dt
import time
from dataclasses import dataclass

from sqlalchemy import event
from sqlalchemy.orm import Session

from benchmarks.unit import Bench, Case, Work, Wrong
from toros.config import load_settings
from toros.migrations import migrate
from toros.models import Stack
from toros.models.database import Database
from toros.steps import step
from toros.steps.runner import Runner
from toros.steps.step import Step

_RUNS = 20
_MOST_TRANSACTIONS = 4
_NIGHT = dt.date(2026, 11, 20)


class Wish(Step[None, None, None]):
    """Adds the item that the others work on."""

    name = "wish"
    version = "1"

    def query(self, session: Session, item: None, work: step.Work) -> None:
        """Need nothing."""

    def write(self, result: None, work: step.Work) -> None:
        stack = Stack(field="benchmark", night=_NIGHT, version=1, ra=0, dec=0, healpix=0)
        work.spawn(stack, "stack_wanted")


class Idle(Step[None, None, None]):
    """Does nothing, and leaves its item where it was."""

    name = "idle"
    version = "1"
    takes = Stack
    from_state = "stack_wanted"
    to_state = "stack_wanted"
    error_state = "failed_stack"

    def query(self, session: Session, item: Stack, work: step.Work) -> None:
        """Need nothing."""


class Publish(Idle):
    """Leaves one small product."""

    name = "publish"

    def write(self, result: None, work: step.Work) -> None:
        work.stage("stack", _NIGHT, "benchmark", ".txt").write_bytes(bytes(1000))


@dataclass(frozen=True)
class _PerRun:
    seconds: float
    transactions: float


def _runs_of(kind: type[Idle], bench: Bench) -> Work:
    settings = load_settings(
        {"AIRFLOW_HOME": str(bench.folder), "TOROS_DATA_ROOT": str(bench.folder / "data")}
    )
    runner = Runner(Database(settings.database_url), settings)
    migrate(runner.database)
    item = runner.run(Wish()).spawned[0]
    begun: list[object] = []
    event.listen(runner.database.engine, "begin", begun.append)

    def work() -> _PerRun:
        begun.clear()
        start = time.perf_counter()
        for _ in range(_RUNS):
            runner.run(kind(), item)
        return _PerRun((time.perf_counter() - start) / _RUNS, len(begun) / _RUNS)

    return work


def _idle(bench: Bench) -> Work:
    return _runs_of(Idle, bench)


def _publish(bench: Bench) -> Work:
    return _runs_of(Publish, bench)


def _remark(per_run: _PerRun) -> str:
    told = f"{per_run.seconds * 1e3:.1f} ms and {per_run.transactions:.0f} transactions each"
    if per_run.transactions > _MOST_TRANSACTIONS:
        raise Wrong(told)
    return told


CASES = (
    Case(f"{_RUNS} runs of an empty step", _idle, remark=_remark),
    Case(f"{_RUNS} runs of a step with one small product", _publish, remark=_remark),
)
