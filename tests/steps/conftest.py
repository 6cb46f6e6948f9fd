"""An observatory with one small camera, and a night whose masters were made once for many tests."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from observing import CAMERA, NIGHT, Telescope, knowing, make_masters, observatory_in

from clock import Clock
from toros.steps.runner import Runner


@pytest.fixture
def observatory(runner: Runner) -> Runner:
    """A runner that knows the profile of the small camera."""
    return knowing(runner, CAMERA)


@pytest.fixture
def telescope(observatory: Runner) -> Telescope:
    """The small camera on the sky."""
    return Telescope(CAMERA, observatory.settings.inbox[0])


@pytest.fixture(scope="session")
def night_with_masters(tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path) -> Path:
    """A folder with database and data root, in which bias, dark (120 s) and flat of many frames were accepted."""
    folder = tmp_path_factory.mktemp("night_with_masters")
    shutil.copyfile(sqlite_template, folder / "toros.db")
    runner = knowing(observatory_in(folder), CAMERA)
    telescope = Telescope(CAMERA, folder / "inbox")
    telescope.bias(9)
    telescope.darks(120, 12)
    telescope.flats(6)
    assert make_masters(runner)["master_accepted"] == 3
    shutil.rmtree(folder / "inbox")
    return folder


@pytest.fixture
def prepared(night_with_masters: Path, tmp_path: Path, clock: Clock) -> Runner:
    """A copy of that night, ready for its science frames."""
    folder = tmp_path / "prepared"
    shutil.copytree(night_with_masters, folder)
    (folder / "inbox").mkdir()
    return replace(knowing(observatory_in(folder), CAMERA), clock=clock)


@pytest.fixture
def on_sky(prepared: Runner) -> Telescope:
    """The camera at the end of that night."""
    return Telescope(CAMERA, prepared.settings.inbox[0], night=NIGHT, seed=2)
