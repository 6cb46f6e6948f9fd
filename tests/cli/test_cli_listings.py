"""What the listings show, as tables and as JSON, of an empty stream and of a night."""

from __future__ import annotations

import pytest
from sqlalchemy import select
from the_command import Toros

from toros.caveats import LEGEND
from toros.config import Settings
from toros.errors import all_errors
from toros.models import Arrival, Pawprint
from toros.models.database import Database

LISTINGS = (
    "status",
    "status --night 2026-11-21",
    "steps",
    "log",
    "log --failed",
    "log --step load -n 3",
    "master list",
    "master list --state master_accepted --imagetype Bias",
    "observatory list",
    "campaign list",
    "camera list",
    "camera show Azulcito",
    "config",
    "errors",
    "caveats",
    "quality",
    "fsck",
    "heal",
)


@pytest.mark.parametrize("listing", LISTINGS)
def test_every_listing_of_an_empty_stream_is_json_if_asked(toros: Toros, listing: str) -> None:
    assert isinstance(toros(*listing.split(), "--json").data, list | dict)
    assert toros(*listing.split()).code == 0


@pytest.mark.parametrize("listing", LISTINGS)
def test_every_listing_of_a_night_is_json_if_asked(toros_at_night: Toros, listing: str) -> None:
    assert toros_at_night(*listing.split(), "--json").data is not None
    assert toros_at_night(*listing.split()).out


def test_the_status_accounts_for_every_item(toros_at_night: Toros) -> None:
    status = toros_at_night("status", "--json").data
    arrivals = {row["state"]: row["items"] for row in status["states"] if row["kind"] == "Arrival"}
    exposures = sum(row["items"] for row in status["states"] if row["kind"] in ("Pawprint", "CalFile"))
    assert arrivals["registered"] == exposures
    assert {row["code"]: row["items"] for row in status["failures"]} == {"no_date": 1, "not_fits": 1}
    assert {row["imagetype"] for row in status["masters"]} == {"Bias", "Dark", "Flat"}
    assert status["disk"]["products"] > exposures


def test_the_status_of_another_night_knows_nothing_of_this_one(toros_at_night: Toros) -> None:
    status = toros_at_night("status", "--night", "1999-08-11", "--json").data
    assert [status[part] for part in ("states", "failures", "waiting", "runs", "masters")] == [[]] * 5


def test_the_steps_tell_how_many_items_wait(toros_at_night: Toros) -> None:
    frame = _science_frame(toros_at_night)
    before = _waiting(toros_at_night)
    toros_at_night("retry", frame, "--to", "cleaned_data")
    after = _waiting(toros_at_night)
    assert before["preprocess"] == 0
    assert after["preprocess"] == 1
    assert after["solve"] == before["solve"] - 1
    others = after.keys() - {"preprocess", "solve"}
    assert {step: after[step] for step in others} == {step: before[step] for step in others}


def test_an_item_is_shown_with_its_history_its_files_and_their_caveats(toros_at_night: Toros) -> None:
    sheet = toros_at_night("show", _science_frame(toros_at_night), "--json").data
    assert [change["state"] for change in sheet["history"]] == [
        "raw_data",
        "cleaned_data",
        "preprocessed_data",
    ]
    assert {product["kind"] for product in sheet["products"]} == {"raw", "calibrated"}
    caveats = {code: text for product in sheet["products"] for code, text in product["caveats"].items()}
    assert caveats
    assert all(LEGEND[code] == text for code, text in caveats.items())
    assert {parent["kind"] for parent in sheet["made_from"]} == {"raw", "master"}
    assert {measure["name"] for measure in sheet["quality"]} >= {"sky_level", "raw_level"}


def test_a_table_spells_the_caveats_out(toros_at_night: Toros) -> None:
    out = toros_at_night("show", _science_frame(toros_at_night)).out
    assert LEGEND["few_frames"] in out


def test_a_refused_file_is_shown_with_reason_and_advice(toros_at_night: Toros) -> None:
    log = toros_at_night("log", "--failed", "--json").data
    refused = next(run["item"] for run in log if run["error_code"] == "no_date")
    rejection = toros_at_night("show", refused, "--json").data["rejection"]
    assert rejection["code"] == "no_date"
    assert rejection["advice"] in toros_at_night("show", refused).out


def test_a_master_shows_its_frames_and_what_was_corrected_with_it(toros_at_night: Toros) -> None:
    masters = toros_at_night("master", "list", "--imagetype", "Bias", "--json").data
    sheet = toros_at_night("master", "show", masters[0]["item"], "--json").data
    assert len(sheet["frames"]) == masters[0]["frames"] == 2
    assert "calibrated" in {child["kind"] for child in sheet["used_in"]}


def test_the_log_is_newest_first_and_no_longer_than_wanted(toros_at_night: Toros) -> None:
    runs = [run["run"] for run in toros_at_night("log", "-n", 5, "--json").data]
    assert runs == sorted(runs, reverse=True)
    assert len(runs) == 5


def test_what_is_not_there_is_not_shown(toros: Toros) -> None:
    assert toros("show", 12345).code == 3
    assert toros("camera", "show", "Hubble").code == 3


def test_a_frame_is_no_master(toros_at_night: Toros) -> None:
    answer = toros_at_night("master", "show", _science_frame(toros_at_night))
    assert (answer.code, "unknown_item" in answer.err) == (3, True)


def test_the_legends_are_complete(toros: Toros) -> None:
    codes = {row["code"] for row in toros("errors", "--json").data}
    assert codes == all_errors().keys() - {"error"}
    assert {row["code"] for row in toros("caveats", "--json").data} == set(LEGEND)
    tree = toros("errors").out
    assert all(
        code in tree for code in codes - {"transient", "unprocessable", "nothing_to_do", "misconfigured"}
    )


def test_a_file_name_cannot_steer_the_terminal(toros: Toros, settings: Settings) -> None:
    (settings.inbox[0] / "evil\x1b[2J[bold]name.fits").write_text("no FITS")
    assert toros("load").code == 1
    with Database(settings.database_url).read() as session:
        arrival = session.scalars(select(Arrival.id)).one()
    shown = toros("show", arrival).out
    assert "\x1b" not in shown
    assert "[bold]name" in shown


def test_an_object_of_the_header_is_no_markup(toros_at_night: Toros, tmp_path_factory: object) -> None:
    frame = _science_frame(toros_at_night)
    name = toros_at_night("show", frame, "--json").data["item"]["object_"]
    database = Database(toros_at_night("config", "--json").data[2]["value"])
    with database.write() as session:
        session.get_one(Pawprint, frame).object_ = f"[red]{name}[/nonsense]"
    assert f"[red]{name}[/nonsense]" in toros_at_night("show", frame).out


def _science_frame(toros: Toros) -> int:
    log = toros("log", "--step", "preprocess", "--json").data
    return next(run["item"] for run in log if run["status"] == "succeeded")


def _waiting(toros: Toros) -> dict[str, int | None]:
    return {step["name"]: step["waiting"] for step in toros("steps", "--json").data}
