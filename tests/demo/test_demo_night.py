"""The demonstration's night, through the steps, and what is told about it."""

from __future__ import annotations

import datetime as dt
import io
import os
import time
from collections import Counter
from contextlib import nullcontext, suppress
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console
from rich.table import Table
from sqlalchemy import select

from small_steps import check
from toros.demo.night import EXPECTED_REJECTIONS, QUIET_SECONDS, DemoNight, prepare_night
from toros.demo.progress import Progress, latencies, look, rejections
from toros.demo.tables import frames_table, masters_table, rejections_table
from toros.errors import NothingToDo, Unprocessable
from toros.models import Arrival, StepRun
from toros.models.database import Database
from toros.sim import Incident
from toros.steps.calibration_rules import read_rules
from toros.steps.clean import Clean, CleanCalibration
from toros.steps.combine import CombineBias, CombineDark, CombineFlat
from toros.steps.discover import Discover
from toros.steps.load import Load
from toros.steps.measure import Measure
from toros.steps.pending import items_waiting_for
from toros.steps.plan_masters import PlanMasters
from toros.steps.preprocess import Preprocess
from toros.steps.runner import AnyStep, Runner
from toros.steps.solve import Solve

NIGHT = dt.date(2026, 11, 20)
ALONG_THE_STREAM: tuple[type[AnyStep], ...] = (
    CleanCalibration,
    PlanMasters,
    CombineBias,
    CombineDark,
    CombineFlat,
    Clean,
    Preprocess,
    Solve,
    Measure,
)


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> DemoNight:
    """A night that is ready to be taken."""
    return prepare_night(tmp_path_factory.mktemp("demo") / "data", size=384, night=NIGHT, seed=1)


@pytest.fixture(scope="module")
def database(night: DemoNight) -> Database:
    """The database after the night went through the stream, without Airflow."""
    database = Database(night.settings.database_url)
    runner = Runner(database, night.settings)
    camera = night.start_camera(interval=0.0)
    camera.join(timeout=60)
    assert not camera.is_alive()
    for path in night.inbox.iterdir():
        os.utime(path, (time.time() - 100,) * 2)
    runner.run(Discover())
    _run_waiting(runner, Load)
    later = replace(runner, clock=lambda: runner.clock() + dt.timedelta(minutes=1))
    for step in ALONG_THE_STREAM:
        _run_waiting(later, step)
    return database


def _run_waiting(runner: Runner, step: type[AnyStep]) -> None:
    if step.takes is None:
        runner.run(step())
        return
    with runner.database.read() as session:
        waiting = items_waiting_for(session, step)
    for item in waiting:
        # Some files are broken on purpose; all other steps must succeed.
        with suppress(Unprocessable) if step is Load else nullcontext():
            runner.run(step(), item)


def _text(table: Table) -> str:
    console = Console(file=io.StringIO(), width=200)
    console.print(table)
    written = console.file
    assert isinstance(written, io.StringIO)
    return written.getvalue()


# ------------------------------------------------------------------------------------------ before the night


def test_a_fresh_night_is_laid_out_and_nothing_has_come_in(tmp_path: Path) -> None:
    fresh = prepare_night(tmp_path / "data", size=384, night=NIGHT, seed=2)
    assert list(fresh.inbox.iterdir()) == []
    assert look(Database(fresh.settings.database_url)).counts == Counter()
    assert Path(fresh.environ["AIRFLOW__TOROS__DATA_ROOT"]) == fresh.settings.data_root
    with pytest.raises(NothingToDo):
        Runner(Database(fresh.settings.database_url), fresh.settings).run(Discover())


def test_every_incident_happens_and_those_that_spoil_a_file_are_expected(night: DemoNight) -> None:
    assert Counter(frame.incident for frame in night.frames if frame.incident) == Counter(Incident)
    assert night.expected_rejections == Counter(EXPECTED_REJECTIONS.values())


def test_its_rules_are_the_shipped_ones_but_for_the_patience(night: DemoNight) -> None:
    shipped, own = read_rules(), read_rules(night.settings.rules)
    assert own.masters.quiet_seconds == QUIET_SECONDS
    assert own.model_copy(update={"masters": shipped.masters}) == shipped
    assert own.masters.model_copy(update={"quiet_seconds": shipped.masters.quiet_seconds}) == shipped.masters


# ------------------------------------------------------------------------------------------- after the night


def test_the_night_ends_as_it_should(night: DemoNight, database: Database) -> None:
    progress = look(database)
    assert progress.is_complete(len(night.frames))
    assert rejections(database) == night.expected_rejections
    ended = {(kind, state): count for (kind, state), count in progress.counts.items() if kind != "Arrival"}
    assert ended == {
        ("CalFile", "cleaned_data"): 9 + 5 + 5,
        ("MasterCal", "master_accepted"): 3,
        ("Pawprint", "measured"): 6,
    }
    assert check(Runner(database, night.settings)).ok


def test_a_night_is_not_complete_before_its_last_file(night: DemoNight, database: Database) -> None:
    assert not look(database).is_complete(len(night.frames) + 1)


@pytest.mark.parametrize("state", ["arrived", "raw_data", "master_wanted"])
def test_a_night_is_not_complete_while_something_waits(state: str) -> None:
    kind = {"arrived": "Arrival", "raw_data": "Pawprint", "master_wanted": "MasterCal"}[state]
    progress = Progress(Counter({("Arrival", "registered"): 5, (kind, state): 1}))
    assert progress.of(kind) - progress.done(kind) == 1
    assert not progress.is_complete(5)


def test_latency_is_told_of_every_science_frame_once(database: Database) -> None:
    """The copy of a frame that came later is no frame of its own."""
    with database.read() as session:
        ended = session.scalars(
            select(StepRun.ended_at).where(StepRun.step == "measure", StepRun.status == "succeeded")
        ).all()
        written = session.scalars(select(Arrival.mtime_ns)).all()
    told = latencies(database)
    assert len(told) == len(ended) == 6
    last = max(moment.timestamp() for moment in ended if moment is not None)
    assert 0 < told[0] <= told[-1] <= last - min(written) / 1e9


def test_the_tables_tell_what_became_of_every_file(night: DemoNight, database: Database) -> None:
    files, made, frames = (
        _text(table(database)) for table in (rejections_table, masters_table, frames_table)
    )
    for frame in night.frames:
        code = EXPECTED_REJECTIONS.get(frame.incident) if frame.incident else None
        if code is not None:
            assert any(frame.name in line and code in line for line in files.splitlines())
        elif frame.kind == "light":
            assert frame.name in frames
    assert "9 bias frames" in files
    assert "6 science frames" in files
    assert [made.count(name) for name in ("Bias", "Dark 120 s", "Flat Clear")] == [1, 1, 1]
    assert made.count("master_accepted") == 3
    assert frames.count("measured") == 6


def test_a_name_in_brackets_is_a_name(tmp_path: Path) -> None:
    other = prepare_night(tmp_path / "data", size=384, night=NIGHT, seed=3)
    runner = Runner(Database(other.settings.database_url), other.settings)
    (other.inbox / "M31[red][.fit").write_text("not a frame")
    os.utime(other.inbox / "M31[red][.fit", (1, 1))
    runner.run(Discover())
    _run_waiting(runner, Load)
    assert "M31[red][.fit" in _text(rejections_table(runner.database))
