"""Airflow inside the test process: its task runner, its database, and no scheduler."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import Executable, select

if TYPE_CHECKING:
    from airflow.models.dagrun import DagRun
    from airflow.models.taskinstance import TaskInstance
    from airflow.sdk import DAG

AIRFLOWS_OWN_WARNINGS = pytest.mark.filterwarnings(
    "ignore:Using `httpx` with",  # when its API is imported
    "ignore:GitWildMatchPattern",  # when it looks for DAG files
)


class LocalAirflow:
    """The DAG files of a folder, each run from its beginning to its end by `DAG.test`."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        bundle = {
            "name": "dags-folder",
            "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle",
            "kwargs": {"path": str(folder)},
        }
        patch.setenv("AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST", json.dumps([bundle]))

    @cached_property
    def _database(self) -> None:
        from airflow.utils import db

        db.initdb()

    def dag(self, dag_id: str) -> DAG:
        """Parse a DAG anew: a test may change its copy."""
        from airflow.dag_processing.dagbag import DagBag

        return DagBag(self.folder / f"{dag_id}.py").dags[dag_id]

    def run(self, dag: str | DAG, **conf: Any) -> Run:
        """Run a DAG, with these parameters."""
        self._database  # noqa: B018  made when it is first needed
        dag = self.dag(dag) if isinstance(dag, str) else dag
        with pytest.MonkeyPatch.context() as patch:
            # It sleeps a second whenever no task can be scheduled before it has looked once more.
            patch.setattr(time, "sleep", lambda _, sleep=time.sleep: sleep(0.01))
            return Run(dag.test(run_conf=conf or None))


@dataclass(frozen=True)
class Run:
    """What became of a run."""

    row: DagRun

    @property
    def state(self) -> str:
        return str(self.row.state)

    @cached_property
    def tasks(self) -> Mapping[str, TaskInstance]:
        """The tasks; mapped ones as ``exposure.clean[0]``."""
        found = sorted(self.row.get_task_instances(), key=lambda task: (task.task_id, task.map_index))
        return {t.task_id if t.map_index < 0 else f"{t.task_id}[{t.map_index}]": t for t in found}

    @property
    def states(self) -> dict[str, str]:
        return {name: str(task.state) for name, task in self.tasks.items()}

    def states_of(self, *task_ids: str) -> set[str]:
        """The states of these tasks; of a mapped one, all of them."""
        return {state for name, state in self.states.items() if name.partition("[")[0] in task_ids}

    def xcoms(self, name: str) -> dict[str, Any]:
        """What a task left."""
        from airflow.models.xcom import XComModel

        task = self.tasks[name]
        query = select(XComModel.key, XComModel.value).where(
            XComModel.dag_id == task.dag_id,
            XComModel.run_id == task.run_id,
            XComModel.task_id == task.task_id,
            XComModel.map_index == task.map_index,
        )
        return {row.key: XComModel.deserialize_value(row) for row in _ask(query)}

    def xcom(self, name: str, key: str = "return_value") -> Any:
        """One of the things that a task left."""
        return self.xcoms(name).get(key)

    def events(self) -> list[tuple[str, str | None]]:
        """The assets that the run raised, and their partitions."""
        from airflow.models.asset import AssetEvent, AssetModel

        query = (
            select(AssetModel.name, AssetEvent.partition_key)
            .join(AssetEvent, AssetEvent.asset_id == AssetModel.id)
            .where(AssetEvent.source_run_id == self.row.run_id)
            .order_by(AssetEvent.id)
        )
        return [(name, partition) for name, partition in _ask(query)]


def _ask(query: Executable) -> list[Any]:
    from airflow.utils.session import create_session

    with create_session() as session:
        return list(session.execute(query))
