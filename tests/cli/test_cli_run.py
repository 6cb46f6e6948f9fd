"""Steps run by hand: whatever becomes of one item, the others go on, and the exit code tells the worst."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from stacking_steps import FIELDS
from the_command import Toros, items_in

from toros.cli.batch import Result


@pytest.fixture
def stacking(toros: Toros, monkeypatch: pytest.MonkeyPatch) -> Toros:
    """The command in an observatory with steps of its own, where stacks are wanted."""
    monkeypatch.setenv("TOROS_STEP_MODULES", "stacking_steps")
    assert toros("run", "ask_for_stacks").code == 0
    return toros


def _results(attempts: list[dict[str, object]]) -> dict[object, object]:
    return {attempt["code"]: attempt["result"] for attempt in attempts}


def test_one_bad_item_never_stops_the_others(stacking: Toros) -> None:
    answer = stacking("run", "make_stack", "--json")
    assert _results(answer.data) == {
        None: Result.DONE,
        "not_fits": Result.FAILED,
        "storage_unavailable": Result.TRY_AGAIN,
        "waiting_for_master": Result.NOTHING_TO_DO,
        "bad_profile": Result.MISCONFIGURED,
        "ZeroDivisionError": Result.CRASHED,
    }
    assert (items_in(stacking, "stacked", "Stack"), items_in(stacking, "failed_stack", "Stack")) == (2, 1)


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        (["good"], 0),
        (["unfinished"], 0),
        (["good", "trailed"], 1),
        (["good", "cursed"], 1),
        (["trailed", "far away"], 4),
        (["trailed", "far away", "mislabelled"], 3),
    ],
)
def test_the_exit_code_tells_the_worst(stacking: Toros, fields: list[str], code: int) -> None:
    assert stacking("run", "make_stack", *map(_item, fields)).code == code


def test_the_summary_counts_and_the_reasons_follow(stacking: Toros) -> None:
    out = stacking("run", "make_stack").out
    assert "the stars are trails" in out
    assert "the network is down" in out
    assert "toros log --failed" in out


def test_a_fault_of_the_program_is_on_record_with_its_traceback(stacking: Toros) -> None:
    stacking("run", "make_stack")
    log = stacking("log", "--failed", "--json").data
    fault = next(run for run in log if run["error_code"] == "ZeroDivisionError")
    assert "Traceback" in fault["traceback"]


def test_running_a_step_twice_is_running_it_once(stacking: Toros) -> None:
    stacking("run", "make_stack")
    (attempt,) = stacking("run", "make_stack", _item("good"), "--json").data
    assert (attempt["result"], attempt["state"]) == (Result.DONE_BEFORE, "stacked")


def test_a_step_can_be_run_for_one_night_only(stacking: Toros) -> None:
    attempts = stacking("run", "make_stack", "--night", "2026-11-21", "--json").data
    assert [(a["result"], a["item"]) for a in attempts] == [(Result.DONE, _item("as good"))]


def test_a_group_runs_until_nothing_moves(toros: Toros, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOROS_STEP_MODULES", "stacking_steps")
    attempts = toros("run", "--group", "stacking", "--json").data
    spawned = [a for a in attempts if a["step"] == "ask_for_stacks"]
    assert [(a["result"], a["new_items"]) for a in spawned] == [(Result.DONE, len(FIELDS))]
    assert items_in(toros, "stacked", "Stack") == 2


def test_what_waits_is_in_the_status_with_the_reason(stacking: Toros) -> None:
    stacking("run", "make_stack")
    (waiting,) = stacking("status", "--json").data["waiting"]
    assert (waiting["state"], waiting["items"], waiting["why"]) == ("stack_wanted", 1, "no flat yet")


@pytest.mark.parametrize(
    "words",
    [
        "run",
        "run make_stack --all",
        "run make_stack 1 --night 2026-11-20",
        "run ask_for_stacks 1",
        "run load --night 2026-11-20",
        "run make_stack one",
        "load /no/such/folder",
        "log -n 0",
    ],
)
def test_what_makes_no_sense_is_a_matter_of_usage(stacking: Toros, words: str) -> None:
    assert stacking(*words.split()).code == 2


@pytest.mark.parametrize("words", ["run wash_the_dishes", "run --group housework", "run make_stack 4711"])
def test_what_is_not_there_must_be_put_right_by_a_person(stacking: Toros, words: str) -> None:
    assert stacking(*words.split()).code == 3


def test_a_night_goes_through_the_stream(toros_at_night: Toros) -> None:
    frames = items_in(toros_at_night, "preprocessed_data", "Pawprint")
    assert frames >= 4
    assert items_in(toros_at_night, "master_accepted", "MasterCal") == 3


def test_when_all_is_done_another_run_changes_nothing(toros_at_night: Toros) -> None:
    before = toros_at_night("status", "--json").data["states"]
    for group in ("ingest", "calibration"):
        again = toros_at_night("run", "--group", group, "--json")
        assert again.code == 0
        assert {attempt["result"] for attempt in again.data} == {Result.NOTHING_TO_DO}
    assert toros_at_night("status", "--json").data["states"] == before


def test_no_decision_of_a_person_is_taken_by_running_everything(toros_at_night: Toros) -> None:
    (master,) = toros_at_night("master", "list", "--imagetype", "Flat", "--json").data
    toros_at_night("master", "reject", master["item"])
    toros_at_night("run", "--all")
    (master,) = toros_at_night("master", "list", "--imagetype", "Flat", "--json").data
    assert master["state"] == "master_rejected"
    assert toros_at_night("run", "accept_master").code == 3


def test_a_folder_can_be_loaded_that_nobody_watches(toros: Toros, tmp_path: Path) -> None:
    folder = tmp_path / "from a USB stick"
    folder.mkdir()
    (folder / "holiday.fits").write_text("no FITS")
    (attempt,) = [a for a in toros("load", folder, "--json").data if a["step"] == "load"]
    assert (attempt["result"], attempt["code"]) == (Result.FAILED, "not_fits")


def test_a_file_written_just_before_is_loaded(toros: Toros, tmp_path: Path) -> None:
    fits.PrimaryHDU(np.zeros((2, 2))).writeto(tmp_path / "inbox" / "just now.fits")
    assert [a["result"] for a in toros("load", "--json").data if a["step"] == "load"] == [Result.FAILED]


def test_a_file_that_still_grows_is_left_for_the_next_time(
    toros: Toros, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOROS_PATIENCE_SECONDS", "3600")
    (tmp_path / "inbox" / "growing.fits").write_bytes(b"")
    answer = toros("load")
    assert (answer.code, "1 files may still be growing" in answer.err) == (0, True)


def _item(field: str) -> int:
    return 1 + FIELDS.index(field)  # the numbers of items begin with 1
