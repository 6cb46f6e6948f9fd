"""The simulated chips: laid out as the real ones, flawed as the real ones."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from toros.errors import BadParameters
from toros.sim import azulcito, build_detector, sta1600


def test_the_same_camera_has_always_the_same_chip(camera, detector):
    again = build_detector(camera)
    assert np.array_equal(again.response, detector.response)
    assert np.array_equal(again.hot_rates, detector.hot_rates)


def test_another_copy_of_the_camera_has_other_flaws(camera, detector):
    other = build_detector(dataclasses.replace(camera, seed=camera.seed + 1))
    assert not np.array_equal(other.hot, detector.hot)
    assert not np.array_equal(other.response, detector.response)


def test_the_raw_frame_of_toros_has_overscan_and_a_gap():
    camera = sta1600()
    assert camera.shape == (2 * 5280, 8 * 1320)
    assert camera.raw_shape == (2 * 5280 + 40, 8 * (1320 + 180))


def test_sixteen_amplifiers_tile_the_frame_and_leave_only_overscan_and_gap(mosaic):
    geometry = mosaic.geometry
    assert len(geometry.amplifiers) == 16
    seen, read = np.zeros(geometry.shape, int), np.zeros(geometry.raw_shape, int)
    for amplifier in geometry.amplifiers:
        seen[amplifier.target] += 1
        read[amplifier.data] += 1
        read[amplifier.overscan] += 1
        assert amplifier.overscan[1].start == amplifier.data[1].stop
    assert (seen == 1).all()
    assert read.max() == 1
    height = mosaic.camera.shape[0] // 2
    assert np.array_equal(
        np.flatnonzero((read == 0).all(axis=1)), np.arange(height, height + mosaic.camera.gap)
    )


def test_every_amplifier_has_a_gain_of_its_own_near_the_data_sheet(mosaic):
    gains = np.array([amplifier.gain for amplifier in mosaic.geometry.amplifiers])
    assert len(np.unique(gains)) == 16
    assert np.abs(gains / mosaic.camera.gain - 1).max() < 2 * mosaic.camera.gain_scatter


def test_hot_pixels_follow_a_power_law():
    camera = dataclasses.replace(azulcito((1024, 1024)), hot_fraction=4e-3)
    detector = build_detector(camera)
    expected = camera.hot_fraction * 1024**2
    assert abs(detector.hot.size - expected) < 5 * np.sqrt(expected)
    # Maximum-likelihood slope of a Pareto law (Hill 1975), with its standard error.
    slope = 1 / np.mean(np.log(detector.hot_rates / camera.hot_floor))
    assert slope == pytest.approx(camera.hot_slope, abs=4 * camera.hot_slope / np.sqrt(detector.hot.size))


def test_a_dead_column_is_dead_from_a_row_to_the_end(camera, detector):
    dead = detector.bad_pixels()["dead"]
    columns = np.flatnonzero(dead.sum(axis=0) > camera.shape[0] / 8)
    assert len(columns) == camera.dead_columns
    first = np.flatnonzero(dead[:, columns[0]])
    assert dead[first[-1] :, columns[0]].all()
    assert first[-1] == camera.shape[0] - 1
    assert detector.response[dead].max() < 0.05


@pytest.mark.parametrize("scale", [0, -1, 7, 1321])
def test_a_scale_that_does_not_divide_the_amplifier_is_refused(scale):
    with pytest.raises(BadParameters, match="1320"):
        sta1600(scale)


def test_amplifiers_must_share_the_chip_equally(camera):
    with pytest.raises(BadParameters, match="amplifiers"):
        dataclasses.replace(camera, amplifiers=(3, 1))


def test_a_filter_that_is_not_in_the_wheel_is_named_with_those_that_are(camera):
    with pytest.raises(BadParameters, match=r"'H-alpha'.*Clear, B, V, R"):
        camera.band("H-alpha")
