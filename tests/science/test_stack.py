from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from photutils.aperture import CircularAperture, aperture_photometry
from scipy.ndimage import maximum_filter
from starry_frames import random_stars

from toros.errors import BadParameters, TooFewFrames, WrongGeometry
from toros.science.background import estimate_background
from toros.science.calibrate import variance_of
from toros.science.flags import PixelFlag
from toros.science.resample import CORRELATION, Polynomial, pixel_map
from toros.science.stack import Stack, StackFrame, stack, stack_weights
from toros.sim import Psf, add_stars

SHAPE = (320, 330)
SKY, READ_NOISE = 300.0, 8.0
STARS = random_stars(45, SHAPE, 3e3, 2e5, seed=11)
INNER = np.s_[25:-25, 25:-25]


def variance_recipe(data: np.ndarray, rows: slice) -> np.ndarray:
    return variance_of(data, read_noise=READ_NOISE)


def frame(
    number: int = 0,
    *,
    fwhm: float = 3.0,
    transparency: float = 1.0,
    sky: float = SKY,
    stars: list | None = None,
    drift: float = 8.0,
) -> StackFrame:
    """A frame of the field, shifted and turned at random, through some cloud and seeing."""
    rng = np.random.default_rng([number, 77])
    (dx, dy), turn = rng.uniform(-drift, drift, 2), np.radians(rng.uniform(-0.5, 0.5) * (drift > 0))
    axes = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    transform = Polynomial((165.0, 160.0), 1.0, np.array([[165 + dx, 160 + dy], *axes]))
    x, y, flux = STARS if stars is None else stars
    light = np.full(SHAPE, sky, np.float32)
    add_stars(light, *transform(x, y), transparency * flux, Psf(fwhm))
    data = (rng.poisson(light) + rng.normal(0, READ_NOISE, SHAPE)).astype(np.float32)
    mask = np.zeros(SHAPE, np.uint8)
    places = pixel_map(transform, SHAPE)
    return StackFrame(data, mask, variance_recipe, places, sky, 1 / transparency, fwhm=fwhm)


def struck(one: StackFrame, y: int | slice, x: int | slice, light: float) -> StackFrame:
    data = np.array(one.data[:])
    data[y, x] += light
    return replace(one, data=data)


def noise_ratio(result: Stack, quiet: np.ndarray) -> float:
    """Scatter of the sky over what the variance says."""
    chi = result.image.data[quiet] / np.sqrt(result.image.variance[quiet])
    return float(chi.std())


def no_stars() -> list:
    return [np.zeros(0), np.zeros(0), np.zeros(0)]


def fluxes(result: Stack, radius: float = 9.0) -> tuple[np.ndarray, np.ndarray]:
    """Fluxes of lonely stars in the stack over the true ones, and the relative errors of these ratios."""
    x, y, flux = STARS
    distance = np.hypot(x - x[:, np.newaxis], y - y[:, np.newaxis]) + 1e3 * np.eye(x.size)
    chosen = (distance.min(axis=1) > 22) & (np.minimum(x, y) > 30) & (x < 300) & (y < 290) & (flux > 2e4)
    circles = CircularAperture(np.column_stack([x, y])[chosen], radius)
    table = aperture_photometry(
        result.image.data, circles, error=np.sqrt(result.image.variance * CORRELATION)
    )
    within = 1 - 1 / (1 + (radius / Psf(3.0).core[0]) ** 2) ** 2
    return (
        np.asarray(table["aperture_sum"]) / flux[chosen] / within,
        np.asarray(table["aperture_sum_err"]) / flux[chosen],
    )


# ------------------------------------------------------------------------------------------------- depth


@pytest.mark.parametrize("count", [1, 2, 3, 8])
def test_n_frames_go_deeper_by_the_root_of_n_and_the_noise_is_told_truly(count: int) -> None:
    result = stack([frame(number, stars=no_stars()) for number in range(count)])
    quiet = np.zeros(SHAPE, bool)
    quiet[INNER] = True
    assert (result.n_frames[INNER] >= count - 1).all()
    assert result.n_frames[INNER].mean() > count - 0.01
    assert noise_ratio(result, quiet) == pytest.approx(1, abs=0.03)
    blocks = result.image.data[30:-40, 30:-30].reshape(25, 10, 27, 10).mean(axis=(1, 3))
    expected = np.sqrt((SKY + READ_NOISE**2) / count) / 10
    assert blocks.std() == pytest.approx(expected, rel=0.12)


def test_stars_keep_their_flux() -> None:
    ratio, error = fluxes(stack([frame(number) for number in range(6)]))
    assert ratio.size >= 7
    mean = np.average(ratio, weights=error**-2)
    assert mean == pytest.approx(1, abs=0.003)
    assert np.sqrt(np.mean(np.square((ratio - mean) / error))) < 1.6


def test_stars_keep_their_flux_when_the_seeing_differs_by_half() -> None:
    frames = [frame(number, fwhm=fwhm) for number, fwhm in enumerate([3.0, 3.0, 4.5, 4.5, 4.5, 3.7])]
    result = stack(frames)
    plain = np.mean([one.aligned(slice(None)).data for one in frames], axis=0)
    mask = np.all([one.aligned(slice(None)).mask == 0 for one in frames], axis=0)
    bright = (plain > 500) & mask
    bright[:20] = bright[-20:] = False
    assert bright.sum() > 300
    assert result.image.data[bright].sum() / plain[bright].sum() == pytest.approx(1, abs=0.003)
    assert (result.n_frames[bright] == 6).mean() > 0.999


def test_frames_through_clouds_are_brought_to_one_scale_and_count_less() -> None:
    clouds = [1.0, 0.5, 0.8, 0.3]
    frames = [frame(number, transparency=part) for number, part in enumerate(clouds)]
    weights = stack_weights(
        -2.5 * np.log10(1 / np.array(clouds)), np.full(4, 19.0), np.full(4, 3.0), np.full(4, 60.0)
    )
    assert weights.standard == 0
    np.testing.assert_allclose(weights.scale, 1 / np.array(clouds))
    np.testing.assert_allclose(weights.weight, np.square(clouds))
    weighted = [
        replace(one, scale=scale, weight=weight)
        for one, scale, weight in zip(frames, weights.scale, weights.weight, strict=True)
    ]
    result, even = stack(weighted), stack(frames)
    assert np.mean(fluxes(result)[0]) == pytest.approx(1, abs=0.005)
    assert np.median(result.image.variance[INNER]) < 0.6 * np.median(even.image.variance[INNER])


def test_the_sky_of_each_frame_is_taken_away() -> None:
    frames = []
    for number, sky in enumerate([200.0, 500.0, 900.0]):
        one = frame(number, sky=sky)
        frames.append(replace(one, sky=estimate_background(np.asarray(one.data[:]), mesh=64)))
    data = stack(frames).image.data[INNER]
    assert abs(np.median(data)) < 2


# ---------------------------------------------------------------------------------- what does not belong


@pytest.mark.parametrize("count", [3, 5])
def test_a_satellite_and_cosmic_rays_vanish(count: int) -> None:
    frames = [frame(number) for number in range(count)]
    clean = stack(frames)
    hits = [(60, 70), (151, 222), (250, 40)]
    dirty = struck(frames[1], slice(140, 143), slice(None), 400.0)
    for y, x in hits:
        dirty = struck(dirty, y, x, 5000.0)
    result = stack([frames[0], dirty, *frames[2:]])
    difference = np.abs(result.image.data - clean.image.data)[INNER] / np.sqrt(clean.image.variance[INNER])
    # before and beside a bright star a trail may stay: it could be better seeing
    dark = maximum_filter(clean.image.data, 7)[INNER] < 150
    sky = dark & (clean.n_frames[INNER] == count)
    assert np.percentile(difference[sky], 99.9) < 4
    assert difference[sky].max() < 8
    assert result.clipped[1] > 2 * 330 / (320 * 330)
    assert result.clipped[[0, 2]].max() < 1e-3
    assert (result.n_frames[INNER] == count - 1).sum() > 2 * 280


def test_an_asteroid_vanishes() -> None:
    frames = []
    for number in range(5):
        one = frame(number, drift=0.0)
        data = np.array(one.data[:])
        add_stars(data, np.array([100.0 + 12 * number]), np.array([33.0]), np.array([2e4]), Psf(3.0))
        frames.append(replace(one, data=data))
    clean = stack([frame(number, drift=0.0) for number in range(5)])
    result = stack(frames)
    path = np.s_[28:39, 95:155]
    left = (result.image.data - clean.image.data)[path].sum()
    assert left < 0.15 * 2e4  # faint wings of each of the five images stay


def test_of_two_frames_only_gross_light_on_one_is_dropped() -> None:
    frames = [frame(number) for number in range(2)]
    clean = stack(frames)
    result = stack([frames[0], struck(frames[1], 200, 180, 20_000.0)])
    inner = np.abs(result.image.data - clean.image.data)[INNER]
    assert inner.max() < 150
    assert clean.clipped.max() < 1e-4
    assert 0 < result.clipped[1] < 1e-3
    assert result.clipped[0] < 1e-4


def test_a_single_frame_passes() -> None:
    one = struck(frame(0, drift=0.0), 200, 180, 20_000.0)
    result = stack([one])
    np.testing.assert_allclose(result.image.data, np.asarray(one.data[:]) - SKY, rtol=1e-4, atol=0.01)
    assert result.clipped == 0
    assert (result.n_frames == 1).all()


# ------------------------------------------------------------------------------------- masks and geometry


def test_flagged_pixels_are_left_out_where_others_are_good() -> None:
    frames = [frame(number, drift=0.0) for number in range(3)]
    frames[1].mask[100, 100] = int(PixelFlag.HOT)
    for one in frames:
        one.mask[50, 60] = int(PixelFlag.DEAD)
    result = stack(frames)
    assert result.image.mask[100, 100] == 0
    assert result.n_frames[100, 100] == 2
    assert result.image.mask[50, 60] == int(PixelFlag.DEAD)
    assert result.n_frames[50, 60] == 0


def test_a_star_that_is_saturated_in_one_frame_is_flagged_and_a_cosmic_ray_is_not() -> None:
    frames = [frame(number, drift=0.0) for number in range(3)]
    frames[0].mask[100, 100] = int(PixelFlag.SATURATED)
    frames[0].mask[110, 100] = int(PixelFlag.SATURATED | PixelFlag.COSMIC_RAY)
    result = stack(frames)
    assert result.image.mask[100, 100] == int(PixelFlag.SATURATED)
    assert result.image.mask[110, 100] == 0


def test_what_no_frame_sees_is_no_data() -> None:
    away = pixel_map(Polynomial((0.0, 0.0), 1.0, np.array([[0, -100.5], [1, 0], [0, 1.0]])), SHAPE)
    result = stack([replace(frame(number), places=away) for number in range(3)])
    assert (result.image.mask[:98] == int(PixelFlag.NO_DATA)).all()
    assert (result.image.data[:98] == 0).all()
    assert (result.n_frames[:98] == 0).all()
    assert (result.n_frames[110:-10, 5:-5] > 0).all()
    assert np.isfinite(result.image.variance).all()


def test_bands_leave_no_seams(monkeypatch: pytest.MonkeyPatch) -> None:
    frames = [struck(frame(number), 90 + 20 * number, slice(None), 300.0) for number in range(4)]
    whole = stack(frames)
    monkeypatch.setattr("toros.science.stack._BAND_BYTES", 1)
    bands = stack(frames)
    np.testing.assert_allclose(bands.image.data, whole.image.data, rtol=1e-3, atol=0.05)
    np.testing.assert_array_equal(bands.n_frames, whole.n_frames)
    np.testing.assert_allclose(bands.clipped, whole.clipped)


def test_a_frame_is_asked_only_for_the_rows_of_a_band(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("toros.science.stack._BAND_BYTES", 1)

    heights = []

    class Asked:
        shape = SHAPE

        def __getitem__(self, rows: slice) -> np.ndarray:
            heights.append(rows.stop - rows.start)
            return np.full((rows.stop - rows.start, SHAPE[1]), 100, np.float32)

    stack([replace(frame(0), data=Asked())])
    assert max(heights) < 45


def test_what_cannot_be_stacked_is_refused() -> None:
    with pytest.raises(TooFewFrames):
        stack([])
    other = pixel_map(Polynomial((0.0, 0.0), 1.0, np.array([[0, 0], [1, 0], [0, 1.0]])), (50, 60))
    with pytest.raises(WrongGeometry, match="grids"):
        stack([frame(0), replace(frame(1), places=other)])
    with pytest.raises(WrongGeometry, match="mask"):
        replace(frame(0), mask=np.zeros((3, 3), np.uint8))
    for wrong in ({"weight": 0.0}, {"scale": float("nan")}, {"fwhm": -1.0}):
        with pytest.raises(BadParameters):
            replace(frame(0), **wrong)


@pytest.mark.parametrize(
    "wrong", [(25.0, 0.0, 3.0, 60.0), (float("nan"), 10.0, 3.0, 60.0), (25.0, 10.0, 3.0, -1.0)]
)
def test_weights_need_positive_numbers(wrong: tuple[float, float, float, float]) -> None:
    with pytest.raises(BadParameters):
        stack_weights(*wrong)


def test_the_weight_falls_with_sky_and_seeing() -> None:
    found = stack_weights(25.0, [10.0, 20.0, 10.0, 10.0], [3.0, 3.0, 6.0, 3.0], [60.0, 60.0, 60.0, 30.0])
    np.testing.assert_allclose(found.weight, [1, 0.25, 0.25, 0.25])
    np.testing.assert_allclose(found.scale, [1, 1, 1, 2])
