from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import correlate
from scipy.spatial import cKDTree
from starry_frames import Starry, random_stars, simulated_field, starry

from toros.errors import BadParameters, NotFinite, WrongGeometry
from toros.science.background import estimate_background
from toros.science.detect import Detections, _MatchedFilter, detect, estimate_fwhm, find_stars
from toros.science.flags import PixelFlag
from toros.sim import Conditions, Psf


def search(field: Starry, fwhm: float = 3.2, **options: float) -> Detections:
    background = estimate_background(field.data, field.mask)
    return detect(background.subtracted(field.data), field.mask, background, fwhm=fwhm, **options)


def distance_to(found: object, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return cKDTree(np.column_stack([found.x, found.y])).query(np.column_stack([x, y]))[0]


@pytest.fixture(scope="module")
def field() -> tuple[Starry, Psf]:
    return simulated_field((1024, 1024), density=20.0)


def test_faint_stars_are_found_as_often_as_their_signal_allows(field: tuple[Starry, Psf]) -> None:
    sky, psf = field
    found = search(sky)
    snr, near = sky.snr(psf), distance_to(found, sky.x, sky.y) < 2
    inside = sky.is_star & (np.minimum(sky.x, sky.y) > 3) & (np.maximum(sky.x, sky.y) < 1020)
    for low, high, least in ((5, 6, 0.65), (6, 8, 0.88), (8, 12, 0.93), (12, 1e9, 0.97)):
        chosen = inside & (snr >= low) & (snr < high)
        assert chosen.sum() > 60
        assert near[chosen].mean() > least
    strong = snr > 2
    false = distance_to(Starry(*[None] * 3, sky.x[strong], sky.y[strong], *[None] * 3), found.x, found.y) > 2
    assert false.mean() < 0.03


def test_noise_alone_gives_as_many_detections_as_the_normal_law_says() -> None:
    noise = np.random.default_rng(1).normal(0, 1, (1500, 1500)).astype(np.float32)
    mask = np.zeros(noise.shape, np.uint8)
    found = [len(detect(noise, mask, 1.0, fwhm=3.0, threshold=limit)) for limit in (3.5, 5.0)]
    # Peaks of a normal random field above u (Adler 1981): area 4 ln 2 / fwhm^2 (2 pi)^-1.5 u exp(-u^2 / 2).
    expected = 1500**2 * 4 * np.log(2) / 3.0**2 * (2 * np.pi) ** -1.5 * 3.5 * np.exp(-(3.5**2) / 2)
    assert found[0] == pytest.approx(expected, rel=0.3)
    assert found[1] <= 3


@pytest.mark.parametrize(("fwhm", "ellipticity"), [(1.5, 0.0), (3.0, 0.0), (3.0, 0.5), (9.0, 0.3)])
def test_the_filter_is_what_a_plain_correlation_gives(fwhm: float, ellipticity: float) -> None:
    rng = np.random.default_rng(2)
    frame = rng.normal(0, 1, (130, 150)).astype(np.float32)
    mask = (rng.random(frame.shape) < 0.02).astype(np.uint8)
    matched = _MatchedFilter(fwhm, ellipticity, 30.0)
    amount, weight = matched._filtered(frame, mask, slice(40, 90))
    profile = sum(np.outer(column, row) for column, row in matched.profile)
    square = sum(np.outer(column, row) for column, row in matched.square)
    rows = slice(40 - matched.reach, 90 + matched.reach)
    good = (mask == 0).astype(float)
    theirs = correlate(frame * good, profile, mode="constant")[max(rows.start, 0) : rows.stop]
    np.testing.assert_allclose(amount[max(-rows.start, 0) :][: len(theirs)], theirs, atol=1e-4)
    theirs = correlate(good, square, mode="constant")[max(rows.start, 0) : rows.stop]
    np.testing.assert_allclose(weight[max(-rows.start, 0) :][: len(theirs)], theirs, atol=1e-4)


def test_the_signal_to_noise_ratio_is_that_of_the_star() -> None:
    count = 100
    x, y = (values.ravel() + 0.3 for values in np.meshgrid(*[20.0 + 30 * np.arange(10)] * 2))
    psf = Psf(3.0, beta=10)
    field = starry(x, y, np.full(count, 1500.0), shape=(320, 320), psf=psf)
    found = search(field, 3.1)
    assert len(found) == count
    row, column = np.mgrid[-9:10, -9:10].astype(np.float32)
    expected = 1500 * np.sqrt(np.square(psf(column, row)).sum()) / field.noise
    assert np.mean(found.snr) == pytest.approx(expected, rel=0.03)
    assert np.std(found.snr) == pytest.approx(1.1, rel=0.25)


def test_two_stars_two_widths_apart_are_two() -> None:
    found = search(starry([100, 105.5], [100, 102], [2e4, 1e4]))
    assert len(found) == 2


def test_bad_pixels_that_are_masked_neither_hide_a_star_nor_make_one() -> None:
    field = starry([50.2, 120.0], [60.7, 150.0], [3000, 3000])
    field.data[61, 50] = field.data[100, 100] = 1e5
    field.mask[61, 50] = field.mask[100, 100] = PixelFlag.HOT
    field.data[:, 121] = 0
    field.mask[:, 121] = PixelFlag.DEAD
    found = search(field)
    assert len(found) == 2
    assert distance_to(found, field.x, field.y).max() < 0.6


def test_hot_pixels_and_cosmic_rays_that_nobody_masked_are_no_stars() -> None:
    field = starry([50.2], [60.7], [5000])
    rng = np.random.default_rng(3)
    for row, column in rng.integers(5, 195, (40, 2)):
        field.data[row, column] += rng.uniform(150, 5000)
    found = search(field)
    assert len(found) <= 2
    assert distance_to(found, field.x, field.y).max() < 0.6


def test_no_bump_in_the_wings_of_a_bright_star_is_a_source() -> None:
    field = starry([100], [100], [3e6])
    assert len(search(field)) == 1


def test_a_trailed_star_is_one_star() -> None:
    shape = (400, 400)
    x, y = (values.ravel() for values in np.meshgrid(*[40.0 + 64 * np.arange(6)] * 2))
    field = starry(x, y, np.full(36, 2e4), shape=shape, psf=Psf(3.0, ellipticity=0.75, angle=60))
    background = estimate_background(field.data)
    residual = background.subtracted(field.data)
    typical = estimate_fwhm(residual, field.mask, background)
    assert typical is not None
    assert typical.ellipticity == pytest.approx(0.7, abs=0.1)
    assert typical.angle == pytest.approx(60, abs=3)
    found = search(field, typical.fwhm, ellipticity=typical.ellipticity, angle=typical.angle)
    assert len(found) == 36


@pytest.mark.parametrize("fwhm", [1.8, 3.0, 6.0, 14.0])
def test_the_width_of_the_stars_is_found_in_any_seeing(fwhm: float) -> None:
    shape = (600, 600)
    field = starry(*random_stars(60, shape, 5e3, 2e5), shape=shape, psf=Psf(fwhm, beta=20))
    background = estimate_background(field.data, mesh=100)
    typical = estimate_fwhm(background.subtracted(field.data), field.mask, background)
    assert typical is not None
    assert typical.fwhm == pytest.approx(fwhm, rel=0.08)
    assert typical.ellipticity < 0.06


def test_without_stars_there_is_no_width_and_no_star() -> None:
    field = starry([], [], [])
    background = estimate_background(field.data)
    assert estimate_fwhm(background.subtracted(field.data), field.mask, background) is None
    stars = find_stars(field.data, field.mask)
    assert len(stars) == 0
    assert np.isnan(stars.fwhm)


def test_the_list_for_plate_solving_is_good_to_a_twentieth_of_a_pixel(field: tuple[Starry, Psf]) -> None:
    sky, psf = field
    stars = find_stars(sky.data, sky.mask)
    assert np.all(np.diff(stars.flux) <= 0)
    snr = sky.snr(psf)
    places = np.column_stack([sky.x, sky.y])
    alone = cKDTree(places).query_ball_point(places, 12, return_length=True) == 1
    bright = (
        sky.is_star & (snr > 80) & alone & (np.minimum(sky.x, sky.y) > 8) & (np.maximum(sky.x, sky.y) < 1015)
    )
    assert bright.sum() > 15
    assert np.sqrt(np.mean(distance_to(stars, sky.x[bright], sky.y[bright]) ** 2) / 2) < 0.05


def test_a_saturated_star_with_its_trail_is_one_flagged_star_at_its_place() -> None:
    field = starry([100.3, 40.0], [110.6, 40.0], [2e6, 2e4])
    field.data[field.data > 3e4] = 3e4
    field.data[60:160, 99:102] = 3e4  # charge overflows along the column
    field.mask[field.data >= 3e4] = PixelFlag.SATURATED
    stars = find_stars(field.data, field.mask)
    assert len(stars) == 2
    assert stars.saturated.tolist() == [True, False]
    assert np.hypot(stars.x[0] - 100.3, stars.y[0] - 110.6) < 0.1
    assert stars.flux[0] == pytest.approx(2e6, rel=0.4)


def test_saturated_hot_pixels_are_no_stars() -> None:
    field = starry([40.0], [40.0], [2e4])
    field.data[[100, 120, 121], [100, 60, 60]] = 6e4
    field.mask[field.data >= 6e4] = PixelFlag.SATURATED
    stars = find_stars(field.data, field.mask)
    assert stars.saturated.tolist() == [False]


def test_a_colour_sensor_does_not_burst_into_false_stars() -> None:
    field, _ = simulated_field((512, 512), conditions=Conditions(seeing=1.3, cosmic_ray_rate=0.0))
    plain = len(find_stars(field.data, field.mask))
    colours = field.data.copy()
    for (row, column), gain in zip(np.ndindex(2, 2), (1.0, 0.6, 0.6, 1.6), strict=True):
        colours[row::2, column::2] *= gain
    assert plain > 40
    assert len(find_stars(colours, field.mask)) == pytest.approx(plain, rel=0.25)


def test_what_cannot_be_searched_is_refused() -> None:
    frame, mask = np.zeros((50, 60), np.float32), np.zeros((50, 60), np.uint8)
    with pytest.raises(WrongGeometry):
        detect(frame, mask[1:], 1.0, fwhm=3.0)
    with pytest.raises(BadParameters):
        detect(frame, mask, 1.0, fwhm=0.0)
    frame[3, 3] = np.nan
    with pytest.raises(NotFinite):
        detect(frame, mask, 1.0, fwhm=3.0)
