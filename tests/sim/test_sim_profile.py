"""The profile of a simulated camera opens its frames to the pipeline."""

from __future__ import annotations

import datetime as dt
from pathlib import PurePath

import pytest

from toros.instruments.description import describe
from toros.instruments.profiles import load_profiles
from toros.sim import (
    NightPlan,
    azulcito,
    build_detector,
    fields_of_the_night,
    simulate_night,
    sta1600,
    write_profile,
)

EVENING = dt.date(2026, 11, 20)


@pytest.mark.parametrize("camera", [azulcito((256, 320)), sta1600(scale=40)], ids=lambda camera: camera.name)
def test_frames_are_described_as_they_were_taken(camera, tmp_path):
    write_profile(camera, tmp_path)
    profiles = load_profiles([tmp_path])
    truth = build_detector(camera).geometry
    plan = NightPlan(
        EVENING, bias=1, darks=((60.0, 1),), flats=1, fields=fields_of_the_night(EVENING, count=1)
    )
    types = {"bias": "Bias", "dark": "Dark", "flat": "Flat", "light": "Science"}
    for frame in simulate_night(plan, camera):
        found = describe(frame.header, frame.data.shape, PurePath(frame.name), profiles)
        assert found.imagetype == types[frame.kind]
        assert found.dialect == "maximdl"
        assert found.camera.gain == camera.gain
        geometry = found.camera.geometry(1, 1, frame.data.shape)
        assert (geometry.raw_shape, geometry.shape) == (camera.raw_shape, camera.shape)
        sections = [(one.data, one.overscan, one.target) for one in geometry.amplifiers]
        assert sections == [(one.data, one.overscan, one.target) for one in truth.amplifiers]


def test_full_size_frames_keep_their_shipped_profile(tmp_path):
    write_profile(sta1600(scale=40), tmp_path)
    header = {"INSTRUME": sta1600().instrument}
    assert load_profiles([tmp_path]).camera_of(header, sta1600().raw_shape, (1, 1)).name == "STA1600LN"
