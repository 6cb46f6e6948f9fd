"""A chip read by sixteen amplifiers, each with its own level, gain and overscan: one even picture in the end."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits
from numpy.typing import NDArray
from observing import (
    Telescope,
    calibrate_lights,
    caveats,
    item_named,
    knowing,
    make_masters,
    masters,
    plane,
    products,
)

from small_steps import check
from toros.science.geometry import Amplifier, overscan_level
from toros.sim import Conditions, sta1600
from toros.steps.runner import Runner

CAMERA = sta1600(scale=40)


@pytest.fixture
def large_camera(runner: Runner) -> Runner:
    return knowing(runner, CAMERA)


@pytest.fixture
def at_work(large_camera: Runner) -> Telescope:
    return Telescope(CAMERA, large_camera.settings.inbox[0])


def _block_medians(frame: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return the median of what each amplifier has read."""
    rows, columns = CAMERA.amplifiers
    blocks = frame.reshape(rows, frame.shape[0] // rows, columns, frame.shape[1] // columns)
    return np.asarray(np.median(blocks, axis=(1, 3)))


def test_overscan_and_gaps_are_gone_from_the_masters(large_camera: Runner, at_work: Telescope) -> None:
    names = at_work.bias(4)
    make_masters(large_camera)
    (bias,) = masters(large_camera, "Bias")
    ours = plane(large_camera, bias, "master", "DATA")
    assert ours.shape == CAMERA.shape != CAMERA.raw_shape
    frames = []
    for name in names:
        raw, trimmed = at_work.truth[name].data, np.empty(CAMERA.shape, np.float32)
        for amplifier in at_work.detector.geometry.amplifiers:
            assert amplifier.overscan is not None
            trimmed[amplifier.target] = raw[amplifier.data] - overscan_level(raw[amplifier.overscan])[:, None]
        frames.append(trimmed)
    np.testing.assert_allclose(ours, np.median(frames, axis=0), atol=1e-3)
    assert np.abs(_block_medians(ours)).max() < 5, "the steps between amplifiers are hundreds of ADU"


def test_a_calibrated_frame_has_no_trace_of_the_amplifiers(large_camera: Runner, at_work: Telescope) -> None:
    at_work.bias(9)
    at_work.darks(60, 5)
    at_work.flats(9, level=30_000)
    (name,) = at_work.lights(60, density=0.5, conditions=Conditions(sky_gradient=0, moonlight=4))
    assert make_masters(large_camera)["master_accepted"] == 3
    assert calibrate_lights(large_camera)["preprocessed_data"] == 1
    frame = item_named(large_camera, name)
    levels = _block_medians(plane(large_camera, frame, "calibrated", "DATA"))
    raw_levels = _block_medians(
        np.block([[at_work.truth[name].data[a.data] for a in row] for row in _by_rows(at_work)])
    )
    assert np.ptp(raw_levels) / np.median(raw_levels) > 0.05
    assert np.ptp(levels) / np.median(levels) < 0.01
    assert caveats(large_camera, frame, "calibrated") == set()
    path = large_camera.store.path(products(large_camera, frame, "calibrated")[0].path)
    assert "overscan subtracted, trimmed" in fits.getheader(path)["HISTORY"]
    assert check(large_camera).ok


def test_without_bias_frames_the_overscan_alone_is_enough_but_not_a_secret(
    large_camera: Runner, at_work: Telescope
) -> None:
    at_work.darks(60, 5)
    at_work.flats(5)
    (same,), (other,) = at_work.lights(60), at_work.lights(120)
    assert make_masters(large_camera)["master_accepted"] == 2
    (dark,) = masters(large_camera, "Dark")
    assert caveats(large_camera, dark, "master") == {"first_master", "no_bias"}
    assert calibrate_lights(large_camera)["preprocessed_data"] == 2
    assert caveats(large_camera, item_named(large_camera, same), "calibrated") == set()
    assert caveats(large_camera, item_named(large_camera, other), "calibrated") == {"dark_scaled"}


def test_with_overscan_alone_a_frame_goes_on_and_says_what_it_lacks(
    large_camera: Runner, at_work: Telescope
) -> None:
    (name,) = at_work.lights(60)
    assert calibrate_lights(large_camera)["preprocessed_data"] == 1
    frame = item_named(large_camera, name)
    assert caveats(large_camera, frame, "calibrated") == {"no_bias", "no_dark", "no_flat"}


def _by_rows(telescope: Telescope) -> list[list[Amplifier]]:
    across = CAMERA.amplifiers[1]
    amplifiers = list(telescope.detector.geometry.amplifiers)
    return [amplifiers[start : start + across] for start in range(0, len(amplifiers), across)]
