"""Proper differences of drawn frames: white noise, an honest score, and what is new."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from changing_sky import Changing, changing_sky
from scipy.spatial import cKDTree

from toros.errors import BadParameters, TooFewStars, WrongGeometry
from toros.science.difference import Difference
from toros.science.flags import PixelFlag
from toros.science.image import Image
from toros.science.psf import draw
from toros.science.psf_fit import fit_sources
from toros.science.zogy import subtract_zogy


@pytest.fixture(scope="module")
def sky() -> Changing:
    return changing_sky(snr=14.0)


@pytest.fixture(scope="module")
def difference(sky: Changing) -> Difference:
    return subtract_zogy(*sky.given)


def height(difference: Difference, sky: Changing) -> np.ndarray:
    """The score of what is new: the highest within a pixel."""
    assert difference.score is not None
    row, column = (np.rint(part).astype(int) for part in (sky.y, sky.x))
    steps = [(down, right) for down in (-1, 0, 1) for right in (-1, 0, 1)]
    return np.max([difference.score[row + down, column + right] for down, right in steps], axis=0)


def test_the_noise_of_the_proper_difference_is_white_and_as_stated(difference: Difference) -> None:
    assert difference.convolved == "both"
    assert difference.kernel is None
    assert difference.noise_factor == pytest.approx(1, abs=0.06)
    assert difference.quality.chi_sky == pytest.approx(1, abs=0.05)
    assert difference.quality.chi_faint == pytest.approx(1, abs=0.15)
    assert difference.quality.scale == pytest.approx(1.2, rel=0.01)


def test_the_score_of_empty_sky_is_normal(sky: Changing, difference: Difference) -> None:
    assert difference.score is not None
    rows, columns = np.indices(difference.score.shape)
    stars = np.column_stack([sky.stars["x"].value, sky.stars["y"].value])
    others = np.append(stars, np.column_stack([sky.x, sky.y]), axis=0)
    far = cKDTree(others).query(np.column_stack([columns.ravel(), rows.ravel()]))[0].reshape(rows.shape) > 12
    empty = difference.score[far & (difference.image.mask == 0)]
    assert empty.size > 50_000
    assert np.std(empty) == pytest.approx(1, abs=0.06)
    assert np.abs(empty).max() < 5.5


def test_what_is_new_is_found_on_the_sky_and_on_galaxies(sky: Changing, difference: Difference) -> None:
    assert np.mean(height(difference, sky) > 5) >= 0.97


def test_the_flux_is_that_of_the_science_frame(sky: Changing, difference: Difference) -> None:
    data, noise = difference.image.data.copy(), np.full(sky.x.size, 25.0)
    fit = fit_sources(
        data, difference.image.mask, noise, difference.psf, sky.x, sky.y, sky.flux, radius=6.0, passes=1
    )
    assert np.median(fit.flux / sky.flux) == pytest.approx(1, abs=0.05)
    assert sky.reference_psf.fwhm < difference.psf.fwhm < 1.1 * sky.science_psf.fwhm


def test_a_shift_between_the_frames_leaves_nothing_of_the_stars() -> None:
    quality = subtract_zogy(*changing_sky(shift=(0.4, -0.3)).given).quality
    assert quality.chi_faint == pytest.approx(1, abs=0.1)
    assert quality.chi_bright == pytest.approx(1, abs=0.25)


def test_uncertain_positions_take_the_significance_of_what_bright_stars_leave(sky: Changing) -> None:
    bright = np.argsort(-sky.stars["snr"])[:8]
    x, y, snr = (np.asarray(sky.stars[name])[bright] for name in ("x", "y", "snr"))
    moved = sky.science.data.copy()
    draw(moved, sky.science_psf, x + 0.1, y, snr**2, 0.1)
    draw(moved, sky.science_psf, x, y, -(snr**2), 0.1)
    given = replace(sky.science, data=moved), *sky.given[1:]
    certain, uncertain = (subtract_zogy(*given, astrometric_error=(error, error)) for error in (0.0, 0.1))
    assert certain.score is not None
    assert uncertain.score is not None
    beside = np.rint(y).astype(int), np.rint(x).astype(int) + 2
    assert np.abs(certain.score[beside]).max() > 8
    assert np.abs(uncertain.score[beside]).max() < 5
    assert np.mean(height(uncertain, sky) > 5) >= 0.95


def test_a_frame_of_several_tiles_has_no_seams() -> None:
    sky = changing_sky(shape=(500, 1000), snr=14.0, new=10)
    difference = subtract_zogy(*sky.given)
    middle = difference.image.data[:, 495:505] / np.sqrt(difference.image.variance[:, 495:505])
    assert np.std(middle) == pytest.approx(1, abs=0.05)
    assert difference.quality.chi_sky == pytest.approx(1, abs=0.05)


def test_saturated_stars_are_flagged_with_their_wings(sky: Changing) -> None:
    science = Image(sky.science.data.copy(), sky.science.variance, sky.science.mask.copy())
    science.mask[298:303, 298:303], science.data[298:303, 298:303] = PixelFlag.SATURATED, 5e4
    difference = subtract_zogy(science, *sky.given[1:])
    assert difference.score is not None
    assert (difference.image.mask[290:311, 290:311] == PixelFlag.SATURATED).all()
    assert not difference.score[290:311, 290:311].any()
    assert np.abs(difference.score[270:330, 270:330]).max() < 30


def test_what_cannot_be_compared_is_refused(sky: Changing) -> None:
    smaller = Image(
        *(plane[:-1] for plane in (sky.reference.data, sky.reference.variance, sky.reference.mask))
    )
    with pytest.raises(WrongGeometry):
        subtract_zogy(sky.science, smaller, *sky.given[2:])
    with pytest.raises(TooFewStars):
        subtract_zogy(sky.science, sky.reference, sky.stars[:2], *sky.given[3:])
    with pytest.raises(BadParameters):
        subtract_zogy(*sky.given, astrometric_error=(-1.0, 0.0))
