from __future__ import annotations

import astropy.units as u
import ccdproc
import numpy as np
import pytest
from astropy.nddata import CCDData
from hypothesis import given, settings
from hypothesis import strategies as st

from toros.errors import BadParameters, WrongGeometry
from toros.science.calibrate import FLAT_FLOOR, calibrate, variance_of
from toros.science.flags import PixelFlag
from toros.science.geometry import Amplifier, Geometry, trim_rows

SHAPE = (60, 70)
GAIN, READ_NOISE = 1.5, 8.0


@pytest.fixture
def night() -> dict[str, np.ndarray]:
    """Masters and one raw frame of a chip with a pedestal of 1000 ADU."""
    rng = np.random.default_rng(1)
    bias = rng.normal(1000, 3, SHAPE).astype(np.float32)
    dark = rng.gamma(2, 0.01, SHAPE).astype(np.float32)
    flat = rng.normal(1, 0.05, SHAPE).astype(np.float32)
    sky = rng.uniform(10, 3000, SHAPE)
    electrons = rng.poisson((sky * flat + dark * 60 * GAIN).clip(0)) + rng.normal(0, READ_NOISE, SHAPE)
    return {
        "raw": np.rint(electrons / GAIN + bias).astype(np.uint16),
        "bias": bias,
        "dark": dark,
        "flat": flat,
    }


def test_a_frame_is_calibrated_as_ccdproc_does_in_the_right_order(night: dict[str, np.ndarray]) -> None:
    """The deviation is created after the pedestal is gone, and before the dark current is."""
    frame = ccdproc.subtract_bias(
        CCDData(night["raw"].astype(float), unit="adu"), CCDData(night["bias"], unit="adu")
    )
    frame = ccdproc.create_deviation(
        frame, gain=GAIN * u.electron / u.adu, readnoise=READ_NOISE * u.electron, disregard_nan=True
    )
    frame = ccdproc.subtract_dark(
        frame,
        CCDData(night["dark"], unit="adu"),
        dark_exposure=1 * u.s,
        data_exposure=60 * u.s,
        scale=True,
    )
    frame = ccdproc.gain_correct(frame, GAIN * u.electron / u.adu)
    frame = ccdproc.flat_correct(frame, CCDData(night["flat"], unit=""), norm_value=1)
    ours = calibrate(
        night["raw"],
        Geometry.single(SHAPE, GAIN, READ_NOISE),
        bias=night["bias"],
        dark=night["dark"],
        dark_scale=60,
        flat=night["flat"],
    )
    deviation = frame.uncertainty.array
    np.testing.assert_allclose(ours.data, frame.data, atol=1e-5 * deviation.max(), rtol=1e-5)
    positive = night["raw"] > night["bias"]  # ccdproc's deviation of a negative signal has no read noise
    np.testing.assert_allclose(ours.variance[positive], deviation[positive] ** 2, rtol=1e-5)
    assert not ours.mask.any()


def test_the_stated_variance_is_the_true_scatter() -> None:
    rng = np.random.default_rng(2)
    sky, dark_current = 400.0, 300.0
    flat = np.full(SHAPE, 0.7, np.float32)
    frames = []
    for _ in range(60):
        electrons = rng.poisson(sky * 0.7 + dark_current, SHAPE) + rng.normal(0, READ_NOISE, SHAPE)
        raw = np.rint(electrons / GAIN + 1000).astype(np.uint16)
        frames.append(
            calibrate(
                raw,
                Geometry.single(SHAPE, GAIN, READ_NOISE),
                bias=np.full(SHAPE, 1000, np.float32),
                dark=np.full(SHAPE, dark_current / GAIN, np.float32),
                flat=flat,
            )
        )
    assert np.mean([frame.data for frame in frames]) == pytest.approx(sky, rel=2e-3)
    scatter = np.var([frame.data for frame in frames], axis=0, ddof=1).mean()
    assert np.mean([frame.variance for frame in frames]) == pytest.approx(scatter, rel=0.01)


def test_a_dark_of_the_same_exposure_replaces_a_missing_bias() -> None:
    """The pedestal inside the dark must not enter the Poisson term."""
    raw, dark = np.full(SHAPE, 1500, np.uint16), np.full(SHAPE, 1100, np.float32)
    frame = calibrate(raw, Geometry.single(SHAPE, GAIN, READ_NOISE), dark=dark)
    np.testing.assert_allclose(frame.data, 400 * GAIN)
    np.testing.assert_allclose(frame.variance, 400 * GAIN + READ_NOISE**2)
    with pytest.raises(BadParameters, match="pedestal"):
        calibrate(raw, Geometry.single(SHAPE, GAIN, READ_NOISE), dark=dark, dark_scale=2.0)


@given(
    seed=st.integers(0, 1000),
    with_dark=st.booleans(),
    with_flat=st.booleans(),
    with_flat_uncertainty=st.booleans(),
)
@settings(deadline=None, max_examples=30)
def test_the_variance_of_a_stored_frame_can_be_computed_again(
    seed: int, with_dark: bool, with_flat: bool, with_flat_uncertainty: bool
) -> None:
    rng = np.random.default_rng(seed)
    left = (slice(0, 60), slice(0, 30)), (slice(0, 60), slice(30, 70))
    geometry = Geometry(
        SHAPE,
        SHAPE,
        tuple(Amplifier(s, None, s, *noise) for s, noise in zip(left, [(0.4, 5), (2, 11)], strict=True)),
    )
    raw = rng.integers(900, 40000, SHAPE).astype(np.uint16)
    dark = rng.gamma(2, 20, SHAPE).astype(np.float32) if with_dark else None
    flat = rng.uniform(0, 1.2, SHAPE).astype(np.float32) if with_flat else None
    error = np.full(SHAPE, 0.01, np.float32) if with_flat and with_flat_uncertainty else None
    bias = np.full(SHAPE, 1000, np.float32)
    frame = calibrate(raw, geometry, bias=bias, dark=dark, dark_scale=2.5, flat=flat, flat_uncertainty=error)
    everything = slice(0, SHAPE[0])
    again = variance_of(
        frame.data,
        dark_electrons=0 if dark is None else dark * 2.5 * geometry.plane("gain", everything),
        flat=1 if flat is None else flat,
        flat_uncertainty=0 if error is None else error,
        read_noise=geometry.plane("read_noise", everything),
    )
    assert again.dtype == np.float32
    np.testing.assert_allclose(again, frame.variance, rtol=2e-5)


def test_each_amplifier_has_its_own_gain_noise_and_overscan() -> None:
    data = [(slice(0, 10), slice(0, 8)), (slice(0, 10), slice(12, 20))]
    overscan = [(slice(0, 10), slice(8, 12)), (slice(0, 10), slice(20, 24))]
    target = [(slice(0, 10), slice(0, 8)), (slice(0, 10), slice(8, 16))]
    geometry = Geometry(
        (10, 24),
        (10, 16),
        tuple(
            Amplifier(*sections, gain, noise)
            for *sections, gain, noise in zip(data, overscan, target, (1, 3), (5, 9), strict=True)
        ),
    )
    raw = np.full((10, 24), 500, np.uint16)
    raw[:, :8], raw[:, 12:20], raw[:, 20:] = 700, 1100, 1000
    raw[3, 14] = 65535
    frame = calibrate(raw, geometry, dark=np.full((10, 16), 10, np.float32), dark_scale=2, saturation=65000)
    np.testing.assert_allclose(frame.data[:, :8], 180)
    np.testing.assert_allclose(frame.variance[:, :8], 200 + 25)
    np.testing.assert_allclose(frame.data[0, 8:], 3 * 80)
    np.testing.assert_allclose(frame.variance[0, 8:], 3 * 100 + 81)
    assert np.argwhere(frame.mask == PixelFlag.SATURATED).tolist() == [[3, 10]], (
        "saturation is that of the raw ADU"
    )


def test_the_mask_tells_what_is_wrong_with_a_pixel(night: dict[str, np.ndarray]) -> None:
    raw, flat = night["raw"].copy(), night["flat"].copy()
    bad_pixels = np.zeros(SHAPE, np.uint8)
    bad_pixels[5, 6] = PixelFlag.HOT | PixelFlag.NOISY
    raw[5, 6] = raw[7, 8] = 65535
    flat[9, 10], flat[11, 12], flat[13, 14] = 0, np.nan, FLAT_FLOOR / 2
    frame = calibrate(
        raw,
        Geometry.single(SHAPE, GAIN, READ_NOISE),
        bias=night["bias"],
        flat=flat,
        bad_pixels=bad_pixels,
        saturation=64999.5,
    )
    expected = bad_pixels.copy()
    expected[5, 6] |= PixelFlag.SATURATED
    expected[7, 8] = PixelFlag.SATURATED
    expected[[9, 11, 13], [10, 12, 14]] = PixelFlag.NO_DATA
    np.testing.assert_array_equal(frame.mask, expected)
    assert np.isfinite(frame.data).all()
    assert np.isfinite(frame.variance).all()


def test_what_is_not_a_number_becomes_no_data() -> None:
    raw = np.full(SHAPE, 100, np.float32)
    raw[2, 3], raw[4, 5], raw[4, 6] = np.nan, np.inf, -np.inf
    frame = calibrate(raw, Geometry.single(SHAPE, GAIN, READ_NOISE))
    assert np.argwhere(frame.mask == PixelFlag.NO_DATA).tolist() == [[2, 3], [4, 5], [4, 6]]
    assert frame.data[2, 3] == frame.variance[2, 3] == 0
    assert np.isfinite(frame.data).all()


def test_a_frame_without_any_master_is_only_turned_into_electrons() -> None:
    raw = np.full(SHAPE, 100, np.uint16)
    frame = calibrate(raw, Geometry.single(SHAPE, GAIN, READ_NOISE))
    np.testing.assert_allclose(frame.data, 150)
    np.testing.assert_allclose(frame.variance, 150 + 64)


def test_the_tiles_of_a_large_frame_fit_together() -> None:
    shape = (300, 1000)
    rng = np.random.default_rng(3)
    raw, bias = rng.integers(0, 65535, shape).astype(np.uint16), rng.normal(1000, 3, shape).astype(np.float32)
    geometry = Geometry.single(shape, 2.0, 5.0)
    np.testing.assert_allclose(calibrate(raw, geometry, bias=bias).data, (raw - bias) * 2, rtol=1e-6)
    assert trim_rows(raw, geometry) is raw


def test_masters_of_another_size_are_refused(night: dict[str, np.ndarray]) -> None:
    geometry = Geometry.single(SHAPE, GAIN, READ_NOISE)
    for name in ("bias", "dark", "flat", "flat_uncertainty", "bad_pixels"):
        with pytest.raises(WrongGeometry, match=r"\(59, 70\)"):
            calibrate(night["raw"], geometry, **{name: np.ones((59, 70), np.float32)})
    with pytest.raises(WrongGeometry):
        calibrate(night["raw"][1:], geometry)
