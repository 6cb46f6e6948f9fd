"""Airflow finds TOROS, installed or as a plugins folder, and pays next to nothing for it."""

from __future__ import annotations

from pathlib import Path

import pytest
from fresh_python import InFreshPython, Report

HEAVY = {"astropy", "ccdproc", "matplotlib", "numba", "numpy", "pandas", "photutils", "scipy", "sklearn"}

LOAD_PLUGINS_AND_PARSE_DAGS = """
import json, sys

from airflow import plugins_manager

plugins, errors = plugins_manager._get_plugins()
modules = sorted(sys.modules)

from airflow.dag_processing.dagbag import DagBag

dags = DagBag()
print(json.dumps({
    "plugins": [str(plugin.source) for plugin in plugins if plugin.name == "toros"],
    "plugin errors": errors,
    "after the plugins": modules,
    "dags": sorted(dags.dags),
    "dag errors": {str(file): error for file, error in dags.import_errors.items()},
    "after the dags": sorted(sys.modules),
    "files": {name: module.__file__ for name, module in list(sys.modules.items())
              if getattr(module, "__file__", None)},
}))
"""

IMPORT_WHAT_DAGS_MAY_IMPORT = """
import importlib, json, pkgutil, sys

heavy = {}
for name in ("provider", "triggers", "operators", "sensors", "hooks", "assets", "links", "plugin", "at_start"):
    package = importlib.import_module(f"toros.{name}")
    for found in pkgutil.walk_packages(getattr(package, "__path__", []), f"toros.{name}."):
        importlib.import_module(found.name)
    heavy[name] = sorted({module.partition(".")[0] for module in sys.modules} & set(sys.argv[1:]))
print(json.dumps(heavy))
"""


@pytest.fixture(scope="module")
def installed(in_fresh_python: InFreshPython) -> Report:
    """An Airflow where TOROS is installed and the plugins folder is empty."""
    return in_fresh_python(LOAD_PLUGINS_AND_PARSE_DAGS)


@pytest.fixture(scope="module")
def in_plugins_folder(
    in_fresh_python: InFreshPython, plugins_folder: dict[str, str], libraries_without_toros: Path
) -> Report:
    """An Airflow where TOROS is not installed, but lies in the plugins folder."""
    # -S: the real site-packages stay out.
    return in_fresh_python(
        LOAD_PLUGINS_AND_PARSE_DAGS,
        flags=["-S"],
        environ={"PYTHONPATH": str(libraries_without_toros), **plugins_folder},
    )


def heavy(modules: list[str]) -> set[str]:
    return {module.partition(".")[0] for module in modules} & HEAVY


def test_an_installed_toros_is_found_by_its_entry_point(installed: Report) -> None:
    assert installed["plugin errors"] == {}
    assert [source.partition(": ")[2] for source in installed["plugins"]] == [
        "EntryPoint(name='toros', value='toros.plugin:TorosPlugin', group='airflow.plugins')"
    ]


def test_a_toros_in_the_plugins_folder_is_found_without_being_installed(in_plugins_folder: Report) -> None:
    assert in_plugins_folder["plugin errors"] == {}
    assert in_plugins_folder["plugins"] == ["$PLUGINS_FOLDER/toros_plugin.py"]


def test_a_toros_that_is_installed_and_in_the_plugins_folder_is_loaded_once(
    in_fresh_python: InFreshPython, plugins_folder: dict[str, str]
) -> None:
    report = in_fresh_python(LOAD_PLUGINS_AND_PARSE_DAGS, environ=plugins_folder)

    assert report["plugin errors"] == {}
    assert len(report["plugins"]) == 1


def test_no_module_of_ours_is_loaded_under_a_bare_name(in_plugins_folder: Report) -> None:
    """Tables that are imported twice, as ``toros.models`` and as ``models``, are an error of SQLAlchemy."""
    files = in_plugins_folder["files"]
    ours = {name for name, file in files.items() if "toros" in Path(file).parts}

    assert "toros.plugin" in ours
    assert {name for name in ours if name.partition(".")[0] != "toros"} == set()


def test_the_plugin_brings_nothing_heavy_into_every_process(installed: Report) -> None:
    modules = installed["after the plugins"]

    assert heavy(modules) == set()
    assert {m for m in modules if m.startswith(("toros.web", "toros.models", "toros.steps"))} == set()


def test_the_dags_are_parsed_without_errors(installed: Report, in_plugins_folder: Report) -> None:
    for report in (installed, in_plugins_folder):
        assert report["dag errors"] == {}
        assert {"toros_survey", "toros_masters"} <= set(report["dags"])


def test_the_dags_are_parsed_without_science(installed: Report) -> None:
    """Every task parses its DAG file again: what that imports is paid a thousand times a night."""
    assert heavy(installed["after the dags"]) == set()


def test_what_dags_may_import_is_light(in_fresh_python: InFreshPython) -> None:
    report = in_fresh_python(IMPORT_WHAT_DAGS_MAY_IMPORT, *HEAVY)
    assert set().union(*report.values()) == set()
