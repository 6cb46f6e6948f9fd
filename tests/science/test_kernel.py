"""Kernels between frames: their convolution beside scipy's, and the fit beside the truth."""

from __future__ import annotations

import numpy as np
import pytest
from changing_sky import changing_sky, exposed
from scipy.ndimage import gaussian_filter
from scipy.signal import convolve2d
from starry_frames import random_stars

from toros.errors import BadParameters, NotFinite, TooFewStars, WrongGeometry
from toros.science.convolution import convolve
from toros.science.flags import PixelFlag
from toros.science.image import Image
from toros.science.kernel import CORE, Kernel, kernel_basis, kernel_radius, roughness
from toros.science.kernel_fit import fit_kernel
from toros.sim import Psf, add_stars

SHAPE = (150, 200)


def gauss(side: int, sigma: float, x: float = 0.0) -> np.ndarray:
    dy, dx = np.mgrid[:side, :side] - side // 2
    kernel = np.exp(-((dx - x) ** 2 + dy**2) / (2 * sigma**2))
    return kernel / kernel.sum()


def noise(shape: tuple[int, int] = SHAPE) -> Image:
    rng = np.random.default_rng(1)
    data, variance = rng.normal(100, 10, shape), rng.uniform(90, 110, shape)
    return Image(data.astype(np.float32), variance.astype(np.float32), np.zeros(shape, np.uint8))


def constant(weights: np.ndarray, shape: tuple[int, int] = SHAPE) -> Kernel:
    return Kernel(shape, weights[np.newaxis], np.zeros(1))


# ------------------------------------------------------------------------------------------ convolution


@pytest.mark.parametrize("side", [1, 3, 7, 9, 15])
def test_a_kernel_that_is_the_same_everywhere_convolves_as_scipy_does(side: int) -> None:
    image, weights = noise(), np.random.default_rng(side).normal(size=(side, side))
    convolved = convolve(image, constant(weights), level=100.0)
    theirs = convolve2d(image.data, weights, mode="same")
    inner = (slice(side, -side),) * 2
    np.testing.assert_allclose(convolved.data[inner], theirs[inner], atol=2e-3)
    spread = convolve2d(image.variance, weights**2, mode="same")
    np.testing.assert_allclose(convolved.variance[inner], spread[inner], rtol=0.02)


def test_a_kernel_of_pixels_and_blocks_convolves_as_scipy_does() -> None:
    basis = kernel_basis(CORE + 6)
    weights = np.tensordot(np.random.default_rng(2).normal(size=len(basis)), basis, axes=1)
    convolved = convolve(noise(), constant(weights))
    inner = (slice(21, -21),) * 2
    theirs = convolve2d(noise().data, weights, mode="same")
    np.testing.assert_allclose(convolved.data[inner], theirs[inner], atol=0.02)


def test_a_kernel_that_changes_over_the_field_is_that_of_each_place() -> None:
    shape = (300, 400)
    weights = np.stack([gauss(9, 1.0), 0.2 * gauss(9, 1.5), 0.1 * gauss(9, 0.8)])
    kernel = Kernel(shape, weights, np.array([1.0, 2.0, 0.5]))
    x, y = np.array([20.0, 200.0, 377.0]), np.array([33.0, 150.0, 270.0])
    data = np.zeros(shape, np.float32)
    data[y.astype(int), x.astype(int)] = 1000
    convolved = convolve(Image(data, np.ones_like(data), np.zeros(shape, np.uint8)), kernel)
    for star, (column, row) in enumerate(zip(x.astype(int), y.astype(int), strict=True)):
        stamp = convolved.data[row - 4 : row + 5, column - 4 : column + 5]
        assert stamp.sum() == pytest.approx(1000 * kernel.sum_at(x, y)[star], rel=0.02)
        np.testing.assert_allclose(stamp, 1000 * kernel.at(x, y)[star], atol=2.5)
    assert kernel.order == 1


def test_a_flag_spreads_to_where_the_kernel_has_weight_and_its_value_does_not() -> None:
    image = noise()
    image.mask[70, 80], image.data[70, 80] = PixelFlag.COSMIC_RAY, 1e6
    image.mask[30, 40], image.data[30, 40] = PixelFlag.SATURATED, 1e6
    image.mask[110, 150], image.data[110, 150] = PixelFlag.NO_DATA, np.nan
    convolved = convolve(image, constant(gauss(15, 0.7)), level=100.0)
    assert (convolved.mask == PixelFlag.COSMIC_RAY).sum() == 9
    assert (convolved.mask == PixelFlag.SATURATED).sum() == 225
    assert convolved.data.max() < 160
    assert np.isfinite(convolved.data).all()
    assert (convolved.mask[0] == PixelFlag.NO_DATA).all()
    assert not convolved.mask[1, 1:-1].any()


def test_what_has_no_good_neighbour_takes_the_level_of_the_sky() -> None:
    image = noise()
    image.mask[40:80, 40:80] = PixelFlag.NO_DATA
    image.variance[40:80, 40:80] = np.inf
    convolved = convolve(image, constant(gauss(9, 1.0)), level=77.0)
    assert convolved.data[60, 60] == pytest.approx(77.0)
    assert np.isfinite(convolved.variance).all()


def test_a_kernel_for_other_frames_is_refused() -> None:
    with pytest.raises(WrongGeometry):
        convolve(noise((50, 60)), constant(gauss(9, 1.0)))


@pytest.mark.parametrize("weights", [np.ones((1, 4, 4)), np.ones((2, 5, 5)), np.ones((1, 5, 7))])
def test_what_is_no_kernel_is_refused(weights: np.ndarray) -> None:
    with pytest.raises(BadParameters):
        Kernel(SHAPE, weights, np.zeros(1))


# ------------------------------------------------------------------------------------------------- basis


@pytest.mark.parametrize(("radius", "count"), [(4, 81), (7, 97), (10, 121), (16, 193)])
def test_the_parts_of_a_kernel_cover_it_once(radius: int, count: int) -> None:
    basis = kernel_basis(radius)
    assert basis.shape == (count, 2 * radius + 1, 2 * radius + 1)
    np.testing.assert_array_equal(basis.sum(axis=0), 1)
    assert set(basis.sum(axis=(1, 2))) <= {1.0, 9.0}


@pytest.mark.parametrize("radius", [3, 5, 9])
def test_a_kernel_without_whole_blocks_has_no_basis(radius: int) -> None:
    with pytest.raises(BadParameters):
        kernel_basis(radius)


def test_broad_differences_need_broad_kernels() -> None:
    radii = [kernel_radius(*widths) for widths in ((1.5, 1.6), (2.6, 3.2), (4.0, 4.5), (3.0, 30.0))]
    assert radii == [4, 7, 10, 16]
    for radius in radii:
        assert kernel_basis(radius).any()


def test_a_jagged_kernel_is_rougher_than_a_smooth_one() -> None:
    form = roughness(kernel_basis(4))
    smooth, jagged = (kernel.ravel() for kernel in (gauss(9, 1.5), gauss(9, 0.3)))
    assert smooth @ form @ smooth < 0.1 * (jagged @ form @ jagged)


# --------------------------------------------------------------------------------------------------- fit


def a_field(shape: tuple[int, int] = (400, 420), count: int = 120, seed: int = 3) -> tuple:
    """Bright stars in excellent seeing, and where they are."""
    x, y, flux = random_stars(count, shape, 5e3, 2e5, seed)
    light = np.zeros(shape, np.float32)
    add_stars(light, x, y, flux, Psf(2.6))
    return light, x, y


def test_the_kernel_that_one_frame_was_convolved_with_is_found() -> None:
    light, x, y = a_field()
    rng = np.random.default_rng(1)
    truth = constant(1.5 * gauss(9, 0.9, x=0.6), light.shape)
    frame = exposed(light, 100.0, rng)
    target = exposed(convolve2d(light, truth.middle, mode="same"), 200.0, rng)
    fit = fit_kernel(frame, target, x, y, radius=4, half=9)
    assert fit.kernel.order == 0
    assert fit.kernel.scale == pytest.approx(1.5, rel=0.005)
    np.testing.assert_allclose(fit.kernel.middle, truth.middle, atol=0.02)
    level = fit.kernel.background_at(x, y) + 100 * fit.kernel.sum_at(x, y)
    assert np.median(level) == pytest.approx(200, abs=1.0)


def test_noise_in_the_reference_does_not_make_the_kernel_too_low() -> None:
    sky = changing_sky(new=2)
    fit = fit_kernel(
        sky.reference, sky.science, sky.stars["x"].value, sky.stars["y"].value, radius=7, half=10
    )
    assert fit.kernel.scale == pytest.approx(1.2, rel=0.006)


def test_a_seeing_that_changes_over_the_field_raises_the_order() -> None:
    light, x, y = a_field(count=300)
    rng = np.random.default_rng(4)
    frame = exposed(light, 100.0, rng)
    sharp, broad = (gaussian_filter(light, sigma) for sigma in (0.6, 1.1))
    part = np.linspace(0, 1, light.shape[1], dtype=np.float32)
    target = exposed(sharp * (1 - part) + broad * part, 100.0, rng)
    fit = fit_kernel(frame, target, x, y, radius=4, half=9)
    assert fit.kernel.order >= 1
    left, right = fit.kernel.at(np.array([20.0, 400.0]), np.array([200.0, 200.0]))
    assert left[4, 4] > 1.5 * right[4, 4]


def test_stars_that_vary_are_left_out() -> None:
    light, x, y = a_field()
    rng = np.random.default_rng(2)
    changed = light.copy()
    add_stars(changed, x[:8], y[:8], np.full(8, 3e4), Psf(2.6))
    frame, target = exposed(light, 100.0, rng), exposed(gaussian_filter(changed, 0.9), 100.0, rng)
    fit = fit_kernel(frame, target, x, y, radius=4, half=9)
    distance = np.hypot(fit.x[:, np.newaxis] - x[:8], fit.y[:, np.newaxis] - y[:8])
    assert distance.min() > 1
    assert fit.n_rejected >= 8
    assert fit.kernel.scale == pytest.approx(1, rel=0.01)


def test_frames_of_different_stars_have_no_kernel() -> None:
    rng = np.random.default_rng(2)
    frame, target = (exposed(a_field(count=40, seed=seed)[0], 100.0, rng) for seed in (3, 33))
    _, x, y = a_field(count=40)
    with pytest.raises(TooFewStars, match=r"agree|show up"):
        fit_kernel(frame, target, x, y, radius=4, half=9)


def test_two_stars_or_frames_that_do_not_overlap_are_not_enough() -> None:
    light, x, y = a_field()
    frame = exposed(light, 100.0, np.random.default_rng(1))
    with pytest.raises(TooFewStars, match="2 of 2"):
        fit_kernel(frame, frame, x[:2], y[:2], radius=4, half=9)
    left, right = (Image(frame.data, frame.variance, frame.mask.copy()) for _ in range(2))
    left.mask[:, :210], right.mask[:, 210:] = PixelFlag.NO_DATA, PixelFlag.NO_DATA
    with pytest.raises(TooFewStars, match="can be compared"):
        fit_kernel(left, right, x, y, radius=4, half=9)
    left.mask[...] = PixelFlag.NO_DATA
    with pytest.raises(NotFinite):
        fit_kernel(left, right, x, y, radius=4, half=9)
