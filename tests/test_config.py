"""Settings come from the environment, from airflow.cfg, or from the defaults, in this order."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from toros.config import OPTIONS, Settings, load_settings
from toros.errors import BadParameters


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """An AIRFLOW_HOME."""
    return tmp_path / "airflow"


def load(home: Path, **environ: str) -> Settings:
    return load_settings({"AIRFLOW_HOME": str(home)} | environ)


def configure(home: Path, text: str) -> None:
    home.mkdir()
    (home / "airflow.cfg").write_text(text)


def test_every_option_is_a_setting_and_every_setting_an_option() -> None:
    assert [option.name for option in OPTIONS] == [field.name for field in fields(Settings)]


def test_every_default_can_be_read(home: Path) -> None:
    settings = load(home)
    assert settings.data_root == home / "toros"
    assert settings.inbox == (home / "toros" / "inbox",)
    assert settings.database_url == f"sqlite:///{home}/toros/toros.db"
    assert settings.accept_unknown_cameras is True
    assert (settings.profiles_dir, settings.rules, settings.step_modules) == (None, None, ())
    assert settings.quality_limits is None


def test_the_environment_wins_over_airflow_and_airflow_over_the_default(home: Path) -> None:
    configure(home, "[toros]\nobservatory = from the file\n")
    ours, airflows = "TOROS_OBSERVATORY", "AIRFLOW__TOROS__OBSERVATORY"

    assert load(home, **{ours: "ours", airflows: "Airflow's"}).observatory == "ours"
    assert load(home, **{airflows: "Airflow's"}).observatory == "Airflow's"
    assert load(home).observatory == "from the file"
    (home / "airflow.cfg").unlink()
    assert load(home.parent / "other").observatory == "Macon ridge"


def test_an_empty_variable_empties_a_setting(home: Path) -> None:
    configure(home, "[toros]\nprofiles_dir = /profiles\n")
    assert load(home).profiles_dir == Path("/profiles")
    assert load(home, TOROS_PROFILES_DIR="").profiles_dir is None


def test_several_folders_can_be_watched(home: Path) -> None:
    settings = load(home, TOROS_INBOX=" /camera , ~/other,, ")
    assert settings.inbox == (Path("/camera"), Path("~/other").expanduser())


def test_the_database_lies_in_the_data_root_unless_told_otherwise(home: Path) -> None:
    assert load(home, TOROS_DATA_ROOT="/data").database_url == "sqlite:////data/toros.db"
    url = "postgresql+psycopg://toros@db/toros"
    assert load(home, TOROS_DATA_ROOT="/data", TOROS_DATABASE_URL=url).database_url == url


def test_a_password_may_hold_any_character(home: Path) -> None:
    configure(home, "[toros]\ndatabase_url = postgresql://toros:50%(off)s@db/toros\n")
    assert load(home).database_url == "postgresql://toros:50%(off)s@db/toros"


def test_a_relative_folder_means_the_same_after_a_change_of_folder(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert load(home, TOROS_DATA_ROOT="data", TOROS_INBOX="camera").data_root == tmp_path / "data"
    assert load(home, TOROS_INBOX="camera").inbox == (tmp_path / "camera",)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("RAW_FILES", "move"),
        ("ACCEPT_UNKNOWN_CAMERAS", "maybe"),
        ("SETTLE_SECONDS", "soon"),
        ("PATIENCE_SECONDS", "-1"),
        ("POLL_SECONDS", "nan"),
        ("FRAMES_PER_RUN", "0"),
        ("FRAMES_PER_RUN", "1.5"),
    ],
)
def test_a_value_that_means_nothing_is_refused_by_name(home: Path, name: str, value: str) -> None:
    with pytest.raises(BadParameters, match=rf"\[toros\] {name.lower()} is '{value}'"):
        load(home, **{f"TOROS_{name}": value})


def test_a_broken_airflow_cfg_is_refused(home: Path) -> None:
    configure(home, "no section\n")
    with pytest.raises(BadParameters, match=r"airflow\.cfg cannot be read"):
        load(home)


@pytest.mark.parametrize(("text", "means"), [("YES", True), ("on", True), ("0", False), ("False", False)])
def test_yes_and_no_may_be_said_in_many_ways(home: Path, text: str, means: bool) -> None:
    assert load(home, TOROS_ACCEPT_UNKNOWN_CAMERAS=text).accept_unknown_cameras is means
