"""How fast files become registered exposures: discovered, copied, hashed, understood, committed."""

from __future__ import annotations

import datetime as dt
import os
import shutil
import time
from dataclasses import dataclass

from benchmarks.unit import Bench, Case, Work, Wrong
from toros.config import load_settings
from toros.migrations import migrate
from toros.models.database import Database
from toros.sim import NightPlan, azulcito, simulate_night
from toros.steps.pending import items_waiting_for
from toros.steps.registry import find_step
from toros.steps.runner import Runner

_SMALL, _SMALL_SIZE = 50, 128
_LARGE = 4


@dataclass(frozen=True)
class _Ingested:
    files: int
    expected: int
    seconds: float


def _ingest(bench: Bench, count: int, size: int) -> Work:

    plan = NightPlan(dt.date(2026, 11, 20), bias=count, darks=(), flats=0)
    frames = [frame.to_bytes() for frame in simulate_night(plan, azulcito(shape=(size, size)), seed=1)]

    def work() -> _Ingested:
        root = bench.folder / "ingest"
        shutil.rmtree(root, ignore_errors=True)
        settings = load_settings({"AIRFLOW_HOME": str(bench.folder), "TOROS_DATA_ROOT": str(root)})
        settings.inbox[0].mkdir(parents=True)
        for number, content in enumerate(frames):
            path = settings.inbox[0] / f"bias_{number:03d}.fit"
            path.write_bytes(content)
            os.utime(path, (0, 0))  # complete for long
        runner = Runner(Database(settings.database_url), settings)
        migrate(runner.database)
        load = find_step("load")
        start = time.perf_counter()
        runner.run(find_step("discover")())
        with runner.database.read() as session:
            waiting = items_waiting_for(session, load)
        registered = [runner.run(load(), item) for item in waiting]
        return _Ingested(len(registered), len(frames), time.perf_counter() - start)

    return work


def _remark(ingested: _Ingested) -> str:
    if ingested.files != ingested.expected:
        raise Wrong(f"{ingested.files} of {ingested.expected} files were registered")
    return f"{ingested.files / ingested.seconds:.1f} files/s (laying out the folder not counted)"


CASES = (
    Case(
        f"ingest {_SMALL} files of {_SMALL_SIZE}x{_SMALL_SIZE}",
        lambda b: _ingest(b, _SMALL, _SMALL_SIZE),
        remark=_remark,
    ),
    Case(f"ingest {_LARGE} files of full size", lambda b: _ingest(b, _LARGE, b.size), remark=_remark),
)
