from __future__ import annotations

import numpy as np
import pytest

from toros.errors import BadParameters, WrongGeometry
from toros.science.bad_pixels import BadPixelLimits, find_bad_pixels
from toros.science.combine import combine, corrected_rows, level
from toros.science.flags import PixelFlag, is_flagged
from toros.sim import azulcito, build_detector, take_bias, take_dark, take_flat

SHAPE = (400, 410)
EXPOSURE = 120.0


@pytest.fixture(scope="module")
def found_and_true() -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Return the bad pixels found in the masters of a simulated night, and the true ones."""
    camera = azulcito(SHAPE)
    detector = build_detector(camera)
    rng = np.random.default_rng(1)
    bias = combine([take_bias(detector, rng).data for _ in range(16)])
    darks = [corrected_rows(take_dark(detector, EXPOSURE, rng).data, bias=bias.data) for _ in range(12)]
    dark = combine(darks)
    flats = [
        corrected_rows(take_flat(detector, camera.band("R"), 1.0, rng).data, bias=bias.data) for _ in range(8)
    ]
    flat = combine([corrected_rows(flat, scale=1 / level(flat)) for flat in flats])
    found = find_bad_pixels(
        dark_current=dark.data * (camera.gain / EXPOSURE), flat=flat.data, scatter=bias.uncertainty.array
    )
    return found, detector.bad_pixels()


@pytest.mark.parametrize(
    ("flag", "name", "recall", "false_rate"),
    [
        (PixelFlag.HOT, "hot", 0.99, 1e-4),
        (PixelFlag.DEAD, "dead", 0.99, 1e-5),
        (PixelFlag.NOISY, "noisy", 0.8, 1e-4),
    ],
)
def test_the_bad_pixels_of_the_simulated_camera_are_found(
    found_and_true: tuple, flag: PixelFlag, name: str, recall: float, false_rate: float
) -> None:
    plane, true = found_and_true
    found = is_flagged(plane, flag)
    assert true[name].sum() >= 10
    assert np.count_nonzero(found & true[name]) >= recall * np.count_nonzero(true[name])
    assert np.count_nonzero(found & ~true[name]) <= false_rate * found.size


def test_a_warm_pixel_is_hot_only_above_the_floor_and_the_scatter() -> None:
    current = np.random.default_rng(2).normal(0.1, 0.01, (50, 60)).astype(np.float32)
    current[3, 4], current[5, 6] = 0.4, 0.8
    assert np.argwhere(find_bad_pixels(dark_current=current)).tolist() == [[5, 6]]
    lower = BadPixelLimits(hot_excess=0.1)
    assert np.argwhere(find_bad_pixels(dark_current=current, limits=lower)).tolist() == [[3, 4], [5, 6]]
    noisy_night = current + np.random.default_rng(3).normal(0, 0.2, current.shape).astype(np.float32)
    assert not find_bad_pixels(dark_current=noisy_night, limits=lower).any()


def test_vignetting_and_dust_are_not_dead_pixels() -> None:
    y, x = np.mgrid[-1:1:200j, -1:1:230j]
    flat = (1 - 0.4 * (x**2 + y**2) / 2).astype(np.float32)
    ring = np.abs(np.hypot(x - 0.3, y + 0.2) - 0.1) < 0.02
    flat[ring] *= 0.9
    flat[20, 30], flat[100, 229], flat[199, 0] = 0.2, 0.0, 1.9
    flat[:, 77] *= 0.3
    found = is_flagged(find_bad_pixels(flat=flat), PixelFlag.DEAD)
    expected = np.zeros(flat.shape, bool)
    expected[20, 30] = expected[100, 229] = expected[199, 0] = True
    expected[:, 77] = True
    np.testing.assert_array_equal(found, expected)


def test_the_normalisation_of_the_flat_does_not_matter() -> None:
    flat = np.random.default_rng(4).uniform(0.2, 1.8, (70, 45)).astype(np.float32)
    np.testing.assert_array_equal(find_bad_pixels(flat=flat), find_bad_pixels(flat=flat * 25000))


def test_what_got_no_light_or_is_no_number_is_bad() -> None:
    flat = np.ones((64, 64), np.float32)
    flat[:32, :32] = 0
    flat[40, 50] = np.nan
    expected = flat != 1
    np.testing.assert_array_equal(find_bad_pixels(flat=flat) == PixelFlag.DEAD, expected)
    current = np.zeros((8, 9), np.float32)
    current[1, 2] = np.nan
    assert np.argwhere(find_bad_pixels(dark_current=current) == PixelFlag.HOT).tolist() == [[1, 2]]


def test_a_pixel_can_be_bad_in_several_ways() -> None:
    current, flat, scatter = (np.ones((40, 40), np.float32) for _ in range(3))
    current[5, 5], flat[5, 5], scatter[5, 5] = 50, 0.1, 30
    plane = find_bad_pixels(dark_current=current, flat=flat, scatter=scatter)
    assert plane[5, 5] == PixelFlag.HOT | PixelFlag.DEAD | PixelFlag.NOISY
    assert np.count_nonzero(plane) == 1


def test_what_cannot_be_judged_is_refused() -> None:
    ones = np.ones((8, 8), np.float32)
    with pytest.raises(BadParameters, match="none was given"):
        find_bad_pixels()
    with pytest.raises(BadParameters, match="two frames"):
        find_bad_pixels(scatter=np.full((8, 8), np.inf, np.float32))
    with pytest.raises(WrongGeometry):
        find_bad_pixels(flat=ones, scatter=ones[1:])
    with pytest.raises(BadParameters, match="dead_response"):
        BadPixelLimits(dead_response=1.2)
    with pytest.raises(BadParameters, match="typical"):
        BadPixelLimits(noisy_factor=0.5)
