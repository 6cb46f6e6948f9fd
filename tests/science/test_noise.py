from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from toros.errors import NotFinite
from toros.science.noise import sky_level, sky_noise


@given(level=st.floats(-100, 5000), noise=st.floats(1, 100), seed=st.integers(0, 99))
def test_level_and_noise_of_an_empty_sky_are_found(level: float, noise: float, seed: int) -> None:
    sky = np.random.default_rng(seed).normal(level, noise, (200, 210)).astype(np.float32)
    assert sky_level(sky) == pytest.approx(level, abs=0.04 * noise)
    assert sky_noise(sky) == pytest.approx(noise, rel=0.04)


def test_a_tenth_of_the_frame_full_of_stars_changes_little() -> None:
    rng = np.random.default_rng(1)
    sky = rng.normal(500, 20, (800, 900))
    stars = rng.random(sky.shape) < 0.1
    sky[stars] += rng.exponential(2000, stars.sum())
    assert sky_level(sky) == pytest.approx(500, abs=4)
    assert sky_noise(sky) == pytest.approx(20, rel=0.1)


def test_masked_pixels_do_not_count() -> None:
    rng = np.random.default_rng(2)
    frame = rng.normal(500, 20, (300, 300)).astype(np.float32)
    frame[:, :180] = np.nan
    mask = np.zeros(frame.shape, np.uint8)
    mask[:, :180] = 32
    assert sky_level(frame, mask) == pytest.approx(500, abs=1)
    assert sky_noise(frame, mask == 32) == pytest.approx(20, rel=0.05)


def test_all_colours_of_a_bayer_pattern_are_sampled() -> None:
    frame = np.tile(np.array([[10.0, 20.0], [20.0, 30.0]]), (600, 700))
    assert sky_level(frame) == 20


def test_a_sky_that_cannot_be_measured_is_an_error() -> None:
    with pytest.raises(NotFinite, match="masked"):
        sky_level(np.ones((20, 20)), np.ones((20, 20), np.uint8))
    with pytest.raises(NotFinite):
        sky_noise(np.full((20, 20), np.nan))
