from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import Table

from toros.errors import BadParameters
from toros.science.movers import link_tracklets, match_movers

RATES = (5.0, 120.0)
ARCSEC = 1 / 3600


@dataclass
class Night:
    """Detections of one night: asteroids first, noise after them; -1 is noise."""

    ra: np.ndarray
    dec: np.ndarray
    time: np.ndarray
    mover: np.ndarray
    rates: np.ndarray
    """arcsec per hour to the east and to the north, of each asteroid."""

    def link(self, **options: object) -> list:
        return link_tracklets(self.ra, self.dec, self.time, **{"rates": RATES, "tolerance": 0.5, **options})


def night(
    seed: int,
    *,
    movers: int = 8,
    noise: int = 30,
    frames: int = 5,
    centre: tuple[float, float] = (359.9, -35.0),
    seen: float = 1.0,
) -> Night:
    rng = np.random.default_rng(seed)
    times = 60000.2 + np.cumsum(rng.uniform(0.012, 0.03, frames))
    rate, heading = rng.uniform(8, 100, movers), rng.uniform(0, 2 * np.pi, movers)
    rates = np.column_stack([rate * np.sin(heading), rate * np.cos(heading)])
    start = rng.uniform(-1500, 1500, (movers, 2))
    rows = []
    for time in times:
        places = start + rates * (time - times[0]) * 24 + rng.normal(0, 0.15, (movers, 2))
        rows += [(*place, time, number) for number, place in enumerate(places) if rng.random() < seen]
        rows += [(*place, time, -1) for place in rng.uniform(-1800, 1800, (noise, 2))]
    east, north, time, mover = np.array(rows).T
    origin = SkyCoord(*centre, unit="deg")
    sky = SkyCoord(east * u.arcsec, north * u.arcsec, frame=origin.skyoffset_frame()).icrs
    return Night(sky.ra.deg, sky.dec.deg, time, mover.astype(int), rates)


@pytest.mark.parametrize("seed", range(4))
def test_asteroids_are_linked_and_little_else(seed: int) -> None:
    sky = night(seed)
    found = sky.link(least=4)
    members = [tuple(sky.mover[one.rows]) for one in found]
    assert sorted(members) == [(number,) * 5 for number in range(8)]


def test_the_rate_and_the_place_are_those_of_the_asteroid() -> None:
    sky = night(11)
    for one in sky.link(least=4):
        truth = sky.rates[sky.mover[one.rows[0]]]
        assert one.rate_east == pytest.approx(truth[0], abs=0.5)
        assert one.rate_north == pytest.approx(truth[1], abs=0.5)
        assert one.rate == pytest.approx(np.hypot(*truth), abs=0.5)
        assert one.rms < 0.5
        middle = SkyCoord(one.ra, one.dec, unit="deg")
        seen = SkyCoord(sky.ra[one.rows], sky.dec[one.rows], unit="deg")
        hours = (sky.time[one.rows] - one.epoch) * 24
        expected = middle.spherical_offsets_by(
            one.rate_east * hours * u.arcsec, one.rate_north * hours * u.arcsec
        )
        assert expected.separation(seen).arcsec.max() < 1


def test_an_asteroid_that_was_missed_in_a_frame_is_still_one() -> None:
    sky = night(5, frames=7, seen=0.8, noise=10)
    found = sky.link(least=4)
    for number in np.unique(sky.mover[sky.mover >= 0]):
        mine = np.flatnonzero(sky.mover == number)
        if mine.size >= 4:
            assert any(np.array_equal(one.rows, mine) for one in found)


def test_at_the_pole_a_way_is_as_straight_as_elsewhere() -> None:
    sky = night(6, centre=(120.0, 89.95))
    assert sorted(tuple(sky.mover[one.rows]) for one in sky.link(least=4)) == [(n,) * 5 for n in range(8)]


def test_three_detections_are_enough_and_two_are_not() -> None:
    sky = night(7, frames=3, noise=0, movers=3)
    assert len(sky.link()) == 3
    first_two = sky.time < np.unique(sky.time)[2]
    assert (
        link_tracklets(sky.ra[first_two], sky.dec[first_two], sky.time[first_two], rates=RATES, tolerance=0.5)
        == []
    )


def test_what_stands_still_or_flies_too_fast_is_no_asteroid() -> None:
    time = np.repeat(60000 + np.arange(4) / 24, 2)
    ra = np.tile([10.0, 10.2], 4) + np.repeat(np.arange(4), 2) * np.tile([0, 0.1], 4)
    assert link_tracklets(ra, np.zeros(8), time, rates=RATES, tolerance=0.5) == []


def test_a_way_that_bends_is_none() -> None:
    hours = np.arange(5.0)
    ra, dec = 10 + 20 * hours * ARCSEC, 3 * (hours - 2) ** 2 * ARCSEC
    assert link_tracklets(ra, dec, 60000 + hours / 24, rates=RATES, tolerance=0.5, least=5) == []


def test_the_order_of_the_rows_does_not_matter() -> None:
    sky = night(8)
    order = np.random.default_rng(1).permutation(sky.time.size)
    mixed = Night(sky.ra[order], sky.dec[order], sky.time[order], sky.mover[order], sky.rates)
    straight = {frozenset(one.rows.tolist()) for one in sky.link()}
    assert {frozenset(order[one.rows].tolist()) for one in mixed.link()} == straight


def test_a_known_mover_is_named_at_the_time_of_each_detection() -> None:
    sky = night(9)
    first = sky.time == sky.time[0]
    asteroid = first & (sky.mover >= 0)
    known = Table(
        {
            "name": [f"A{number}" for number in sky.mover[asteroid]],
            "ra": sky.ra[asteroid],
            "dec": sky.dec[asteroid],
            "epoch": sky.time[asteroid],
            "rate_east": sky.rates[:, 0],
            "rate_north": sky.rates[:, 1],
        }
    )
    rows, distance = match_movers(sky.ra, sky.dec, sky.time, known, 2.0)
    np.testing.assert_array_equal(rows[sky.mover >= 0], sky.mover[sky.mover >= 0])
    assert np.mean(rows[sky.mover < 0] >= 0) < 0.02
    assert distance[sky.mover >= 0].max() < 1.5
    assert np.isinf(distance[rows < 0]).all()


def test_without_known_movers_nothing_is_known() -> None:
    empty = Table({name: np.zeros(0) for name in ("ra", "dec", "epoch", "rate_east", "rate_north")})
    rows, distance = match_movers([1.0], [2.0], [3.0], empty, 2.0)
    assert rows.tolist() == [-1]
    assert np.isinf(distance).all()


@pytest.mark.parametrize(
    "limits",
    [
        {"rates": (0.0, 5.0), "tolerance": 1.0},
        {"rates": (5.0, 4.0), "tolerance": 1.0},
        {"rates": RATES, "tolerance": 0.0},
        {"rates": RATES, "tolerance": 1.0, "least": 2},
    ],
)
def test_limits_without_sense_are_refused(limits: dict) -> None:
    with pytest.raises(BadParameters, match="no tracklets"):
        link_tracklets([1.0], [1.0], [1.0], **limits)
