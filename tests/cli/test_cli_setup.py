"""Setting up: tables, working folder, sites, cameras, settings."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from sqlalchemy import select
from the_command import Toros

from toros.cli.output import PIPE_WIDTH
from toros.config import OPTIONS, Settings, load_settings
from toros.instruments import CameraProfile, load_profiles
from toros.models import StepRun
from toros.models.database import Database
from toros.quality.limits import read_limits
from toros.steps.calibration_rules import read_rules

CAMERA = """
name = "Moravian G4"
match = [{ INSTRUME = "G4-16000" }]
pixels = [4096, 4096]
pixel_size = 9.0
gain = 1.5
"""


# ---------------------------------------------------------------------------------------------- tables


def test_the_tables_are_made_and_removed(toros: Toros) -> None:
    assert toros("downgrade", "base", "--yes").code == 0
    assert toros("status").code == 3
    assert toros("migrate").code == 0
    assert toros("status").code == 0


def test_tables_are_removed_only_by_those_who_say_yes(toros: Toros) -> None:
    assert toros("downgrade", "base").code == 1  # nobody answers
    assert toros("status").code == 0


@pytest.mark.parametrize("words", ["migrate --revision 9999", "downgrade 9999 --yes"])
def test_a_revision_that_does_not_exist_changes_nothing(toros: Toros, words: str) -> None:
    answer = toros(*words.split())
    assert (answer.code, "bad_parameters" in answer.err) == (3, True)
    assert toros("status").code == 0


# --------------------------------------------------------------------------------------- working folder


def test_a_working_folder_holds_what_airflow_and_the_steps_need(toros: Toros, tmp_path: Path) -> None:
    folder = tmp_path / "my observatory"
    assert toros("init", folder).code == 0
    environ = _environment_of(folder)
    assert environ["AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME"] == "0.1"
    assert (Path(environ["AIRFLOW__CORE__DAGS_FOLDER"]) / "toros_survey.py").is_file()
    settings = load_settings(environ)
    assert settings.data_root == folder / "data"
    assert read_rules(settings.rules) == read_rules()
    assert settings.quality_limits == folder / "quality.toml"
    assert read_limits(settings.quality_limits) == read_limits()
    assert settings.profiles_dir is not None
    assert load_profiles((settings.profiles_dir,)).cameras == load_profiles().cameras
    assert list((folder / "include" / "sql").rglob("*.sql"))


def test_the_sample_camera_is_a_valid_one(toros: Toros, tmp_path: Path) -> None:
    toros("init", tmp_path / "work")
    sample = tmp_path / "work" / "profiles" / "cameras" / "my_camera.toml.sample"
    assert CameraProfile.model_validate(tomllib.loads(sample.read_text())).pixels == (4096, 4096)


def test_nothing_is_overwritten(toros: Toros, tmp_path: Path) -> None:
    folder = tmp_path / "work"
    written = toros("init", folder, "--json").data["written"]
    (folder / "toros.env").write_text("MINE=1\n")
    (folder / "calibration.toml").unlink()
    again = toros("init", folder, "--json").data
    assert again["written"] == [str(folder / "calibration.toml")]
    assert again["differing"] == [str(folder / "toros.env")]
    assert {*again["kept"], *again["written"]} == {*written}
    assert (folder / "toros.env").read_text() == "MINE=1\n"


def test_a_folder_that_cannot_be_written_to_is_refused_with_advice(toros: Toros, tmp_path: Path) -> None:
    (tmp_path / "work").write_text("a file")
    answer = toros("init", tmp_path / "work")
    assert (answer.code, "what to do" in answer.err) == (4, True)


# ---------------------------------------------------------------------------------- sites and campaigns


def test_an_observatory_is_added_once(toros: Toros) -> None:
    words = ("observatory", "add", "Bosque Alegre", "--latitude=-31.598", "--longitude=-64.549")
    assert toros(*words, "--elevation", 1250, "--timezone", "America/Argentina/Cordoba").code == 0
    added = toros("observatory", "list", "--json").data[-1]
    assert (added["name"], added["latitude"], added["elevation"]) == ("Bosque Alegre", -31.598, 1250)
    assert toros(*words).code == 3


@pytest.mark.parametrize("wrong", ["--latitude=91", "--longitude=361", "--timezone=Mars/Olympus"])
def test_a_site_that_is_not_on_earth_is_refused(toros: Toros, wrong: str) -> None:
    assert toros("observatory", "add", "X", "--latitude=0", "--longitude=0", wrong).code == 2


def test_a_campaign_needs_a_site_and_a_camera_that_are_known(toros: Toros) -> None:
    def add(name: str, site: str, camera: str) -> int:
        return toros("campaign", "add", name, "--observatory", site, "--camera", camera).code

    assert add("first light", "Macon ridge", "STA1600LN") == 0
    assert add("first light", "Macon ridge", "STA1600LN") == 3
    assert add("second light", "Atlantis", "STA1600LN") == 3
    assert add("second light", "Macon ridge", "Hubble") == 3
    assert add("second light", "Macon ridge", "generic") == 3
    assert add("second light", "Macon ridge", "Azulcito") == 0
    campaigns = {row["name"]: row["camera"] for row in toros("campaign", "list", "--json").data}
    assert (campaigns["first light"], campaigns["second light"]) == ("STA1600LN", "Azulcito")
    sta1600 = toros("camera", "show", "STA1600LN", "--json").data
    assert (sta1600["database"]["xpixsize"], sta1600["database"]["gain"]) == (10560, 0.38)
    assert sta1600["campaigns"] == ["first light"]


# ---------------------------------------------------------------------------------------------- cameras


@pytest.fixture
def profiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for profiles of one's own."""
    folder = tmp_path / "profiles"
    folder.mkdir()
    monkeypatch.setenv("TOROS_PROFILES_DIR", str(folder))
    return folder


def test_a_camera_of_ones_own_is_known_from_then_on(toros: Toros, profiles: Path, tmp_path: Path) -> None:
    (tmp_path / "g4.toml").write_text(CAMERA)
    assert toros("camera", "add", tmp_path / "g4.toml").code == 0
    assert toros("camera", "show", "Moravian G4", "--json").data["profile"]["gain"] == 1.5
    assert "Moravian G4" in {row["name"] for row in toros("camera", "list", "--json").data}


def test_a_profile_takes_the_place_of_another_only_if_told_so(
    toros: Toros, profiles: Path, tmp_path: Path
) -> None:
    (tmp_path / "g4.toml").write_text(CAMERA)
    toros("camera", "add", tmp_path / "g4.toml")
    (tmp_path / "g4.toml").write_text(CAMERA.replace("1.5", "1.7"))
    assert toros("camera", "add", tmp_path / "g4.toml").code == 2
    assert toros("camera", "show", "Moravian G4", "--json").data["profile"]["gain"] == 1.5
    assert toros("camera", "add", tmp_path / "g4.toml", "--replace").code == 0
    assert toros("camera", "show", "Moravian G4", "--json").data["profile"]["gain"] == 1.7


@pytest.mark.parametrize("fault", ["gain = -1", "gian = 1.5", "gain ="])
def test_a_faulty_profile_is_named_and_left_out(
    toros: Toros, profiles: Path, tmp_path: Path, fault: str
) -> None:
    (tmp_path / "g4.toml").write_text(CAMERA.replace("gain = 1.5", fault))
    answer = toros("camera", "add", tmp_path / "g4.toml")
    assert (answer.code, "g4.toml" in answer.err) == (3, True)
    assert list(profiles.rglob("*.toml")) == []


def test_without_a_folder_for_profiles_it_is_said_how_to_get_one(toros: Toros, tmp_path: Path) -> None:
    (tmp_path / "g4.toml").write_text(CAMERA)
    answer = toros("camera", "add", tmp_path / "g4.toml")
    assert (answer.code, "TOROS_PROFILES_DIR" in answer.err) == (3, True)


# --------------------------------------------------------------------------------------------- settings


def test_the_settings_tell_where_they_come_from(
    toros: Toros, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "home" / "airflow.cfg"
    file.parent.mkdir()
    file.write_text("[toros]\nobservatory = Bosque Alegre\npoll_seconds = 7\nframes_per_run = 3\n")
    monkeypatch.setenv("AIRFLOW_HOME", str(file.parent))
    monkeypatch.setenv("AIRFLOW__TOROS__POLL_SECONDS", "8")
    monkeypatch.setenv("AIRFLOW__TOROS__FRAMES_PER_RUN", "4")
    monkeypatch.setenv("TOROS_FRAMES_PER_RUN", "5")
    rows = {row["name"]: (row["value"], row["origin"]) for row in toros("config", "--json").data}
    assert rows.keys() == {option.name for option in OPTIONS}
    assert rows["observatory"] == ("Bosque Alegre", str(file))
    assert rows["poll_seconds"] == (8.0, "AIRFLOW__TOROS__POLL_SECONDS")
    assert rows["frames_per_run"] == (5, "TOROS_FRAMES_PER_RUN")
    assert rows["raw_files"] == ("copy", "default")


@pytest.mark.parametrize(
    "url", ["postgresql+psycopg://toros:hush@db/toros", "postgresql+psycopg://db/toros?password=hush", "hush"]
)
def test_passwords_are_not_shown(toros: Toros, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("TOROS_DATABASE_URL", url)
    for answer in (toros("config"), toros("config", "--json")):
        assert answer.code == 0
        assert "hush" not in answer.out


@pytest.mark.airflow
def test_the_connection_of_airflow_wins_here_too(toros: Toros, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(
        "AIRFLOW_CONN_TOROS_DEFAULT", '{"conn_type": "toros", "schema": "/elsewhere/toros.db"}'
    )
    command = [sys.executable, "-c", "from toros.cli import main; main()", "config", "--json"]
    answer = subprocess.run(command, capture_output=True, text=True, check=True)
    rows = {row["name"]: (row["value"], row["origin"]) for row in json.loads(answer.stdout)}
    assert rows["database_url"] == ("sqlite:////elsewhere/toros.db", "AIRFLOW_CONN_TOROS_DEFAULT")
    assert rows["data_root"][1] == "TOROS_DATA_ROOT"


def test_a_wrong_setting_is_said_at_once(toros: Toros, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOROS_RAW_FILES", "burn")
    answer = toros("status")
    assert (answer.code, "raw_files" in answer.err) == (3, True)


# ------------------------------------------------------------------------------------------------- care


def test_fsck_finds_a_lost_file(toros_at_night: Toros, tmp_path: Path) -> None:
    assert toros_at_night("fsck").code == 0
    lost = next((tmp_path / "data").glob("*/master/*.fits"))
    lost.unlink()
    answer = toros_at_night("fsck", "--no-checksums", "--json")
    assert (answer.code, answer.data["ok"], answer.data["found"]) == (1, False, {"F1_file_missing": 1})
    assert lost.name in toros_at_night("fsck").out


def test_fsck_reads_the_files_unless_told_not_to(toros_at_night: Toros, tmp_path: Path) -> None:
    rotten = next((tmp_path / "data").glob("*/master/*.fits"))
    rotten.chmod(rotten.stat().st_mode | stat.S_IWUSR)
    rotten.write_bytes(bytes(rotten.stat().st_size))
    assert toros_at_night("fsck", "--no-checksums").code == 0
    assert toros_at_night("fsck").code == 1


def test_what_a_killed_process_left_is_found_and_healed(toros: Toros, settings: Settings) -> None:
    assert toros("run", "discover").code == 0
    with Database(settings.database_url).write() as session:
        killed = session.scalars(select(StepRun)).one()
        killed.status, killed.ended_at, killed.error_code, killed.pid_started = "running", None, None, 0.0
    found = toros("fsck", "--no-heal", "--json")
    assert (found.code, found.data["found"]) == (1, {"F4_dead_run": 1})
    assert toros("heal", "--json").data == [{"run": killed.id}]
    assert toros("log", "--failed", "--json").data[0]["status"] == "abandoned"
    assert toros("fsck", "--no-heal").code == 0


def test_a_pipe_gets_one_line_for_each_row(toros: Toros) -> None:
    lines = toros("camera", "list").out.splitlines()
    assert max(map(len, lines)) <= PIPE_WIDTH
    assert sum("Azulcito" in line for line in lines) == 1


def _environment_of(folder: Path) -> dict[str, str]:
    """Read the settings as a shell does."""
    shell = subprocess.run(
        ["/bin/sh", "-c", 'set -a; . "$1"; env -0', "sh", folder / "toros.env"],
        capture_output=True,
        text=True,
        check=True,
        env={},
    )
    return dict(pair.split("=", 1) for pair in shell.stdout.split("\0") if pair)
