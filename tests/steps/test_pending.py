"""What waits for which step: a frame that waits for its masters is woken when one is finished."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator

import pytest
from catalogue import MOMENT, NIGHT, Catalogue

from toros.models import Campaign, Pawprint
from toros.models.database import Database
from toros.steps.calibration_rules import read_rules
from toros.steps.clean import Clean
from toros.steps.combine import CombineBias, CombineDark
from toros.steps.discover import Discover
from toros.steps.pending import calibration_nights, items_waiting_for, science_frames, wanted_masters

MINUTE = dt.timedelta(minutes=1)


@pytest.fixture
def rows(database: Database) -> Iterator[Catalogue]:
    with database.write() as session:
        yield Catalogue(session)


@pytest.fixture
def campaign(rows: Catalogue) -> Campaign:
    return rows.campaign()


@pytest.fixture
def frame(rows: Catalogue, campaign: Campaign) -> Pawprint:
    return rows.light(campaign, created_at=MOMENT)


def _ready(rows: Catalogue, minutes: float = 10) -> list[int]:
    """Return the science frames that can be worked on so many minutes after the frame came."""
    return science_frames(rows.session, read_rules(), MOMENT + minutes * MINUTE)


def _wait(rows: Catalogue, frame: Pawprint, minutes: float) -> None:
    """Let preprocess find, so many minutes after the frame came, that it must wait."""
    moment = MOMENT + minutes * MINUTE
    rows.run(
        "preprocess",
        frame.id,
        status="skipped",
        error_code="waiting_for_master",
        started_at=moment,
        ended_at=moment,
    )


def _finish_master(
    rows: Catalogue,
    campaign: Campaign,
    *,
    begun: float,
    ended: float,
    state: str = "master_accepted",
) -> None:
    """Combine a master from one minute to another."""
    master = rows.master(campaign, "Bias", state="master_wanted", set_key=f"Bias {begun}")
    run = rows.run(
        "combine_bias", master.id, started_at=MOMENT + begun * MINUTE, ended_at=MOMENT + ended * MINUTE
    )
    rows.move(master, state, run)


# ------------------------------------------------------------------------------------------ science frames


def test_new_and_cleaned_frames_can_be_worked_on_oldest_first(
    rows: Catalogue, campaign: Campaign, frame: Pawprint
) -> None:
    second = rows.light(campaign)
    assert _ready(rows) == [frame.id, second.id]


def test_a_frame_that_somebody_holds_is_left_alone(rows: Catalogue, frame: Pawprint) -> None:
    frame.claimed_by_id, frame.claimed_until = rows.run("preprocess", frame.id).id, MOMENT
    rows.session.flush()
    assert _ready(rows) == []


def test_a_frame_that_waits_is_left_until_a_master_is_finished(
    rows: Catalogue, campaign: Campaign, frame: Pawprint
) -> None:
    _wait(rows, frame, 2)
    assert _ready(rows) == []
    _finish_master(rows, campaign, begun=3, ended=4)
    assert _ready(rows) == [frame.id]


def test_a_master_that_was_begun_before_the_frame_waited_wakes_it_too(
    rows: Catalogue, campaign: Campaign, frame: Pawprint
) -> None:
    """It is the usual case: the frame comes while the masters of its night are combined."""
    master = rows.master(campaign, "Bias", state="master_wanted")
    making = rows.run("combine_bias", master.id, started_at=MOMENT + MINUTE, ended_at=MOMENT + 5 * MINUTE)
    _wait(rows, frame, 2)
    rows.move(master, "master_accepted", making)
    assert _ready(rows) == [frame.id]


def test_a_master_that_was_there_when_the_frame_was_looked_at_does_not_wake_it(
    rows: Catalogue, campaign: Campaign, frame: Pawprint
) -> None:
    _finish_master(rows, campaign, begun=0, ended=1)
    _wait(rows, frame, 2)
    assert _ready(rows) == []


def test_a_frame_that_has_to_wait_again_waits_for_the_next_master(
    rows: Catalogue, campaign: Campaign, frame: Pawprint
) -> None:
    _wait(rows, frame, 2)
    _finish_master(rows, campaign, begun=3, ended=4)
    _wait(rows, frame, 5)
    assert _ready(rows) == []
    _finish_master(rows, campaign, begun=6, ended=7)
    assert _ready(rows) == [frame.id]


@pytest.mark.parametrize("state", ["master_rejected", "failed_to_combine"])
def test_a_master_that_was_given_up_is_not_waited_for(
    rows: Catalogue, campaign: Campaign, frame: Pawprint, state: str
) -> None:
    _wait(rows, frame, 2)
    _finish_master(rows, campaign, begun=3, ended=4, state=state)
    assert _ready(rows) == [frame.id]


def test_the_master_of_another_camera_wakes_nobody(rows: Catalogue, frame: Pawprint) -> None:
    _wait(rows, frame, 2)
    _finish_master(rows, rows.campaign("Another camera"), begun=3, ended=4)
    assert _ready(rows) == []


def test_after_the_longest_wait_a_frame_comes_back_by_itself(rows: Catalogue, frame: Pawprint) -> None:
    _wait(rows, frame, 2)
    assert _ready(rows, 59) == []
    assert _ready(rows, 61) == [frame.id]


# -------------------------------------------------------------------------------------- calibration frames


def test_nights_with_calibration_frames_outside_of_any_master_are_called_up(
    rows: Catalogue, campaign: Campaign
) -> None:
    day = dt.timedelta(days=1)
    rows.calibration(campaign, "Bias", night=NIGHT)
    rows.calibration(campaign, "Bias", night=NIGHT - day, state="raw_data")
    rows.calibration(campaign, "Bias", night=NIGHT - 2 * day, state="failed_to_clean")
    rows.master(campaign, "Bias", night=NIGHT - 3 * day, state="master_wanted")
    rows.master(campaign, "Bias", night=NIGHT - 4 * day)
    assert calibration_nights(rows.session) == [NIGHT - 3 * day, NIGHT - day, NIGHT]


def test_wanted_masters_are_listed_by_kind(rows: Catalogue, campaign: Campaign) -> None:
    bias = rows.master(campaign, "Bias", state="master_wanted")
    dark = rows.master(campaign, "Dark", 60.0, state="master_wanted")
    rows.master(campaign, "Dark", 30.0)
    assert wanted_masters(rows.session, "Bias") == [bias.id]
    assert wanted_masters(rows.session, "Dark") == [dark.id]
    assert wanted_masters(rows.session, "Flat") == []


def test_a_step_is_waited_for_by_the_items_in_its_state_that_meet_its_conditions(
    rows: Catalogue, campaign: Campaign
) -> None:
    bias = rows.master(campaign, "Bias", state="master_wanted")
    dark = rows.master(campaign, "Dark", 60.0, state="master_wanted")
    rows.light(campaign)
    assert items_waiting_for(rows.session, CombineBias) == [bias.id]
    assert items_waiting_for(rows.session, CombineDark) == [dark.id]
    assert items_waiting_for(rows.session, Clean) == [], "they are clean already"
    assert items_waiting_for(rows.session, Discover) == [], "it takes no items"
