from __future__ import annotations

import numpy as np
import pytest
from changed_skies import ROUND, SHAPE, flux_at, quiet
from scipy.spatial.distance import pdist

from toros.errors import BadParameters
from toros.science.candidates import find_candidates
from toros.science.flags import PixelFlag
from toros.science.injection import Injections, inject, plan_injections, recovery
from toros.science.psf import guess_psf
from toros.science.shapes import StarShape
from toros.science.sources import SourceFlag

WIDE = (800, 800)
PSF = guess_psf(WIDE, StarShape(3.0, 0.0, 0.0, 0))


def galaxies(count: int, seed: int = 1) -> dict[str, np.ndarray]:
    """Galaxies, every one of them 8 px wide and flat, and as many stars."""
    rng = np.random.default_rng(seed)
    extended = np.arange(2 * count) < count
    return {
        "x": rng.uniform(40, WIDE[1] - 40, 2 * count),
        "y": rng.uniform(40, WIDE[0] - 40, 2 * count),
        "fwhm": np.where(extended, 8.0, 3.0),
        "ellipticity": np.where(extended, 0.6, 0.0),
        "angle": np.full(2 * count, 30.0),
        "flags": extended * int(SourceFlag.EXTENDED) | int(SourceFlag.BLENDED),
    }


def plan(count: int = 100, mask: np.ndarray | None = None, seed: int = 2) -> Injections:
    mask = np.zeros(WIDE, np.uint8) if mask is None else mask
    return plan_injections(np.random.default_rng(seed), galaxies(150), mask, PSF, count, (100.0, 1e4))


def test_half_of_the_injections_lie_in_the_light_of_galaxies() -> None:
    sky, planned = galaxies(150), plan()
    at_home = planned.host >= 0
    assert len(planned) == 100
    assert 50 <= at_home.sum() < 80
    assert np.all(sky["flags"][planned.host[at_home]] & int(SourceFlag.EXTENDED))
    dx, dy = (getattr(planned, axis)[at_home] - sky[axis][planned.host[at_home]] for axis in "xy")
    along, across = (
        dx * np.cos(np.pi / 6) + dy * np.sin(np.pi / 6),
        dy * np.cos(np.pi / 6) - dx * np.sin(np.pi / 6),
    )
    assert np.std(along) == pytest.approx(8 / 2.355 / 0.4**0.5, rel=0.25)
    assert np.std(across) == pytest.approx(8 / 2.355 * 0.4**0.5, rel=0.25)


def test_no_injection_lies_upon_another_or_on_bad_pixels_or_at_the_edge() -> None:
    mask = np.zeros(WIDE, np.uint8)
    mask[300:500] = PixelFlag.SATURATED
    planned = plan(mask=mask)
    assert len(planned) == 100
    assert pdist(np.column_stack([planned.x, planned.y])).min() >= 8 * PSF.fwhm
    assert not ((planned.y > 297) & (planned.y < 502)).any()
    assert np.minimum(planned.x, planned.y).min() > 2 * PSF.fwhm
    assert np.maximum(planned.x, planned.y).max() < 799 - 2 * PSF.fwhm


def test_a_crowded_plan_is_a_shorter_one() -> None:
    assert 100 < len(plan(1500)) < 900


def test_fluxes_are_even_in_their_logarithm() -> None:
    flux = plan().flux
    assert flux.min() >= 100
    assert flux.max() <= 1e4
    assert np.mean(flux < 1000) == pytest.approx(0.5, abs=0.15)


def test_without_galaxies_all_places_are_chance() -> None:
    none = {name: np.zeros(0, int) for name in ("x", "y", "fwhm", "ellipticity", "angle", "flags")}
    planned = plan_injections(np.random.default_rng(1), none, np.zeros(WIDE, np.uint8), PSF, 20, (1.0, 1.0))
    assert (planned.host == -1).all()
    assert len(planned) == 20


def test_injected_light_has_the_noise_of_its_photons() -> None:
    image, rng = quiet(), np.random.default_rng(3)
    image.variance[:] = 0
    sums = []
    for _ in range(60):
        image.data[:] = 0
        inject(image, ROUND, np.array([100.4]), np.array([90.2]), np.array([2500.0]), rng)
        sums.append(image.data.sum())
    assert np.mean(sums) == pytest.approx(2500, abs=30)
    assert np.std(sums) == pytest.approx(50, rel=0.3)
    assert np.all(image.data == np.rint(image.data))
    assert image.variance.sum() == pytest.approx(np.sum(sums), rel=1e-4)


def test_an_injection_over_the_edge_is_cut() -> None:
    image = quiet()
    image.data[:] = 0
    inject(image, ROUND, np.array([0.0]), np.array([100.0]), np.array([1e5]), np.random.default_rng(1))
    assert image.data.sum() == pytest.approx(6e4, rel=0.1)


def test_what_is_injected_is_found_with_its_flux() -> None:
    image, rng = quiet(), np.random.default_rng(5)
    x, y, flux = np.array([50.2, 150.7]), np.array([60.1, 200.4]), np.array([flux_at(40.0), flux_at(100.0)])
    inject(image, ROUND, x, y, flux, rng)
    found = find_candidates(image, ROUND)
    assert len(found) == 2
    pull = (found["flux"].value[::-1] - flux) / found["flux_err"].value[::-1]
    assert np.abs(pull).max() < 3.5


def test_the_efficiency_of_a_search_falls_by_half_at_its_threshold() -> None:
    shape, rng = (1000, 1000), np.random.default_rng(6)
    psf = guess_psf(shape, StarShape(3.0, 0, 0, 0))
    limits = flux_at(2.0, psf), flux_at(20.0, psf)
    image = quiet(shape=shape)
    planned = plan_injections(rng, galaxies(0), image.mask, psf, 600, limits)
    inject(image, psf, planned.x, planned.y, planned.flux, rng)
    found = find_candidates(image, psf)
    places = np.column_stack([found["x"].value, found["y"].value])
    snr = planned.flux / flux_at(1.0, psf)
    told = recovery(planned, snr, places, radius=2.0, edges=np.geomspace(2, 20, 9))
    assert told.efficiency[0] < 0.1
    assert told.efficiency[-1] > 0.97
    assert told.half == pytest.approx(5.8, abs=0.8), "photons of the star itself and the filter cost a little"
    assert told.count.sum() == len(planned)
    assert told.found.mean() == pytest.approx(np.average(told.efficiency, weights=told.count))
    magnitude = -2.5 * np.log10(planned.flux)
    by_magnitude = recovery(
        planned, magnitude, places, radius=2.0, edges=-2.5 * np.log10(np.geomspace(*limits[::-1], 9))
    )
    assert 10 ** (-0.4 * by_magnitude.half) / flux_at(1.0, psf) == pytest.approx(told.half, rel=0.1)


def test_a_detection_recovers_one_injection_only() -> None:
    planned = Injections(np.array([10.0, 11.0]), np.array([10.0, 10.0]), np.ones(2), np.full(2, -1))
    told = recovery(
        planned, np.ones(2), np.array([[10.2, 10.0]]), radius=2.0, edges=np.array([0.0, 2.0, 3.0])
    )
    assert told.found.tolist() == [True, False]
    assert told.efficiency[0] == 0.5
    assert np.isnan(told.efficiency[1])


def test_a_search_that_finds_nothing_has_no_half() -> None:
    planned = plan()
    told = recovery(planned, planned.flux, np.zeros((0, 2)), radius=2.0, edges=np.array([100.0, 1e3, 1e4]))
    assert not told.found.any()
    assert np.isnan(told.half)


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(BadParameters, match="injected"):
        plan_injections(
            np.random.default_rng(1), galaxies(1), np.zeros(SHAPE, np.uint8), ROUND, 5, (5.0, 1.0)
        )
    with pytest.raises(BadParameters, match="must rise"):
        recovery(plan(), plan().flux, np.zeros((0, 2)), radius=1.0, edges=np.array([2.0, 1.0]))
