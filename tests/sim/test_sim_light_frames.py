"""Light frames: what was put on the sky is what photometry and astrometry find on them."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from astropy.modeling.fitting import TRFLSQFitter
from astropy.modeling.models import Moffat2D
from astropy.stats import mad_std
from photutils.aperture import CircularAnnulus, CircularAperture, aperture_photometry
from photutils.centroids import centroid_2dg

from toros.sim import Conditions, Psf, build_detector, camera_wcs, illuminate, sky_field, sta1600, take_light

CALM = Conditions(cosmic_ray_rate=0.0, sky_gradient=0.0)
EXPTIME = 120.0


@pytest.fixture
def wcs(camera):
    return camera_wcs(camera, 60.0, -30.0)


@pytest.fixture
def grid(wcs, stars_at, rng):
    """Stars far from each other, of all magnitudes that do not saturate, each somewhere in its pixel."""
    x, y = (axis.ravel() for axis in np.meshgrid(np.arange(24, 256, 52.0), np.arange(24, 256, 52.0)))
    x, y = x + rng.uniform(-1, 1, x.size), y + rng.uniform(-1, 1, y.size)
    return stars_at(wcs, x, y, rng.uniform(15.0, 18.5, x.size))


def in_electrons(raw, detector):
    camera = detector.camera
    return (raw.data.astype(float) - camera.bias_level) * camera.gain


def test_aperture_photometry_finds_the_true_fluxes(flawless, wcs, grid, rng):
    camera = flawless.camera
    raw = take_light(flawless, grid, wcs, camera.band("V"), EXPTIME, rng, conditions=CALM)
    image, truth = in_electrons(raw, flawless), raw.truth
    assert len(truth) == len(grid)
    places = np.column_stack([truth["x"], truth["y"]])
    psf, radius = Psf(raw.truth.meta["fwhm"], ellipticity=CALM.ellipticity), 12.0
    flat = np.ones(camera.shape, np.float32)
    illuminate(flat, flawless, camera.band("V"))
    image /= flat
    noise = mad_std(image)
    found = aperture_photometry(image, CircularAperture(places, radius))["aperture_sum"]
    around = CircularAnnulus(places, 18, 24)
    sky = aperture_photometry(image, around)["aperture_sum"] / around.area
    flux = found - sky * np.pi * radius**2
    # Moffat's law: the light outside a circle of this radius, less what the annulus sees of the wings.
    u2 = radius**2 / np.prod(psf.core)
    expected = truth["flux"] * (1 - (1 + u2) ** (1 - psf.beta))
    area = np.pi * radius**2
    sigma = np.sqrt(truth["flux"] + area * noise**2 + area**2 * noise**2 / around.area)
    pull = (flux - expected) / np.hypot(sigma, 0.003 * expected)
    assert np.abs(pull).max() < 4
    assert pull.std() == pytest.approx(1.0, abs=0.45)


def test_truth_positions_are_where_the_stars_are(flawless, wcs, grid, rng):
    raw = take_light(flawless, grid, wcs, flawless.camera.band("V"), EXPTIME, rng, conditions=CALM)
    image = in_electrons(raw, flawless) - np.median(in_electrons(raw, flawless))
    bright = raw.truth[raw.truth["mag"] < 17.5]
    assert len(bright) > 5
    for star in bright:
        column, row = round(star["x"]), round(star["y"])
        found = centroid_2dg(image[row - 6 : row + 7, column - 6 : column + 7]) + np.array(
            [column - 6, row - 6]
        )
        signal_to_noise = star["flux"] / np.sqrt(star["flux"] + 150 * mad_std(image) ** 2)
        assert found == pytest.approx(
            (star["x"], star["y"]), abs=5 * raw.truth.meta["fwhm"] / signal_to_noise
        )
    assert np.allclose(
        wcs.all_pix2world(raw.truth["x"], raw.truth["y"], 0), [raw.truth["ra"], raw.truth["dec"]], atol=1e-9
    )


@pytest.mark.parametrize("seeing", [1.2, 2.5])
def test_stars_are_as_wide_as_the_seeing(flawless, wcs, stars_at, rng, seeing):
    star = stars_at(wcs, np.array([120.3]), np.array([131.6]), 14.0)
    conditions = dataclasses.replace(CALM, seeing=seeing, ellipticity=0.0)
    raw = take_light(flawless, star, wcs, flawless.camera.band("V"), EXPTIME, rng, conditions=conditions)
    stamp = in_electrons(raw, flawless)[107:157, 96:146]
    rows, columns = np.mgrid[:50, :50]
    stamp = stamp - np.median(in_electrons(raw, flawless))
    fitted = TRFLSQFitter()(Moffat2D(stamp.max(), 24, 24, 3, 3), columns, rows, stamp)
    assert fitted.fwhm * flawless.camera.pixel_scale == pytest.approx(seeing, rel=0.01)


def test_bad_guiding_draws_stars_out_along_its_direction(flawless, wcs, stars_at, rng):
    star = stars_at(wcs, np.array([128.0]), np.array([128.0]), 14.0)
    conditions = dataclasses.replace(CALM, ellipticity=0.5, trail_angle=0.0)
    raw = take_light(flawless, star, wcs, flawless.camera.band("V"), EXPTIME, rng, conditions=conditions)
    image = in_electrons(raw, flawless) - np.median(in_electrons(raw, flawless))
    half = image[128, 128] / 2
    along, across = (image[128] > half).sum(), (image[:, 128] > half).sum()
    assert along / across == pytest.approx(2, rel=0.25)


def test_sky_brightness_is_that_of_the_filter(flawless, wcs, grid, rng):
    camera = flawless.camera
    for name in ("B", "R"):
        band = camera.band(name)
        raw = take_light(flawless, grid[:0], wcs, band, 600.0, rng, conditions=CALM)
        level = in_electrons(raw, flawless).mean() - camera.dark_current * 600
        magnitude = band.zero_point - 2.5 * np.log10(level / 600 / camera.pixel_scale**2)
        assert magnitude == pytest.approx(band.sky, abs=0.03)


def test_clouds_take_light_from_the_stars_and_not_from_the_zero_point_of_the_sky(flawless, wcs, grid, rng):
    band = flawless.camera.band("V")
    clear, cloudy = (
        take_light(
            flawless, grid, wcs, band, EXPTIME, rng, conditions=dataclasses.replace(CALM, extinction=lost)
        )
        for lost in (0.0, 0.5)
    )
    assert np.allclose(cloudy.truth["flux"], clear.truth["flux"] * 10**-0.2)
    assert np.array_equal(cloudy.truth["mag"], clear.truth["mag"])


def test_red_stars_are_brighter_in_red_filters(flawless, wcs, grid, rng):
    grid["colour"] = 1.4
    truth = {
        name: take_light(flawless, grid, wcs, flawless.camera.band(name), EXPTIME, rng, conditions=CALM).truth
        for name in ("B", "R")
    }
    expected = 1.4 * (flawless.camera.band("B").colour_term - flawless.camera.band("R").colour_term)
    assert np.allclose(truth["B"]["mag"] - truth["R"]["mag"], expected)


def test_the_cosmic_ray_mask_covers_every_changed_pixel(detector, wcs, grid):
    band = detector.camera.band("Clear")
    hit, clean = (
        take_light(
            detector,
            grid,
            wcs,
            band,
            600.0,
            np.random.default_rng(5),
            conditions=dataclasses.replace(CALM, cosmic_ray_rate=rate),
        )
        for rate in (500.0, 0.0)
    )
    changed = hit.data != clean.data
    assert hit.masks["cosmic_rays"].sum() > 50
    assert not (changed & ~hit.masks["cosmic_rays"]).any()
    assert changed[hit.masks["cosmic_rays"]].mean() > 0.8
    assert not clean.masks["cosmic_rays"].any()


def test_the_satellite_mask_covers_every_changed_pixel(detector, wcs, grid):
    band = detector.camera.band("Clear")
    crossed, clean = (
        take_light(
            detector,
            grid,
            wcs,
            band,
            600.0,
            np.random.default_rng(5),
            conditions=dataclasses.replace(CALM, satellite=passes),
        )
        for passes in (True, False)
    )
    mask = crossed.masks["satellite"]
    assert not ((crossed.data != clean.data) & ~mask).any()
    assert "satellite" not in clean.masks
    # It crosses the whole frame: from edge to edge in one direction.
    assert mask.any(axis=0).all() or mask.any(axis=1).all()


def test_a_very_bright_star_saturates_and_bleeds_along_its_column(flawless, wcs, stars_at, rng):
    deep = build_detector(dataclasses.replace(flawless.camera, gain=3.0))
    star = stars_at(wcs, np.array([128.0]), np.array([128.0]), 8.0)
    raw = take_light(deep, star, wcs, deep.camera.band("Clear"), EXPTIME, rng, conditions=CALM)
    saturated = raw.masks["saturated"]
    rows, columns = np.nonzero(saturated)
    assert saturated[128, 128]
    assert np.ptp(rows) > 3 * np.ptp(columns)


def test_only_sources_on_the_frame_are_in_the_truth(detector, camera, wcs, rng):
    sources = sky_field(60.0, -30.0, 0.05, density=30.0)
    truth = take_light(detector, sources, wcs, camera.band("V"), EXPTIME, rng).truth
    x, y = wcs.all_world2pix(sources["ra"], sources["dec"], 0)
    on_frame = (x >= -0.5) & (x < 255.5) & (y >= -0.5) & (y < 255.5)
    assert set(truth["name"]) == set(sources["name"][on_frame])


def test_the_same_generator_gives_the_same_frame(detector, camera, wcs, grid):
    frames = [
        take_light(detector, grid, wcs, camera.band("V"), EXPTIME, np.random.default_rng(9)) for _ in range(2)
    ]
    assert np.array_equal(frames[0].data, frames[1].data)
    other = take_light(detector, grid, wcs, camera.band("V"), EXPTIME, np.random.default_rng(10))
    assert not np.array_equal(frames[0].data, other.data)


def test_a_mosaic_shows_the_same_star_across_its_amplifiers(rng, stars_at):
    mosaic = build_detector(dataclasses.replace(sta1600(scale=20), gain_scatter=0.0))
    wcs = camera_wcs(mosaic.camera, 60.0, -30.0)
    edge = mosaic.camera.shape[1] / 8 - 0.5
    star = stars_at(wcs, np.array([edge]), np.array([100.0]), 15.0)
    raw = take_light(mosaic, star, wcs, mosaic.camera.band("r"), EXPTIME, rng, conditions=CALM)
    left, right = mosaic.geometry.amplifiers[:2]
    beside = [
        raw.data[100, left.data[1].stop - 1] - raw.data[100, left.overscan[1]].mean(),
        raw.data[100, right.data[1].start] - raw.data[100, right.overscan[1]].mean(),
    ]
    assert beside[0] == pytest.approx(beside[1], rel=0.06)
    assert min(beside) > 1000
