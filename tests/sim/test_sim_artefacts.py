"""Cosmic rays, satellites and overflowing charge."""

from __future__ import annotations

import numpy as np
import pytest

from toros.sim import Conditions, take_dark
from toros.sim.artefacts import bleed, cosmic_rays, satellite_trail


def test_tracks_lie_on_the_chip_and_each_pixel_counts_once(rng):
    where, charge = cosmic_rays((100, 80), 9.0, 200, rng)
    assert where.min() >= 0
    assert where.max() < 100 * 80
    assert len(np.unique(where)) == len(where) == len(charge)
    assert charge.min() > 1


def test_a_mean_track_leaves_more_than_the_thickness_of_the_chip(rng):
    # 80 electrons per micrometre over 15 micrometres, for a muon that comes straight down.
    _, charge = cosmic_rays((2000, 2000), 9.0, 2000, rng)
    assert charge.sum() / 2000 > 80 * 15


def test_longer_darks_catch_more_cosmic_rays(detector, rng):
    rate = Conditions(cosmic_ray_rate=200.0)
    short, long = (take_dark(detector, exptime, rng, conditions=rate) for exptime in (60.0, 600.0))
    hits = [frame.masks["cosmic_rays"].sum() for frame in (short, long)]
    assert hits[1] > 4 * hits[0]


def test_no_cosmic_ray_is_a_possible_exposure(rng):
    where, charge = cosmic_rays((50, 50), 9.0, 0.0, rng)
    assert where.size == charge.size == 0


def test_a_trail_is_straight_and_has_its_charge_per_pixel_of_length(rng):
    shape = (300, 300)
    for _ in range(10):
        where, charge = satellite_trail(shape, 1000.0, 3.0, rng)
        assert len(np.unique(where)) == len(where)
        rows, columns = np.unravel_index(where, shape)
        steep = np.ptp(rows) > np.ptp(columns)
        run, rise = (rows, columns) if steep else (columns, rows)
        slope, offset = np.polyfit(run, rise, 1, w=np.sqrt(charge))
        distance = (rise - slope * run - offset) / np.hypot(1, slope)
        assert np.sqrt(np.average(distance**2, weights=charge)) == pytest.approx(3.0 / 2.355, rel=0.05)
        inside = (run > 60) & (run < 240) & (rise.max() < 290) & (rise.min() > 10)
        if inside.any():
            assert charge[inside].sum() / (179 * np.hypot(1, slope)) == pytest.approx(1000.0, rel=0.03)


def test_overflowing_charge_stays_in_its_column_and_is_conserved(rng):
    electrons = rng.uniform(0, 1000, (200, 5)).astype(np.float32)
    electrons[95:100, 2] = 300_000.0
    before = electrons.copy()
    bleed(electrons, 100_000.0)
    assert electrons.max() <= 100_000.0
    assert electrons[:, 2].sum(dtype=float) == pytest.approx(before[:, 2].sum(dtype=float))
    others = [0, 1, 3, 4]
    assert np.array_equal(electrons[:, others], before[:, others])
    full = np.flatnonzero(electrons[:, 2] >= 99_999)
    assert np.array_equal(full, np.arange(full[0], full[-1] + 1))
    assert full[0] < 95 < 100 < full[-1]


def test_charge_that_reaches_the_edge_leaves_the_chip():
    electrons = np.zeros((10, 1), np.float32)
    electrons[0] = 5_000_000.0
    bleed(electrons, 100_000.0)
    assert (electrons == 100_000.0).all()
