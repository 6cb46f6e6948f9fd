"""New exposures are looked at, and those that are not what they claim are sorted out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from observing import CAMERA, Telescope, attempt, ingest, item_named, knowing, run_waiting
from sqlalchemy import select

from small_steps import check, state_of
from toros.models import CalFile, QualityMeasure
from toros.sim import Conditions, RawFrame, sta1600, without_flaws
from toros.steps.clean import Clean, CleanCalibration
from toros.steps.runner import Runner


def _measures(runner: Runner, item_id: int) -> dict[str, float]:
    with runner.database.read() as session:
        rows = session.scalars(select(QualityMeasure).where(QualityMeasure.item_id == item_id))
        return {measure.name: measure.value for measure in rows}


def _clean(runner: Runner, name: str) -> str:
    """Load everything, clean one calibration frame; return its state or why it was refused."""
    ingest(runner)
    return attempt(runner, CleanCalibration(), item_named(runner, name).id)


def test_the_level_and_noise_of_a_bias_frame_are_those_of_the_chip(
    observatory: Runner, telescope: Telescope
) -> None:
    (name,) = telescope.bias(1)
    assert _clean(observatory, name) == "cleaned_data"
    frame = item_named(observatory, name)
    assert isinstance(frame, CalFile)
    chip = telescope.detector
    bias = CAMERA.bias_level + np.median(chip.bias_rows) + np.median(chip.bias_columns)
    assert frame.level == pytest.approx(bias, abs=3 * CAMERA.bias_drift)
    pattern = np.std(chip.bias_columns) ** 2 + np.std(chip.bias_rows) ** 2
    expected = np.sqrt((CAMERA.read_noise / CAMERA.gain) ** 2 + pattern)
    assert frame.noise == pytest.approx(expected, abs=0.75), (
        "the median deviation of integers is half an integer"
    )
    measures = _measures(observatory, frame.id)
    assert (measures["raw_level"], measures["raw_noise"]) == (frame.level, frame.noise)
    assert measures["saturated_fraction"] == 0


def test_the_saturated_share_of_a_frame_is_counted(observatory: Runner, telescope: Telescope) -> None:
    data = np.full(CAMERA.shape, 2000, np.uint16)
    data[:, :32] = 65535
    name = telescope.write("light", RawFrame(data), 60.0)
    ingest(observatory)
    frame = item_named(observatory, name)
    assert attempt(observatory, Clean(), frame.id) == "cleaned_data"
    assert _measures(observatory, frame.id)["saturated_fraction"] == pytest.approx(32 / 128)


def test_a_science_frame_is_measured_and_never_refused(observatory: Runner, telescope: Telescope) -> None:
    (name,) = telescope.lights(120, conditions=Conditions(moonlight=4))
    ingest(observatory)
    frame = item_named(observatory, name)
    assert attempt(observatory, Clean(), frame.id) == "cleaned_data"
    expected = CAMERA.bias_level + telescope.truth[name].truth.meta["sky"] / CAMERA.gain  # type: ignore[union-attr]
    assert _measures(observatory, frame.id)["raw_level"] == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize(
    ("level", "state"),
    [(150, "bad_flat"), (400, "cleaned_data"), (30_000, "cleaned_data"), (61_000, "bad_flat")],
)
def test_a_flat_is_used_if_its_median_lies_between_the_shares_of_the_rules(
    observatory: Runner, telescope: Telescope, level: float, state: str
) -> None:
    """2 % of 65535 are 1311 ADU, 90 % are 58982; the pedestal is 1000."""
    data = telescope.rng.normal(CAMERA.bias_level + level, 20, CAMERA.shape).clip(0, 65535)
    name = telescope.write("flat", RawFrame(data.astype(np.uint16)), 5.0)
    assert _clean(observatory, name) == state


def test_the_limits_of_flats_are_data(observatory: Runner, telescope: Telescope, tmp_path: Path) -> None:
    shipped = Path(__file__).parents[2] / "plugins/toros/steps/calibration_rules.toml"
    rules = tmp_path / "rules.toml"
    rules.write_text(shipped.read_text().replace("highest_level = 0.9", "highest_level = 0.3"))
    strict = replace(observatory, settings=replace(observatory.settings, rules=rules))
    (name,) = telescope.flats(1, level=25_000)
    assert _clean(strict, name) == "bad_flat"
    assert state_of(strict, item_named(strict, name).id) == "failed_to_clean"


@pytest.mark.parametrize(("temperature", "fate"), [(-19.9, "cleaned_data"), (-13.5, "warm_dark")])
def test_a_dark_of_a_sensor_that_is_not_cold_yet_is_refused(
    observatory: Runner, telescope: Telescope, temperature: float, fate: str
) -> None:
    (profile,) = (observatory.settings.profiles_dir or Path()).glob("cameras/*.toml")
    profile.write_text("dark_temperature_limit = -14.0\n" + profile.read_text())
    (name,) = telescope.darks(60, 1, **{"CCD-TEMP": temperature})
    assert _clean(observatory, name) == fate


def test_warm_bias_frames_and_flats_are_fine(observatory: Runner, telescope: Telescope) -> None:
    (profile,) = (observatory.settings.profiles_dir or Path()).glob("cameras/*.toml")
    profile.write_text("dark_temperature_limit = -14.0\n" + profile.read_text())
    telescope.cards["CCD-TEMP"] = 12.0
    telescope.bias(1)
    telescope.flats(1)
    ingest(observatory)
    assert run_waiting(observatory, CleanCalibration) == {"cleaned_data": 2}


def test_what_is_refused_says_why_and_the_others_go_on(observatory: Runner, telescope: Telescope) -> None:
    dark_flat = telescope.write("flat", RawFrame(np.full(CAMERA.shape, 1000, np.uint16)), 5.0)
    telescope.flats(2)
    ingest(observatory)
    assert run_waiting(observatory, CleanCalibration) == {"bad_flat": 1, "cleaned_data": 2}
    assert state_of(observatory, item_named(observatory, dark_flat).id) == "failed_to_clean"
    assert check(observatory).ok


def test_overscan_is_taken_off_before_a_level_is_measured(runner: Runner) -> None:
    camera = without_flaws(sta1600(scale=120))
    observatory = knowing(runner, camera)
    (name,) = Telescope(camera, runner.settings.inbox[0]).bias(1)
    assert _clean(observatory, name) == "cleaned_data"
    frame = item_named(observatory, name)
    assert isinstance(frame, CalFile)
    assert frame.level == pytest.approx(0, abs=camera.read_noise / camera.gain / 5)
