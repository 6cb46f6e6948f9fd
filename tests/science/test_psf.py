from __future__ import annotations

import numpy as np
import pytest
from starry_frames import Starry, random_stars, starry

from toros.science.flags import PixelFlag
from toros.science.psf import Psf as Model
from toros.science.psf import draw, guess_psf
from toros.science.psf_fit import fit_sources, force_photometry
from toros.science.psf_stars import measure_psf
from toros.science.shapes import StarShape
from toros.sim import Psf

GUESS = StarShape(3.5, 0.0, 0.0, 0)


def lattice(count: int, step: float = 50.0) -> list[np.ndarray]:
    """Positions of a square of stars, each with another fraction of a pixel."""
    rng = np.random.default_rng(8)
    x, y = np.meshgrid(*[step * (0.5 + np.arange(count))] * 2)
    return [values.ravel() + rng.uniform(-0.5, 0.5, count**2) for values in (x, y)]


def model_of(field: Starry, guess: StarShape = GUESS) -> Model:
    first = guess_psf(field.data.shape, guess)
    frame = field.data - np.float32(200)
    return measure_psf(frame, field.mask, field.noise, field.x, field.y, field.flux, first)


def true_model(shape: tuple[int, int], psf: Psf) -> Model:
    major, minor = psf.core
    cos, sin = np.cos(np.radians(psf.angle)), np.sin(np.radians(psf.angle))
    moments = [
        (major * cos) ** 2 + (minor * sin) ** 2,
        (major * sin) ** 2 + (minor * cos) ** 2,
        (major**2 - minor**2) * cos * sin,
    ]
    return Model(shape, psf.beta, np.array(moments)[:, None])


@pytest.mark.parametrize(
    "psf",
    [Psf(3.0), Psf(2.0, beta=2.5), Psf(3.0, beta=4.5, ellipticity=0.4, angle=120), Psf(9.0, ellipticity=0.1)],
    ids=["round", "sharp", "elongated", "broad"],
)
def test_the_profile_of_the_stars_is_found(psf: Psf) -> None:
    x, y = lattice(6, 80.0)
    model = model_of(
        starry(x, y, np.full(36, 1e5), shape=(480, 480), psf=psf), StarShape(1.1 * psf.fwhm, 0, 0, 0)
    )
    assert model.n_stars > 25
    assert model.beta == pytest.approx(psf.beta, rel=0.07)
    assert model.fwhm == pytest.approx(psf.fwhm / np.sqrt(1 - psf.ellipticity), rel=0.01)
    assert model.middle.ellipticity == pytest.approx(psf.ellipticity, abs=0.01)
    if psf.ellipticity > 0.2:
        assert model.middle.angle == pytest.approx(psf.angle, abs=1)
    offsets = np.linspace(-8, 8, 33, dtype=np.float32)
    ours = model.profile(offsets[None], offsets[None] * 0.3, model.moments[:, :1])[0]
    np.testing.assert_allclose(ours, psf(offsets, offsets * np.float32(0.3)), atol=0.015 * psf.peak)


def test_a_profile_that_changes_over_the_field_is_followed() -> None:
    x, y = lattice(10)
    widths = 2.6 + 0.8 * ((x - 250) / 250) ** 2 + 0.3 * y / 500
    field = starry(x, y, np.full(100, 1e5), shape=(500, 500), psf=[Psf(width) for width in widths])
    model = model_of(field)
    assert model.moments.shape[1] == 6
    found = [shape.fwhm for shape in model.shape_at(x, y)]
    np.testing.assert_allclose(found, widths, rtol=0.02)
    fit = fit_sources(field.data - np.float32(200), field.mask, field.noise, model, x, y, field.flux * 0.9)
    assert np.std(fit.flux / field.flux) < 0.008


def test_few_stars_make_a_constant_profile_and_none_leave_the_guess() -> None:
    x, y = lattice(3)
    model = model_of(starry(x, y, np.full(9, 1e5), shape=(150, 150)))
    assert model.moments.shape[1] == 1
    assert model.fwhm == pytest.approx(3.0, rel=0.02)
    guess = guess_psf((150, 150), GUESS)
    empty = starry(x, y, np.zeros(9), shape=(150, 150))
    frame = empty.data - np.float32(200)
    nobody = measure_psf(frame, empty.mask, empty.noise, *np.zeros((3, 0)), guess)
    assert nobody.n_stars == 0
    assert nobody.fwhm == pytest.approx(3.5)


def test_galaxies_and_blends_among_the_stars_do_no_harm() -> None:
    x, y = lattice(6)
    profiles = [Psf(3.0)] * 36
    profiles[3] = profiles[17] = profiles[20] = Psf(6.0)
    field = starry(
        np.append(x, x[:3] + 3),
        np.append(y, y[:3]),
        np.full(39, 1e5),
        shape=(300, 300),
        psf=profiles + [Psf(3.0)] * 3,
    )
    guess = guess_psf((300, 300), GUESS)
    frame = field.data - np.float32(200)
    model = measure_psf(frame, field.mask, field.noise, x, y, np.full(36, 1e5), guess)
    assert model.fwhm == pytest.approx(3.0, rel=0.015)


def test_what_a_moffat_profile_cannot_tell_goes_into_the_table() -> None:
    """Two Moffat profiles, one far broader, as a telescope out of collimation makes them."""
    x, y = lattice(8)
    narrow, broad = np.full(64, 7e4), np.full(64, 3e4)
    field = starry(
        np.concatenate([x, x + 1.5]),
        np.concatenate([y, y]),
        np.concatenate([narrow, broad]),
        shape=(400, 400),
        psf=[Psf(2.4)] * 64 + [Psf(5.0)] * 64,
    )
    guess, frame = guess_psf((400, 400), GUESS), field.data - np.float32(200)
    model = measure_psf(frame, field.mask, field.noise, x, y, np.full(64, 1e5), guess)
    assert model.table.size
    bare = Model(model.shape, model.beta, model.moments)
    chi2 = [
        np.median(fit_sources(frame.copy(), field.mask, field.noise, one, x, y, np.full(64, 1e5)).chi2)
        for one in (model, bare)
    ]
    assert chi2[0] < 0.3 * chi2[1]


def test_fluxes_and_positions_scatter_by_their_errors() -> None:
    x, y = lattice(16, 40.0)
    flux = np.geomspace(600, 3e5, 256)
    field = starry(x, y, flux, shape=(640, 640))
    model = true_model(field.data.shape, Psf(3.0))
    frame = field.data - np.float32(200)
    fit = fit_sources(frame, field.mask, field.noise, model, x + 0.3, y - 0.2, flux * 1.3)
    assert np.mean(np.square((fit.flux - flux) / fit.flux_err)) == pytest.approx(1, abs=0.25)
    for ours, truth, error in ((fit.x, x, fit.x_err), (fit.y, y, fit.y_err)):
        assert np.mean(np.square((ours - truth) / error)) == pytest.approx(1, abs=0.3)
    assert np.mean((fit.flux - flux) / fit.flux_err) == pytest.approx(0, abs=0.2), "no bias"
    assert np.mean(fit.chi2) == pytest.approx(1, abs=0.03)
    assert np.std(frame / np.sqrt(field.variance)) == pytest.approx(1, abs=0.03), (
        "nothing remains of the stars"
    )


def test_the_error_of_a_faint_star_is_that_of_the_noise_area() -> None:
    field = starry([50.0], [50.0], [1.0], shape=(100, 100))
    model = true_model(field.data.shape, Psf(3.0))
    fit = force_photometry(field.data - np.float32(200), field.mask, field.noise, model, field.x, field.y)
    assert fit.flux_err[0] == pytest.approx(field.noise * model.noise_area**0.5, rel=0.06)
    y, x = np.mgrid[-25:26, -25:26].astype(np.float32)
    assert model.noise_area == pytest.approx(1 / np.square(Psf(3.0)(x, y)).sum(), rel=1e-3)


@pytest.mark.parametrize("distance", [0.8, 1.2, 2.5])
def test_overlapping_stars_share_the_light_justly(distance: float) -> None:
    x, y = lattice(8)
    far = distance * 3.0
    both = np.concatenate([x, x + far * 0.8]), np.concatenate([y, y + far * 0.6])
    flux = np.concatenate([np.full(64, 4e4), np.full(64, 2e4)])
    field = starry(*both, flux, shape=(400, 400))
    model = true_model(field.data.shape, Psf(3.0))
    fit = fit_sources(field.data - np.float32(200), field.mask, field.noise, model, *both, np.full(128, 3e4))
    pull = (fit.flux - flux) / fit.flux_err
    assert np.mean(np.square(pull)) == pytest.approx(1, abs=0.35)
    assert np.abs(np.mean(pull)) < 0.3
    assert len(set(fit.group)) == (64 if distance < 1.6 else 128)


def test_a_crowd_of_stars_that_all_overlap_is_solved() -> None:
    shape = (150, 150)
    x, y, flux = random_stars(250, shape, 2e3, 5e4)
    field = starry(x, y, flux, shape=shape)
    model = true_model(shape, Psf(3.0))
    frame = field.data - np.float32(200)
    fit = fit_sources(frame, field.mask, field.noise, model, x, y, np.full(250, 1e4))
    assert np.median(np.abs(fit.flux - flux) / flux) < 0.05
    assert np.std(frame / np.sqrt(field.variance)) < 1.15


def test_masked_pixels_carry_no_weight() -> None:
    field = starry([50.3, 120.2], [60.1, 90.4], [4e4, 4e4])
    field.data[60, 51] = field.data[90, 120] = 5e4
    field.mask[60, 51] = field.mask[90, 120] = PixelFlag.HOT
    model = true_model(field.data.shape, Psf(3.0))
    fit = fit_sources(
        field.data - np.float32(200), field.mask, field.noise, model, field.x, field.y, field.flux
    )
    assert np.all(np.abs(fit.flux - 4e4) < 4 * fit.flux_err)
    assert np.all(np.hypot(fit.x - field.x, fit.y - field.y) < 0.05)


def test_a_source_without_a_single_good_pixel_is_not_measured() -> None:
    field = starry([50.0], [60.0], [1e4])
    field.mask[:100] = PixelFlag.NO_DATA
    model = true_model(field.data.shape, Psf(3.0))
    fit = fit_sources(
        field.data - np.float32(200), field.mask, field.noise, model, field.x, field.y, field.flux
    )
    assert fit.flux[0] == 0
    assert np.isinf(fit.flux_err[0])


def test_forced_photometry_of_empty_sky_is_zero_within_its_errors() -> None:
    x, y = lattice(12, 20.0)
    field = starry([120.0], [120.0], [1e5], shape=(240, 240))
    model = true_model(field.data.shape, Psf(3.0))
    frame = field.data - np.float32(200)
    before = frame.copy()
    fit = force_photometry(frame, field.mask, field.noise, model, np.append(x, 120), np.append(y, 120))
    np.testing.assert_array_equal(frame, before)
    pull = fit.flux[:-1] / fit.flux_err[:-1]
    assert np.std(pull) == pytest.approx(1, abs=0.2)
    assert np.abs(np.mean(pull)) < 0.3
    assert (pull < 0).any()
    assert fit.flux[-1] == pytest.approx(1e5, abs=4 * fit.flux_err[-1])
    np.testing.assert_array_equal(fit.x, np.append(x, 120))


def test_sources_that_are_drawn_back_give_the_frame_again() -> None:
    field = starry(*random_stars(40, (200, 210), 500, 1e6))
    model = true_model(field.data.shape, Psf(3.0))
    frame = field.data - np.float32(200)
    before = frame.copy()
    fit = fit_sources(frame, field.mask, field.noise, model, field.x, field.y, field.flux)
    fit.put_back(frame, model)
    np.testing.assert_allclose(frame, before, atol=0.06 * field.noise)


def test_a_drawn_star_is_the_star_of_the_simulated_sky() -> None:
    psf = Psf(3.0, ellipticity=0.3, angle=40)
    field = starry([60.3], [70.8], [1e5], sky=0, read_noise=0, psf=psf)
    plane = np.zeros(field.data.shape, np.float32)
    draw(plane, true_model(plane.shape, psf), field.x, field.y, field.flux, 0.1)
    assert plane.sum() == pytest.approx(1e5, rel=0.005)
    assert np.mean(np.square(field.data - plane)[plane > 20] / plane[plane > 20]) == pytest.approx(
        1, abs=0.15
    )
