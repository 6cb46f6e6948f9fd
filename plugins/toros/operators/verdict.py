"""The operator at the end of a run that says whether it went well."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowFailException

from toros.operators.fate import RETRIES, UNPROCESSABLE_KEY

if TYPE_CHECKING:
    from airflow.sdk.definitions.context import Context


class VerdictOperator(BaseOperator):
    """Fail if something failed in this run that is not the fault of a frame.

    A frame that cannot be processed is a failed task and an item in its error state; the pipeline has done its
    work, and nobody need get up at night. Whatever else failed for good makes the run a failure, also where later
    tasks went on: a wrong setting, a disk that stayed full, a process that was killed too often.
    """

    ui_color = "#eef1f5"
    ui_fgcolor = "#14202e"

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**RETRIES | kwargs)

    def execute(self, context: Context) -> None:
        """Look at all tasks of this run that have ended."""
        broken = []
        for task in ended_tasks(context):
            if task.state == "failed" and task.unprocessable:
                self.log.warning("%s: %s", task.name, task.unprocessable)
            elif task.state == "failed":
                broken.append(task.name)
        if broken:
            raise AirflowFailException(f"{', '.join(broken)} failed: see the log there")


@dataclass(frozen=True)
class EndedTask:
    """What became of a task of the same run."""

    name: str
    state: str
    unprocessable: str | None
    """Why its item cannot be processed, if that is so."""

    @property
    def has_ended_its_item(self) -> bool:
        """Whether its item was brought to an end, good or bad."""
        return self.state == "success" or bool(self.unprocessable)


def ended_tasks(context: Context, task_ids: Container[str] | None = None) -> list[EndedTask]:
    """List the tasks of this run that have ended, mapped ones one by one."""
    task = context["ti"]
    found = task.get_task_breadcrumbs(dag_id=task.dag_id, run_id=task.run_id)  # type: ignore[attr-defined]
    return [
        _ended_task(context, **crumb) for crumb in found if task_ids is None or crumb["task_id"] in task_ids
    ]


def _ended_task(context: Context, *, task_id: str, map_index: int, state: str, **_: Any) -> EndedTask:
    unprocessable = None
    if state == "failed":
        unprocessable = context["ti"].xcom_pull(
            task_ids=task_id, map_indexes=map_index, key=UNPROCESSABLE_KEY
        )
    return EndedTask(task_id if map_index < 0 else f"{task_id}[{map_index}]", state, unprocessable)
