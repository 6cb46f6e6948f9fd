"""The command at work: on a fresh database, or on a night that has gone through the stream."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from the_command import Toros, toros_command

from toros.config import Settings


@pytest.fixture
def toros(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Toros:
    """The command, on a fresh database with all tables."""
    monkeypatch.setenv("TOROS_DATA_ROOT", str(settings.data_root))
    monkeypatch.setenv("TOROS_DATABASE_URL", settings.database_url)
    monkeypatch.setenv("TOROS_INBOX", str(settings.inbox[0]))
    monkeypatch.setenv("TOROS_SETTLE_SECONDS", "0")
    monkeypatch.setenv("TOROS_PATIENCE_SECONDS", "0")
    return toros_command


@pytest.fixture(scope="session")
def processed_night(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A simulated night, with a few broken files, that went through the stream up to its calibrated frames."""
    folder = tmp_path_factory.mktemp("night")
    rules = (Path(__file__).parents[2] / "plugins/toros/steps/calibration_rules.toml").read_text()
    (folder / "rules.toml").write_text(rules.replace("quiet_seconds = 30", "quiet_seconds = 0"))
    environ = {
        "TOROS_DATA_ROOT": str(folder / "data"),
        "TOROS_INBOX": str(folder / "inbox"),
        "TOROS_RULES": str(folder / "rules.toml"),
        "TOROS_SETTLE_SECONDS": "0",
        "TOROS_PATIENCE_SECONDS": "0",
    }
    simulated = ("--size", 64, "--bias", 2, "--darks", 2, "--flats", 2, "--fields", 1, "--exposures", 6)
    incidents = ("--incident", "no_date", "--incident", "not_fits", "--incident", "duplicate")
    with _environment(environ):
        assert toros_command("migrate").code == 0
        assert toros_command("simulate", folder / "inbox", *simulated, *incidents).code == 0
        assert toros_command("load").code == 1  # because of the broken files
        assert toros_command("run", "--group", "calibration").code == 0
        assert toros_command("run", "clean").code == 0
        assert toros_command("run", "preprocess").code == 0
    return environ


@pytest.fixture
def toros_at_night(processed_night: dict[str, str], tmp_path: Path) -> Iterator[Toros]:
    """The command, on a copy of that night."""
    shutil.copytree(processed_night["TOROS_DATA_ROOT"], tmp_path / "data")
    with _environment(processed_night | {"TOROS_DATA_ROOT": str(tmp_path / "data")}):
        yield toros_command


@contextmanager
def _environment(environ: dict[str, str]) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environ.items():
            patch.setenv(name, value)
        yield
