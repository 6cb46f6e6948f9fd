"""The layers of the package: imports point downwards, and the pipeline works without Airflow."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
DAG_FILES = sorted((REPOSITORY / "dags").glob("*.py"))

OF_A_DAG = (
    "airflow.sdk",
    "airflow.providers.standard",
    "toros.assets",
    "toros.callbacks",
    "toros.notifications",
    "toros.operators",
    "toros.sensors",
)

WITHOUT_AIRFLOW = """
import importlib, pkgutil, sys

class NoAirflow:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "airflow":
            raise ModuleNotFoundError(f"{name} is asked for", name=name)

sys.meta_path.insert(0, NoAirflow())
for package in sys.argv[1:]:
    module = importlib.import_module(package)
    for found in pkgutil.walk_packages(module.__path__, package + "."):
        importlib.import_module(found.name)
"""


def test_imports_point_downwards() -> None:
    linter = subprocess.run(
        [Path(sys.executable).parent / "lint-imports", "--no-cache"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert linter.returncode == 0, linter.stdout + linter.stderr


def test_every_step_can_be_imported_where_there_is_no_airflow() -> None:
    packages = ["science", "sim", "instruments", "models", "store", "quality", "steps"]
    python = subprocess.run(
        [sys.executable, "-c", WITHOUT_AIRFLOW, *(f"toros.{package}" for package in packages)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert python.returncode == 0, python.stderr


@pytest.mark.parametrize("path", DAG_FILES, ids=lambda path: path.name)
def test_a_dag_file_is_topology_only(path: Path) -> None:
    """No science, no SQL: what Airflow offers its authors, our operators, assets and settings, and no more."""
    others = {module for module in _imported(path) if not module.startswith(OF_A_DAG)}
    assert others <= {"__future__", "datetime", "toros.config"}
    assert not _strings_of_sql(path)


def _imported(path: Path) -> set[str]:
    tree = ast.parse(path.read_text())
    names = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module}
    return names | {
        alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names
    }


def _strings_of_sql(path: Path) -> list[str]:
    texts = (n.value for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Constant))
    return [text for text in texts if isinstance(text, str) and text.lstrip().upper().startswith("SELECT ")]
