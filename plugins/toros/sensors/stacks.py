"""The sensor that waits until the last frame of a field has come."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.providers.standard.triggers.temporal import DateTimeTrigger

from toros.operators.base import TorosOperator

if TYPE_CHECKING:
    from airflow.sdk.definitions.context import Context


class FieldQuietSensor(TorosOperator):
    """Wait until no frame of a set has been measured for as long as the rules say (``quiet_seconds``).

    It waits in the triggerer and holds no worker slot.

    Parameters
    ----------
    set_key : str, optional
        The set, as ``toros.models.Stack.set_key`` names it; without one it waits for nothing.
    """

    template_fields: Sequence[str] = (*TorosOperator.template_fields, "set_key")
    ui_color = "#f5ecd2"

    def __init__(self, *, set_key: str = "", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.set_key = set_key

    def execute(self, context: Context, event: Any = None) -> None:  # noqa: ARG002  event of the trigger
        """Go on if it is quiet or stacked, otherwise look again when it will be."""
        import datetime as dt

        from toros.steps.plan_stacks import wanted_stacks
        from toros.steps.survey_rules import read_survey_rules

        runner = self.runner(context)
        rules = read_survey_rules(runner.settings.survey_rules).stacks
        with runner.database.read() as session:
            newest = [one.newest for one in wanted_stacks(session, rules) if one.set_key == self.set_key]
        for moment in newest:
            quiet = moment + dt.timedelta(seconds=rules.quiet_seconds)
            if quiet > runner.clock():
                self.log.info("Frames of %s are still coming in; looking again at %s", self.set_key, quiet)
                self.defer(trigger=DateTimeTrigger(moment=quiet), method_name="execute")
