"""The page of the DAGs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from toros.docs.flowchart import flowchart
from toros.docs.markdown import blocks, code, heading, mermaid, prose, table
from toros.docs.page import Page
from toros.docs.steps import link_to_step
from toros.errors import AirflowFailed
from toros.sql import sql_folder

TITLE = "DAGs"


def dags_page(steps: Collection[str]) -> Page:
    """Write the topology of every shipped DAG.

    Parameters
    ----------
    steps : collection of str
        The steps that have a section to link to.

    Raises
    ------
    AirflowFailed
        A DAG file cannot be parsed.
    """
    if find_spec("airflow") is None:
        body = "Airflow is not installed where these pages were written, so the DAG files could not be read."
        return Page("dags", TITLE, "In which order Airflow runs the steps, and under which condition.", body)
    dags = parse_dags(sql_folder().parents[1] / "dags")
    return Page(
        "dags",
        TITLE,
        "In which order Airflow runs the steps, and under which condition.",
        blocks(part for dag in dags for part in _section(dag, steps)),
    )


def parse_dags(folder: Path) -> Sequence[Mapping[str, Any]]:
    """Parse the DAG files of a folder, in a process and an Airflow home of their own.

    Raises
    ------
    AirflowFailed
        One of them cannot be parsed.
    """
    # What is set here, and which folders are watched here, is no matter of the topology.
    environ = {
        name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW_", "TOROS_"))
    }
    with tempfile.TemporaryDirectory(prefix="toros-docs-") as home:
        found = Path(home) / "dags.json"
        process = subprocess.run(
            [sys.executable, "-m", "toros.docs.dag_files", folder, found],
            env=environ | {"AIRFLOW_HOME": home, "AIRFLOW__CORE__LOAD_EXAMPLES": "False"},
            capture_output=True,
            text=True,
            check=False,
        )
        if process.returncode != 0:
            raise AirflowFailed(f"the DAG files of {folder} cannot be parsed: {process.stderr[-2000:]}")
        parsed = json.loads(found.read_text(encoding="utf-8"))
    for file, error in parsed["errors"].items():
        raise AirflowFailed(f"{folder / file} cannot be parsed: {error}", advice="correct the file")
    dags: Sequence[Mapping[str, Any]] = parsed["dags"]
    return dags


def _section(dag: Mapping[str, Any], steps: Collection[str]) -> Iterator[str]:
    yield heading(2, dag["dag_id"])
    yield prose(dag["description"])
    yield mermaid(flowchart(dag["tasks"], dag["edges"]))
    yield dag["doc"]  # Markdown of the DAG's author
    yield table(
        ("task", "operator", "step", "runs when", "meaning"), (_row(task, steps) for task in dag["tasks"])
    )
    yield table(
        ("parameter", "default", "meaning"),
        (
            (code(given["name"]), code(json.dumps(given["default"])), prose(given["meaning"]))
            for given in dag["parameters"]
        ),
    )


def _row(task: Mapping[str, Any], steps: Collection[str]) -> tuple[str, ...]:
    step = task["step"]
    is_repeated = task["is_mapped"] or any(group["is_mapped"] for group in task["groups"])
    return (
        code(task["task_id"]) + (" (once per item)" if is_repeated else ""),
        code(task["operator"]),
        link_to_step(step) if step in steps else code(step),
        code(task["trigger_rule"]),
        prose(task["doc"]),
    )
