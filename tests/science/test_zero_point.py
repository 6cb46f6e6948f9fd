"""The zero point of a frame, against a catalogue whose truth is known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from toros.errors import BadParameters, TooFewStars
from toros.science.zero_point import ZeroPoint, measure_zero_point
from toros.sim import sky_field

TRUE = 24.5
EXPTIME = 60.0
COLOUR = 0.5


@dataclass
class Field:
    """A field of the simulated sky, as measured and as catalogued."""

    flux: np.ndarray
    flux_err: np.ndarray
    mag: np.ndarray
    mag_err: np.ndarray
    colour: np.ndarray
    x: np.ndarray
    y: np.ndarray

    def zero_point(self, **options) -> ZeroPoint:
        position = (self.x, self.y) if "shape" in options else None
        return measure_zero_point(
            self.flux, self.flux_err, EXPTIME, self.mag, self.mag_err, self.colour,
            reference_colour=COLOUR, position=position, **options,
        )  # fmt: skip


def field(
    seed: int,
    *,
    n: int | None = None,
    colour_term: float = 0.12,
    scatter: float = 0.01,
    outliers: float = 0.05,
    transparency: float = 1.0,
    tilt: float = 0.0,
) -> Field:
    """Return the stars of a frame of a random place, those with S/N 5 and better."""
    rng = np.random.default_rng(seed)
    sky = sky_field(
        rng.uniform(0, 360), rng.uniform(-80, 0), 0.2, density=2.0, galaxy_fraction=0.0, bright=11, seed=seed
    )
    sky = sky[np.argsort(rng.random(len(sky)))][:n]
    colour = np.asarray(sky["colour"])
    x, y = rng.uniform(0, 2000, (2, len(sky)))
    true = (
        sky["mag"]
        - colour_term * (colour - COLOUR)
        + rng.normal(0, scatter, len(sky))
        + tilt * (x / 2000 - 0.5)
    )
    electrons = transparency * EXPTIME * 10 ** (-0.4 * (true - TRUE))
    is_bad = rng.random(len(sky)) < outliers
    electrons[is_bad] *= 10 ** (0.4 * rng.choice([0.3, 0.75, 2.0, -0.5], is_bad.sum()))
    flux = electrons + rng.normal(0, np.sqrt(electrons + 300.0**2))
    flux_err = np.sqrt(np.maximum(flux, 0) + 300.0**2)
    seen = flux > 5 * flux_err
    mag = sky["mag"] + rng.normal(0, 0.01, len(sky))
    columns = (flux, flux_err, mag, np.full(len(sky), 0.01), colour, x, y)
    return Field(*(np.asarray(column)[seen] for column in columns))


def test_the_zero_point_is_within_5_mmag_of_the_truth_with_one_outlier_in_twenty() -> None:
    found = [field(seed).zero_point() for seed in range(30)]
    off = np.array([zero_point.value - TRUE for zero_point in found])
    assert np.all(np.abs(off) < 0.005)
    assert np.all([zero_point.n_stars > 200 for zero_point in found])
    assert np.all([zero_point.n_clipped > 5 for zero_point in found])


@pytest.mark.parametrize(("n", "colour_term"), [(400, 0.12), (40, 0.12), (36, 0.0)])
def test_its_error_is_honest(n: int, colour_term: float) -> None:
    found = [field(seed, n=n, colour_term=colour_term).zero_point(colour_stars=20) for seed in range(120)]
    pull = np.array([(zero_point.value - TRUE) / zero_point.error for zero_point in found])
    assert 0.75 < np.percentile(np.abs(pull), 68.3) < 1.25
    assert np.mean(np.abs(pull) > 3) < 0.04


def test_the_colour_term_of_the_filter_is_found_with_an_honest_error() -> None:
    found = [field(seed).zero_point() for seed in range(40)]
    pull = np.array([(zp.colour_term - 0.12) / zp.colour_term_error for zp in found])
    assert np.max([abs(zp.colour_term - 0.12) for zp in found]) < 0.02
    assert 0.7 < pull.std() < 1.4


def test_the_scatter_of_the_stars_is_measured_beside_the_noise() -> None:
    quiet = np.median([field(seed, scatter=0.0).zero_point().scatter for seed in range(10)])
    rough = np.median([field(seed, scatter=0.04).zero_point().scatter for seed in range(10)])
    assert quiet < 0.008
    assert rough == pytest.approx(0.04, abs=0.008)


def test_without_colours_or_with_few_stars_there_is_no_colour_term() -> None:
    stars = field(1)
    stars.colour = np.full_like(stars.colour, np.nan)
    assert stars.zero_point().colour_term is None
    few = field(1, n=15).zero_point()
    assert (few.colour_term, few.colour_term_error) == (None, None)
    alike = field(2, colour_term=0.0)
    alike.colour = alike.colour * 0 + 0.6
    zero_point = alike.zero_point()
    assert zero_point.colour_term is None
    assert zero_point.reference_colour == pytest.approx(0.6)
    assert zero_point.value == pytest.approx(TRUE, abs=0.005)


def test_stars_of_unknown_colour_do_not_spoil_a_colour_term() -> None:
    stars = field(3)
    stars.colour[::3] = np.nan
    assert stars.zero_point().colour_term == pytest.approx(0.12, abs=0.02)


def test_a_cloud_shows_in_the_transparency() -> None:
    zero_point = field(4, transparency=0.7).zero_point(nominal=TRUE)
    assert zero_point.transparency == pytest.approx(0.7, abs=0.005)
    assert field(4).zero_point().transparency is None


def test_a_gradient_over_the_field_is_measured() -> None:
    tilted = field(5, tilt=0.05).zero_point(shape=(2000, 2000))
    flat = field(5).zero_point(shape=(2000, 2000))
    assert tilted.trend is not None
    assert flat.trend is not None
    assert tilted.trend[0] == pytest.approx(-0.05, abs=4 * tilted.trend_error)
    assert abs(tilted.trend[1]) < 4 * tilted.trend_error
    assert max(map(abs, flat.trend)) < 4 * flat.trend_error
    assert 0 < flat.trend_error < 0.01
    assert field(5, n=40).zero_point(colour_stars=40, shape=(2000, 2000)).trend is None


def test_magnitudes_follow_from_the_zero_point() -> None:
    stars = field(6, outliers=0.0)
    zero_point = stars.zero_point()
    bright = stars.flux > 100 * stars.flux_err
    magnitudes = zero_point.magnitude(stars.flux, EXPTIME, stars.colour)
    assert np.std((magnitudes - stars.mag)[bright]) < 0.03
    assert np.median((magnitudes - stars.mag)[bright]) == pytest.approx(0, abs=0.005)
    assert float(zero_point.magnitude(EXPTIME, EXPTIME)) == zero_point.value
    assert np.isnan(zero_point.magnitude([0.0, -3.0, np.nan], EXPTIME)).all()
    unknown = zero_point.magnitude([EXPTIME], EXPTIME, [np.nan])
    assert unknown[0] == zero_point.value


def test_faint_stars_do_not_pull_the_zero_point() -> None:
    """Those near the limit are seen only when noise makes them bright."""
    off = [field(seed, outliers=0.0).zero_point().value - TRUE for seed in range(20)]
    assert abs(np.mean(off)) < 0.0015


def test_values_that_are_not_numbers_are_left_out() -> None:
    stars = field(7)
    expected = stars.zero_point().value
    stars.flux[0], stars.flux_err[1], stars.mag[2], stars.flux[3] = np.nan, 0.0, np.nan, -5.0
    stars.mag_err[4:10] = np.nan
    assert stars.zero_point().value == pytest.approx(expected, abs=0.003)


def test_too_few_stars_are_said_to_be_too_few() -> None:
    with pytest.raises(TooFewStars, match="2 stars of the catalogue"):
        measure_zero_point([1e5, 2e5], [300, 400], 10, [12, 11.25])
    with pytest.raises(TooFewStars):
        measure_zero_point([], [], 10, [])
    with pytest.raises(TooFewStars):
        measure_zero_point([np.nan] * 9, [1.0] * 9, 10, [12.0] * 9)


def test_three_stars_that_agree_are_enough() -> None:
    zero_point = measure_zero_point([1e5, 2e5, 4e5], [300, 400, 600], 10, [14.0, 13.2474, 12.4949])
    assert zero_point.value == pytest.approx(24.0, abs=0.001)
    assert (zero_point.n_stars, zero_point.scatter) == (3, 0.0)


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(BadParameters):
        measure_zero_point([1e5], [300], 0, [12])
    with pytest.raises(BadParameters):
        measure_zero_point([1e5], [300, 200], 10, [12])
