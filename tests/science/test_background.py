from __future__ import annotations

import warnings

import numpy as np
import pytest
from photutils.background import Background2D
from starry_frames import random_stars, starry

from toros.errors import BadParameters, NoSky, NotFinite, WrongGeometry
from toros.science.background import estimate_background
from toros.science.flags import PixelFlag


def sky_of(shape: tuple[int, int], level: np.ndarray | float = 400.0, noise: float = 20.0, seed: int = 1):
    return (level + np.random.default_rng(seed).normal(0, noise, shape)).astype(np.float32)


def test_level_and_noise_of_an_empty_sky_are_those_it_was_made_with() -> None:
    background = estimate_background(sky_of((512, 512)))
    assert background.typical_level == pytest.approx(400, abs=0.3)
    assert background.rms == pytest.approx(20, rel=0.01)
    assert np.std(background.level()) < 0.03 * 20


def test_it_agrees_with_photutils_in_a_field_of_stars() -> None:
    field = starry(*random_stars(300, (512, 512), 500, 1e5), shape=(512, 512))
    ours = estimate_background(field.data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = Background2D(field.data, 64)
    assert np.median(ours.level() - theirs.background) == pytest.approx(0, abs=0.05 * field.noise)
    assert np.std(ours.level() - theirs.background) < 0.1 * field.noise
    assert ours.typical_level == pytest.approx(200, abs=0.1 * field.noise), "the stars do not lift it"
    assert ours.rms == pytest.approx(field.noise, rel=0.05)


def test_a_slope_and_a_bright_nebula_are_followed() -> None:
    y, x = np.mgrid[:512, :640]
    sky = 300 + 0.5 * x + 400 * np.exp(-((x - 300) ** 2 + (y - 250) ** 2) / 2 / 150**2)
    data = sky_of((512, 640), sky, noise=10)
    background = estimate_background(data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = Background2D(data, 64).background
    assert np.std(background.level() - sky) < np.std(theirs - sky)
    assert background.rms < 13, "a slope is no noise"


def test_the_frame_without_its_sky_is_level() -> None:
    y, x = np.mgrid[:300, :200]
    data = sky_of((300, 200), 200 + 0.3 * x + 0.1 * y)
    background = estimate_background(data)
    residual = background.subtracted(data)
    assert residual.dtype == np.float32
    np.testing.assert_allclose(residual, data - background.level(), atol=1e-3)
    assert np.abs(np.median(residual)) < 0.5
    assert np.abs(np.median(residual[:, :16])) < 1.5, "the slope goes on to the very edge"
    np.testing.assert_array_equal(background.level(slice(37, 61)), background.level()[37:61])


def test_level_and_noise_at_a_place_are_those_of_the_surface() -> None:
    y, x = np.mgrid[:512, :640]
    background = estimate_background(sky_of((512, 640), 300 + 0.5 * x - 0.2 * y))
    at = np.array([100.0, 320.0, 600.0]), np.array([400.0, 250.0, 60.0])
    surface = background.level()[at[1].astype(int), at[0].astype(int)]
    np.testing.assert_allclose(background.level_at(*at), surface, atol=3)
    np.testing.assert_allclose(background.noise_at(*at), 20, rtol=0.05)


def test_masked_cells_are_filled_from_around_them() -> None:
    data = sky_of((512, 512))
    mask = np.zeros(data.shape, np.uint8)
    data[128:320, 128:320], mask[128:320, 128:320] = 1e5, PixelFlag.NO_DATA
    background = estimate_background(data, mask)
    assert not background.usable[3, 3]
    np.testing.assert_allclose(background.level(), 400, atol=3)
    np.testing.assert_allclose(background.noise(), 20, rtol=0.1)


def test_an_even_border_that_somebody_filled_in_does_not_pass_for_a_quiet_sky() -> None:
    data = sky_of((512, 512))
    data[:, :70] = 0.1 * sky_of((512, 70), 0.0, 1.0)
    background = estimate_background(data)
    assert background.noise().min() > 10


def test_the_four_skies_of_a_colour_sensor_are_told_apart() -> None:
    data = sky_of((300, 400))
    data[::2, ::2] += 100
    data[1::2, 1::2] -= 50
    background = estimate_background(data)
    assert background.levels.shape[:2] == (2, 2)
    residual = background.subtracted(data)
    for row, column in np.ndindex(2, 2):
        assert np.mean(residual[row::2, column::2]) == pytest.approx(0, abs=0.5)
    assert background.rms == pytest.approx(20, rel=0.02)
    assert background.typical_level == pytest.approx(412.5, abs=1)
    odd = background.level(slice(3, 10))
    np.testing.assert_array_equal(odd, background.level()[3:10])


def test_a_sky_coarser_than_its_noise_has_the_noise_of_rounding() -> None:
    data = np.where(np.random.default_rng(1).random((256, 256)) < 0.01, 2.0, 0.0).astype(np.float32)
    assert estimate_background(data).rms == pytest.approx(2 / 12**0.5, rel=0.03)


@pytest.mark.parametrize("shape", [(5, 7), (33, 64), (65, 100), (64, 1000), (1, 300)])
def test_frames_of_any_size_have_a_sky(shape: tuple[int, int]) -> None:
    background = estimate_background(sky_of(shape))
    assert background.level().shape == shape
    assert background.typical_level == pytest.approx(400, abs=15)


def test_a_frame_without_sky_is_refused_with_the_reason() -> None:
    data = sky_of((100, 100))
    with pytest.raises(NoSky):
        estimate_background(data, np.full(data.shape, PixelFlag.NO_DATA, np.uint8))
    with pytest.raises(NoSky):
        estimate_background(np.full((100, 100), 65535, np.float32))
    with pytest.raises(WrongGeometry):
        estimate_background(data, np.zeros((100, 99), np.uint8))
    with pytest.raises(BadParameters):
        estimate_background(data, mesh=2)
    data[4, 5] = np.nan
    with pytest.raises(NotFinite):
        estimate_background(data)
