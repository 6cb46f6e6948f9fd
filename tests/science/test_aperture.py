from __future__ import annotations

import numpy as np
import pytest
from astropy.stats import SigmaClip
from photutils.aperture import ApertureStats, CircularAnnulus, CircularAperture, aperture_photometry
from starry_frames import starry

from toros.errors import BadParameters, WrongGeometry
from toros.science.aperture import grow_curve, measure_apertures
from toros.science.flags import PixelFlag
from toros.sim import Psf

RADII = (0.3, 0.5, 1.0, 2.2, 4.7, 9.0)


@pytest.fixture(scope="module")
def frame() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    data = rng.normal(100, 10, (200, 230)).astype(np.float32)
    mask = np.zeros(data.shape, np.uint8)
    mask[50:60, 50:60] = PixelFlag.HOT
    return data, mask, rng.uniform(-1, 230, 500), rng.uniform(-1, 200, 500)


@pytest.mark.parametrize("radius", RADII)
def test_circles_hold_exactly_what_photutils_finds_in_them(frame: tuple, radius: float) -> None:
    data, mask, x, y = frame
    ours = measure_apertures(data, mask, x, y, [radius], sky_noise=10.0)
    circles = CircularAperture(np.column_stack([x, y]), radius)
    theirs = aperture_photometry(data.astype(float), circles, mask=mask != 0)["aperture_sum"]
    known = np.isfinite(theirs)
    np.testing.assert_allclose(ours.flux[known, 0], theirs[known], rtol=2e-7, atol=1e-4)
    assert not ours.area[~known].any(), "they lie outside"


def test_the_areas_of_circles_on_the_frame_are_pi_r_squared() -> None:
    data, mask = np.ones((50, 50), np.float32), np.zeros((50, 50), np.uint8)
    apertures = measure_apertures(data, mask, np.array([24.37]), np.array([25.91]), RADII, sky_noise=1.0)
    np.testing.assert_allclose(apertures.area[0], np.pi * np.square(RADII), rtol=1e-12)
    np.testing.assert_allclose(apertures.flux[0], apertures.area[0], rtol=1e-12)


def test_the_sky_of_a_ring_is_the_clipped_median_that_photutils_finds() -> None:
    field = starry([60.0, 150.0], [60.0, 120.0], [5e4, 5e4])
    field.data[60, 75] = 1e5
    ours = measure_apertures(
        field.data, field.mask, field.x, field.y, [6.0], sky_noise=1.0, ring=(12.0, 20.0)
    )
    ring = CircularAnnulus(np.column_stack([field.x, field.y]), 12, 20)
    clip = SigmaClip(3, cenfunc="median", stdfunc="mad_std")
    theirs = ApertureStats(field.data, ring, sigma_clip=clip, sum_method="center")
    np.testing.assert_allclose(ours.sky, theirs.median, atol=0.5)
    np.testing.assert_allclose(ours.sky_noise, theirs.mad_std, rtol=0.05)
    np.testing.assert_allclose(ours.sky, 200, atol=3)


@pytest.mark.parametrize("ring", [None, (12.0, 20.0)])
def test_the_errors_are_what_the_fluxes_scatter_by(ring: tuple[float, float] | None) -> None:
    x, y = (values.ravel() + 0.3 for values in np.meshgrid(*[30.0 + 45 * np.arange(16)] * 2))
    field = starry(x, y, np.full(256, 8000.0), shape=(740, 740), psf=Psf(3.0, beta=8))
    data = field.data - np.float32(0 if ring else 200)
    apertures = measure_apertures(data, field.mask, x, y, [2.0, 6.0], sky_noise=field.noise, ring=ring)
    deviation = (apertures.flux - apertures.flux.mean(axis=0)) / apertures.flux_err
    np.testing.assert_allclose(deviation.std(axis=0), 1, atol=0.12)


def test_masked_pixels_and_the_edge_take_area_away() -> None:
    data, mask = np.ones((40, 40), np.float32), np.zeros((40, 40), np.uint8)
    mask[20, 20] = PixelFlag.DEAD
    apertures = measure_apertures(
        data, mask, np.array([20.0, -0.5]), np.array([20.0, 20.0]), [3.0], sky_noise=1.0
    )
    np.testing.assert_allclose(apertures.area[:, 0], [9 * np.pi - 1, 4.5 * np.pi])


def test_the_curve_of_growth_leads_from_any_circle_to_the_whole_light() -> None:
    psf = Psf(3.0, beta=3.0)
    x, y = (values.ravel() for values in np.meshgrid(*[60.0 + 100 * np.arange(4)] * 2))
    flux = np.linspace(1e5, 5e5, 16)
    field = starry(x, y, flux, shape=(480, 480), psf=psf)
    apertures = measure_apertures(
        field.data - np.float32(200), field.mask, x, y, [2.0, 4.0, 12.0], sky_noise=field.noise
    )
    curve = grow_curve(apertures, flux, np.ones(16, bool))
    inside = 1 - (1 + np.square(apertures.radii) / psf.core[0] ** 2) ** -2.0
    np.testing.assert_allclose(curve.correction, 1 / inside, rtol=0.04)
    assert curve.n_stars == 16
    assert np.all(curve.scatter < 0.02)
    assert np.isnan(grow_curve(apertures, flux, np.zeros(16, bool)).correction).all()


def test_what_is_no_aperture_is_refused(frame: tuple) -> None:
    data, mask, x, y = frame
    with pytest.raises(BadParameters):
        measure_apertures(data, mask, x, y, [0.0], sky_noise=1.0)
    with pytest.raises(BadParameters):
        measure_apertures(data, mask, x, y, [3.0], sky_noise=1.0, ring=(8.0, 6.0))
    with pytest.raises(WrongGeometry):
        measure_apertures(data, mask[1:], x, y, [3.0], sky_noise=1.0)
