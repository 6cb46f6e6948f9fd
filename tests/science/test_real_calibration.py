"""Frames of real cameras: nobody told them how noise should behave."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from toros.science.calibrate import calibrate
from toros.science.combine import combine, corrected_rows, level
from toros.science.geometry import Geometry, Rows
from toros.science.noise import sky_noise
from toros.store.fits_file import inspect


def frames(folder: Path, pattern: str) -> list[Rows]:
    return [inspect(path).rows() for path in sorted(folder.glob(pattern))]


@pytest.mark.parametrize(("band", "exposure"), [("B", "1s"), ("V", "1p5s")])
def test_a_twilight_flat_is_flattened_by_its_fellows_down_to_its_noise(
    real_frames: Path, band: str, exposure: str
) -> None:
    night = real_frames / "sn2022yid"
    dark = combine(frames(night / "darks", f"*_{exposure}.fit*")).data
    first, *others = frames(night / "flats", f"*_{band}_*")
    scales = [1 / level(corrected_rows(flat, dark=dark)) for flat in others]
    fellows = [
        corrected_rows(flat, dark=dark, scale=scale) for flat, scale in zip(others, scales, strict=True)
    ]
    flat = combine(fellows, "clipped_mean")
    gain = float(inspect(next((night / "flats").glob(f"*_{band}_*"))).header["EGAIN"])
    geometry = Geometry.single((first.shape[0], first.shape[1]), gain, read_noise=11.0)
    frame = calibrate(first, geometry, dark=dark, flat=flat.data, flat_uncertainty=flat.uncertainty.array)
    typical = np.median(frame.data)
    blocks = np.median(frame.data[:1008, :1520].reshape(63, 16, 95, 16), axis=(1, 3))
    assert np.std(blocks) < 1e-3 * typical, "vignetting and dust are gone"
    assert sky_noise((frame.data - typical) / np.sqrt(frame.variance)) == pytest.approx(1, abs=0.06)


def test_the_dark_current_of_an_uncooled_camera_rises_linearly(real_frames: Path) -> None:
    exposures = np.array([1.0, 10.0, 50.0, 100.0])
    masters = [
        combine(frames(real_frames / "asi120", f"Dark_*_{t:.0f}sec_*"), "clipped_mean") for t in exposures
    ]
    levels = np.array([np.mean(master.data) for master in masters])
    slope, offset = np.polyfit(exposures, levels, 1)
    assert slope > 5
    np.testing.assert_allclose(levels, offset + slope * exposures, atol=16)


def test_the_error_of_a_real_master_dark_is_what_its_halves_differ_by(real_frames: Path) -> None:
    paths = sorted((real_frames / "tres1").iterdir())
    darks = [inspect(path) for path in paths]
    rows = [image.rows() for image in darks if "dark" in str(image.header.get("IMAGETYP")).lower()]
    assert len(rows) == 5
    one, two = combine(rows[:2], "clipped_mean"), combine(rows[2:4], "clipped_mean")
    variance = one.uncertainty.array**2 + two.uncertainty.array**2
    stated = np.sqrt(np.median(variance) / np.log(2))  # it has two degrees of freedom
    assert stated == pytest.approx(sky_noise(one.data - two.data), rel=0.06)
