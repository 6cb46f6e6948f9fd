from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from toros.errors import BadParameters, NoPlateSolution, TooFewStars
from toros.science.registration import Registration, StarList, register
from toros.science.resample import Polynomial, pixel_map

SHAPE = (600, 800)
MIDDLE = (399.5, 299.5)


def turned(
    angle: float = 0.0,
    dx: float = 0.0,
    dy: float = 0.0,
    scale: float = 1.0,
    *,
    mirrored: bool = False,
    bend: float = 0.0,
) -> Polynomial:
    """From the reference to the frame: turned by degrees around the middle, mirrored, shifted, bent by px."""
    turn = np.radians(angle)
    x_axis = 500 * scale * np.array([np.cos(turn), np.sin(turn)])
    y_axis = 500 * scale * (-1 if mirrored else 1) * np.array([-np.sin(turn), np.cos(turn)])
    start = [MIDDLE[0] + dx, MIDDLE[1] + dy]
    return Polynomial(MIDDLE, 500.0, np.array([start, x_axis, y_axis, [bend, 0], [0, bend], [-bend, bend]]))


def two_frames(
    truth: Polynomial, count: int = 120, *, missing: float = 0.2, error: float = 0.1, seed: int = 1
) -> tuple[StarList, StarList]:
    """The stars that two frames see of a field: some only on one of them, with errors of place and brightness."""
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(-200, 1000, 3 * count), rng.uniform(-200, 800, 3 * count)
    flux = 100 * 1000 ** rng.random(x.size)
    lists = []
    for places in (truth(x, y), (x, y)):
        seen = (rng.random(x.size) > missing) & (places[0] > 0) & (places[1] > 0)
        seen &= (places[0] < SHAPE[1] - 1) & (places[1] < SHAPE[0] - 1)
        size = np.count_nonzero(seen)
        px, py = (axis[seen] + rng.normal(0, error, size) for axis in places)
        lists.append(StarList(px, py, flux[seen] * rng.lognormal(0, 0.1, size), SHAPE))
    return lists[0], lists[1]


def error_of(found: Registration, truth: Polynomial) -> float:
    """By how many pixels it is wrong anywhere on the part that both frames see."""
    y, x = (axis.ravel().astype(float) for axis in np.mgrid[: SHAPE[0] : 20, : SHAPE[1] : 20])
    px, py = truth(x, y)
    both = (px > 0) & (py > 0) & (px < SHAPE[1] - 1) & (py < SHAPE[0] - 1)
    ours = found.transform(x, y)
    return float(np.hypot(ours[0] - px, ours[1] - py)[both].max())


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize(
    ("angle", "dx", "dy"), [(0, 0.3, 0.2), (0.5, 150, -120), (121, 10, 40), (180, -60, 5)]
)
def test_a_field_is_recognised_however_it_is_turned_shifted_and_mirrored(
    angle: float, dx: float, dy: float, mirrored: bool
) -> None:
    truth = turned(angle, dx, dy, mirrored=mirrored)
    stars, reference = two_frames(truth)
    found = register(stars, reference)
    assert error_of(found, truth) < 0.2
    assert found.mirrored == mirrored
    assert np.cos(np.radians(found.rotation - angle)) == pytest.approx(1, abs=1e-5)
    assert found.scale == pytest.approx(1, abs=1e-3)
    assert 0.1 < found.rms < 0.18  # errors of both frames
    assert found.n_stars == found.stars.size == found.reference_stars.size > 50


def test_the_pairs_are_the_same_stars() -> None:
    truth = turned(30, 20, 30)
    stars, reference = two_frames(truth, error=0.02)
    found = register(stars, reference)
    x, y = truth(reference.x[found.reference_stars], reference.y[found.reference_stars])
    assert np.hypot(x - stars.x[found.stars], y - stars.y[found.stars]).max() < 0.2


def test_a_bent_field_is_followed_where_the_stars_are_many() -> None:
    truth = turned(3, 5, 5, bend=1.5)
    stars, reference = two_frames(truth, 300)
    assert error_of(register(stars, reference), truth) < 0.15
    assert error_of(register(stars, reference, highest_order=1), truth) > 0.5


def test_few_stars_are_laid_on_each_other_without_bending() -> None:
    truth = turned(40, 10, 10, mirrored=True)
    stars, reference = two_frames(truth, 9, missing=0, error=0.02, seed=3)
    few = replace(reference, x=reference.x[:7], y=reference.y[:7], flux=reference.flux[:7])
    found = register(stars, few, false_alarm=1e-2)
    assert 5 <= found.n_stars <= 7
    matrix = found.transform.matrix
    assert matrix @ matrix.T == pytest.approx(found.scale**2 * np.eye(2), abs=1e-6)
    assert found.mirrored
    assert error_of(found, truth) < 0.2


def test_stars_in_a_corner_do_not_bend_the_whole_frame() -> None:
    truth = turned(0.2, 3, 3)
    stars, reference = two_frames(truth, 1500, seed=6)
    corner = (reference.x < 250) & (reference.y < 250)
    found = register(
        stars, replace(reference, **{name: getattr(reference, name)[corner] for name in ("x", "y", "flux")})
    )
    assert len(found.transform.coefficients) == 3
    assert found.n_stars > 30


def test_another_binning_is_found_if_it_is_told() -> None:
    truth = turned(10, 0, 0, 0.5)
    stars, reference = two_frames(truth, 200)
    found = register(stars, reference, scale=0.5)
    assert found.scale == pytest.approx(0.5, abs=1e-3)
    assert error_of(found, truth) < 0.15
    with pytest.raises(NoPlateSolution):
        register(stars, reference)


def test_the_transformation_maps_pixels() -> None:
    truth = turned(0, 12, 7)
    stars, reference = two_frames(truth, error=0.01)
    places = pixel_map(register(stars, reference).transform, SHAPE)
    assert places.nodes[:, 0, 0] == pytest.approx([12, 7], abs=0.02)


def test_another_field_is_not_taken_for_this_one() -> None:
    stars, _ = two_frames(turned(), seed=1)
    _, reference = two_frames(turned(), seed=2)
    with pytest.raises(NoPlateSolution, match="do not match"):
        register(stars, reference)


def test_a_handful_of_stars_proves_nothing() -> None:
    stars, reference = two_frames(turned())
    with pytest.raises(TooFewStars, match="4 stars"):
        register(replace(stars, x=stars.x[:4], y=stars.y[:4], flux=stars.flux[:4]), reference)
    with pytest.raises(TooFewStars, match="0 of its reference"):
        register(stars, StarList(np.zeros(0), np.zeros(0), np.zeros(0), SHAPE))


@pytest.mark.parametrize("wrong", [{"highest_order": 3}, {"scale": 0.0}, {"scale": float("nan")}])
def test_what_makes_no_sense_is_refused(wrong: dict) -> None:
    stars, reference = two_frames(turned())
    with pytest.raises(BadParameters):
        register(stars, reference, **wrong)
