from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from astropy.table import QTable
from changed_skies import ROUND, changed, flux_at, light_of, quiet

from toros.errors import WrongGeometry
from toros.science.candidate_features import FEATURE_NAMES, candidate_features
from toros.science.candidates import find_candidates
from toros.science.flags import PixelFlag
from toros.science.image import Image
from toros.science.psf import guess_psf
from toros.science.shapes import StarShape

NO_SOURCES = {"x": np.zeros(0), "y": np.zeros(0), "flux_psf": np.zeros(0)}


def described(
    change: np.ndarray, constant: np.ndarray | None = None, sources: dict | None = None, **flags: tuple
) -> tuple[QTable, dict[str, np.ndarray]]:
    """Candidates of a change on a constant sky, and their features by name."""
    constant = np.zeros_like(change) if constant is None else constant
    difference, reference = changed(change), changed(constant, 5)
    for name, place in flags.items():
        difference.mask[place] = PixelFlag[name]
    science = replace(reference, data=reference.data + difference.data)
    candidates = find_candidates(difference, ROUND)
    table = candidate_features(science, reference, difference, candidates, sources or NO_SOURCES, ROUND)
    assert table.shape == (len(candidates), len(FEATURE_NAMES))
    assert table.dtype == np.float32
    assert np.isfinite(table).all()
    return candidates, {name: table[:, column] for column, name in enumerate(FEATURE_NAMES)}


def test_a_new_star_looks_like_a_star() -> None:
    _, features = described(light_of([100.3], [80.7], [flux_at(60.0)]))
    assert features["chi2"][0] == pytest.approx(0, abs=0.2)
    assert features["concentration"][0] == pytest.approx(0, abs=0.3)
    assert features["compactness"][0] == pytest.approx(1, abs=0.15)
    assert features["fwhm"][0] == pytest.approx(0, abs=0.15)
    assert features["profile_match"][0] > 0.95
    assert features["asymmetry"][0] < 0.05
    assert features["dipole"][0] < 0.1
    assert features["negative_light"][0] < 0.1
    assert features["change"][0] > 0.9
    assert features["source_distance"][0] == 10


def test_what_has_faded_looks_as_what_has_brightened() -> None:
    brighter = changed(light_of([100.3, 50.0], [80.7, 150.0], [flux_at(60.0), flux_at(10.0)]))
    fainter = replace(brighter, data=-brighter.data)
    told = [
        candidate_features(
            quiet(4), quiet(5), difference, find_candidates(difference, ROUND), NO_SOURCES, ROUND
        )
        for difference in (brighter, fainter)
    ]
    np.testing.assert_allclose(told[0], told[1], rtol=1e-4, atol=1e-4)


def test_a_dipole_is_odd_and_explained_by_a_small_shift() -> None:
    star = 30 * flux_at(20.0)
    before, after = light_of([100.0], [100.0], [star]), light_of([100.2], [100.0], [star])
    sources = {"x": np.array([100.0]), "y": np.array([100.0]), "flux_psf": np.array([star])}
    _, features = described(after - before, before, sources)
    assert features["dipole"][:2].min() > 0.3
    assert features["negative_light"][:2].min() > 0.2
    assert 10 ** features["shift"][0] == pytest.approx(0.15, abs=0.1)
    assert features["source_distance"][0] < 1
    assert features["source_contrast"][0] > 0.5
    assert features["change"][0] < 0.5
    _, star_features = described(light_of([100.0], [100.0], [star]))
    assert star_features["shift"][0] > 1


def test_a_cosmic_ray_is_sharper_than_a_star() -> None:
    spike = np.zeros_like(light_of([], [], []))
    spike[100, 100] = 600
    _, features = described(spike)
    assert features["concentration"][0] > 1
    assert features["chi2"][0] > 0.8
    assert features["profile_match"][0] < 0.8


def test_neighbours_and_bright_stars_are_seen() -> None:
    x, y = [60.0, 75.0, 70.0, 200.0], [60.0, 60.0, 72.0, 180.0]
    bright = {"x": np.array([212.0]), "y": np.array([180.0]), "flux_psf": np.array([1e7])}
    candidates, features = described(light_of(x, y, np.full(4, flux_at(30.0))), sources=bright)
    alone = np.argmin(np.hypot(candidates["x"].value - 200, candidates["y"].value - 180))
    crowd = features["crowd"]
    assert crowd[alone] == 0
    assert np.delete(crowd, alone) == pytest.approx(np.log2(3))
    assert features["source_distance"][alone] == pytest.approx(4, abs=0.2)
    expected = np.log10(1e7 / flux_at(30.0) / 4**2)
    assert features["glare"][alone] == pytest.approx(expected, abs=0.1)


def test_flagged_pixels_are_counted_and_carry_nothing() -> None:
    light = light_of([100.0], [100.0], [flux_at(50.0)])
    _, features = described(light, HOT=(100, 101), SATURATED=(106, 100))
    assert 0 < features["flagged_pixels"][0] < 0.05
    assert 0 < features["saturated_pixels"][0] < 0.02


def test_a_sky_under_both_frames_changes_nothing() -> None:
    difference = changed(light_of([100.0], [100.0], [flux_at(50.0)]))
    candidates = find_candidates(difference, ROUND)
    frames = quiet(4), quiet(5)
    lifted = [replace(frame, data=frame.data + np.float32(3000)) for frame in frames]
    one, other = (
        candidate_features(*pair, difference, candidates, NO_SOURCES, ROUND) for pair in (frames, lifted)
    )
    np.testing.assert_allclose(one, other, atol=2e-3)


@pytest.mark.parametrize("factor", [0.01, 100.0])
def test_another_unit_of_flux_gives_the_same_features(factor: float) -> None:
    difference, frame = changed(light_of([100.0, 50.0], [100.0, 60.0], [9000.0, -7000.0])), quiet(8)
    candidates = find_candidates(difference, ROUND)
    other = candidates.copy()
    for name in ("flux", "flux_err"):
        other[name] = other[name] * factor
    here = candidate_features(frame, frame, difference, candidates, NO_SOURCES, ROUND)
    images = [
        Image(image.data * np.float32(factor), image.variance * np.float32(factor**2), image.mask)
        for image in (frame, frame, difference)
    ]
    np.testing.assert_allclose(
        candidate_features(*images, other, NO_SOURCES, ROUND), here, atol=2e-3, rtol=1e-3
    )


def test_the_same_star_under_another_seeing_has_the_same_features() -> None:
    told = []
    for fwhm in (3.0, 5.0):
        psf = guess_psf((240, 260), StarShape(fwhm, 0.0, 0.0, 0))
        difference = changed(light_of([100.0], [100.0], [flux_at(100.0, psf)], psf))
        candidates = find_candidates(difference, psf)[:1]
        told.append(candidate_features(quiet(4), quiet(5), difference, candidates, NO_SOURCES, psf)[0])
    shape = [FEATURE_NAMES.index(name) for name in ("fwhm", "compactness", "profile_match", "negative_light")]
    np.testing.assert_allclose(told[0][shape], told[1][shape], atol=0.12)


def test_a_quiet_night_has_no_features() -> None:
    difference = quiet()
    candidates = find_candidates(difference, ROUND)
    assert candidate_features(quiet(2), quiet(3), difference, candidates, NO_SOURCES, ROUND).shape == (0, 25)


def test_nonsense_in_dead_pixels_does_not_reach_the_features() -> None:
    difference = changed(light_of([100.0], [100.0], [flux_at(50.0)]))
    difference.mask[96:99, 100] = PixelFlag.NO_DATA
    difference.data[96:99, 100] = 1e9
    difference.variance[96:99, 100] = 0
    candidates = find_candidates(difference, ROUND)
    features = candidate_features(quiet(2), quiet(3), difference, candidates, NO_SOURCES, ROUND)
    assert np.isfinite(features).all()
    assert np.abs(candidates["flux"].value[0] / flux_at(50.0) - 1) < 0.1
    assert np.abs(features).max() < 1e3


def test_images_of_other_sizes_are_refused() -> None:
    with pytest.raises(WrongGeometry, match="science, reference"):
        candidate_features(quiet(), quiet(shape=(5, 5)), quiet(), QTable(), NO_SOURCES, ROUND)


def test_every_feature_is_explained() -> None:
    from inspect import getsource

    from toros.science import candidate_features as module

    explained = getsource(module).split('"""Columns of')[1].split('"""')[0]
    assert [line.split(" : ")[0] for line in explained.splitlines() if " : " in line] == list(FEATURE_NAMES)
