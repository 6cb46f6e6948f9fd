"""The demonstration's nights, through the steps, and what is told about them."""

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
from astropy.table import Table
from rich.console import Console
from rich.table import Table as RichTable
from sqlalchemy import select

from small_steps import check
from toros.cli.views.candidates import candidates
from toros.demo.night import (
    DAYS_LATER,
    EXPECTED_REJECTIONS,
    QUIET_SECONDS,
    DemoNights,
    prepare_nights,
)
from toros.demo.progress import Progress, failures, is_stacked, latencies, look, rejections
from toros.demo.recovery import Recovery, changes_on, false_ones, name_detections, recoveries
from toros.demo.tables import (
    candidates_table,
    frames_table,
    masters_table,
    product_paths,
    recovery_table,
    rejections_table,
    stacks_table,
)
from toros.errors import NothingToDo, Unprocessable
from toros.models import Arrival, Candidate, Detection, Pawprint, Reference, StepRun
from toros.models.database import Database
from toros.sim import Change, Incident, SimulatedFrame
from toros.steps.calibration_rules import read_rules
from toros.steps.choose_reference import ChooseReference
from toros.steps.clean import Clean, CleanCalibration
from toros.steps.combine import CombineBias, CombineDark, CombineFlat
from toros.steps.difference import Difference
from toros.steps.discover import Discover
from toros.steps.find_candidates import FindCandidates
from toros.steps.load import Load
from toros.steps.measure import Measure
from toros.steps.pending import items_waiting_for
from toros.steps.plan_masters import PlanMasters
from toros.steps.plan_stacks import PlanStacks
from toros.steps.preprocess import Preprocess
from toros.steps.runner import AnyStep, Runner
from toros.steps.solve import Solve
from toros.steps.stack import Stack
from toros.steps.survey_rules import read_survey_rules
from toros.steps.trace_candidate import TraceCandidate

NIGHT = dt.date(2026, 11, 20)
CALIBRATED: tuple[type[AnyStep], ...] = (
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
STACKED: tuple[type[AnyStep], ...] = (PlanStacks, Stack, ChooseReference)
SEARCHED: tuple[type[AnyStep], ...] = (Difference, FindCandidates, TraceCandidate)


@pytest.fixture(scope="module")
def nights(tmp_path_factory: pytest.TempPathFactory) -> DemoNights:
    """Two nights that are ready to be taken."""
    return prepare_nights(tmp_path_factory.mktemp("demo") / "data", size=512, night=NIGHT, seed=1)


@pytest.fixture(scope="module")
def database(nights: DemoNights) -> Database:
    """The database after the nights went through the stream, without Airflow."""
    database = Database(nights.settings.database_url)
    runner = Runner(database, nights.settings)
    rules = read_survey_rules(nights.settings.survey_rules).stacks
    _take(nights, nights.first, runner)
    _run(runner, *CALIBRATED)
    assert look(database).is_complete(len(nights.first))
    assert not is_stacked(database, rules)
    _run(replace(runner, clock=lambda: runner.clock() + dt.timedelta(hours=1)), *STACKED)
    assert is_stacked(database, rules)
    assert not look(database).is_complete(len(nights.first))  # the frames have got a reference
    _run(runner, *SEARCHED)
    assert look(database).is_complete(len(nights.first))
    _take(nights, nights.second, runner)
    _run(runner, *CALIBRATED, *SEARCHED, *STACKED)
    return database


@pytest.fixture(scope="module")
def real(database: Database) -> set[int]:
    """The candidates that the model takes for real."""
    with database.read() as session:
        return set(session.scalars(select(Candidate.id).where(Candidate.predicted == "real")))


def _take(nights: DemoNights, frames: tuple[SimulatedFrame, ...], runner: Runner) -> None:
    """Let the camera write frames, and register them."""
    camera = nights.start_camera(frames, interval=0.0)
    camera.join(timeout=60)
    assert not camera.is_alive()
    for frame in frames:
        os.utime(nights.inbox / frame.name, (time.time() - 100,) * 2)
    runner.run(Discover())
    _run_waiting(runner, Load)


def _run(runner: Runner, *steps: type[AnyStep]) -> None:
    """Run steps, each a minute after the one before: so long all was quiet."""
    for number, step in enumerate(steps, start=1):
        delay = number * dt.timedelta(minutes=1)
        _run_waiting(replace(runner, clock=lambda delay=delay: runner.clock() + delay), step)


def _run_waiting(runner: Runner, step: type[AnyStep]) -> None:
    if step.takes is None:
        with suppress(NothingToDo):
            runner.run(step())
        return
    with runner.database.read() as session:
        waiting = items_waiting_for(session, step)
    for item in waiting:
        # Some files are broken on purpose, and a trailed frame need not be comparable.
        with suppress(Unprocessable) if step in (Load, Difference) else nullcontext():
            runner.run(step(), item)


def _text(table: RichTable) -> str:
    console = Console(file=io.StringIO(), width=200)
    console.print(table)
    written = console.file
    assert isinstance(written, io.StringIO)
    return written.getvalue()


# ----------------------------------------------------------------------------------------- before the nights


def test_fresh_nights_are_laid_out_and_nothing_has_come_in(tmp_path: Path) -> None:
    fresh = prepare_nights(tmp_path / "data", size=256, night=NIGHT, seed=2)
    assert list(fresh.inbox.iterdir()) == []
    assert look(Database(fresh.settings.database_url)).counts == Counter()
    assert Path(fresh.environ["AIRFLOW__TOROS__DATA_ROOT"]) == fresh.settings.data_root
    with pytest.raises(NothingToDo):
        Runner(Database(fresh.settings.database_url), fresh.settings).run(Discover())


def test_every_incident_happens_and_those_that_spoil_a_file_are_expected(nights: DemoNights) -> None:
    assert Counter(frame.incident for frame in nights.first if frame.incident) == Counter(Incident)
    assert [frame.incident for frame in nights.second if frame.incident] == [Incident.SATELLITE]
    assert nights.expected_rejections == Counter(EXPECTED_REJECTIONS.values())


def test_its_rules_are_the_shipped_ones_but_for_the_patience(nights: DemoNights) -> None:
    settings = nights.settings
    for shipped, own, group in (
        (read_rules(), read_rules(settings.rules), "masters"),
        (read_survey_rules(), read_survey_rules(settings.survey_rules), "stacks"),
    ):
        expected = shipped.model_dump()
        expected[group]["quiet_seconds"] = QUIET_SECONDS
        assert own.model_dump() == expected


def test_the_sky_changes_between_the_nights_and_the_truth_says_so(nights: DemoNights) -> None:
    before, after = (set(changes_on(frames)["kind"]) for frames in (nights.first, nights.second))
    assert before == {Change.VARIABLE}
    assert after == set(Change)
    truth = nights.settings.data_root.with_name("data-truth")
    assert {f"{Path(frame.name).stem}.ecsv" for frame in nights.second} < {
        path.name for path in truth.iterdir()
    }


# ------------------------------------------------------------------------------------------ after the nights


def test_the_nights_end_as_they_should(nights: DemoNights, database: Database) -> None:
    progress = look(database)
    assert progress.is_complete(len(nights.frames))
    assert rejections(database) == nights.expected_rejections
    ended = {
        (kind, state): count
        for (kind, state), count in progress.counts.items()
        if kind not in ("Arrival", "Candidate", "Pawprint")
    }
    assert ended == {
        ("CalFile", "cleaned_data"): 9 + 5 + 5,
        ("MasterCal", "master_accepted"): 3,
        ("Stack", "reference_chosen"): 1,
        ("Stack", "reference_declined"): 2,
    }
    assert check(Runner(database, nights.settings)).ok


def test_all_frames_are_searched_but_those_that_were_spoiled(nights: DemoNights, database: Database) -> None:
    failed = {name for _, name, _ in failures(database)}
    assert failed <= set(nights.spoiled)
    assert set(nights.spoiled.values()) == {Incident.BAD_GUIDING}
    assert look(database).counts["Pawprint", "searched"] == 5 + 4 - len(failed)


def test_the_first_night_is_what_the_second_one_is_compared_with(database: Database) -> None:
    with database.read() as session:
        (reference,) = session.scalars(select(Reference))
        assert reference.stack.night == NIGHT - dt.timedelta(days=DAYS_LATER)
        assert len(reference.stack.members) >= 4


def test_what_has_changed_is_found_and_little_else(
    nights: DemoNights, database: Database, real: set[int]
) -> None:
    changes = changes_on(nights.second)
    named = name_detections(database, changes)
    recovered = recoveries(changes, named, real)
    for kind, one in recovered.items():
        assert one.objects_found == one.objects > 0, kind
        assert one.images_found >= 0.5 * one.images, kind
    false = false_ones(named, real)
    with database.read() as session:
        brightened = select(Detection.candidate_id).where(~Detection.forced, Detection.flux > 0)
        assert len(false & {*session.scalars(brightened)}) <= 2
    assert len(false) <= 10  # the others are bright stars that seem to have faded a little


def test_an_asteroid_is_another_candidate_on_every_frame(nights: DemoNights, database: Database) -> None:
    named = name_detections(database, changes_on(nights.second))
    asteroids = Counter(
        name for seen in named.values() for name in seen.values() if str(Change.ASTEROID) in name
    )
    at_one_place = [
        len(seen) for seen in named.values() if any(str(Change.ASTEROID) in name for name in seen.values())
    ]
    assert asteroids.total() >= 6
    assert set(at_one_place) == {1}


def test_a_night_is_not_complete_before_its_last_file(nights: DemoNights, database: Database) -> None:
    assert not look(database).is_complete(len(nights.frames) + 1)


@pytest.mark.parametrize(
    ("kind", "state"),
    [
        ("Arrival", "arrived"),
        ("Pawprint", "raw_data"),
        ("MasterCal", "master_wanted"),
        ("Stack", "stacked"),
        ("Candidate", "candidate_found"),
    ],
)
def test_a_night_is_not_complete_while_something_waits(kind: str, state: str) -> None:
    progress = Progress(Counter({("Arrival", "registered"): 5, (kind, state): 1}))
    assert progress.of(kind) - progress.done(kind) == 1
    assert not progress.is_complete(5)


def test_latency_is_told_of_every_science_frame_of_a_night_once(database: Database) -> None:
    """The copy of a frame that came later is no frame of its own."""
    first = NIGHT - dt.timedelta(days=DAYS_LATER)
    frames = select(Pawprint.id).where(Pawprint.night == first)
    with database.read() as session:
        ended = session.scalars(
            select(StepRun.ended_at).where(
                StepRun.step == "measure", StepRun.status == "succeeded", StepRun.item_id.in_(frames)
            )
        ).all()
        written = session.scalars(select(Arrival.mtime_ns)).all()
    told = latencies(database, "measure", first)
    assert len(told) == len(ended) == 5
    last = max(moment.timestamp() for moment in ended if moment is not None)
    assert 0 < told[0] <= told[-1] <= last - min(written) / 1e9
    searched = latencies(database, "find_candidates", NIGHT)
    assert 3 <= len(searched) <= 4
    assert searched == sorted(searched)


def test_the_tables_tell_what_became_of_every_file(nights: DemoNights, database: Database) -> None:
    files, made, frames, stacks = (
        _text(table(database)) for table in (rejections_table, masters_table, frames_table, stacks_table)
    )
    for frame in nights.frames:
        code = EXPECTED_REJECTIONS.get(frame.incident) if frame.incident else None
        if code is not None:
            assert any(frame.name in line and code in line for line in files.splitlines())
        elif frame.kind == "light":
            assert frame.name in frames
    assert "9 bias frames" in files
    assert "9 science frames" in files
    assert [made.count(name) for name in ("Bias", "Dark 120 s", "Flat Clear")] == [1, 1, 1]
    assert made.count("master_accepted") == 3
    assert frames.count("searched") == look(database).counts["Pawprint", "searched"]
    assert [stacks.count(state) for state in ("reference_chosen", "reference_declined")] == [1, 2]
    assert len(product_paths(database, "contact_sheet")) == frames.count("searched")


def test_the_table_of_candidates_says_what_each_is_in_truth(nights: DemoNights, database: Database) -> None:
    with database.read() as session:
        rows = candidates(session)
    named = name_detections(database, changes_on(nights.second))
    told = _text(candidates_table(rows, named))
    for row in rows:
        for name in named[row["item"]].values():
            assert any(
                line.split()[0] == str(row["item"]) and f"{row['dec']:+.5f}" in line and name in line
                for line in told.splitlines()
                if line.strip()
            )
    hidden = [row for row in rows if row["predicted"] == "bogus" and not named[row["item"]]]
    assert f"and {len(hidden)} that the model takes for bogus" in told


def test_a_candidate_that_is_nothing_in_truth_is_counted_as_false() -> None:
    changes = Table({"file": ["a.fit", "b.fit"], "name": ["N 1", "N 1"], "kind": [Change.NOVA.value] * 2})
    named = {1: {"a.fit": "N 1"}, 2: {}, 3: {}}
    recovered = recoveries(changes, named, real={1, 2})
    assert recovered[Change.NOVA] == Recovery(objects=1, objects_found=1, images=2, images_found=1)
    assert recovered[Change.ASTEROID] == Recovery(0, 0, 0, 0)
    assert recoveries(changes, named, real={2})[Change.NOVA].objects_found == 0
    assert false_ones(named, {1, 2}) == {2}
    told = _text(recovery_table(recovered, 1))
    assert ["nova", *["1", "of", "1"], *["1", "of", "2"]] in [line.split() for line in told.splitlines()]
    assert [line.split() for line in told.splitlines() if "nothing" in line] == [
        ["nothing", "in", "truth", "1"]
    ]


def test_a_name_in_brackets_is_a_name(tmp_path: Path) -> None:
    other = prepare_nights(tmp_path / "data", size=256, night=NIGHT, seed=3)
    runner = Runner(Database(other.settings.database_url), other.settings)
    (other.inbox / "M31[red][.fit").write_text("not a frame")
    os.utime(other.inbox / "M31[red][.fit", (1, 1))
    runner.run(Discover())
    _run_waiting(runner, Load)
    assert "M31[red][.fit" in _text(rejections_table(runner.database))
