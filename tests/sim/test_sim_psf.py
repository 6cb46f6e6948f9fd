"""Stars and galaxies as the simulated telescope draws them."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.modeling.fitting import TRFLSQFitter
from astropy.modeling.models import Moffat2D, Sersic2D
from scipy.signal import fftconvolve

from toros.errors import BadParameters
from toros.sim import Psf, add_galaxies, add_stars


def one_galaxy(image, x, y, flux, psf, *, radius=6.0, ratio=0.6, angle=30.0, n=1.0):
    add_galaxies(
        image,
        np.array([x]),
        np.array([y]),
        np.array([flux]),
        half_light_radius=np.array([radius]),
        axis_ratio=np.array([ratio]),
        angle=np.array([angle]),
        sersic_index=np.array([n]),
        psf=psf,
    )


@pytest.mark.parametrize("ellipticity", [0.0, 0.5])
def test_light_falls_to_half_at_half_the_fwhm(ellipticity):
    psf = Psf(3.3, ellipticity=ellipticity, angle=25.0)
    along = np.radians(25.0)
    for half, direction in ((3.3 / 2 / (1 - ellipticity), along), (3.3 / 2, along + np.pi / 2)):
        dx, dy = (np.float32([half * f(direction)]) for f in (np.cos, np.sin))
        assert psf(dx, dy)[0] == pytest.approx(psf.peak / 2, rel=1e-5)


def test_stamps_agree_with_the_profile_drawn_over_the_whole_frame(rng):
    psf, shape, count = Psf(3.0, ellipticity=0.3, angle=70.0), (160, 200), 40
    x, y = rng.uniform(-15, 215, count), rng.uniform(-15, 175, count)
    flux = 10 ** rng.uniform(2, 6, count)
    drawn = np.zeros(shape, np.float32)
    add_stars(drawn, x, y, flux, psf)
    rows, columns = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    exact = sum(
        f * psf(columns - np.float32(x0), rows - np.float32(y0)) for x0, y0, f in zip(x, y, flux, strict=True)
    )
    # What the stamps leave out: a thousandth of each star's light, spread thinly.
    assert np.abs(drawn - exact).max() < 1.0
    assert drawn.sum() == pytest.approx(exact.sum(), rel=2e-3)


def test_the_light_of_a_star_does_not_depend_on_its_place_in_the_pixel():
    sums = []
    for fraction in (0.0, 0.25, 0.5):
        image = np.zeros((201, 201), np.float32)
        centre = np.array([100 + fraction])
        add_stars(image, centre, centre, np.array([1e5]), Psf(2.5))
        sums.append(image.sum(dtype=float))
    assert sums == pytest.approx([1e5] * 3, rel=1.5e-3)


def test_astropy_measures_the_fwhm_that_was_asked_for():
    psf, image = Psf(4.2), np.zeros((101, 101), np.float32)
    add_stars(image, np.array([50.3]), np.array([49.6]), np.array([1e6]), psf)
    rows, columns = np.mgrid[:101, :101]
    fitted = TRFLSQFitter()(Moffat2D(image.max(), 50, 50, 3, 2.5), columns, rows, image)
    assert fitted.fwhm == pytest.approx(psf.fwhm, rel=1e-3)
    assert (fitted.x_0.value, fitted.y_0.value) == pytest.approx((50.3, 49.6), abs=1e-3)


# The softened cusp shows where the profile is steep.
@pytest.mark.parametrize(("n", "tolerance"), [(1.0, 0.02), (2.5, 0.05)])
def test_a_galaxy_is_astropys_sersic_profile_seen_through_the_psf(n, tolerance):
    psf, size = Psf(5.0), 129
    drawn = np.zeros((size, size), np.float32)
    one_galaxy(drawn, 64.0, 64.0, 1e5, psf, n=n)
    # The reference on a grid five times as fine, convolved with the same PSF.
    fine = (np.arange(size * 5) - 322) / 5
    grid_y, grid_x = np.meshgrid(fine, fine, indexing="ij")
    profile = Sersic2D(1, r_eff=6, n=n, ellip=0.4, theta=np.radians(30))(grid_x, grid_y)
    point = psf(grid_x.astype(np.float32), grid_y.astype(np.float32))
    seen = fftconvolve(profile, point, mode="same")[2::5, 2::5]
    seen *= 1e5 / seen.sum()
    assert np.abs(drawn - seen).max() < tolerance * seen.max()
    core = seen > 0.2 * seen.max()
    assert drawn[core].sum() == pytest.approx(seen[core].sum(), rel=tolerance)


def test_a_galaxy_keeps_its_light_in_any_seeing():
    sums = []
    for fwhm in (2.5, 4.0, 6.0):
        image = np.zeros((257, 257), np.float32)
        one_galaxy(image, 128.4, 127.7, 1e5, Psf(fwhm))
        sums.append(image.sum(dtype=float))
    assert sums == pytest.approx([1e5] * 3, rel=0.02)


def test_a_galaxy_moved_by_whole_pixels_is_the_same_galaxy():
    here, there = np.zeros((128, 128), np.float32), np.zeros((128, 128), np.float32)
    one_galaxy(here, 60.37, 61.81, 1e5, Psf(3.0))
    one_galaxy(there, 65.37, 59.81, 1e5, Psf(3.0))
    assert np.allclose(np.roll(here, (-2, 5), axis=(0, 1)), there, atol=0.02)


def test_a_frame_without_sources_stays_empty():
    image = np.zeros((32, 32), np.float32)
    nothing = np.empty(0)
    add_stars(image, nothing, nothing, nothing, Psf(3.0))
    assert not image.any()


@pytest.mark.parametrize(
    "wrong", [{"fwhm": 0.0}, {"fwhm": 3.0, "beta": 1.0}, {"fwhm": 3.0, "ellipticity": 1.0}]
)
def test_an_impossible_psf_is_refused(wrong):
    with pytest.raises(BadParameters, match="Moffat"):
        Psf(**wrong)
