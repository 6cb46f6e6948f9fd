"""Workers are killed at random instants of a whole night, and nothing of it is lost."""

from __future__ import annotations

from itertools import count
from pathlib import Path

import pytest
from accounts import account_of, assert_nothing_is_lost, differences
from chaos_dose import Dose, Tell
from engine_storm import in_another_process, play_in_storm, statistics
from sqlalchemy import select
from stormy_nights import (
    STAGES,
    frames_of_night,
    open_observatory,
    race,
    work,
)

from small_steps import barrier, queue, start
from toros.models import Product
from toros.models.database import Database
from toros.steps.pending import items_waiting_for
from toros.steps.preprocess import Preprocess

pytestmark = pytest.mark.chaos


def test_workers_killed_at_random_instants_lose_nothing(tmp_path: Path, dose: Dose, tell: Tell) -> None:
    """As many nights as it takes, with two workers who race through them and know nothing of each other."""
    wanted, kills = dose.kills(short=60), []
    undisturbed = open_observatory(tmp_path / "undisturbed", inbox=tmp_path / "inbox")
    stormy = open_observatory(tmp_path / "stormy", inbox=tmp_path / "inbox")
    for night in count():
        for frame in frames_of_night(night, exposures=10):
            frame.write(tmp_path / "inbox" / frame.name)
        kills += in_another_process(
            play_in_storm, stormy, undisturbed, dose.seed + night, wanted - len(kills)
        )
        if len(kills) >= wanted:
            break
    tell(f"{night + 1} nights, {statistics(kills)}")
    if not dose.is_short:  # a few kills may miss an instant that lasts a millisecond
        assert {kill.phase for kill in kills} >= {
            "copying, writing or flushing",
            "flushed, not renamed",
            "renamed, not recorded",
            "recorded, not cleared",
        }

    assert_nothing_is_lost(stormy)
    assert differences(account_of(stormy), account_of(undisturbed)) == {}


def test_of_two_workers_who_want_one_frame_one_calibrates_it(tmp_path: Path) -> None:
    raced = open_observatory(tmp_path / "raced")
    for frame in frames_of_night(0, exposures=4):
        frame.write(raced.inbox[0] / frame.name)
    work(raced, STAGES[: STAGES.index(Preprocess.name)])
    with Database(raced.database_url).read() as session:
        frames = items_waiting_for(session, Preprocess)
    starting_line, results = barrier(2), queue()
    racers = [start(race, raced, Preprocess.name, frames, starting_line, results) for _ in range(2)]

    ended = [results.get(timeout=60) for _ in range(2 * len(frames))]
    for racer in racers:
        racer.join(60)

    for frame in frames:
        outcomes = sorted(outcome for item, outcome in ended if item == frame)
        assert outcomes in (["done", "done before"], ["done", "item_busy"])
    with Database(raced.database_url).read() as session:
        calibrated = session.scalars(select(Product.item_id).where(Product.kind == "calibrated")).all()
    assert sorted(calibrated) == frames
    work(raced)
    assert_nothing_is_lost(raced)
