"""Two steps as small as steps can be, and what may happen to them: the engine's tests are played with these."""

from __future__ import annotations

import datetime as dt
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

from pydantic import Field
from sqlalchemy import event, func, select
from sqlalchemy.orm import Session

import toros
from toros.config import Settings
from toros.errors import Unprocessable
from toros.models import Field as SkyField
from toros.models import Item, Product, Stack, StepRun
from toros.models.database import Database
from toros.steps import step
from toros.steps.fsck import Report, fsck
from toros.steps.runner import Outcome, Runner
from toros.steps.step import Step, Work

NIGHT = dt.date(2026, 11, 20)
T = TypeVar("T")


class Wish(Step[None, None, None]):
    """Spawns stacks that are wanted."""

    name = "wish"
    version = "1"

    class Parameters(step.Parameters):
        """How many."""

        stacks: int = Field(default=1, ge=1)

    def query(self, session: Session, item: None, work: Work) -> None:
        """Need nothing."""

    def write(self, result: None, work: Work) -> None:
        for number in range(self.parameters.stacks):
            work.spawn(wanted_stack(f"field {work.run_id}.{number}"), "stack_wanted")


def wanted_stack(name: str) -> Stack:
    """Return a stack of a field that no other has."""
    here = {"ra": 10.7, "dec": 41.3, "healpix": 0}
    field = SkyField(name=name, campaign_id=1, radius=1.0, **here)
    return Stack(field=field, set_key=name, night=NIGHT, version=1, **here)


class Make(Step[str, str, bytes]):
    """Makes a wanted stack: one product, one measure, one column."""

    name = "make"
    version = "7"
    takes = Stack
    from_state = "stack_wanted"
    to_state = "stacked"
    error_state = "failed_stack"

    class Parameters(step.Parameters):
        """What is in the product."""

        light: str = "starlight"

    def query(self, session: Session, item: Stack, work: Work) -> str:
        return item.field.name

    def extract(self, rows: str, work: Work) -> str:
        return rows

    def transform(self, inputs: str) -> bytes:
        return f"{inputs}: {self.parameters.light}".encode()

    def write(self, result: bytes, work: Work) -> None:
        work.stage("stack", NIGHT, "M 31 / deep", ".txt").write_bytes(result)
        work.measure("depth", 20.5, "mag")

    def load(self, session: Session, item: Stack, result: bytes, work: Work) -> None:
        item.filter = "clear"

    def refuse(self, session: Session, item: Stack, error: Unprocessable, run_id: int) -> None:
        item.filter = "none"


class Troubled(Make):
    """Make, with trouble at one of its stages."""

    def __init__(self, stage: str, trouble: Callable[[], object], **parameters: Any) -> None:
        super().__init__(**parameters)
        self.stage = stage
        self.trouble = trouble

    def query(self, session: Session, item: Stack, work: Work) -> str:
        return self._after("query", super().query(session, item, work))

    def extract(self, rows: str, work: Work) -> str:
        return self._after("extract", super().extract(rows, work))

    def transform(self, inputs: str) -> bytes:
        return self._after("transform", super().transform(inputs))

    def write(self, result: bytes, work: Work) -> None:
        super().write(result, work)
        self._after("write", None)

    def load(self, session: Session, item: Stack, result: bytes, work: Work) -> None:
        super().load(session, item, result, work)
        self._after("load", None)

    def _after(self, stage: str, value: T) -> T:
        if stage == self.stage:
            self.trouble()
        return value


def raising(error: BaseException) -> Callable[[], None]:
    """Return a trouble: an error."""

    def trouble() -> None:
        raise error

    return trouble


def new_stack(runner: Runner) -> int:
    """Add a wanted stack to the stream."""
    return runner.run(Wish()).spawned[0]


def state_of(runner: Runner, item_id: int) -> str:
    """Return the name of an item's state."""
    with runner.database.read() as session:
        return session.get_one(Item, item_id).state.name


def versions_of(runner: Runner, item_id: int) -> list[int]:
    """Return the versions of an item's products."""
    with runner.database.read() as session:
        return list(session.scalars(select(Product.version).where(Product.item_id == item_id)))


def last_run(runner: Runner) -> StepRun:
    """Return the newest step run."""
    with runner.database.read() as session:
        return session.get_one(StepRun, session.scalar(select(func.max(StepRun.id))))


def check(runner: Runner, *, heal: bool = True, checksums: bool = True) -> Report:
    """Run fsck."""
    return fsck(
        runner.database, runner.store, runner.settings, runner.clock(), heal=heal, checksums=checksums
    )


# ------------------------------------------------------------------------------------- other processes

_processes = multiprocessing.get_context("forkserver")
# What every child imports anyway; before Python 3.14 the server does not know the path of this module.
_processes.set_forkserver_preload(["pytest", "toros.steps.runner", "toros.steps.fsck"])


def start(target: Callable[..., None], *arguments: object) -> BaseProcess:
    """Start a function of this module in a process of its own."""
    process = _processes.Process(target=target, args=arguments, daemon=True)
    process.start()
    return process


def barrier(parties: int) -> Any:
    """Return a barrier between processes."""
    return _processes.Barrier(parties, timeout=60)


def die() -> None:
    """End this process as a power cut would."""
    os.kill(os.getpid(), signal.SIGKILL)


class Doomed(Wish):
    """Dies."""

    def write(self, result: None, work: Work) -> None:
        die()


def wish_and_die(settings: Settings) -> None:
    """Run a step without item that is killed."""
    Runner(Database(settings.database_url), settings).run(Doomed())


def run_and_die(settings: Settings, item_id: int, stage: str) -> None:
    """Run a step that is killed at one of its stages, right after its claim, or right after its record."""
    runner = Runner(Database(settings.database_url), settings)
    commits = {"claimed": 1, "recorded": 2}
    if stage in commits:
        seen = []

        def count(_session: Session) -> None:
            seen.append(stage)
            if len(seen) == commits[stage]:
                die()

        event.listen(Session, "after_commit", count)
    runner.run(Troubled(stage, die), item_id)


def run_and_die_at_line(settings: Settings, item_id: int, line: int, report: str = "") -> None:
    """Run a step that is killed before the so-and-so-many-th line of this package that it executes.

    With a ``report``, the number of all lines is written into that file at the end.
    """
    runner = Runner(Database(settings.database_url), settings)
    package = str(Path(toros.__file__).parent)
    count = 0

    def trace(frame: FrameType, what: str, _argument: object) -> Any:
        nonlocal count
        if not frame.f_code.co_filename.startswith(package):
            return None
        if what == "line":
            count += 1
            if count == line:
                die()
        return trace

    sys.settrace(trace)
    try:
        runner.run(Make(), item_id)
    finally:
        sys.settrace(None)
        if report:
            Path(report).write_text(str(count))


def make_all(settings: Settings, items: list[int]) -> None:
    """Run a step on items, one after the other."""
    runner = Runner(Database(settings.database_url), settings)
    for item_id in items:
        runner.run(Make(), item_id)


def race(settings: Settings, items: list[int], starting_line: Any, results: Any) -> None:
    """Run a step on items at the same moments as other processes do; tell what became of each."""
    runner = Runner(Database(settings.database_url), settings)
    for item_id in items:
        starting_line.wait()
        try:
            outcome: Outcome = runner.run(Make(), item_id)
        except Exception as error:
            results.put((item_id, type(error).__name__))
        else:
            results.put((item_id, "again" if outcome.again else "done"))


def queue() -> Any:
    """Return a queue between processes."""
    return _processes.Queue()
