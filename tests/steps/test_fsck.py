"""Every rule is broken on purpose, and found by its name; a sound pipeline gives no alarm, not even at work."""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from sqlalchemy import text
from sqlalchemy.orm import Session

from clock import Clock
from small_steps import (
    NIGHT,
    Make,
    Troubled,
    Wish,
    check,
    last_run,
    make_all,
    new_stack,
    run_and_die,
    start,
    state_of,
)
from toros.config import Settings
from toros.errors import Unprocessable
from toros.models import Arrival, CalFile, Campaign, Rejection, utcnow
from toros.models.database import Database
from toros.sql import question, read_sql, statement_names
from toros.steps import fsck as rules
from toros.steps.discover import Discover
from toros.steps.fsck import Report, fsck
from toros.steps.load import Load
from toros.steps.runner import Runner
from toros.steps.step import Step, Work

RAW = b"bias"


class Register(Step[None, None, None]):
    """Registers a file as the Loader does: an arrival, its exposure, its raw product."""

    name = "register"
    version = "1"

    def query(self, session: Session, item: None, work: Work) -> None:
        """Need nothing."""

    def write(self, result: None, work: Work) -> None:
        self.exposure = CalFile(
            name="bias.fits",
            night=NIGHT,
            jd=2461365.5,
            observation_date=utcnow(),
            exptime=0,
            imagetype="Bias",
            dialect="plain",
            bitpix=16,
            naxis=2,
            naxis1=8,
            naxis2=8,
            xbinning=1,
            ybinning=1,
        )
        path = work.stage("raw", NIGHT, "bias", ".fits", owner=self.exposure)
        path.write_bytes(RAW)
        self.exposure.checksum = work.store.checksum(path)

    def load(self, session: Session, item: None, result: None, work: Work) -> None:
        self.exposure.campaign_id = session.get_one(Campaign, 1).id
        work.spawn(self.exposure, "raw_data")
        work.spawn(
            Arrival(path="/camera/bias.fits", size=len(RAW), mtime_ns=1, exposure=self.exposure), "registered"
        )


class Refuse(Wish):
    """Refuses a file as the Loader does."""

    name = "refuse"

    def load(self, session: Session, item: None, result: None, work: Work) -> None:
        arrival = Arrival(path="/camera/cat.jpg", size=1, mtime_ns=1)
        work.spawned[:] = [(arrival, "rejected")]
        arrival.rejection = Rejection(
            steprun_id=work.run_id, code="not_fits", reason="a photograph", advice="none"
        )


@pytest.fixture
def sound(runner: Runner) -> Runner:
    """A pipeline that has done some of everything."""
    for _ in range(2):
        runner.run(Make(), new_stack(runner))
    runner.run(Register())
    runner.run(Refuse())
    assert check(runner).ok
    return runner


def spoil(database: Database, statement: str) -> None:
    """Write what the foreign keys would refuse, as a bad restore or a stray hand might."""
    if database.is_sqlite:
        with closing(sqlite3.connect(str(database.engine.url.database))) as connection, connection:
            connection.execute(statement)
    else:
        with database.write() as session:
            session.execute(text("SET LOCAL session_replication_role = replica"))
            session.execute(text(statement))


BROKEN_ROWS = {
    "F2_parent_never_read": "INSERT INTO lineage (input_id, output_id) SELECT MIN(id), MAX(id) FROM product",
    "F2_product_without_success": (
        "UPDATE steprun SET status = 'skipped' WHERE id = (SELECT MIN(steprun_id) FROM product)"
    ),
    "F3_broken_chain": "DELETE FROM statechange WHERE count = 1 AND item_id = 1",
    "F3_change_without_run": "UPDATE statechange SET steprun_id = 4711 WHERE count = 2",
    "F3_state_without_history": (
        "UPDATE item SET state_id = (SELECT id FROM state WHERE name = 'failed_stack') WHERE id = 1"
    ),
    "F4_claim_without_run": (
        "UPDATE item SET claimed_by_id = 1, claimed_until = '2030-01-01 00:00:00' WHERE id = 1"
    ),
    "F4_run_without_claim": (
        "UPDATE steprun SET status = 'running', ended_at = NULL, host = 'elsewhere' WHERE item_id = 1"
    ),
    "F5_arrival_without_exposure": "UPDATE arrival SET exposure_id = NULL",
    "F5_exposure_without_raw": "UPDATE calfile SET checksum = 'another'",
    "F5_rejected_without_reason": "DELETE FROM rejection",
}
ALSO_BROKEN = {
    "F2_product_without_success": {"F3_change_without_run"},
    "F4_run_without_claim": {"F2_product_without_success", "F3_change_without_run"},
}


def test_each_rule_on_rows_is_broken_below() -> None:
    assert [f"fsck/{name}" for name in BROKEN_ROWS] == statement_names("fsck")


def test_each_rule_says_what_it_asks() -> None:
    for name in statement_names("fsck"):
        assert question(read_sql(name)).endswith("?")


@pytest.mark.parametrize("rule", BROKEN_ROWS)
def test_a_broken_rule_on_rows_is_reported_by_its_name(sound: Runner, rule: str) -> None:
    spoil(sound.database, BROKEN_ROWS[rule])

    report = check(sound, heal=False)

    assert not report.ok
    assert set(report.found) == {rule} | ALSO_BROKEN.get(rule, set())
    for violation in report.violations:
        assert violation.item_id is not None
        assert violation.what


@pytest.mark.parametrize(
    ("statement", "rule", "what"),
    [
        (
            "UPDATE statechange SET count = 5 WHERE count = 2",
            "F3_broken_chain",
            "change 5 has no change before it",
        ),
        (
            "UPDATE statechange SET old_state_id = nw_state_id WHERE count = 2",
            "F3_broken_chain",
            "change 2 does not begin in the state that change 1 led to",
        ),
        ("UPDATE item SET state_count = 1 WHERE id = 1", "F3_state_without_history", "there is a later one"),
        (
            "UPDATE item SET state_count = 9 WHERE id = 1",
            "F3_state_without_history",
            "that change is not recorded",
        ),
        (
            "UPDATE steprun SET status = 'failed', error_code = 'x' WHERE step = 'make'",
            "F3_change_without_run",
            "to stacked, was made by run 2, which is failed",
        ),
        ("DELETE FROM product WHERE kind = 'raw'", "F5_exposure_without_raw", "bias.fits has no raw file"),
        ("DELETE FROM product WHERE kind = 'raw'", "F5_arrival_without_exposure", "has no raw file"),
    ],
)
def test_a_violation_says_what_is_wrong(sound: Runner, statement: str, rule: str, what: str) -> None:
    spoil(sound.database, statement)

    told = [violation.what for violation in check(sound).violations if violation.rule == rule]

    assert any(what in each for each in told), told


# ------------------------------------------------------------------------------------------------- files


def first_product(runner: Runner) -> Path:
    return runner.store.path(next(runner.store.files()))


def test_a_lost_file_is_found(sound: Runner) -> None:
    first_product(sound).unlink()
    assert check(sound).found == {"F1_file_missing": 1}


def test_a_file_of_another_size_is_found(sound: Runner) -> None:
    path = first_product(sound)
    path.chmod(0o644)
    path.write_bytes(path.read_bytes() + b"!")
    assert check(sound, checksums=False).found == {"F1_size_differs": 1}


def test_a_flipped_bit_is_found_where_checksums_are_wanted(sound: Runner) -> None:
    path = first_product(sound)
    path.chmod(0o644)
    content = path.read_bytes()
    path.write_bytes(bytes([content[0] ^ 1]) + content[1:])

    assert check(sound, checksums=False).ok
    report = check(sound)
    assert report.found == {"F1_checksum_differs": 1}
    assert report.violations[0].path == path.relative_to(sound.store.root).as_posix()


def test_a_folder_in_place_of_a_file_is_found(sound: Runner) -> None:
    path = first_product(sound)
    path.unlink()
    path.mkdir()
    assert set(check(sound).found) <= {"F1_file_unreadable", "F1_size_differs"}
    assert not check(sound).ok


@pytest.mark.parametrize("name", ["notes.txt", "M31_r000001.fits", "M31_r004711.fits"])
def test_a_file_that_is_no_product_is_found(sound: Runner, name: str) -> None:
    sound.store.path(f"{NIGHT}/raw/{name}").write_bytes(b"stray")
    assert check(sound).found == {"F4_file_without_row": 1}


def test_the_staging_folder_of_a_run_that_nobody_knows_is_found(sound: Runner) -> None:
    sound.store.staging(4711)
    assert check(sound).found == {"F4_staging_left": 1}


def test_other_folders_in_the_data_root_are_none_of_our_business(sound: Runner) -> None:
    (sound.store.root / "notes").mkdir()
    (sound.store.root / "notes" / "2026-11-20").write_text("windy")
    (sound.store.root / ".staging" / "lost+found").mkdir()
    assert check(sound).ok


def test_a_dead_run_is_reported_where_healing_is_not_wanted(sound: Runner) -> None:
    child = start(run_and_die, sound.settings, new_stack(sound), "load")
    child.join(60)

    report = check(sound, heal=False)
    assert report.found == {"F4_dead_run": 1}
    assert report.violations[0].item_id == last_run(sound).item_id
    assert check(sound).healed == (last_run(sound).id,)


# ---------------------------------------------------------------------------------------- watched folders


def test_a_complete_file_that_nobody_registered_is_found(
    sound: Runner, settings: Settings, clock: Clock
) -> None:
    frame = settings.inbox[0] / "frame.fits"
    frame.write_bytes(b"frame")

    fresh = check(sound)
    assert (fresh.ok, fresh.waiting) == (True, 1)
    clock.advance(hours=1)
    assert check(sound).found == {"F5_never_registered": 1}


def test_a_copy_is_as_young_as_it_is_here_not_as_old_as_it_says(sound: Runner, settings: Settings) -> None:
    frame = settings.inbox[0] / "frame.fits"
    frame.write_bytes(b"frame")
    os.utime(frame, (1e9, 1e9))
    report = check(sound)
    assert (report.ok, report.waiting) == (True, 1)


def test_a_file_that_is_an_arrival_is_no_violation(sound: Runner, settings: Settings, clock: Clock) -> None:
    frame = settings.inbox[0] / "frame.fits"
    frame.write_bytes(b"frame")
    status = frame.stat()

    class Discover(Wish):
        def write(self, result: None, work: Work) -> None:
            work.spawn(Arrival(path=str(frame), size=status.st_size, mtime_ns=status.st_mtime_ns), "arrived")

    sound.run(Discover())
    clock.advance(hours=1)
    report = check(sound)
    assert (report.ok, report.waiting, report.checked["watched files"]) == (True, 0, 1)


def test_a_name_that_no_database_can_hold_is_found(sound: Runner, settings: Settings) -> None:
    Path(os.fsdecode(os.fsencode(settings.inbox[0]) + b"/\xff.fits")).write_bytes(b"frame")
    report = check(sound)
    assert report.found == {"F5_name_not_text": 1}
    assert report.violations[0].what.encode()


def test_a_watched_folder_that_is_not_there_holds_nothing_unseen(sound: Runner, settings: Settings) -> None:
    settings.inbox[0].rmdir()
    assert check(sound).ok


def test_a_watched_folder_that_is_none_is_found(sound: Runner, settings: Settings) -> None:
    settings.inbox[0].rmdir()
    settings.inbox[0].write_text("not a folder")
    assert check(sound).found == {"F5_folder_unreadable": 1}


# ------------------------------------------------------------------------------------------------ at work


def test_what_the_loader_took_in_refused_or_left_is_sound(runner: Runner, settings: Settings) -> None:
    inbox = settings.inbox[0]
    frame = fits.PrimaryHDU(np.full((8, 8), 300, np.uint16))
    frame.header.update(
        {
            "INSTRUME": "Test camera",
            "IMAGETYP": "Bias Frame",
            "DATE-OBS": "2026-11-20T23:00:00",
            "EXPTIME": 0.0,
        }
    )
    frame.writeto(inbox / "bias.fits")
    shutil.copy(inbox / "bias.fits", inbox / "bias_again.fits")
    (inbox / "cat.jpg").write_bytes(b"a photograph")
    for path in inbox.iterdir():
        os.utime(path, (1e9, 1e9))
    (inbox / "growing.fits").write_bytes((inbox / "bias.fits").read_bytes()[:4000])

    arrivals = runner.run(Discover()).spawned
    for arrival in arrivals:
        with suppress(Unprocessable):
            runner.run(Load(), arrival)

    assert sorted(state_of(runner, arrival) for arrival in arrivals) == [
        "duplicate",
        "registered",
        "rejected",
    ]
    report = check(runner)
    assert report.violations == ()
    assert (report.checked["products"], report.checked["watched files"], report.waiting) == (1, 4, 1)


def test_a_name_that_no_database_can_hold_does_not_keep_the_others_out(
    runner: Runner, settings: Settings
) -> None:
    folder = os.fsencode(settings.inbox[0])
    for name in (b"\xff.txt", b"good.txt"):
        path = os.fsdecode(folder + b"/" + name)
        Path(path).write_bytes(b"not a frame")
        os.utime(path, (1e9, 1e9))

    assert len(runner.run(Discover()).spawned) == 1
    assert check(runner).found == {"F5_name_not_text": 1}


def test_a_file_from_a_clock_that_is_ahead_is_not_kept_waiting(runner: Runner, settings: Settings) -> None:
    path = settings.inbox[0] / "tomorrow.txt"
    path.write_bytes(b"not a frame")
    os.utime(path, (time.time() + 86400, time.time() + 86400))
    eager = replace(runner, settings=replace(settings, settle_seconds=0))

    assert len(eager.run(Discover()).spawned) == 1


def test_the_report_counts_what_was_looked_at(sound: Runner) -> None:
    assert check(sound).checked == {
        "items": 5,
        "state changes": 7,
        "runs": 6,
        "products": 3,
        "files": 3,
        "watched files": 0,
    }


@pytest.mark.parametrize("stage", ["query", "extract", "transform", "write", "load"])
def test_a_run_in_progress_is_no_alarm(sound: Runner, stage: str) -> None:
    reports: list[Report] = []

    def look() -> None:
        # A reader beside the open transaction; on SQLite healing would have to wait for it.
        reports.append(check(sound, heal=stage != "load"))

    sound.run(Troubled(stage, look), new_stack(sound))

    assert [report.ok for report in reports] == [True]
    assert reports[0].healed == ()


def test_a_pipeline_in_full_swing_gives_no_alarm(sound: Runner) -> None:
    stacks = list(sound.run(Wish(stacks=25)).spawned)
    child = start(make_all, sound.settings, stacks)
    reports = []
    while child.exitcode is None:
        reports.append(check(sound))
        child.join(0)
    child.join(60)

    assert child.exitcode == 0
    assert [report.violations for report in reports if not report.ok] == []
    assert check(sound).checked["products"] == 3 + len(stacks)


def test_of_many_violations_some_are_shown_and_all_are_counted(
    sound: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rules, "MOST_SHOWN", 2)
    monkeypatch.setattr(rules, "BATCH", 2)
    for number in range(5):
        sound.store.path(f"{NIGHT}/raw/stray{number}").write_bytes(b"stray")

    report = fsck(sound.database, sound.store, sound.settings, sound.clock())

    assert report.found == {"F4_file_without_row": 5}
    assert len(report.violations) == 2
    assert report.checked["products"] == 3
