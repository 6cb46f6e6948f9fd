"""The command as a whole: quick to start, documented, honest when it ends."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from the_command import Toros, toros_command

from toros import __version__
from toros.cli import app
from toros.cli.exits import Exit, exit_of
from toros.config import Settings
from toros.errors import DatabaseUnavailable, NotFits, SchemaOutdated, WaitingForMaster

README = Path(__file__).parents[2] / "README.md"


def _commands(group: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _commands(command, (*path, name))
        else:
            yield " ".join((*path, name)), command


COMMANDS = dict(_commands(typer.main.get_command(app)))


def test_help_and_completion_import_nothing_heavy() -> None:
    script = (
        "import sys; from typer.testing import CliRunner; from toros.cli import app;"
        "assert CliRunner().invoke(app, ['--help']).exit_code == 0;"
        "print(*{name.partition('.')[0] for name in sys.modules})"
    )
    python = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    heavy = {
        "airflow",
        "alembic",
        "astropy",
        "fastapi",
        "numpy",
        "photutils",
        "pydantic",
        "scipy",
        "sqlalchemy",
    }
    assert not heavy & set(python.stdout.split())


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_says_what_it_does_and_what_its_options_mean(name: str) -> None:
    command = COMMANDS[name]
    assert command.help
    assert toros_command(*name.split(), "--help").code == 0
    for parameter in command.params:
        assert parameter.help, f"{name}: {parameter.name}"


def test_the_readme_names_every_command() -> None:
    text = README.read_text(encoding="utf-8")
    assert [name for name in COMMANDS if f"`toros {name}" not in text] == []


def test_the_help_tells_the_exit_codes() -> None:
    answer = toros_command("--help")
    assert all(f"{int(code)} " in answer.out.partition("Exit codes:")[2] for code in Exit)


def test_the_version_is_that_of_the_package() -> None:
    assert toros_command("--version").out.strip() == __version__


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (NotFits("x"), Exit.DATA),
        (DatabaseUnavailable("x"), Exit.TRANSIENT),
        (SchemaOutdated("x"), Exit.MISCONFIGURED),
        (WaitingForMaster("x"), Exit.OK),
    ],
)
def test_the_exit_code_follows_the_branch_of_the_error(error: Any, code: Exit) -> None:
    assert exit_of(error) is code


def test_a_command_without_tables_says_what_to_do_in_two_lines(
    toros: Toros, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOROS_DATABASE_URL", f"sqlite:///{tmp_path / 'new.db'}")
    answer = toros("status")
    assert answer.code == Exit.MISCONFIGURED
    assert answer.err.splitlines()[0].startswith("error [schema_outdated]: ")
    assert answer.err.splitlines()[1:] == ["what to do: run `toros migrate`"]
    assert answer.out == ""


def test_a_traceback_is_shown_to_those_who_ask(toros: Toros) -> None:
    assert "Traceback" not in toros("run", "no_such_step").err
    answer = toros("--traceback", "run", "no_such_step")
    assert "Traceback" in answer.err
    assert answer.code == Exit.MISCONFIGURED


def test_a_database_that_does_not_answer_is_worth_another_try(
    toros: Toros, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = settings.data_root / "folder.db"
    folder.mkdir(parents=True)
    monkeypatch.setenv("TOROS_DATABASE_URL", f"sqlite:///{folder}")
    assert toros("status").code == Exit.TRANSIENT


def test_a_mistyped_command_is_a_matter_of_usage() -> None:
    assert toros_command("statsu").code == Exit.USAGE
