"""``airflow tasks test``: every task of every DAG, and every command that the DAGs' documentation shows."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from toros.models import MasterCal, Pawprint

from .local_airflow import LocalAirflow
from .small_observatory import Observatory

pytestmark = pytest.mark.airflow

REPOSITORY = Path(__file__).parents[3]

# One process for many commands: to import Airflow takes longer than to run any of them.
TERMINAL = """
import json, sys

from airflow.cli.cli_parser import get_parser

parser = get_parser()
for line in sys.stdin:
    command = parser.parse_args(json.loads(line))
    command.func(command)
    print("$", flush=True)
"""


def environ(home: Path) -> dict[str, str]:
    return {
        **os.environ,
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(REPOSITORY / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    }


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new Airflow home with its database."""
    home = tmp_path_factory.mktemp("home")
    in_shell(home, "db", "migrate")
    return home


def in_shell(home: Path, *words: str) -> str:
    """Run `airflow` with these words, as a person does; return what it printed."""
    done = subprocess.run(
        [Path(sys.executable).with_name("airflow"), *words],
        env=environ(home),
        cwd=home,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


class Terminal:
    """A process that runs one `airflow` command after the other."""

    def __init__(self, home: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", TERMINAL],
            env=environ(home),
            cwd=home,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def enter(self, *words: str) -> str:
        """Run `airflow` with these words; return what it printed."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(words) + "\n")
        self.process.stdin.flush()
        printed: list[str] = []
        for line in self.process.stdout:
            if line == "$\n":
                return "".join(printed)
            printed.append(line)
        raise AssertionError(f"airflow {shlex.join(words)} failed:\n{''.join(printed)}")


@pytest.fixture
def terminal(home: Path, observatory: Observatory) -> Iterator[Terminal]:
    terminal = Terminal(home)
    yield terminal
    with terminal.process:  # it ends when there is nothing more to read
        pass


def test_one_step_on_one_frame_from_the_shell(observatory: Observatory, home: Path) -> None:
    observatory.take("light")
    observatory.load()
    frame = observatory.items()[1]
    output = in_shell(
        home, "tasks", "test", "toros_step", "run", "-t", json.dumps({"step": "clean", "item_id": frame})
    )

    assert state_in(output) == "success"
    assert observatory.states() == {"raw_data": 2, "cleaned_data": 1}
    (made,) = observatory.step_runs("clean")
    assert (made.item_id, made.dag_id, made.task_id) == (frame, "toros_step", "run")


def test_every_task_and_every_documented_command_works(
    airflow: LocalAirflow, observatory: Observatory, terminal: Terminal
) -> None:
    observatory.take("bias", "dark", "flat", "light", count=2)
    runs = {id_: run_id_in(terminal.enter("dags", "test", id_)) for id_ in ("toros_survey", "toros_masters")}
    commands = [
        *(command for dag_id, run_id in runs.items() for command in of_all_tasks(airflow, dag_id, run_id)),
        *(
            command
            for dag_id in (*runs, "toros_step")
            for command in documented(airflow, dag_id, runs, observatory)
        ),
    ]
    states = {shlex.join(command): state_in(terminal.enter(*command)) for command in commands}

    assert {command: state for command, state in states.items() if state not in ("success", "skipped")} == {}
    assert observatory.states() == {
        "measured": 1,
        "cleaned_data": 1,
    }  # one frame was taken on, by hand


def of_all_tasks(airflow: LocalAirflow, dag_id: str, run_id: str) -> Iterator[list[str]]:
    for task in airflow.dag(dag_id).tasks:
        is_mapped = task.is_mapped or task.get_closest_mapped_task_group() is not None
        yield ["tasks", "test", dag_id, task.task_id, *([run_id, "--map-index", "0"] if is_mapped else [])]


def documented(
    airflow: LocalAirflow, dag_id: str, runs: dict[str, str], observatory: Observatory
) -> Iterator[list[str]]:
    """The commands in the documentation of a DAG, with a run and with items that exist."""
    lines = (airflow.dag(dag_id).doc_md or "").splitlines()
    for line in [line for line in lines if line.startswith("    airflow ")]:
        item = observatory.items(MasterCal if "combine_" in line else Pawprint)[0]
        filled_in = line.replace("17", str(item)).replace("RUN_ID", runs.get(dag_id, ""))
        yield shlex.split(filled_in, comments=True)[1:]


def run_id_in(output: str) -> str:
    """Return the id of the run that `airflow dags test` made."""
    found: list[str] = re.findall(r"DagRun Finished: .*?run_id=([^,]+),", output)
    return found[-1]


def state_in(output: str) -> str:
    """Return how a task ended: `airflow tasks test` itself succeeds either way."""
    states: list[str] = re.findall(r"new_state=(\w+)", output)
    return states[-1] if states else output
