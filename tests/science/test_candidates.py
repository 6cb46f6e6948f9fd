from __future__ import annotations

import numpy as np
import pytest
from astropy import units as u
from astropy.table import QTable
from changed_skies import NOISE, ROUND, SHAPE, changed, flux_at, light_of, quiet
from photutils.detection import find_peaks
from scipy.ndimage import gaussian_filter

from toros.errors import BadParameters, NotFinite, WrongGeometry
from toros.science.candidates import MOST_CANDIDATES, CandidateFlag, find_candidates
from toros.science.flags import PixelFlag
from toros.science.psf import guess_psf
from toros.science.shapes import StarShape

X, Y = np.array([40.3, 120.8, 200.1, 60.5]), np.array([50.2, 80.4, 150.9, 190.0])


def flagged(candidates: QTable, flag: CandidateFlag) -> np.ndarray:
    return (np.asarray(candidates["flags"]) & int(flag)) != 0


def nearest(candidates: QTable, x: float, y: float) -> int:
    distance = np.hypot(candidates["x"].value - x, candidates["y"].value - y)
    assert distance.min() < 2
    return int(np.argmin(distance))


def test_what_brightened_and_what_faded_is_found_with_its_flux() -> None:
    flux = np.array([1, -1, 3, -5]) * flux_at(20.0)
    found = find_candidates(changed(light_of(X, Y, flux)), ROUND)
    assert len(found) == 4
    rows = [nearest(found, *place) for place in zip(X, Y, strict=True)]
    pull = (found["flux"].value[rows] - flux) / found["flux_err"].value[rows]
    assert np.abs(pull).max() < 3.5
    assert found["sign"][rows].tolist() == [1, -1, 1, -1]
    assert np.abs(found["x"].value[rows] - X).max() < 0.2
    assert np.all(np.asarray(found["flags"]) == 0)
    assert np.all(np.diff(found["snr"]) <= 0)
    assert found["flux"].unit == u.electron
    assert found["x"].unit == u.pix


def test_fluxes_scatter_by_their_errors_and_the_fit_is_good() -> None:
    grid = np.arange(20.0, 580, 25)
    x, y = (values.ravel() for values in np.meshgrid(grid, grid))
    psf = guess_psf((600, 600), StarShape(3.2, 0.1, 40.0, 0))
    flux = np.geomspace(10, 300, x.size) * NOISE * psf.noise_area**0.5
    found = find_candidates(changed(light_of(x, y, flux, psf)), psf)
    rows = [nearest(found, *place) for place in zip(x, y, strict=True)]
    pull = (found["flux"].value[rows] - flux) / found["flux_err"].value[rows]
    assert np.std(pull) == pytest.approx(1, abs=0.12)
    assert np.median(found["chi2"]) == pytest.approx(1, abs=0.1)
    assert np.median(found["fwhm"].value[rows]) == pytest.approx(psf.fwhm, rel=0.05)
    assert np.mean(np.asarray(found["flags"])[rows] != 0) < 0.01


def test_a_quiet_sky_has_no_candidates() -> None:
    found = find_candidates(quiet(shape=(700, 700)), guess_psf((700, 700), StarShape(3.0, 0, 0, 0)))
    assert len(found) == 0
    assert "chi2" in found.colnames


def test_noise_that_is_known_to_be_larger_makes_no_candidates() -> None:
    image = quiet()
    image.data[100:140, 100:140] *= 6
    image.variance[100:140, 100:140] *= 36
    assert len(find_candidates(image, ROUND)) == 0


def test_as_many_faint_changes_are_found_as_with_peaks_of_a_smoothed_frame() -> None:
    grid = np.arange(20.0, 480, 20)
    x, y = (values.ravel() for values in np.meshgrid(grid, grid))
    psf = guess_psf((500, 500), StarShape(3.0, 0.0, 0.0, 0))
    image = changed(light_of(x, y, np.full(x.size, flux_at(7.0, psf)), psf))
    found = find_candidates(image, psf)
    smooth = gaussian_filter(image.data / NOISE, 3.0 / 2.355)
    peaks = find_peaks(smooth, 5 * np.std(gaussian_filter(quiet(7, (500, 500)).data / NOISE, 3.0 / 2.355)))
    counts = []
    for found_x, found_y in (
        (found["x"].value, found["y"].value),
        (peaks["x_peak"], peaks["y_peak"]),
    ):
        near = np.hypot(x[:, None] - np.asarray(found_x), y[:, None] - np.asarray(found_y)).min(axis=1) < 2
        counts.append(near.mean())
    assert counts[0] > 0.9
    assert counts[0] >= counts[1] - 0.05, "photons of the stars themselves count as noise here"


def test_a_star_that_was_not_aligned_is_a_dipole() -> None:
    star = 40 * flux_at(20.0)
    moved = light_of([100.2], [100.0], [star]) - light_of([100.0], [100.0], [star])
    found = find_candidates(changed(moved), ROUND)
    assert len(found) >= 2
    assert flagged(found, CandidateFlag.DIPOLE)[:2].all()
    assert sorted(found["sign"][:2]) == [-1, 1]


def test_a_new_star_beside_a_fading_one_is_no_dipole() -> None:
    found = find_candidates(changed(light_of([100.0, 104.0], [100, 100], [2e4, -4e3])), ROUND)
    assert not flagged(found, CandidateFlag.DIPOLE).any()


def test_a_cosmic_ray_that_nobody_flagged_is_too_sharp() -> None:
    image = changed(light_of([200.0], [60.0], [flux_at(30.0)]))
    image.data[100, 100] += 60 * NOISE
    image.data[150, 120:122] += 30 * NOISE
    image.data[200, 50] -= 20 * NOISE
    found = find_candidates(image, ROUND)
    rows = [nearest(found, *place) for place in ((100, 100), (120.5, 150), (50, 200), (200, 60))]
    assert flagged(found, CandidateFlag.COSMIC_RAY)[rows].tolist() == [True, True, True, False]
    assert found["sign"][rows[2]] == -1


@pytest.mark.parametrize("angle", [0.0, 27.0, 90.0])
def test_the_trail_of_a_satellite_is_one_candidate(angle: float) -> None:
    row, column = np.mgrid[: SHAPE[0], : SHAPE[1]].astype(np.float32)
    turn = np.radians(angle)
    across = (column - 130) * np.sin(turn) - (row - 120) * np.cos(turn)
    trail = (5 * NOISE * np.exp(-0.5 * (across / 1.3) ** 2)).astype(np.float32)
    beside = light_of([60.0], [25.0 if angle else 210.0], [flux_at(40.0)])
    found = find_candidates(changed(trail + beside), ROUND)
    trails = flagged(found, CandidateFlag.TRAIL)
    assert trails.sum() == 1
    assert found["members"][trails][0] > 10
    assert np.count_nonzero(~trails & (found["snr"] > 20)) == 1, "the star beside it is not part of it"


def test_a_short_streak_is_a_trail() -> None:
    steps = np.linspace(0, 9, 40)
    streak = light_of(100 + steps, 120 + 0.3 * steps, np.full(40, flux_at(60.0) / 40))
    found = find_candidates(changed(streak), ROUND)
    assert flagged(found, CandidateFlag.TRAIL)[0]


def test_a_field_of_new_stars_is_no_trail() -> None:
    rng = np.random.default_rng(3)
    x, y = rng.uniform(10, 230, (2, 120))
    found = find_candidates(changed(light_of(x, y, np.full(120, flux_at(40.0)))), ROUND)
    assert not (found["members"] > 1).any()


def test_what_the_mask_says_is_said_of_the_candidates() -> None:
    x = np.array([40.0, 90.0, 140.0, 190.0, 3.0])
    image = changed(light_of(x, np.full(5, 100.0), np.full(5, flux_at(50.0))))
    for column, flag in (
        (42, PixelFlag.HOT),
        (92, PixelFlag.COSMIC_RAY),
        (146, PixelFlag.SATURATED),
        (197, PixelFlag.DEAD),
    ):
        image.mask[100, column] = flag
    found = find_candidates(image, ROUND)
    flags = [CandidateFlag(int(found["flags"][nearest(found, place, 100.0)])) for place in x]
    assert flags == [
        CandidateFlag.BAD_PIXELS,
        CandidateFlag.COSMIC_RAY,
        CandidateFlag.NEAR_SATURATED,
        CandidateFlag(0),
        CandidateFlag.EDGE,
    ]


def test_a_known_variable_is_named_so() -> None:
    found = find_candidates(
        changed(light_of(X, Y, np.full(4, flux_at(30.0)))),
        ROUND,
        known=np.array([[X[1] + 1, Y[1]], [5.0, 5.0]]),
    )
    variable = flagged(found, CandidateFlag.ON_KNOWN_VARIABLE)
    assert np.flatnonzero(variable).tolist() == [nearest(found, X[1], Y[1])]


def test_a_failed_subtraction_does_not_drown_the_night() -> None:
    shape = (1200, 1200)
    image = quiet(shape=shape)
    image.data[:] *= 4
    found = find_candidates(image, guess_psf(shape, StarShape(2.5, 0, 0, 0)), threshold=4.0)
    assert len(found) <= MOST_CANDIDATES
    assert len(found) > MOST_CANDIDATES / 2


def test_the_difference_is_left_as_it_was() -> None:
    image = changed(light_of(X, Y, np.full(4, flux_at(30.0))))
    before = image.data.copy()
    find_candidates(image, ROUND)
    np.testing.assert_array_equal(image.data, before)


def test_what_cannot_be_searched_is_refused() -> None:
    with pytest.raises(BadParameters, match="finds everything"):
        find_candidates(quiet(), ROUND, threshold=0)
    with pytest.raises(WrongGeometry, match="point-spread function"):
        find_candidates(quiet(shape=(50, 60)), ROUND)
    broken = quiet()
    broken.data[5, 5] = np.nan
    with pytest.raises(NotFinite):
        find_candidates(broken, ROUND)
