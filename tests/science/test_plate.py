from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import MaskedColumn
from astropy.wcs import WCS
from astropy.wcs.utils import fit_wcs_from_points
from benchmarks.astrometry import Field, Observation

from toros.errors import BadParameters, NoPlateSolution, TooFewStars
from toros.science.plate import Hint, PlateSolution, solve_plate

SMALL = Observation(shape=(1024, 900), scale=1.2, density=6.0, hint_error=0.3, mirrored=None)
LARGE = Observation()


@pytest.fixture(scope="module")
def field() -> Field:
    return SMALL.take(1)


@pytest.fixture(scope="module")
def solution(field: Field) -> PlateSolution:
    return field.solve()


def grid(shape: tuple[int, int]) -> np.ndarray:
    x, y = np.meshgrid(np.linspace(0, shape[1] - 1, 20), np.linspace(0, shape[0] - 1, 20))
    return np.column_stack([x.ravel(), y.ravel()])


# --------------------------------------------------------------------------------------------- the sky


@pytest.mark.parametrize("seed", range(12))
def test_a_large_mirrored_frame_is_solved_to_hundredths_of_a_pixel(seed: int) -> None:
    field = LARGE.take(seed)
    solution = field.solve()
    assert field.is_solved_by(solution)
    assert math.sqrt((field.errors(solution.wcs) ** 2).mean()) < 0.02
    assert solution.mirrored
    assert solution.order == 3


@pytest.mark.parametrize("seed", range(24))
def test_small_frames_are_solved_wherever_they_point(seed: int) -> None:
    field = SMALL.take(seed)
    assert field.is_solved_by(field.solve())


def test_optics_that_bend_by_dozens_of_pixels_are_followed() -> None:
    wide = Observation((2048, 2048), 10.0, density=0.1, bend=40.0, hint_error=1.0, radius=1.5)
    field = wide.take(1)
    assert math.sqrt((field.errors(field.solve().wcs) ** 2).mean()) < 0.05


def test_a_trailed_and_blurred_frame_says_so_by_its_rms(field: Field) -> None:
    blurred = replace(SMALL, noise=0.7).take(1)
    solution = blurred.solve()
    assert solution.rms / solution.scale == pytest.approx(0.7, rel=0.1)


def test_what_is_said_of_a_frame_is_true(field: Field, solution: PlateSolution) -> None:
    height, width = field.shape
    x, y = (width - 1) / 2, (height - 1) / 2
    centre, above, beside = SkyCoord(field.wcs.all_pix2world([[x, y], [x, y + 1], [x + 1, y]], 0), unit="deg")
    said = SkyCoord(*solution.centre, unit="deg")
    turn = (centre.position_angle(beside) - centre.position_angle(above)).wrap_at("180d").deg
    assert said.separation(centre).arcsec < 0.05 * solution.scale
    assert solution.scale == pytest.approx(centre.separation(above).arcsec, rel=1e-4)
    assert solution.rotation % 360 == pytest.approx(centre.position_angle(above).deg % 360, abs=0.02)
    assert solution.mirrored == (turn > 0)
    hint = SkyCoord(field.hint.ra, field.hint.dec, unit="deg")
    assert solution.offset == pytest.approx(said.separation(hint).arcsec, abs=1e-6)


def test_the_pairs_are_the_true_ones_and_their_residuals_those_of_the_wcs(
    field: Field, solution: PlateSolution
) -> None:
    pixels = np.column_stack([field.x, field.y])[solution.detections]
    stars = field.stars[solution.stars]
    x, y = field.wcs.all_world2pix(stars["ra"], stars["dec"], 0)
    assert np.mean(np.hypot(x - pixels[:, 0], y - pixels[:, 1]) < 0.7) > 0.99
    assert len(set(solution.detections)) == len(set(solution.stars)) == solution.n_stars
    sky = SkyCoord(solution.wcs.all_pix2world(pixels, 0), unit="deg")
    apart = sky.separation(SkyCoord(stars["ra"], stars["dec"], unit="deg")).arcsec
    np.testing.assert_allclose(np.hypot(*solution.residuals.T), apart, atol=1e-4)
    assert solution.rms == pytest.approx(math.sqrt((apart**2).mean() / 2), rel=1e-4)
    assert solution.rms == pytest.approx(0.15 * solution.scale, rel=0.1)


# ----------------------------------------------------------------------------------------------- the WCS


def test_the_fit_is_as_good_as_that_of_astropy(field: Field, solution: PlateSolution) -> None:
    pixels = field.x[solution.detections], field.y[solution.detections]
    stars = field.stars[solution.stars]
    theirs = fit_wcs_from_points(
        pixels, SkyCoord(stars["ra"], stars["dec"], unit="deg"), projection="TAN", sip_degree=3
    )
    places = grid(field.shape)
    ours = SkyCoord(solution.wcs.all_pix2world(places, 0), unit="deg")
    apart = ours.separation(SkyCoord(theirs.all_pix2world(places, 0), unit="deg")).arcsec
    assert apart.max() < 0.05 * solution.scale


@pytest.mark.parametrize("order", [1, 2, 3, 4, 5])
def test_a_header_carries_the_solution_and_its_inverse(field: Field, order: int) -> None:
    solution = field.solve(highest_order=order)
    assert solution.order == order
    header = solution.wcs.to_header(relax=True)
    assert header["CTYPE1"] == ("RA---TAN" if order == 1 else "RA---TAN-SIP")
    header["NAXIS"], header["NAXIS1"], header["NAXIS2"] = 2, field.shape[1], field.shape[0]
    again = WCS(fits.Header.fromstring(header.tostring()))
    places = grid(field.shape)
    sky = solution.wcs.all_pix2world(places, 0)
    np.testing.assert_allclose(again.all_pix2world(places, 0), sky, rtol=0, atol=1e-9)
    if order > 1:
        ideal = again.wcs_world2pix(sky, 1)
        back = again.sip.foc2pix(ideal - again.wcs.crpix, 1)
        np.testing.assert_allclose(back - 1, places, rtol=0, atol=0.01)


def test_the_polynomials_follow_the_number_and_the_spread_of_the_stars(field: Field) -> None:
    assert field.solve().order == 3
    few = replace(SMALL, most=30, missing=0.0).take(2)
    assert few.solve().order == 1
    some = replace(SMALL, most=90, missing=0.0).take(2)
    assert some.solve().order == 2
    corner = (field.x < 500) & (field.y < 500)
    there = solve_plate(
        field.x[corner], field.y[corner], field.flux[corner], field.stars, field.shape, field.hint
    )
    assert there.order < 3
    assert there.n_stars > 90, "as many stars all over the frame would support more"


# ------------------------------------------------------------------------------------------- odd input


def test_the_order_of_what_is_given_does_not_matter(field: Field, solution: PlateSolution) -> None:
    rng = np.random.default_rng(1)
    one, other = rng.permutation(field.x.size), rng.permutation(len(field.stars))
    mixed = solve_plate(
        field.x[one], field.y[one], field.flux[one], field.stars[other], field.shape, field.hint
    )
    assert set(zip(one[mixed.detections], other[mixed.stars], strict=True)) == set(
        zip(solution.detections, solution.stars, strict=True)
    )


def test_detections_without_a_place_and_stars_without_a_magnitude_do_no_harm(field: Field) -> None:
    x, flux, stars = field.x.copy(), field.flux.copy(), field.stars.copy()
    x[::7], flux[::5] = np.nan, np.nan
    stars["mag"] = MaskedColumn(stars["mag"], mask=np.arange(len(stars)) % 6 == 0)
    solution = solve_plate(x, field.y, flux, stars, field.shape, field.hint)
    assert field.is_solved_by(solution)
    assert not (solution.detections % 7 == 0).any()


def test_whole_numbers_and_short_floats_are_taken_as_they_are(field: Field) -> None:
    rounded = np.rint(field.x).astype(np.int32), field.y.astype(np.float32)
    solution = solve_plate(*rounded, field.flux.astype(np.float32), field.stars, field.shape, field.hint)
    assert solution.rms == pytest.approx(
        math.sqrt((0.15**2 + (0.15**2 + 1 / 12)) / 2) * solution.scale, rel=0.15
    )


@pytest.mark.parametrize(
    ("limits", "error", "said"),
    [
        ({"least_stars": 5000}, TooFewStars, "at least 5000"),
        ({"rms_limit": 0.05}, NoPlateSolution, "at most 0.05 pixels"),
        ({"highest_order": 6}, BadParameters, "order 6"),
    ],
)
def test_limits_are_kept(field: Field, limits: dict[str, Any], error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        field.solve(**limits)


def test_stars_on_a_line_do_not_make_a_plate() -> None:
    line = np.linspace(50, 950, 40)
    truth = SMALL.take(3).wcs
    ra, dec = truth.all_pix2world(line, 0.3 * line + 100, 0)
    field = SMALL.take(3)
    stars = field.stars[:40].copy()
    stars["ra"], stars["dec"], stars["mag"] = ra, dec, np.linspace(10, 15, 40)
    with pytest.raises((TooFewStars, NoPlateSolution)):
        solve_plate(line, 0.3 * line + 100, np.linspace(40, 1, 40), stars, field.shape, field.hint)


def test_nothing_to_solve_is_an_error_that_says_so(field: Field) -> None:
    nothing = np.empty(0)
    with pytest.raises(TooFewStars, match="0 detections"):
        solve_plate(nothing, nothing, nothing, field.stars, field.shape, field.hint)
    with pytest.raises(TooFewStars, match="0 catalogue stars"):
        solve_plate(field.x, field.y, field.flux, field.stars[:0], field.shape, field.hint)
    with pytest.raises(TooFewStars, match="0 detections"):
        solve_plate(field.x * np.nan, field.y, field.flux, field.stars, field.shape, field.hint)
    with pytest.raises(BadParameters, match="shapes"):
        solve_plate(field.x[1:], field.y, field.flux, field.stars, field.shape, field.hint)
    with pytest.raises(BadParameters, match="mag"):
        solve_plate(field.x, field.y, field.flux, field.stars["ra", "dec"], field.shape, field.hint)
    with pytest.raises(BadParameters):
        Hint(0.0, 100.0)
