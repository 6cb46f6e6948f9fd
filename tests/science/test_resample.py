from __future__ import annotations

import warnings

import numpy as np
import pytest
from astropy.wcs import WCS
from reproject import reproject_interp
from scipy.ndimage import map_coordinates, shift
from starry_frames import random_stars

from toros.errors import BadParameters
from toros.science.flags import PixelFlag
from toros.science.image import Image
from toros.science.resample import CORRELATION, PixelMap, Polynomial, pixel_map, resample
from toros.sim import Psf, add_stars, azulcito, camera_wcs

SHAPE = (300, 340)
HOT = int(PixelFlag.HOT)
SATURATED = int(PixelFlag.SATURATED)
NO_DATA = int(PixelFlag.NO_DATA)


def moved(
    dx: float, dy: float, angle: float = 0.0, scale: float = 1.0, *, mirrored: bool = False
) -> Polynomial:
    """Where a target pixel lies in the source: turned (degrees) around the middle of the frame, and shifted."""
    turn, flip = np.radians(angle), -1 if mirrored else 1
    x_axis = scale * flip * np.array([np.cos(turn), np.sin(turn)])
    y_axis = scale * np.array([-np.sin(turn), np.cos(turn)])
    middle = (169.5, 149.5)
    return Polynomial(middle, 1.0, np.array([[middle[0] + dx, middle[1] + dy], x_axis, y_axis]))


def image(data: np.ndarray, variance: float = 1.0) -> Image:
    data = data.astype(np.float32)
    return Image(data, np.full(data.shape, variance, np.float32), np.zeros(data.shape, np.uint8))


def starlight(fwhm: float = 3.0, count: int = 40) -> tuple[Image, np.ndarray, np.ndarray, np.ndarray]:
    x, y, flux = random_stars(count, SHAPE, 1e4, 1e5)
    data = np.zeros(SHAPE, np.float32)
    add_stars(data, x, y, flux, Psf(fwhm))
    return image(data), x, y, flux


def one_star(x: float, y: float, flux: float = 1e5, fwhm: float = 2.5) -> Image:
    data = np.zeros(SHAPE, np.float32)
    add_stars(data, np.array([x]), np.array([y]), np.array([flux]), Psf(fwhm))
    return image(data)


def places_of(places: PixelMap) -> np.ndarray:
    y, x = np.mgrid[: places.shape[0], : places.shape[1]] / places.spacing
    return np.array([map_coordinates(plane, [y, x], order=1) for plane in places.nodes])


def two_wcs(distortion: float = 1.0) -> tuple[WCS, WCS]:
    """The same camera twice, pointed a little aside."""
    camera = azulcito((700, 800))
    wcs = [camera_wcs(camera, ra, -30.0) for ra in (150.0, 150.01)]
    for one in wcs:
        if one.sip is not None:
            one.sip = type(one.sip)(
                *(distortion * part for part in (one.sip.a, one.sip.b)), None, None, one.sip.crpix
            )
    return wcs[0], wcs[1]


# -------------------------------------------------------------------------------------------------- maps


@pytest.mark.parametrize("distortion", [1, 30])
def test_the_map_is_that_of_astropy_for_every_pixel(distortion: float) -> None:
    target, source = two_wcs(distortion)
    places = pixel_map(target, (700, 800), source)
    y, x = np.mgrid[:700, :800]
    theirs = source.all_world2pix(*target.all_pix2world(x.ravel(), y.ravel(), 0), 0, tolerance=1e-6)
    away = np.hypot(*(places_of(places).reshape(2, -1) - theirs))
    assert np.ptp(theirs[0] - x.ravel()) > 1e-4 * distortion
    assert away.max() < 0.001


def test_a_bent_map_has_more_nodes() -> None:
    spacings = [pixel_map(target, (700, 800), source).spacing for target, source in map(two_wcs, (1, 1000))]
    assert spacings[0] == 64
    assert spacings[1] < 64


def test_the_other_side_of_the_sky_is_no_data() -> None:
    camera = azulcito(SHAPE)
    places = pixel_map(camera_wcs(camera, 150.0, -30.0), SHAPE, camera_wcs(camera, 330.0, 30.0))
    result = resample(image(np.ones(SHAPE)), places)
    assert (result.mask == NO_DATA).all()
    assert (result.data == 0).all()
    assert (result.variance == 0).all()


def test_fields_far_apart_do_not_meet_where_distortions_run_wild() -> None:
    target, source = two_wcs(30)
    source.wcs.crval = [152.0, -30.0]
    source.wcs.set()
    assert (resample(image(np.ones((700, 800))), pixel_map(target, SHAPE, source)).mask == NO_DATA).all()


def test_a_wcs_needs_another() -> None:
    with pytest.raises(BadParameters, match="both"):
        pixel_map(two_wcs()[0], SHAPE)


@pytest.mark.parametrize(
    "transform", [moved(3.3, -7.7), moved(0.3, 0.2, 180), moved(5, 5, 30, mirrored=True)]
)
def test_a_band_needs_only_its_rows_and_is_that_part_of_the_whole(transform: Polynomial) -> None:
    frame = starlight()[0]
    frame.mask[100:104, 200] = HOT
    places = pixel_map(transform, SHAPE)
    whole = resample(frame, places)
    for rows in (slice(0, 40), slice(130, 170), slice(299, 300)):
        part = resample(frame, places, rows)
        needed = places.source_rows(rows, SHAPE[0])
        piece = Image(frame.data[needed], frame.variance[needed], frame.mask[needed])
        again = resample(piece, places.below(needed.start), rows)
        for name in ("data", "variance", "mask"):
            np.testing.assert_array_equal(getattr(part, name), getattr(whole, name)[rows])
            np.testing.assert_allclose(getattr(again, name), getattr(whole, name)[rows], 1e-4, atol=1e-3)


def test_a_shifted_band_needs_few_rows() -> None:
    places = pixel_map(moved(3.3, -7.7), SHAPE)
    needed = places.source_rows(slice(100, 140), SHAPE[0])
    assert needed.stop - needed.start <= 50
    assert places.source_rows(slice(0, 3), SHAPE[0]) == slice(0, 0)
    assert places.source_rows(slice(7, 7), SHAPE[0]) == slice(0, 0)


# ---------------------------------------------------------------------------------------------- the light


@pytest.mark.parametrize(("dx", "dy"), [(0, 0), (7, -12)])
def test_whole_pixels_are_moved_untouched(dx: int, dy: int) -> None:
    frame = starlight()[0]
    result = resample(frame, pixel_map(moved(dx, dy), SHAPE))
    theirs = shift(frame.data, (-dy, -dx), order=0, cval=0)
    inside = shift(np.ones(SHAPE), (-dy, -dx), order=0, cval=0) > 0
    np.testing.assert_allclose(result.data, theirs, rtol=1e-5, atol=1e-3)
    np.testing.assert_array_equal(result.mask, ~inside * np.uint8(NO_DATA))
    np.testing.assert_allclose(result.variance, inside, rtol=1e-5)


@pytest.mark.parametrize("transform", [moved(0.37, 0.61, 20), moved(1.5, -3.5, -77, mirrored=True)])
def test_smooth_light_is_what_splines_of_scipy_say(transform: Polynomial) -> None:
    frame = starlight(fwhm=5.0)[0]
    places = pixel_map(transform, SHAPE)
    result = resample(frame, places)
    x, y = places_of(places)
    theirs = map_coordinates(frame.data.astype(float), [y, x], order=5, mode="mirror")
    good = result.mask == 0
    assert good.sum() > 50_000
    assert np.abs(result.data - theirs)[good].max() < 0.005 * frame.data.max()


def test_light_through_two_wcs_is_where_reproject_puts_it() -> None:
    target, source = two_wcs()
    data = np.zeros((700, 800), np.float32)
    add_stars(data, *random_stars(60, data.shape, 1e4, 1e5), Psf(5.0))
    result = resample(image(data), pixel_map(target, data.shape, source))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = reproject_interp((data, source), target, data.shape, order=5, return_footprint=False)
    good = (result.mask == 0) & np.isfinite(theirs)
    assert good.sum() > 400_000
    assert np.abs(result.data - theirs)[good].max() < 0.005 * data.max()


@pytest.mark.parametrize("scale", [0.8, 1.0, 1.1])
def test_flux_and_place_of_a_star_are_kept_on_any_grid(scale: float) -> None:
    transform = moved(0.3, 0.4, 33, scale)
    errors = []
    for phase in np.linspace(0, 1, 9):
        x, y = 160 + phase, 150 + 0.77 * phase
        result = resample(one_star(x, y, fwhm=3.0), pixel_map(transform, SHAPE)).data.astype(float)
        down, right = np.mgrid[: SHAPE[0], : SHAPE[1]]
        flux = result.sum()
        middle = transform(np.array((result * right).sum() / flux), np.array((result * down).sum() / flux))
        errors.append([middle[0] - x, middle[1] - y])
        assert flux == pytest.approx(1e5, rel=0.003)
    assert np.sqrt(np.mean(np.square(errors))) < 0.005


# ----------------------------------------------------------------------------------------------- the noise


def test_the_noise_is_that_of_the_variance_and_wide_sums_scatter_by_the_factor_told() -> None:
    rng = np.random.default_rng(8)
    level = 1 + np.linspace(0, 3, 1000)[:, np.newaxis]
    noise = Image(
        (np.sqrt(level) * rng.normal(size=(1000, 1000))).astype(np.float32),
        np.broadcast_to(level, (1000, 1000)).astype(np.float32),
        np.zeros((1000, 1000), np.uint8),
    )
    places = pixel_map(
        Polynomial((0.0, 0.0), 1.0, np.array([[2.3, 5.1], [0.999, 0.03], [-0.03, 0.999]])), (1000, 1000)
    )
    result = resample(noise, places)
    inner = np.s_[40:940, 40:940]
    assert (result.mask[inner] == 0).all()
    chi = result.data[inner] / np.sqrt(result.variance[inner])
    assert chi.std() == pytest.approx(1, abs=0.005)
    sums, variances = (
        plane[inner].reshape(60, 15, 60, 15).sum(axis=(1, 3)) for plane in (result.data, result.variance)
    )
    factor = np.mean(sums**2 / variances)
    assert factor == pytest.approx(CORRELATION, rel=0.08)


# ------------------------------------------------------------------------------------------------ the mask


def test_a_hot_pixel_does_not_ring_and_what_it_touches_is_flagged() -> None:
    frame = image(np.full(SHAPE, 100.0))
    frame.data[150, 170], frame.mask[150, 170] = 60_000, HOT
    result = resample(frame, pixel_map(moved(0.4, 0.3, 10), SHAPE))
    flagged = result.mask == HOT
    assert 3 <= flagged.sum() <= 9
    good = result.mask == 0
    np.testing.assert_allclose(result.data[good], 100, rtol=1e-4)
    assert np.sqrt(np.mean(np.square(np.array(np.nonzero(flagged)).T.mean(axis=0) - [150, 170]))) < 2


def test_the_core_of_a_saturated_star_stays_what_it_is() -> None:
    star = one_star(170, 150, flux=3e6, fwhm=4.0)
    star.mask[star.data > 50_000] = SATURATED
    star.data[star.data > 50_000] = 50_000
    result = resample(star, pixel_map(moved(0.5, 0.5), SHAPE))
    core = result.mask == SATURATED
    assert core.sum() == pytest.approx((star.mask != 0).sum(), rel=0.6)
    assert core[149, 169]
    assert result.data[149, 169] == pytest.approx(50_000)
    assert result.data.max() < 55_000
    assert result.data.min() > -500


def test_flags_keep_their_bits() -> None:
    frame = image(np.ones(SHAPE))
    frame.mask[100, 100] = int(PixelFlag.COSMIC_RAY | PixelFlag.SATURATED)
    frame.mask[100, 101] = int(PixelFlag.DEAD)
    result = resample(frame, pixel_map(moved(0.5, 0), SHAPE))
    assert result.mask[100, 100] == int(PixelFlag.COSMIC_RAY | PixelFlag.SATURATED | PixelFlag.DEAD)
    assert result.mask[100, 103] == 0


def test_the_edge_of_the_frame_is_flagged_and_what_lies_beyond_is_empty() -> None:
    result = resample(image(np.ones(SHAPE)), pixel_map(moved(0.4, 50.4), SHAPE))
    assert (result.mask[:, -1] == NO_DATA).all()
    assert (result.mask[:200, 5:300] == 0).all()
    beyond = result.mask[251:] == NO_DATA
    assert beyond.all()
    assert (result.data[251:] == 0).all()
    assert np.isfinite(result.variance).all()
    np.testing.assert_allclose(result.data[:240, :330], 1, rtol=1e-5)


@pytest.mark.parametrize("shape", [(1, 1), (64, 64), (65, 129)])
def test_grids_may_end_anywhere_between_the_nodes(shape: tuple[int, int]) -> None:
    down, right = np.mgrid[: SHAPE[0], : SHAPE[1]]
    places = pixel_map(Polynomial((0.0, 0.0), 1.0, np.array([[50, 60], [1, 0], [0, 1.0]])), shape)
    result = resample(image(down + 1000.0 * right), places)
    theirs = (down + 1000.0 * right)[60 : 60 + shape[0], 50 : 50 + shape[1]]
    np.testing.assert_allclose(result.data, theirs, rtol=1e-5)
    assert places.source_rows(slice(0, shape[0]), SHAPE[0]) == slice(56, 60 + shape[0] + 4)


def test_a_frame_as_wide_as_a_power_of_two_is_no_different() -> None:
    wide = np.random.default_rng(2).normal(size=(40, 256))
    transform = Polynomial((0.0, 0.0), 1.0, np.array([[0.3, 0.7], [1, 0], [0, 1.0]]))
    whole = resample(image(wide), pixel_map(transform, (40, 256)))
    narrow = resample(image(wide[:, :255]), pixel_map(transform, (40, 255)))
    np.testing.assert_allclose(whole.data[:, :250], narrow.data[:, :250], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(whole.variance[:, :250], narrow.variance[:, :250], rtol=1e-5)


def test_a_frame_smaller_than_the_kernel_is_resampled_too() -> None:
    small = image(np.full((4, 5), 7.0))
    places = pixel_map(Polynomial((0.0, 0.0), 1.0, np.array([[0.2, 0.2], [1, 0], [0, 1.0]])), (4, 5))
    result = resample(small, places)
    np.testing.assert_allclose(result.data[1:3, 1:3], 7, rtol=1e-4)
