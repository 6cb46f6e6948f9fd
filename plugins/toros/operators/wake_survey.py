"""The operator that wakes up toros_survey when masters were made.

It has a module of its own because Airflow's TriggerDagRunOperator, on which it is built, imports much of Airflow:
the files of other DAGs need not pay for that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk.exceptions import AirflowSkipException

from toros.operators.fate import RETRIES
from toros.operators.verdict import ended_tasks

if TYPE_CHECKING:
    from airflow.sdk.definitions.context import Context


class WakeSurveyOperator(TriggerDagRunOperator):
    """Wake up toros_survey if masters were made, or given up: science frames waited for that.

    Not through an asset: events of a run with a partition reach only DAGs with partitions.
    """

    ui_color = "#b8dfb2"
    ui_fgcolor = "#14202e"

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**RETRIES | kwargs)

    def execute(self, context: Context) -> None:
        """Look at what became of the masters; trigger the run."""
        tasks = ended_tasks(context, self.upstream_task_ids)
        if not any(task.has_ended_its_item for task in tasks):
            raise AirflowSkipException("no master was made or given up")
        super().execute(context)
