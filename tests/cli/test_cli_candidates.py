"""``toros candidate`` and ``toros reference``: what is new on the sky, and what it is compared with."""

from __future__ import annotations

import datetime as dt

import pytest
from the_command import Toros

from new_sky import NIGHT, NewSky
from toros.models.database import Database

TOMORROW = NIGHT + dt.timedelta(days=1)


@pytest.fixture
def sky(database: Database) -> NewSky:
    return NewSky(database)


def listed(toros: Toros, *options: object) -> list[int]:
    """Return the numbers of the candidates that are listed."""
    return [row["item"] for row in toros("candidate", "list", *options, "--json").data]


def test_candidates_are_listed_the_most_probable_first(toros: Toros, sky: NewSky) -> None:
    frame = sky.frame()
    low, unknown, high = sky.candidate(0.2), sky.candidate(None), sky.candidate(0.95)
    for candidate in (low, unknown, high):
        sky.seen(candidate, frame)
    assert listed(toros) == [high, low, unknown]
    assert listed(toros, "--least-score", 0.5) == [high]
    answer = toros("candidate", "list")
    assert answer.code == 0
    assert "J050000-250000" in answer.out


def test_a_night_lists_what_stood_out_in_it(toros: Toros, sky: NewSky) -> None:
    tonight, tomorrow = sky.frame(), sky.frame(night=1)
    old, young = sky.candidate(), sky.candidate()
    sky.seen(old, tonight)
    sky.seen(young, tomorrow)
    sky.looked_for(young, tonight)
    assert listed(toros, "--night", NIGHT) == [old]
    assert listed(toros, "--night", TOMORROW) == [young]


def test_a_candidate_counts_where_it_stood_out_and_is_as_bright_as_at_its_best(
    toros: Toros, sky: NewSky
) -> None:
    nova, frames = sky.candidate(), [sky.frame(), sky.frame(), sky.frame()]
    for frame, mag in zip(frames[:2], (17.5, 16.75), strict=True):
        sky.seen(nova, frame, mag)
    sky.looked_for(nova, frames[2])
    (row,) = toros("candidate", "list", "--json").data
    assert (row["detections"], row["mag"], row["state"]) == (2, 16.75, "candidate_traced")
    assert row["first_seen"] < row["last_seen"]


def test_a_light_curve_is_told_in_the_order_of_time(toros: Toros, sky: NewSky) -> None:
    nova, before, after = sky.candidate(), sky.frame(), sky.frame()
    sky.seen(nova, after)
    sky.looked_for(nova, before)
    first, second = toros("candidate", "show", nova, "--json").data
    assert (first["item"], first["forced"], first["mag"], first["upper_limit"]) == (before, True, None, 21.7)
    assert (second["item"], second["forced"], second["mag"], second["upper_limit"]) == (
        after,
        False,
        17.0,
        None,
    )
    minutes = (second["jd"] - first["jd"]) * 1440
    assert minutes == pytest.approx(5, abs=0.01)
    assert f"candidate {nova}" in toros("candidate", "show", nova).out


def test_a_candidate_that_is_not_there_is_told_with_advice(toros: Toros, sky: NewSky) -> None:
    answer = toros("candidate", "show", sky.stack)
    assert answer.code != 0
    assert "toros candidate list" in answer.err


def test_references_are_listed_with_those_that_they_replaced(toros: Toros, sky: NewSky) -> None:
    until = dt.datetime(2026, 11, 23, 5, tzinfo=dt.UTC)
    better = sky.add_stack(sky.stacked, limiting_magnitude=23.0)
    sky.add_reference(better, valid_from=until, valid_until=None)
    rows = toros("reference", "list", "--json").data
    assert [(row["stack"], row["limiting_magnitude"]) for row in rows] == [(sky.stack, 22.25), (better, 23.0)]
    assert "J050000-250000-V-deep" in toros("reference", "list").out


def test_an_empty_sky_is_an_empty_list(toros: Toros) -> None:
    for listing in ("candidate", "reference"):
        assert toros(listing, "list", "--json").data == []
        assert toros(listing, "list").code == 0
