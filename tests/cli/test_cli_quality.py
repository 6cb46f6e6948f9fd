"""``toros quality``: the limits in force, and the colours of an item."""

from __future__ import annotations

from pathlib import Path

import pytest
from the_command import Toros

from toros.quality.limits import read_limits


@pytest.fixture
def frame(toros_at_night: Toros) -> int:
    """A calibrated science frame."""
    runs = toros_at_night("log", "--step", "preprocess", "--json").data
    return next(run["item"] for run in runs if run["status"] == "succeeded")


@pytest.fixture
def strict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Limits of one's own that no sky is dark enough for, but that of the camera that took the night's frames."""
    path = tmp_path / "strict.toml"
    path.write_text("[measures.sky_level]\nyellow = [0, 1]\norange = [-1, 2]\nred = [-2, 3]\n")
    monkeypatch.setenv("TOROS_QUALITY_LIMITS", str(path))
    return path


def test_without_an_item_every_measure_is_listed_with_its_limits_and_its_meaning(toros: Toros) -> None:
    rows = toros("quality", "--json").data
    limits = read_limits()
    common = {row["measure"]: row for row in rows if row["camera"] is None}
    assert list(common) == list(limits.measures)
    fwhm, row = limits.measures["fwhm"], common["fwhm"]
    assert (row["unit"], row["bad"], row["yellow"], row["red"]) == ("arcsec", "high", fwhm.yellow, fwhm.red)
    assert row["meaning"] in toros("quality").out
    own = {(row["camera"], row["measure"]): row["yellow"] for row in rows if row["camera"]}
    assert own == {
        (camera, name): measure.yellow
        for camera, measures in limits.cameras.items()
        for name, measure in measures.items()
    }


def test_the_limits_can_be_looked_at_before_there_are_tables(
    toros: Toros, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOROS_DATABASE_URL", f"sqlite:///{tmp_path / 'new.db'}")
    assert toros("quality").code == 0


def test_an_item_is_shown_with_the_colours_of_its_measures(toros_at_night: Toros, frame: int) -> None:
    sheet = toros_at_night("quality", frame, "--json").data
    colours = {row["measure"]: row["colour"] for row in sheet["measures"]}
    assert colours["sky_level"] == "green"
    assert colours["raw_level"] is None, "it has no limits"
    assert (sheet["item"], sheet["kind"], sheet["camera"]) == (
        frame,
        "Pawprint",
        _camera_of(toros_at_night, frame),
    )
    assert f"Pawprint {frame}: {sheet['colour']}" in toros_at_night("quality", frame).out


def test_what_is_not_green_says_why(toros_at_night: Toros, frame: int, strict: Path) -> None:
    sheet = toros_at_night("quality", frame, "--json").data
    (sky,) = (row for row in sheet["measures"] if row["measure"] == "sky_level")
    assert sheet["colour"] == sky["colour"] == "red"
    assert sky["reason"].startswith("sky level ")
    assert " electron is above 3: " in sky["reason"]
    assert sky["reason"] in toros_at_night("quality", frame).out


def test_a_camera_of_ones_own_is_judged_by_its_own_limits(
    toros_at_night: Toros, frame: int, strict: Path
) -> None:
    camera = _camera_of(toros_at_night, frame)
    own = strict.with_name("own.toml")
    own.write_text(
        f'{strict.read_text()}[cameras."{camera}".sky_level]\nyellow = "none"\norange = "none"\nred = "none"\n'
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TOROS_QUALITY_LIMITS", str(own))
        sheet = toros_at_night("quality", frame, "--json").data
    assert sheet["colour"] != "red"


def test_only_the_newest_measure_counts(toros_at_night: Toros, frame: int) -> None:
    before = toros_at_night("quality", frame, "--json").data["measures"]
    toros_at_night("retry", frame, "--to", "raw_data")
    toros_at_night("run", "--group", "science")
    after = toros_at_night("quality", frame, "--json").data["measures"]
    assert [row["measure"] for row in before] == [row["measure"] for row in after]
    assert min(row["run"] for row in after) > max(row["run"] for row in before)


def test_an_item_on_which_nothing_was_measured_is_not_judged(toros_at_night: Toros) -> None:
    arrival = toros_at_night("log", "--step", "load", "--json").data[0]["item"]
    answer = toros_at_night("quality", arrival)
    assert answer.code == 0
    assert answer.out.strip() == f"Arrival {arrival}: not judged: none"


def test_an_item_that_does_not_exist_is_told_so(toros: Toros) -> None:
    answer = toros("quality", 12345)
    assert (answer.code, "unknown_item" in answer.err) == (3, True)


def test_a_broken_file_of_limits_is_named(toros: Toros, strict: Path) -> None:
    strict.with_name("broken.toml").write_text("[measures.fwhm]\nyellow = 99\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TOROS_QUALITY_LIMITS", str(strict.with_name("broken.toml")))
        answer = toros("quality")
    assert (answer.code, "broken.toml" in answer.err, "quality_limits" in answer.err) == (3, True, True)


def _camera_of(toros: Toros, frame: int) -> str:
    name = toros("show", frame, "--json").data["item"]["camera"]
    return str(toros("camera", "show", name, "--json").data["database"]["profile"])
