"""Workers are killed at random instants, again and again, while they race through a night."""

from __future__ import annotations

import math
import multiprocessing
import os
import random
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import cycle
from select import select as wait_for_any
from typing import Any, Literal, Self, TypeVar, get_args

import psutil
from sqlalchemy import select
from stormy_nights import count_runs, work

from toros.config import Settings
from toros.models import StepRun
from toros.models.database import Database
from toros.store.store import Store

T = TypeVar("T")

RUNS_OF_A_LIFE = 5

Instant = Literal["staged", "flushed", "renamed", "recorded"]
INSTANTS: tuple[Instant, ...] = get_args(Instant)
"""Of a file's way into the data root: written, flushed, under its final name, and recorded as a product."""

_processes = multiprocessing.get_context("forkserver")


def in_another_process(target: Callable[..., T], *arguments: object) -> T:
    """Call a function of this module in a process of its own, which may fork: nothing else runs in it."""
    with ProcessPoolExecutor(1, mp_context=_processes) as process:
        return process.submit(target, *arguments).result()


def play_in_storm(settings: Settings, undisturbed: Settings, seed: int, most: int) -> list[Kill]:
    """Play what is in the inbox at two observatories: undisturbed at one, while workers are killed at the other.

    A worker lives for some step runs on average, so that few of them come far. When enough are dead, a last one
    finishes what the others began.
    """
    storm = Storm(settings, seed, RUNS_OF_A_LIFE * _time_of_a_run(undisturbed))
    storm.rage(most)
    work(settings)
    return storm.kills


@dataclass
class Worker:
    """A process that works on a night, and what tells that it has begun, and that it has ended."""

    process: psutil.Process
    voice: int
    dies_at: float | None
    """When it will be killed, of the monotonic clock; unknown before it begins."""

    @classmethod
    def start(cls, settings: Settings, instant: Instant | None = None) -> Self:
        """Fork a worker; one with an instant dies by itself, whenever that comes."""
        voice, speaks = os.pipe()
        pid = os.fork()
        if pid == 0:
            exit_code = 1
            try:
                os.close(voice)
                if instant is not None:
                    die_at(instant)
                work(settings, found_work=lambda: os.write(speaks, b"!"))
                exit_code = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(exit_code)
        os.close(speaks)
        return cls(psutil.Process(pid), voice, dies_at=None if instant is None else math.inf)

    def has_more_to_do(self) -> bool:
        """Wait until it says that it has found work, or has ended."""
        return os.read(self.voice, 1) != b""

    def has_had_its_time(self) -> bool:
        """Whether it is to be killed now."""
        return self.dies_at is not None and self.dies_at <= time.monotonic()

    def kill(self) -> int:
        """Kill it; return its exit code, which tells whether it had ended by itself before."""
        self.process.kill()
        os.close(self.voice)
        return int(self.process.wait())


def die_at(instant: Instant) -> None:
    """Let this process be killed the next time that it is about to go on from there."""
    last = ""

    def listen(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal last
        dies = False
        if event == "open" and ".staging" in str(arguments[0]) and str(arguments[1])[0] in "wx":
            last = "staged"
        elif event == "os.rename" and ".staging" not in str(arguments[1]):
            last, dies = "renamed", instant == "flushed"
        elif event == "sqlite3.connect":
            dies = instant == last
        elif event == "shutil.rmtree":
            dies = instant == "recorded"
        if dies:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(listen)


@dataclass(frozen=True)
class Kill:
    """What a killed worker was doing, as told by what it left."""

    phase: str
    step: str = ""


class Storm:
    """Lets two workers race through the night, and kills them again and again.

    Each fourth dies at one of the `INSTANTS`, the others at any.

    Parameters
    ----------
    settings : Settings
        Of the observatory.
    seed : int
        Decides when workers are killed.
    lifetime : float
        Seconds that one works on average.
    """

    def __init__(self, settings: Settings, seed: int, lifetime: float) -> None:
        self.settings = settings
        self.lifetime = lifetime
        self.kills: list[Kill] = []
        self._chance = random.Random(seed)
        self._instants = cycle(one for instant in INSTANTS for one in (None, None, None, instant))
        self._workers: list[Worker] = []

    def rage(self, most: int) -> None:
        """Go on until so many are dead, or until a worker has come to the end of the night in spite of it."""
        is_over = False
        while len(self.kills) < most and not is_over:
            while len(self._workers) < 2:
                self._workers.append(Worker.start(self.settings, next(self._instants)))
            for worker in _who_speaks(self._workers):
                if not worker.has_more_to_do():
                    is_over |= self._bury(worker) == 0
                elif worker.dies_at is None:
                    worker.dies_at = time.monotonic() + self._chance.uniform(0, 2 * self.lifetime)
            for worker in [worker for worker in self._workers if worker.has_had_its_time()]:
                self._bury(worker)
        while self._workers:
            self._bury(self._workers[0])

    def _bury(self, worker: Worker) -> int:
        """Kill a worker, if it still lives, and note what it left; return its exit code."""
        exit_code = worker.kill()
        assert exit_code in (0, -signal.SIGKILL), f"a worker ended with {exit_code}"
        self._workers.remove(worker)
        if exit_code:
            self.kills.append(remains_of(self.settings, worker.process.pid))
        return exit_code


def _who_speaks(workers: Sequence[Worker]) -> list[Worker]:
    """Wait until some worker has something to say, or until the time of one is over."""
    hours = [worker.dies_at for worker in workers if worker.dies_at is not None]
    patience = max(0.0, min(hours) - time.monotonic()) if min(hours, default=math.inf) < math.inf else None
    speaking, _, _ = wait_for_any([worker.voice for worker in workers], [], [], patience)
    return [worker for worker in workers if worker.voice in speaking]


def remains_of(settings: Settings, pid: int) -> Kill:
    """Look at what a killed worker left, and tell what it was doing."""
    store = Store(settings.data_root)
    with Database(settings.database_url).read() as session:
        run = session.scalar(select(StepRun).where(StepRun.pid == pid).order_by(StepRun.id.desc()).limit(1))
    if run is None:
        return Kill("between two runs")
    is_staged = run.id in store.staged_runs()
    if run.status == "abandoned":
        return Kill("healed at once by the other worker", run.step)
    if run.status != "running":
        return Kill("recorded, not cleared", run.step) if is_staged else Kill("between two runs")
    if not is_staged:
        return Kill("claimed, reading or computing", run.step)
    if not (store.root / ".staging" / f"run_{run.id:06d}" / "manifest.json").exists():
        return Kill("copying, writing or flushing", run.step)
    if any(store.maker_of(path) == run.id for path in store.files()):
        return Kill("renamed, not recorded", run.step)
    return Kill("flushed, not renamed", run.step)


def statistics(kills: list[Kill]) -> str:
    """Say how many were killed, and in which phase of which step."""
    phases = Counter(kill.phase for kill in kills)
    of_steps = Counter(kill.step for kill in kills if kill.step)
    return f"{len(kills)} kills: {_listed(phases)}; in {_listed(of_steps)}"


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{number} {what}" for what, number in counts.most_common())


def _time_of_a_run(settings: Settings) -> float:
    """Work through what there is; return the mean time that a step run took in seconds."""
    before, began = count_runs(settings), time.monotonic()
    work(settings)
    return (time.monotonic() - began) / (count_runs(settings) - before)
