"""The sensor that waits until the last frame of a calibration set has come."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.providers.standard.triggers.temporal import DateTimeTrigger

from toros.operators.base import TorosOperator

if TYPE_CHECKING:
    from airflow.sdk.definitions.context import Context


class CalibrationQuietSensor(TorosOperator):
    """Wait until no frame of some calibration set has arrived for as long as the rules say (``quiet_seconds``).

    It waits in the triggerer and holds no worker slot.

    """

    ui_color = "#f5ecd2"

    def execute(self, context: Context, event: Any = None) -> None:  # noqa: ARG002  event of the trigger
        """Go on if it is quiet, otherwise look again when it will be."""
        from toros.steps.calibration_rules import read_rules
        from toros.steps.plan_masters import first_quiet

        runner = self.runner(context)
        with runner.database.read() as session:
            quiet = first_quiet(session, read_rules(runner.settings.rules))
        if quiet is not None and quiet > runner.clock():
            self.log.info("Frames of every set are still coming in; looking again at %s", quiet)
            self.defer(trigger=DateTimeTrigger(moment=quiet), method_name="execute")
