from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from benchmarks.astrometry import Field, Observation
from scipy.spatial import cKDTree

from toros.errors import BadParameters, NoPlateSolution, TooFewStars
from toros.science.plate_matching import (
    ARCSEC,
    Hint,
    PlateMatch,
    TangentPlane,
    _chance,
    _Frame,
    _triangles,
    match_plate,
    nearest_pairs,
    unit_vectors,
)

SMALL = Observation(shape=(1024, 1024), scale=1.2, density=4.0, hint_error=0.4, mirrored=None)


def match(field: Field, hint: Hint | None = None) -> PlateMatch:
    bright = np.argsort(-field.flux)
    stars = field.stars[np.argsort(field.stars["mag"])]
    x, y = field.x[bright], field.y[bright]
    return match_plate(
        x, y, np.asarray(stars["ra"]), np.asarray(stars["dec"]), field.shape, hint or field.hint
    )


def misses(field: Field, found: PlateMatch) -> np.ndarray:
    """By how many pixels the pairs are wrong."""
    bright = np.argsort(-field.flux)[found.detections]
    star = np.argsort(field.stars["mag"])[found.stars]
    x, y = field.wcs.all_world2pix(field.stars["ra"][star], field.stars["dec"][star], 0)
    return np.hypot(x - field.x[bright], y - field.y[bright])


# ------------------------------------------------------------------------------------- where it must work


@pytest.mark.parametrize("seed", range(10))
def test_a_field_is_found_in_a_catalogue_many_times_its_size(seed: int) -> None:
    field = SMALL.take(seed)
    found = match(field)
    assert found.detections.size > 50
    assert np.mean(misses(field, found) < 1) > 0.95
    assert found.chance < -20


@pytest.mark.parametrize("mirrored", [False, True])
def test_both_parities_are_told_apart(mirrored: bool) -> None:
    found = match(replace(SMALL, mirrored=mirrored).take(1))
    assert (np.linalg.det(found.pointing.matrix) > 0) == mirrored


@pytest.mark.parametrize("dec", [-90.0, 89.9, 60.0, 0.0])
def test_the_pole_of_the_sky_is_a_place_like_others(dec: float) -> None:
    field = replace(SMALL, dec=dec).take(2)
    assert np.mean(misses(field, match(field)) < 1) > 0.95


def test_a_field_across_right_ascension_zero_is_found() -> None:
    field = SMALL.take(3)
    stars = field.stars.copy()
    stars["ra"] = (stars["ra"] - field.hint.ra) % 360
    found = match(replace(field, stars=stars, hint=replace(field.hint, ra=0.0)))
    assert found.chance < -20
    assert stars["ra"].max() - stars["ra"].min() > 359


def test_from_scale_alone_a_field_is_found_degrees_away() -> None:
    field = replace(SMALL, density=1.0, hint_error=3.0, radius=4.0).take(4)
    assert np.mean(misses(field, match(field)) < 1) > 0.95


def test_a_field_is_found_without_a_scale() -> None:
    field = replace(SMALL, hint_error=0.3).take(5)
    found = match(field, replace(field.hint, scale=None))
    assert found.pointing.scale == pytest.approx(1.2, rel=0.02)
    assert np.mean(misses(field, found) < 1) > 0.95


@pytest.mark.parametrize("seed", range(4))
def test_a_catalogue_of_the_brightest_stars_only_is_enough(seed: int) -> None:
    """Some ten stars of the catalogue are among two hundred detections."""
    field = replace(SMALL, most=170, faint=14.6, missing=0.1).take(seed)
    found = match(field)
    assert 6 <= found.detections.size <= 25
    assert (misses(field, found) < 3).all()


@pytest.mark.parametrize("seed", range(4))
def test_twenty_detections_are_found_in_a_catalogue_of_thousands(seed: int) -> None:
    field = replace(SMALL, density=20.0, most=17).take(seed)
    assert field.x.size < 25
    assert np.mean(misses(field, match(field)) < 3) > 0.9


def test_bad_positions_and_as_many_ghosts_as_stars_are_overcome() -> None:
    field = replace(SMALL, noise=0.7, spurious=0.5, missing=0.3).take(7)
    assert np.mean(misses(field, match(field)) < 4) > 0.9


def test_a_crowded_field_is_found() -> None:
    field = replace(SMALL, density=40.0).take(8)
    assert field.x.size > 4000
    assert np.mean(misses(field, match(field)) < 1) > 0.95


# --------------------------------------------------------------------------------- where it must not believe


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(
    "observation",
    [SMALL, replace(SMALL, most=170, faint=14.6), replace(SMALL, shape=(300, 300), scale=2.0)],
    ids=["usual", "few stars", "tiny frame"],
)
def test_a_frame_of_other_stars_is_never_found(observation: Observation, seed: int) -> None:
    field, elsewhere = observation.take(seed), observation.take(seed + 100)
    with pytest.raises((NoPlateSolution, TooFewStars)):
        match(replace(field, stars=elsewhere.stars, hint=elsewhere.hint))


def test_a_clump_of_detections_does_not_pass_for_a_field() -> None:
    """Everything lies in one corner, as the ghosts of a bright star do."""
    field = SMALL.take(9)
    rng = np.random.default_rng(9)
    x, y = rng.normal(200, 15, (2, field.x.size))
    with pytest.raises(NoPlateSolution):
        match(replace(field, x=x, y=y))


def test_a_field_of_another_scale_is_not_found_and_the_error_says_what_was_tried() -> None:
    field = SMALL.take(10)
    hint = replace(field.hint, scale=1.5)
    with pytest.raises(NoPlateSolution) as error:
        match(field, hint)
    said = error.value.message
    assert f"{field.x.size} detections" in said
    assert f"{len(field.stars)} catalogue stars" in said
    assert "within 0.5 degrees" in said
    assert "1.5 arcsec/px within 3.0%" in said


def test_a_field_beyond_the_radius_of_the_hint_is_not_found() -> None:
    field = SMALL.take(11)
    with pytest.raises(NoPlateSolution):
        match(field, replace(field.hint, radius=0.2))


def test_four_detections_are_too_few_and_so_are_seven_stars() -> None:
    field = SMALL.take(12)
    with pytest.raises(TooFewStars, match="4 detections"):
        match(replace(field, x=field.x[:4], y=field.y[:4], flux=field.flux[:4]))
    ghosts = np.random.default_rng(12).uniform(0, 1024, (2, 7))
    with pytest.raises(TooFewStars, match="7 detections"):
        match(replace(field, x=ghosts[0], y=ghosts[1], flux=np.ones(7)))


@pytest.mark.parametrize(
    "wrong",
    [
        {"ra": math.nan},
        {"dec": 91.0},
        {"radius": 0.0},
        {"scale": -1.0},
        {"scale": math.nan},
        {"scale_range": 1.5},
    ],
)
def test_a_hint_that_makes_no_sense_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(BadParameters):
        Hint(**({"ra": 10.0, "dec": 20.0} | wrong))


# --------------------------------------------------------------------------------------------------- parts


def test_the_tangent_plane_is_that_of_astropy() -> None:
    plane = TangentPlane(120.0, -62.0)
    rng = np.random.default_rng(1)
    ra, dec = 120 + rng.uniform(-2, 2, 50), -62 + rng.uniform(-1, 1, 50)
    places = plane.project(unit_vectors(ra, dec))
    centre = SkyCoord(120.0, -62.0, unit="deg")
    east, north = centre.spherical_offsets_to(SkyCoord(ra, dec, unit="deg"))
    longitude, latitude = east.rad, north.rad
    expected = np.column_stack([np.tan(longitude), np.tan(latitude) / np.cos(longitude)]) * ARCSEC
    np.testing.assert_allclose(places, expected, atol=1e-6)
    assert plane.sky(places[7]) == pytest.approx((ra[7], dec[7]), abs=1e-10)


def test_every_triangle_of_near_neighbours_is_listed_once_with_its_sides() -> None:
    points = np.random.default_rng(2).uniform(0, 100, (9, 2))
    found = _triangles(points, 8, shortest=0.0)
    assert len({tuple(sorted(corners)) for corners in found.vertices.tolist()}) == len(found.sides) == 84
    a, b, c = (points[found.vertices[:, i]] for i in range(3))
    for side, (one, other) in enumerate([(b, c), (a, c), (a, b)]):
        np.testing.assert_allclose(found.sides[:, side], np.hypot(*(one - other).T))
    assert (np.diff(found.sides, axis=1) >= 0).all()


def test_a_point_is_paired_with_its_nearest_place_only() -> None:
    points, places, distances = nearest_pairs(
        cKDTree([[0.0, 0.0], [10.0, 0.0]]), np.array([[0.0, 2.0], [0.0, 1.0], [10.0, 0.5], [20.0, 0.0]]), 3.0
    )
    assert points.tolist() == [0, 1]
    assert places.tolist() == [1, 2]
    assert distances.tolist() == [1.0, 0.5]


def test_the_chance_of_meetings_is_that_of_stars_strewn_at_random() -> None:
    """The limit of one brightness in 36 that chance passes most easily is counted once, not 36 times."""
    rng = np.random.default_rng(3)
    frame = _Frame(*rng.uniform(0, 1000, (2, 60)), (1000, 1000))
    radius, chances = 25.0, []
    for _ in range(2000):
        stars = rng.uniform(-500, 500, (40, 2))
        detections, met, _ = nearest_pairs(frame.tree, stars, radius)
        chances.append(_chance(frame, stars, detections, met, radius))
    for level in (1e-2, 1e-3):
        assert np.mean(10 ** np.array(chances) < level) < 36 * level
