"""The operator that wakes up toros_stack when a field has frames to be stacked.

It has a module of its own for the same reason as that of toros_survey (see `toros.operators.wake_survey`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk.exceptions import AirflowSkipException

from toros.hooks.toros import TorosHook
from toros.operators.fate import RETRIES

if TYPE_CHECKING:
    from airflow.sdk.definitions.context import Context


class WakeStacksOperator(TriggerDagRunOperator):
    """Wake up toros_stack once for every set of frames that is to be stacked, however many frames follow.

    The run is named after the first new frame of the set: while more frames of it come in, it exists already.

    Parameters
    ----------
    toros_conn_id : str
        Connection of type ``toros``.
    """

    ui_color = "#f7e1d3"
    ui_fgcolor = "#14202e"

    def __init__(self, *, toros_conn_id: str = TorosHook.default_conn_name, **kwargs: Any) -> None:
        super().__init__(**RETRIES | {"skip_when_already_exists": True} | kwargs)
        self.toros_conn_id = toros_conn_id

    def execute(self, context: Context) -> None:
        """Look for sets with new frames; trigger the run for the one that began last."""
        from toros.steps.plan_stacks import wanted_stacks
        from toros.steps.survey_rules import read_survey_rules

        runner = TorosHook(self.toros_conn_id).runner(context)
        rules = read_survey_rules(runner.settings.survey_rules).stacks
        with runner.database.read() as session:
            wanted = list(wanted_stacks(session, rules))
        if not wanted:
            raise AirflowSkipException("no field has frames to be stacked")
        latest = max(wanted, key=lambda stack: (stack.first_new, stack.set_key))
        self.trigger_run_id = f"from_frame_{latest.first_new}"
        self.conf = {"set": latest.set_key}
        super().execute(context)
