from __future__ import annotations

import numpy as np
import pytest

from toros.errors import WrongGeometry
from toros.science.combine import combine
from toros.science.compare import compare_masters

SHAPE = (300, 200)


def plane(value: float) -> np.ndarray:
    return np.full(SHAPE, value, np.float32)


def noisy(seed: int, sigma: float = 2.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(1000, sigma, SHAPE).astype(np.float32)


def test_two_masters_of_the_same_chip_agree() -> None:
    result = compare_masters(noisy(1), noisy(2), plane(2), plane(2))
    assert result.fraction_deviating == 0
    assert abs(result.median_shift) < 0.05
    assert result.chi == pytest.approx(1, abs=0.03)
    assert result.n_compared == SHAPE[0] * SHAPE[1]


def test_a_drift_of_the_level_is_reported_but_does_not_deviate() -> None:
    result = compare_masters(noisy(1) + 150, noisy(2), plane(2), plane(2))
    assert result.fraction_deviating == 0
    assert result.median_shift == pytest.approx(150, abs=0.05)


def test_the_part_of_the_pixels_that_changed_is_found_on_either_side() -> None:
    new, previous = noisy(3), noisy(4)
    changed = np.random.default_rng(5).random(SHAPE) < 0.08
    new[changed] += np.where(np.arange(SHAPE[1]) % 2, 60, -60)[np.newaxis].repeat(SHAPE[0], 0)[changed]
    result = compare_masters(new, previous, plane(2), plane(2))
    assert result.fraction_deviating == pytest.approx(changed.mean(), abs=1e-4)
    assert compare_masters(new, previous, plane(2), plane(2), sigma=60).fraction_deviating == 0


def test_exactly_the_limit_counts_as_deviating() -> None:
    new = plane(10)
    new[7, 8] += 6 * 5
    result = compare_masters(new, plane(10), plane(3), plane(4))
    assert result.fraction_deviating == pytest.approx(1 / new.size)


def test_pixels_of_unknown_error_are_left_out() -> None:
    new = plane(10)
    new[:100] = 500
    error = plane(1)
    error[:100] = np.inf
    result = compare_masters(new, plane(10), error, plane(1))
    assert result.fraction_deviating == 0
    assert result.n_compared == 200 * SHAPE[1]
    nothing = compare_masters(new, plane(10), plane(np.inf), plane(1))
    assert nothing.n_compared == nothing.fraction_deviating == 0


@pytest.mark.parametrize("method", ["median", "clipped_mean"])
@pytest.mark.parametrize(("count", "most"), [(5, 1e-2), (20, 1e-4)])
def test_masters_of_a_quiet_camera_are_accepted_with_their_own_errors(
    method: str, count: int, most: float
) -> None:
    rng = np.random.default_rng(count)
    new, previous = (
        combine(list(rng.normal(1000, 8, (count, *SHAPE)).astype(np.uint16)), method) for _ in "ab"
    )
    result = compare_masters(new.data, previous.data, new.uncertainty.array, previous.uncertainty.array)
    assert result.fraction_deviating < most
    assert result.chi == pytest.approx(1, abs=0.15)


def test_masters_of_different_size_are_not_compared() -> None:
    with pytest.raises(WrongGeometry, match=r"\(299, 200\)"):
        compare_masters(plane(1), plane(1)[1:], plane(1), plane(1))
