"""Bias, darks and flats, measured as an observer measures a camera."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from toros.science.geometry import trim_rows
from toros.sim import (
    Conditions,
    build_detector,
    illuminate,
    read_out,
    sta1600,
    take_bias,
    take_dark,
    take_flat,
    without_flaws,
)

CLEAN = Conditions(cosmic_ray_rate=0.0)


def noise_of_a_pair(one, other, where):
    return np.std(one[where].astype(float) - other[where]) / np.sqrt(2)


def test_a_pair_of_bias_frames_shows_the_read_noise(camera, detector, good_pixels, rng):
    noise = noise_of_a_pair(
        take_bias(detector, rng).data, take_bias(detector, rng).data, good_pixels(detector)
    )
    rounding = 1 / 12
    assert np.sqrt(noise**2 - rounding) * camera.gain == pytest.approx(camera.read_noise, rel=0.015)


def test_noisy_pixels_are_noisier_and_no_others(camera, detector, rng):
    stack = np.stack([take_bias(detector, rng).data for _ in range(30)]).astype(np.float32)
    noisy = detector.bad_pixels()["noisy"]
    scatter = stack.std(axis=0, ddof=1) * camera.gain
    assert np.median(scatter[noisy]) > 3 * camera.read_noise
    assert np.median(scatter[~noisy]) == pytest.approx(camera.read_noise, rel=0.02)


def test_a_pair_of_flats_shows_the_gain(camera, detector, good_pixels, rng):
    good, band = good_pixels(detector), camera.band("V")
    bias = [take_bias(detector, rng).data.astype(float) for _ in range(2)]
    flats = [take_flat(detector, band, 5, rng).data.astype(float) for _ in range(2)]
    light = (flats[0] + flats[1] - bias[0] - bias[1])[good].mean()
    # The level differs over the frame, the variance with it: both are sums over the same pixels.
    variance = np.var((flats[0] - flats[1])[good]) - np.var((bias[0] - bias[1])[good])
    assert light / variance == pytest.approx(camera.gain, rel=0.02)


def test_each_amplifier_of_a_mosaic_shows_its_own_gain(rng):
    mosaic = build_detector(without_flaws(sta1600(scale=10)))
    band = mosaic.camera.band("r")
    pair = [trim_rows(take_flat(mosaic, band, 5, rng).data, mosaic.geometry)[:] for _ in range(2)]
    for amplifier in mosaic.geometry.amplifiers:
        one, other = (frame[amplifier.target].astype(float) for frame in pair)
        read_variance = 2 * (amplifier.read_noise / amplifier.gain) ** 2
        gain = (one + other).mean() / (np.var(one - other) - read_variance)
        # The variance of n pixels is known to sqrt(2 / n).
        assert gain == pytest.approx(amplifier.gain, rel=4 * np.sqrt(2 / one.size))


@pytest.mark.parametrize("exptime", [30.0, 120.0, 600.0])
def test_dark_current_grows_linearly(camera, detector, exptime, rng):
    dark = take_dark(detector, exptime, rng, conditions=CLEAN).data.astype(float)
    bias = np.mean([take_bias(detector, rng).data for _ in range(10)], axis=0)
    electrons = (dark - bias) * camera.gain
    expected = detector.dark_electrons(exptime)
    good = ~np.any(list(detector.bad_pixels().values()), axis=0)
    error = camera.bias_drift * camera.gain * 4
    assert electrons[good].mean() == pytest.approx(camera.dark_current * exptime, abs=error)
    warm = detector.bad_pixels()["hot"] & (expected < 40_000) & ~detector.bad_pixels()["noisy"]
    excess = (electrons - expected)[warm] / np.sqrt(expected[warm] + 1.1 * camera.read_noise**2)
    assert 0.7 < excess.std() < 1.3


@pytest.mark.parametrize("electrons", [0.5, 5.0, 29.0, 31.0, 400.0, 10_000.0])
def test_shot_noise_has_the_variance_of_its_mean(electrons, rng):
    detector = build_detector(
        dataclasses.replace(without_flaws(sta1600(scale=20)), read_noise=0.0, gain=0.25, gain_scatter=0.0)
    )
    gain = detector.camera.gain
    plane = np.full(detector.camera.shape, electrons, np.float32)
    counted = trim_rows(read_out(plane, detector, rng), detector.geometry)[:] * gain
    size = counted.size
    rounding = gain**2 / 12
    assert counted.mean() == pytest.approx(electrons, abs=5 * np.sqrt(electrons / size) + gain / 2)
    within = np.mean([np.var(counted[one.target]) for one in detector.geometry.amplifiers])
    # The variance of a Poisson variance: (2 + 1 / mean) / n.
    assert within == pytest.approx(
        electrons + rounding, rel=5 * np.sqrt((2 + 1 / electrons) / size), abs=rounding
    )


def test_the_overscan_follows_the_drifting_bias_of_each_amplifier(mosaic, rng):
    frames = [take_bias(mosaic, rng).data for _ in range(2)]
    for amplifier in mosaic.geometry.amplifiers:
        columns = mosaic.bias_columns[amplifier.target[1]].mean()
        for raw in frames:
            data, overscan = raw[amplifier.data].astype(float), raw[amplifier.overscan].astype(float)
            error = 5 * amplifier.read_noise / amplifier.gain / np.sqrt(overscan.size)
            assert data.mean() - overscan.mean() == pytest.approx(columns, abs=error)
    levels = np.array([[raw[one.overscan].mean() for one in mosaic.geometry.amplifiers] for raw in frames])
    assert np.std(levels[0] - levels[1]) > 0.5 * mosaic.camera.bias_drift


def test_the_gap_holds_bias_only(mosaic, rng):
    camera = mosaic.camera
    raw = take_flat(mosaic, camera.band("g"), 5, rng).data
    half = camera.shape[0] // 2
    gap = raw[half : half + camera.gap].astype(float)
    assert gap.mean() == pytest.approx(camera.bias_level, abs=5)
    assert raw[:half].mean() > 5 * gap.mean()


def test_the_mean_of_flats_is_the_true_flat(camera, detector, good_pixels, rng):
    band, good = camera.band("R"), good_pixels(detector)
    bias = np.mean([take_bias(detector, rng).data for _ in range(10)], axis=0)
    flat = np.mean([take_flat(detector, band, 5, rng).data for _ in range(20)], axis=0) - bias
    truth = np.ones(camera.shape, np.float32)
    illuminate(truth, detector, band)
    ratio = (flat / truth)[good]
    electrons = 20 * flat[good].mean() * camera.gain
    assert ratio.std() / ratio.mean() < 1.3 / np.sqrt(electrons)


def test_filters_have_flats_of_their_own(camera, detector):
    flats = []
    for name in ("V", "R"):
        flats.append(np.ones(camera.shape, np.float32))
        illuminate(flats[-1], detector, camera.band(name))
    assert np.abs(flats[0] / flats[1] - 1).max() > 0.005


def test_dust_that_moves_leaves_the_rest_of_the_flat(camera, detector):
    before, after = np.ones(camera.shape, np.float32), np.ones(camera.shape, np.float32)
    illuminate(before, detector, camera.band("V"))
    illuminate(after, detector, camera.band("V"), dust_shift=(30.0, 0.0))
    change = np.abs(after / before - 1)
    assert change.max() > 0.005
    assert np.median(change) < 1e-6


def test_an_overexposed_flat_stands_at_the_end_of_the_converter(camera, detector, rng):
    flat = take_flat(detector, camera.band("V"), 5, rng, level=90_000.0)
    assert (flat.data[flat.masks["saturated"]] > 60_000).all()
    assert flat.masks["saturated"].mean() > 0.95
