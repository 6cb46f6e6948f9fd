"""What all operators and sensors of the pipeline share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from toros.hooks.toros import TorosHook
from toros.operators.fate import RETRIES

if TYPE_CHECKING:
    from airflow.sdk.definitions.context import Context

    from toros.steps.runner import Runner


class TorosOperator(BaseOperator):
    """An operator that works on the science database, and whose errors decide their own fate.

    Parameters
    ----------
    toros_conn_id : str
        Connection of type ``toros``.
    """

    template_fields: Sequence[str] = ("toros_conn_id",)
    ui_color = "#eef1f5"
    ui_fgcolor = "#14202e"

    def __init__(self, *, toros_conn_id: str = TorosHook.default_conn_name, **kwargs: Any) -> None:
        super().__init__(**RETRIES | kwargs)
        self.toros_conn_id = toros_conn_id

    def runner(self, context: Context) -> Runner:
        """Return what runs steps, in the name of this task."""
        return TorosHook(self.toros_conn_id).runner(context)
