"""Cells of the sky: the numbers are those of astropy-healpix, and ranges of them cover every cone."""

from __future__ import annotations

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy_healpix import HEALPix
from hypothesis import given
from hypothesis import strategies as st

from toros.science.healpix import cells_of, cone_ranges, is_within, positions_of, unit_vectors

ORDER = 14


def test_cells_are_those_of_astropy() -> None:
    rng = np.random.default_rng(1)
    ra = np.concatenate([rng.uniform(0, 360, 5000), [0, 360, 45, 90, 10]])
    dec = np.concatenate([np.degrees(np.arcsin(rng.uniform(-1, 1, 5000))), [90, -90, 0, 41.81, 90]])
    grid = HEALPix(1 << ORDER, order="nested")
    np.testing.assert_array_equal(cells_of(ra, dec, ORDER), grid.lonlat_to_healpix(ra * u.deg, dec * u.deg))


@given(
    ra=st.floats(0, 360),
    dec=st.floats(-90, 90) | st.sampled_from([-90.0, 90.0, 0.0]),
    log_radius=st.floats(-5, 2.25),
    seed=st.integers(0, 2**32),
)
def test_no_position_of_a_cone_is_outside_its_ranges(
    ra: float, dec: float, log_radius: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    radius = 10**log_radius
    distance = radius * np.concatenate([np.sqrt(rng.random(50)), np.full(50, 1 - 1e-12)])
    centre = SkyCoord(ra, dec, unit="deg")
    inside = centre.directional_offset_by(rng.uniform(0, 360, 100) * u.deg, distance * u.deg)
    cells = cells_of(inside.ra.deg, inside.dec.deg, ORDER)
    ranges = cone_ranges(ra, dec, radius, ORDER)
    which = np.searchsorted(ranges[:, 0], cells, side="right") - 1
    assert np.all(which >= 0)
    assert np.all(cells <= ranges[which, 1])


@pytest.mark.parametrize("radius", [0.01, 0.5, 5.0])
def test_ranges_are_few_and_hold_little_else(radius: float) -> None:
    rng = np.random.default_rng(2)
    for ra, dec in zip(rng.uniform(0, 360, 20), np.degrees(np.arcsin(rng.uniform(-1, 1, 20))), strict=True):
        ranges = cone_ranges(ra, dec, radius, ORDER)
        area = np.sum(ranges[:, 1] - ranges[:, 0] + 1) * 4 * np.pi / (12 * 4**ORDER)
        assert len(ranges) < 40
        assert area < 2 * 2 * np.pi * (1 - np.cos(np.radians(radius)))


def test_distances_are_right_from_microarcseconds_to_the_antipode() -> None:
    tiny = 1e-6 / 3600
    assert is_within([10.0, 10.0], [tiny, 2 * tiny], (10.0, 0.0), 1.5 * tiny).tolist() == [True, False]
    assert is_within([190.0, 190.0], [0.0, 1.0], (10.0, 0.0), 179.5).tolist() == [False, True]


@given(ra=st.floats(0, 359.99999), dec=st.floats(-89.9999, 89.9999))
def test_vectors_lead_back_to_positions(ra: float, dec: float) -> None:
    east, north = positions_of(3 * unit_vectors(ra, dec))
    assert 0 <= east < 360
    assert abs((east - ra + 180) % 360 - 180) * np.cos(np.radians(dec)) < 1e-10
    assert abs(north - dec) < 1e-10
