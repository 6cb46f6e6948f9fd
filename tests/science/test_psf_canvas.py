from __future__ import annotations

import numpy as np
import pytest
from changed_skies import NOISE, changed, flux_at, light_of
from numpy.testing import assert_allclose

from toros.science.flags import PixelFlag
from toros.science.psf import Psf
from toros.science.psf_fit import PsfFit, fit_sources, fit_sources_apart

SHAPE = (200, 220)
VARYING = Psf(SHAPE, 3.0, np.array([[5.0, 0.8, 0.3], [4.5, -0.4, 0.6], [0.3, 0.2, -0.1]]))


def crowd(seed: int, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Stars faint and bright, some of them blended, some over the edge of the frame."""
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(-1, SHAPE[1], count), rng.uniform(-1, SHAPE[0], count)
    return x, y, flux_at(10.0, VARYING) * 10 ** rng.uniform(0, 3, count)


def assert_same_fit(one: PsfFit, other: PsfFit) -> None:
    for axis in "xy":
        error = getattr(one, f"{axis}_err")
        assert_allclose(getattr(one, axis), getattr(other, axis), atol=1e-3 * error.min())
        assert_allclose(error, getattr(other, f"{axis}_err"), rtol=1e-3)
    assert np.abs((one.flux - other.flux) / one.flux_err).max() < 0.01
    assert_allclose(one.flux_err, other.flux_err, rtol=1e-3)
    assert_allclose(one.chi2, other.chi2, rtol=0.01)
    np.testing.assert_array_equal(one.group, other.group)


@pytest.mark.parametrize("passes", [1, 2])
@pytest.mark.parametrize("count", [5, 150], ids=["sparse", "crowded"])
def test_stars_fitted_apart_are_those_fitted_in_the_frame(count: int, passes: int) -> None:
    x, y, flux = crowd(3, count)
    image = changed(light_of(x, y, flux, VARYING))
    image.mask[50:60, 70:75] = PixelFlag.HOT
    given = image.mask, NOISE, VARYING, x, y, 0.8 * flux
    apart = fit_sources_apart(image.data, *given, passes=passes)
    assert_same_fit(fit_sources(image.data.copy(), *given, passes=passes), apart)


def test_missing_light_is_fitted_as_light_is() -> None:
    x, y, flux = crowd(4, 40)
    image = changed(light_of(x, y, flux, VARYING))
    given = image.mask, NOISE, VARYING, x, y, flux
    lit = fit_sources_apart(image.data, *given)
    missing = fit_sources_apart(-image.data, *given, sign=-1)
    np.testing.assert_array_equal(lit.flux, missing.flux)


def test_a_frame_of_which_stars_are_fitted_apart_is_left_as_it_was() -> None:
    x, y, flux = crowd(5, 40)
    image = changed(light_of(x, y, flux, VARYING))
    before = image.data.copy()
    fit_sources_apart(image.data, image.mask, NOISE, VARYING, x, y, flux)
    np.testing.assert_array_equal(image.data, before)


def test_nothing_is_fitted_where_nothing_is_given() -> None:
    image = changed(light_of([50.0], [50.0], [100.0], VARYING))
    none = np.zeros(0)
    assert fit_sources_apart(image.data, image.mask, NOISE, VARYING, none, none, none).flux.size == 0
