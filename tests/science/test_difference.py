"""Differences of drawn frames: empty where nothing changed, and holding all that did."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from changing_sky import Changing, changing_sky
from scipy.spatial import cKDTree

from toros.errors import TooFewStars, WrongGeometry
from toros.science.detect import detect
from toros.science.difference import Difference, kernel_stars, residual_chis, subtract
from toros.science.flags import PixelFlag
from toros.science.image import Image
from toros.science.psf import draw
from toros.science.psf_fit import fit_sources
from toros.science.sources import SourceFlag


@pytest.fixture(scope="module")
def sky() -> Changing:
    return changing_sky()


@pytest.fixture(scope="module")
def difference(sky: Changing) -> Difference:
    return subtract(*sky.given)


def found(difference: Difference, sign: int = 1) -> np.ndarray:
    """Where something new stands out, or is missing."""
    plane, mask = sign * difference.normalised(), difference.image.mask
    peaks = detect(plane, mask, 1.0, fwhm=difference.psf.fwhm)
    return np.column_stack([peaks.x, peaks.y])


def test_nothing_is_left_of_the_sky_and_of_the_stars(difference: Difference) -> None:
    quality = difference.quality
    assert quality.chi_sky == pytest.approx(1, abs=0.05)
    assert quality.chi_faint == pytest.approx(1, abs=0.1)
    assert quality.chi_bright == pytest.approx(1, abs=0.2)
    assert quality.model_error < 0.02
    assert quality.scale == pytest.approx(1.2, rel=0.01)
    assert quality.scale_range[0] <= quality.scale <= quality.scale_range[1]
    assert quality.n_stars > 100
    assert quality.masked_fraction < 0.03
    assert np.median(difference.image.data[difference.image.mask == 0]) == pytest.approx(0, abs=0.5)


def test_what_is_new_is_found_on_the_sky_and_on_galaxies(sky: Changing) -> None:
    brighter = changing_sky(snr=14.0)  # 8 to 10 with the noise of the reference
    places = found(subtract(*brighter.given))
    distance, _ = cKDTree(places).query(np.column_stack([brighter.x, brighter.y]))
    assert np.mean(distance < 1.5) >= 0.97


def test_there_is_nothing_else_in_it(sky: Changing, difference: Difference) -> None:
    truth = cKDTree(np.column_stack([sky.x, sky.y]))
    assert np.count_nonzero(truth.query(found(difference))[0] > 3) <= 1
    assert len(found(difference, -1)) <= 1


def test_the_flux_of_what_is_new_is_that_of_the_science_frame_and_its_error_is_honest() -> None:
    sky = changing_sky(new=80, snr=20.0, seed=7)
    difference = subtract(*sky.given)
    image = difference.image
    here = tuple(np.rint([sky.y, sky.x]).astype(int))
    noise = np.sqrt(image.variance[here]).astype(float)
    data = image.data.copy()
    fit = fit_sources(data, image.mask, noise, difference.psf, sky.x, sky.y, sky.flux, radius=6.0, passes=1)
    deviation = (fit.flux - sky.flux) / (noise * np.sqrt(difference.psf.noise_area) * difference.noise_factor)
    assert np.median(fit.flux / sky.flux) == pytest.approx(1, abs=0.03)
    assert 0.7 < np.std(deviation) < 1.5


def test_five_sigma_on_an_empty_sky_are_as_rare_as_they_should_be() -> None:
    sky = changing_sky(shape=(1000, 1000), stars=150, new=2, seed=9)
    difference = subtract(*sky.given)
    assert difference.noise_factor > 1.1
    plane = difference.normalised()
    counts = [
        len(detect(sign * plane, difference.image.mask, 1.0, fwhm=3.2, threshold=3.5)) for sign in (1, -1)
    ]
    # Maxima of a smooth field per area: Adler (1981), with the gradient of white noise under a normal profile.
    sigma = 3.2 / 2.355
    expected = 1e6 / (2 * sigma**2) * (2 * np.pi) ** -1.5 * 3.5 * np.exp(-(3.5**2) / 2)
    assert all(0.6 * expected < count < 1.5 * expected for count in counts)
    without = difference.normalised() * difference.noise_factor
    assert len(detect(-without, difference.image.mask, 1.0, fwhm=3.2, threshold=3.5)) > 2 * counts[1]
    assert len(detect(-plane, difference.image.mask, 1.0, fwhm=3.2, threshold=5.0)) == 0


def test_the_sharper_frame_is_convolved_and_the_result_keeps_the_flux_of_the_science_frame() -> None:
    sky = changing_sky(fwhm=(2.6, 3.2), snr=20.0)
    difference = subtract(*sky.given)
    assert difference.convolved == "science"
    assert difference.psf is sky.reference_psf
    assert difference.quality.scale == pytest.approx(1.2, rel=0.01)
    assert difference.quality.chi_sky == pytest.approx(1, abs=0.05)
    assert difference.quality.chi_faint == pytest.approx(1, abs=0.1)
    data, noise = difference.image.data.copy(), np.full(sky.x.size, 30.0)
    fit = fit_sources(
        data, difference.image.mask, noise, difference.psf, sky.x, sky.y, sky.flux, radius=6.0, passes=1
    )
    assert np.median(fit.flux / sky.flux) == pytest.approx(1, abs=0.03)


def test_the_broader_science_frame_has_its_reference_convolved(sky: Changing, difference: Difference) -> None:
    assert difference.convolved == "reference"
    assert difference.psf is sky.science_psf
    assert difference.kernel is not None
    assert difference.score is None


def test_it_does_not_matter_whether_the_sky_is_in_the_frames(sky: Changing, difference: Difference) -> None:
    bare = [
        replace(image, data=image.data - level)
        for image, level in ((sky.science, 300), (sky.reference, 4200))
    ]
    again = subtract(*bare, *sky.given[2:])
    good = again.image.mask == 0
    chi = (again.image.data - difference.image.data)[good] / np.sqrt(difference.image.variance[good])
    assert np.abs(chi).max() < 0.5


def test_a_shift_of_a_part_of_a_pixel_is_taken_up_by_the_kernel() -> None:
    quality = subtract(*changing_sky(shift=(0.4, -0.3)).given).quality
    assert quality.chi_faint == pytest.approx(1, abs=0.1)
    assert quality.chi_bright == pytest.approx(1, abs=0.25)


def test_flagged_pixels_are_nothing_in_the_difference(sky: Changing) -> None:
    science, reference = (
        Image(image.data.copy(), image.variance, image.mask.copy()) for image in sky.given[:2]
    )
    science.mask[300, 200:260], science.data[300, 200:260] = PixelFlag.COSMIC_RAY, 5e4
    reference.mask[100:104, 400:404], reference.data[100:104, 400:404] = PixelFlag.HOT, 5e4
    difference = subtract(science, reference, *sky.given[2:])
    assert (difference.image.mask[300, 200:260] & PixelFlag.COSMIC_RAY).all()
    assert (difference.image.mask[99:105, 399:405] & PixelFlag.HOT).all()
    assert not difference.image.data[difference.image.mask != 0].any()
    assert np.abs(difference.normalised()[80:130, 380:430]).max() < 7
    near = cKDTree(np.column_stack([sky.x, sky.y])).query(found(difference))[0]
    assert np.count_nonzero(near > 3) <= 2


def test_stars_that_are_known_to_vary_and_flagged_ones_are_not_used(sky: Changing) -> None:
    stars = sky.stars.copy()
    stars["flags"][:5] = SourceFlag.SATURATED
    avoid = np.column_stack([stars["x"].value, stars["y"].value])[5:9]
    x, y = kernel_stars(stars, sky.science.shape, near=10.0, avoid=avoid)
    assert not np.isin(x, stars["x"].value[:5]).any()
    assert cKDTree(avoid).query(np.column_stack([x, y]))[0].min() > 10


def test_the_stars_of_the_kernel_come_from_all_over_the_frame() -> None:
    sky = changing_sky(stars=2000, new=2)
    x, y = kernel_stars(sky.stars, sky.science.shape, near=10.0, avoid=None)
    counts = np.histogram2d(y, x, bins=10, range=[[0, 600], [0, 620]])[0]
    assert counts.sum() == x.size == 300
    assert counts.min() >= 2
    assert counts.max() <= 4


@pytest.mark.parametrize(
    ("seed", "stars", "fwhm", "scale"),
    [
        (21, 900, (4.1, 2.9), 0.7),
        (22, 60, (2.3, 2.2), 1.0),
        (23, 400, (2.7, 4.4), 2.0),
        (24, 250, (5.5, 2.4), 1.3),
    ],
)
def test_any_seeing_over_any_crowd_leaves_what_is_new_and_nothing_else(
    seed: int, stars: int, fwhm: tuple[float, float], scale: float
) -> None:
    shape = (700, 700)
    sky = changing_sky(shape=shape, fwhm=fwhm, scale=scale, stars=stars, seed=seed, new=0)
    empty = subtract(*sky.given)
    quality = empty.quality
    assert quality.scale == pytest.approx(scale, rel=0.01)
    assert quality.chi_sky == pytest.approx(1, abs=0.05)
    assert quality.chi_faint == pytest.approx(1, abs=0.1)
    assert quality.chi_bright == pytest.approx(1, abs=0.2)
    assert len(found(empty)) + len(found(empty, -1)) <= 1
    rng = np.random.default_rng(seed)
    x, y = (part.ravel() + rng.uniform(-5, 5, part.size) for part in np.mgrid[40:660:45, 40:660:45])
    here = tuple(np.rint([y, x]).astype(int))
    variance = empty.image.variance[here].astype(float)
    flux = 9 * empty.noise_factor * np.sqrt(variance * empty.psf.noise_area)
    data = sky.science.data.copy()
    draw(data, sky.science_psf, x, y, flux, 0.1)
    peaks = found(subtract(replace(sky.science, data=data), *sky.given[1:]))
    assert np.mean(cKDTree(peaks).query(np.column_stack([x, y]))[0] < empty.psf.fwhm) >= 0.98


def test_a_sky_without_stars_cannot_be_compared(sky: Changing) -> None:
    with pytest.raises(TooFewStars, match="clean stars"):
        subtract(sky.science, sky.reference, sky.stars[:2], *sky.given[3:])


def test_frames_of_other_pixels_are_refused(sky: Changing) -> None:
    smaller = Image(
        *(plane[:-1] for plane in (sky.reference.data, sky.reference.variance, sky.reference.mask))
    )
    with pytest.raises(WrongGeometry):
        subtract(sky.science, smaller, *sky.given[2:])


def test_without_stars_of_a_brightness_there_is_no_number_for_them(
    sky: Changing, difference: Difference
) -> None:
    faint = sky.stars[sky.stars["snr"] < 20]
    assert np.isnan(residual_chis(difference.image, faint, 3.2)[1:]).all()


def test_few_faint_stars_are_enough_for_a_kernel_that_is_the_same_everywhere() -> None:
    sky = changing_sky(shape=(300, 310), stars=12, new=4)
    difference = subtract(*sky.given)
    assert difference.kernel is not None
    assert difference.kernel.order == 0
    assert difference.quality.scale == pytest.approx(1.2, rel=0.03)
