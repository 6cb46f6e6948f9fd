"""Parse the DAG files and tell what they hold, as JSON: a program, for a process that may import Airflow.

``python -m toros.docs.dag_files FOLDER FILE`` writes what it finds in the folder into the file.
"""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def dags_in(folder: Path) -> dict[str, Any]:
    """Return all DAGs of a folder, and the errors of the files that cannot be parsed."""
    from airflow.dag_processing.dagbag import DagBag

    bag = DagBag(folder)
    return {
        "dags": [_dag(bag.dags[dag_id]) for dag_id in sorted(bag.dags)],
        "errors": {Path(file).name: error for file, error in bag.import_errors.items()},
    }


def _dag(dag: Any) -> dict[str, Any]:
    return {
        "dag_id": dag.dag_id,
        "description": dag.description or "",
        "doc": inspect.cleandoc(dag.doc_md or ""),
        "parameters": [_parameter(name, dag.params.get_param(name)) for name in dag.params],
        "tasks": [_task(task) for task in dag.tasks],
        "edges": [edge for task in dag.tasks for edge in _edges(dag, task)],
    }


def _parameter(name: str, parameter: Any) -> dict[str, Any]:
    return {"name": name, "default": parameter.value, "meaning": parameter.description or ""}


def _task(task: Any) -> dict[str, Any]:
    return {
        "task_id": task.task_id,
        "operator": task.operator_name,
        "step": getattr(task, "step", "") or getattr(getattr(task, "operator_class", None), "step", ""),
        "doc": inspect.cleandoc(task.doc_md or ""),
        "trigger_rule": task.trigger_rule.value,
        "is_mapped": task.is_mapped,
        "groups": [_group(group) for group in _groups(task.task_group)],
    }


def _group(group: Any) -> dict[str, Any]:
    from airflow.sdk.definitions.taskgroup import MappedTaskGroup

    return {"group_id": group.group_id, "is_mapped": isinstance(group, MappedTaskGroup)}


def _groups(group: Any) -> Iterator[Any]:
    """Yield the groups that a task lies in, the outermost first; the DAG itself is none."""
    if group is not None and not group.is_root:
        yield from _groups(group.parent_group)
        yield group


def _edges(dag: Any, task: Any) -> Iterator[dict[str, str]]:
    for downstream in sorted(task.downstream_task_ids):
        label = dag.get_edge_info(task.task_id, downstream).get("label") or ""
        yield {"from": task.task_id, "to": downstream, "label": label}


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(json.dumps(dags_in(Path(sys.argv[1]))), encoding="utf-8")
