"""What a person decides: items are sent back, masters accepted and rejected."""

from __future__ import annotations

import getpass

import pytest
from the_command import Toros, items_in


def _refused(toros: Toros) -> int:
    log = toros("log", "--failed", "--json").data
    return next(run["item"] for run in log if run["error_code"] == "no_date")


def test_a_camera_that_was_unknown_is_let_in_later(
    toros_at_night: Toros, monkeypatch: pytest.MonkeyPatch
) -> None:
    toros = toros_at_night
    assert toros("downgrade", "base", "--yes").code == 0
    assert toros("migrate").code == 0
    monkeypatch.setenv("TOROS_ACCEPT_UNKNOWN_CAMERAS", "false")
    toros("load")
    refused = toros("status", "--json").data["failures"]
    unknown = next(row["items"] for row in refused if row["code"] == "unknown_camera")
    monkeypatch.setenv("TOROS_ACCEPT_UNKNOWN_CAMERAS", "true")
    assert toros("retry", "--code", "unknown_camera").code == 0
    assert items_in(toros, "arrived", "Arrival") == unknown
    toros("load")
    assert items_in(toros, "arrived", "Arrival") == 0
    assert items_in(toros, "registered", "Arrival") + items_in(toros, "duplicate", "Arrival") == unknown


def test_a_refused_file_goes_back_to_the_loader_which_may_refuse_it_again(toros_at_night: Toros) -> None:
    toros = toros_at_night
    refused = _refused(toros)
    assert toros("retry", refused).code == 0
    assert "rejection" not in toros("show", refused, "--json").data
    assert toros("fsck").code == 0
    assert toros("load").code == 1
    assert toros("show", refused, "--json").data["rejection"]["code"] == "no_date"
    assert toros("fsck").code == 0


def test_a_duplicate_is_found_out_again(toros_at_night: Toros) -> None:
    toros = toros_at_night
    duplicate, exposure = _arrival(toros, "duplicate")
    assert toros("retry", duplicate, "--to", "arrived").code == 0
    assert toros("show", duplicate, "--json").data["item"]["exposure_id"] is None
    assert toros("run", "load", duplicate).code == 0
    assert _arrival(toros, "duplicate") == (duplicate, exposure)
    assert toros("fsck").code == 0


def test_a_registered_file_is_never_loaded_again(toros_at_night: Toros) -> None:
    registered, _ = _arrival(toros_at_night, "registered")
    assert toros_at_night("retry", registered, "--to", "arrived").code == 3
    assert _arrival(toros_at_night, "registered")[0] == registered


def test_all_items_in_an_error_state_go_back_at_once(toros_at_night: Toros) -> None:
    toros = toros_at_night
    rejected = items_in(toros, "rejected", "Arrival")
    assert toros("retry", "--state", "rejected").code == 0
    assert (items_in(toros, "rejected", "Arrival"), items_in(toros, "arrived", "Arrival")) == (0, rejected)


def test_nothing_goes_back_that_is_not_meant(toros_at_night: Toros) -> None:
    assert toros_at_night("retry", "--state", "rejected", "--code", "truncated", "--json").data == []
    assert toros_at_night("retry", "--state", "preprocessed_data", "--json").data == []


def test_a_frame_is_processed_anew_beside_the_old_result(toros_at_night: Toros) -> None:
    toros = toros_at_night
    frame = toros("log", "--step", "preprocess", "--json").data[0]["item"]
    assert toros("retry", frame, "--to", "raw_data", "--because", "a better flat").code == 0
    assert [toros("run", step).code for step in ("clean", "preprocess")] == [0, 0]
    sheet = toros("show", frame, "--json").data
    assert [p["version"] for p in sheet["products"] if p["kind"] == "calibrated"] == [1, 2]
    way_back = next(change for change in sheet["history"] if change["step"] == "send_back")
    assert (way_back["by"], way_back["why"]) == (getpass.getuser(), "a better flat")
    assert toros("fsck").code == 0


def test_an_item_that_did_not_fail_needs_to_be_told_where_to_go(toros_at_night: Toros) -> None:
    frame = toros_at_night("log", "--step", "preprocess", "--json").data[0]["item"]
    answer = toros_at_night("retry", frame)
    assert (answer.code, "--to" in answer.out) == (3, True)


@pytest.mark.parametrize("words", ["retry", "retry 1 --state rejected", "retry 1 --code no_date"])
def test_items_are_named_or_chosen_but_not_both(toros: Toros, words: str) -> None:
    assert toros(*words.split()).code == 2


def test_an_item_that_is_not_there_does_not_stop_the_others(toros_at_night: Toros) -> None:
    refused = _refused(toros_at_night)
    answer = toros_at_night("retry", 99999, refused, "--json")
    assert answer.code == 3
    assert {a["item"]: a["result"] for a in answer.data} == {99999: "misconfigured", refused: "done"}


def test_a_master_is_rejected_and_accepted_by_a_person_who_is_on_record(toros_at_night: Toros) -> None:
    toros = toros_at_night
    (master,) = toros("master", "list", "--imagetype", "Flat", "--json").data
    assert toros("master", "reject", master["item"], "--by", "Ana", "--because", "dust moved").code == 0
    assert toros("master", "list", "--state", "master_rejected", "--json").data[0]["item"] == master["item"]
    assert toros("master", "accept", master["item"], "--by", "Bruno").code == 0
    history = toros("master", "show", master["item"], "--json").data["history"]
    assert [(change["state"], change["by"], change["why"]) for change in history[-2:]] == [
        ("master_rejected", "Ana", "dust moved"),
        ("master_accepted", "Bruno", None),
    ]
    assert toros("fsck").code == 0


def test_a_frame_is_not_accepted_as_a_master(toros_at_night: Toros) -> None:
    frame = toros_at_night("log", "--step", "preprocess", "--json").data[0]["item"]
    assert toros_at_night("master", "accept", frame).code == 3


def _arrival(toros: Toros, state: str) -> tuple[int, int]:
    """Return the newest arrival in a state, and the exposure that holds its content."""
    runs = toros("log", "--step", "load", "-n", 100, "--json").data
    sheets = (toros("show", item, "--json").data["item"] for item in dict.fromkeys(r["item"] for r in runs))
    return next((sheet["id"], sheet["exposure_id"]) for sheet in sheets if sheet["state"] == state)
