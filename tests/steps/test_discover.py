"""The watched folders: what is complete is seen once, what still grows is seen later."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from observing import fits_bytes, put
from sqlalchemy import select

from small_steps import check, last_run
from toros.errors import NothingToDo
from toros.models import Arrival, StateChange
from toros.steps import discover
from toros.steps.discover import Discover
from toros.steps.runner import Runner

FRAME = fits_bytes(np.arange(64 * 64, dtype=np.uint16).reshape(64, 64), INSTRUME="Camera")


@pytest.fixture
def inbox(runner: Runner) -> Path:
    return runner.settings.inbox[0]


def _seen(runner: Runner) -> list[str]:
    """Discover; return the names of what is new, in the order of the arrivals."""
    try:
        found = runner.run(Discover()).spawned
    except NothingToDo:
        return []
    with runner.database.read() as session:
        return [Path(session.get_one(Arrival, item).path).name for item in found]


def test_a_complete_frame_arrives_once(runner: Runner, inbox: Path) -> None:
    put(inbox / "M31.fit", FRAME)
    assert _seen(runner) == ["M31.fit"]
    assert _seen(runner) == []
    assert check(runner).ok


def test_an_arrival_is_this_path_size_and_time(runner: Runner, inbox: Path) -> None:
    path = put(inbox / "night 1" / "M31.fit", FRAME)
    (item,) = runner.run(Discover()).spawned
    with runner.database.read() as session:
        arrival = session.get_one(Arrival, item)
        assert (arrival.path, arrival.size, arrival.mtime_ns) == (
            str(path),
            len(FRAME),
            path.stat().st_mtime_ns,
        )
        assert arrival.state.name == "arrived"
        changes = session.scalars(select(StateChange).where(StateChange.item_id == item)).all()
        assert [change.steprun_id for change in changes] == [last_run(runner).id]


def test_a_frame_that_still_grows_is_left_for_later(runner: Runner, inbox: Path) -> None:
    path = put(inbox / "M31.fit", FRAME[:5760], seconds_ago=5)
    assert _seen(runner) == []
    put(path, FRAME, seconds_ago=1)
    assert _seen(runner) == ["M31.fit"]


def test_a_frame_that_stays_too_short_is_handed_to_the_loader_in_the_end(runner: Runner, inbox: Path) -> None:
    put(inbox / "M31.fit", FRAME[:5760], seconds_ago=runner.settings.patience_seconds + 1)
    assert _seen(runner) == ["M31.fit"]


def test_a_packed_file_has_to_rest_since_its_length_tells_nothing(runner: Runner, inbox: Path) -> None:
    path = put(inbox / "M31.fit.gz", FRAME, seconds_ago=1)
    assert _seen(runner) == []
    put(path, FRAME, seconds_ago=3)
    assert _seen(runner) == ["M31.fit.gz"]


@pytest.mark.parametrize("name", ["M31.fit.part", ".M31.fit.x7Q", "M31.fit.tmp", "~M31.fit", ".sync/M31.fit"])
def test_temporary_names_are_nobodys_frames(runner: Runner, inbox: Path, name: str) -> None:
    put(inbox / name, FRAME)
    assert _seen(runner) == []


def test_a_changed_file_is_a_new_arrival(runner: Runner, inbox: Path) -> None:
    path = put(inbox / "M31.fit", FRAME)
    _seen(runner)
    put(path, FRAME + bytes(2880), seconds_ago=100)
    assert _seen(runner) == ["M31.fit"]
    with runner.database.read() as session:
        sizes = session.scalars(select(Arrival.size).where(Arrival.path == str(path)).order_by(Arrival.id))
        assert list(sizes) == [len(FRAME), len(FRAME) + 2880]


def test_a_renamed_temporary_file_arrives_under_its_final_name(runner: Runner, inbox: Path) -> None:
    path = put(inbox / "M31.fit.part", FRAME)
    _seen(runner)
    path.rename(inbox / "M31.fit")
    assert _seen(runner) == ["M31.fit"]


def test_frames_arrive_in_the_order_in_which_they_were_written(runner: Runner, inbox: Path) -> None:
    for name, age in (("c.fit", 300), ("a.fit", 200), ("b.fit", 100)):
        put(inbox / name, FRAME, seconds_ago=age)
    assert _seen(runner) == ["c.fit", "a.fit", "b.fit"]


def test_nothing_new_is_a_skipped_run_and_no_failure(runner: Runner) -> None:
    with pytest.raises(NothingToDo):
        runner.run(Discover())
    run = last_run(runner)
    assert (run.step, run.status, run.error_code) == ("discover", "skipped", "nothing_to_do")


def test_a_folder_that_is_not_mounted_does_not_hide_the_other_one(runner: Runner, inbox: Path) -> None:
    put(inbox / "M31.fit", FRAME)
    both = replace(runner, settings=replace(runner.settings, inbox=(inbox / "not there", inbox)))
    assert _seen(both) == ["M31.fit"]


def test_more_files_than_one_query_can_ask_about(
    runner: Runner, inbox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(discover, "BATCH", 2)
    for number in range(5):
        put(inbox / f"{number}.fit", FRAME, seconds_ago=100 - number)
    assert len(_seen(runner)) == 5
    put(inbox / "5.fit", FRAME)
    assert _seen(runner) == ["5.fit"]


def test_a_name_that_no_database_can_hold_stops_nothing(runner: Runner, inbox: Path) -> None:
    put(inbox / "M31.fit", FRAME)
    put(Path(os.fsdecode(os.fsencode(inbox) + b"/M\xff31.fit")), FRAME)
    assert _seen(runner) == ["M31.fit"]


def test_a_file_from_a_clock_that_is_ahead_counts_from_when_it_came(runner: Runner, inbox: Path) -> None:
    put(inbox / "seeing.txt", b"2 arcsec", seconds_ago=-86400)
    assert _seen(runner) == []
    hasty = replace(runner, settings=replace(runner.settings, settle_seconds=0.0))
    assert _seen(hasty) == ["seeing.txt"]
