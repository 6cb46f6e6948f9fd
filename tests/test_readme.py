"""What the README promises works as it is written there."""

from __future__ import annotations

import dataclasses
import datetime as dt
import importlib
import os
import re
import shlex
import sys
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from toros.cli import app
from toros.instruments import load_profiles
from toros.models import QualityMeasure
from toros.quality.limits import read_limits
from toros.sim import NightPlan, azulcito, fields_of_the_night, simulate_night, write_night, write_profile
from toros.steps import calibration_rules
from toros.steps.pending import items_waiting_for
from toros.steps.registry import find_step, find_steps

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
NIGHT = dt.date(2026, 11, 20)


def block(language: str, containing: str) -> str:
    """Return the one code block of a language that holds these words."""
    found = [
        text
        for text in re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)
        if containing in text
    ]
    assert len(found) == 1
    return str(found[0])


@pytest.fixture
def night_through_the_pipeline(runner, settings, tmp_path):
    """A small simulated night, calibrated."""
    camera = azulcito(shape=(128, 128))
    write_profile(camera, tmp_path / "profiles")
    rules = tmp_path / "rules.toml"
    shipped = Path(calibration_rules.__file__).with_suffix(".toml").read_text(encoding="utf-8")
    rules.write_text(shipped.replace("quiet_seconds = 30", "quiet_seconds = 0"))
    settings = dataclasses.replace(settings, profiles_dir=tmp_path / "profiles", rules=rules)
    runner = dataclasses.replace(runner, settings=settings)
    plan = NightPlan(NIGHT, bias=3, darks=((120.0, 3),), flats=3, fields=fields_of_the_night(NIGHT, count=1))
    write_night(simulate_night(plan, camera, seed=1), settings.inbox[0])
    for file in settings.inbox[0].iterdir():
        os.utime(file, (0, 0))  # written long ago, so complete
    for name in (
        "discover",
        "load",
        "clean_calibration",
        "plan_masters",
        "combine_bias",
        "combine_dark",
        "combine_flat",
        "clean",
        "preprocess",
    ):
        step = find_step(name)
        with runner.database.read() as session:
            items = items_waiting_for(session, step) if step.takes else [None]
        for item in items:
            runner.run(step(), item)
    return runner


def test_the_step_of_the_readme_is_short_and_runs_on_a_calibrated_frame(
    night_through_the_pipeline, tmp_path, monkeypatch
):
    code = block("python", "class MoonGlow")
    assert len(code.splitlines()) < 40
    assert len(code[code.index("class MoonGlow") :].splitlines()) < 30
    (tmp_path / "my_observatory").mkdir()
    (tmp_path / "my_observatory" / "__init__.py").touch()
    (tmp_path / "my_observatory" / "steps.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    runner = night_through_the_pipeline
    monkeypatch.setenv("TOROS_DATABASE_URL", runner.database.url)
    monkeypatch.setenv("TOROS_DATA_ROOT", str(runner.settings.data_root))
    monkeypatch.setenv("TOROS_STEP_MODULES", "my_observatory.steps")
    for line in block("sh", "toros state add").splitlines():
        result = CliRunner().invoke(app, shlex.split(line)[1:])
        assert result.exit_code == 0, result.output
    importlib.invalidate_caches()
    step = find_steps(("my_observatory.steps",))["moon_glow"]
    with runner.database.read() as session:
        measures = session.query(QualityMeasure).filter_by(name="moon_glow").all()
        assert items_waiting_for(session, step) == []
    assert len(measures) == 3
    assert all(0.9 < measure.value < 1.1 for measure in measures)
    sys.modules.pop("my_observatory.steps", None)


def test_the_camera_of_the_readme_is_a_valid_profile(tmp_path):
    text = block("toml", "QHY600M")
    (tmp_path / "cameras").mkdir()
    (tmp_path / "cameras" / "hilltop.toml").write_text(text)
    camera = load_profiles((tmp_path,)).camera("Hilltop")
    assert camera.gain == tomllib.loads(text)["gain"]
    assert camera.pixels == (9576, 6388)


def test_the_limits_of_the_readme_are_valid(tmp_path):
    own = tmp_path / "quality.toml"
    own.write_text(block("toml", "limiting_magnitude"))
    limits = read_limits(own)
    assert limits.of("Hilltop")["fwhm"].ranges.keys() == {"yellow", "orange"}
    assert limits.measures["limiting_magnitude"].orange == 17.5


def test_every_make_target_of_the_readme_exists():
    makefile = (Path(__file__).parents[1] / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"`make ([a-z-]+)", README):
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target


def test_every_folder_that_the_readme_points_to_exists():
    for path in re.findall(r"\]\((plugins/[^)]+)\)", README):
        assert (Path(__file__).parents[1] / path).is_dir(), path
