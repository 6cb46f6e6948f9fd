"""Fresh processes for what Airflow does when it starts: a test that has imported numpy cannot see who else did."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from fresh_python import InFreshPython, Report

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def in_fresh_python(tmp_path_factory: pytest.TempPathFactory) -> InFreshPython:
    """Run a script that prints one JSON object at its end, in a new process with a new Airflow home."""

    def run(
        script: str, *arguments: str, flags: Sequence[str] = (), environ: Mapping[str, str] | None = None
    ) -> Report:
        home = tmp_path_factory.mktemp("airflow")
        settings = {
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__DAGS_FOLDER": str(REPOSITORY / "dags"),
        }
        python = subprocess.run(
            [sys.executable, *flags, "-c", script, *arguments],
            env={**os.environ, **settings, **(environ or {})},
            cwd=home,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert python.returncode == 0, python.stderr
        report: Report = json.loads(python.stdout.splitlines()[-1])
        return report

    return run


@pytest.fixture(scope="session")
def plugins_folder() -> dict[str, str]:
    """The environment of an Airflow whose plugins folder is ours."""
    return {"AIRFLOW__CORE__PLUGINS_FOLDER": str(REPOSITORY / "plugins")}


@pytest.fixture(scope="session")
def libraries_without_toros(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A site-packages folder with all our dependencies, where TOROS itself is not installed."""
    libraries = tmp_path_factory.mktemp("libraries")
    for entry in Path(pytest.__file__).parents[1].iterdir():
        if "toros" not in entry.name:
            (libraries / entry.name).symlink_to(entry)
    return libraries
