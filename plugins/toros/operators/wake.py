"""Operators that decide where the stream goes on, and wake up the DAG that takes it from there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, cast

from airflow.providers.standard.operators.branch import BaseBranchOperator
from airflow.sdk import Asset, XComArg
from airflow.sdk.exceptions import AirflowSkipException

from toros.hooks.toros import TorosHook
from toros.operators.base import TorosOperator
from toros.operators.fate import RETRIES

if TYPE_CHECKING:
    from airflow.sdk.definitions.context import Context


class ImageTypeBranchOperator(BaseBranchOperator):
    """Follow the branch of every kind of frame that waits: calibration, science, both or none.

    Parameters
    ----------
    calibration, science : str
        Task to go on with where such frames wait.
    toros_conn_id : str
        Connection of type ``toros``.
    """

    template_fields: Sequence[str] = ("toros_conn_id",)
    ui_color = "#f5ecd2"
    ui_fgcolor = "#14202e"

    def __init__(
        self,
        *,
        calibration: str,
        science: str,
        toros_conn_id: str = TorosHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(**RETRIES | kwargs)
        self.calibration = calibration
        self.science = science
        self.toros_conn_id = toros_conn_id

    def choose_branch(self, context: Context) -> Iterable[str]:
        """Ask the science database what waits."""
        from toros.steps.calibration_rules import read_rules
        from toros.steps.pending import calibration_nights, science_frames

        runner = TorosHook(self.toros_conn_id).runner(context)
        rules = read_rules(runner.settings.rules)
        with runner.database.read() as session:
            calibration = calibration_nights(session)
            science = science_frames(session, rules, runner.clock())
        self.log.info("Waiting: calibration of %d nights, %d science frames", len(calibration), len(science))
        return ([self.calibration] if calibration else []) + ([self.science] if science else [])


class WakeMastersOperator(TorosOperator):
    """Wake up toros_masters for every observing night with calibration frames that are not combined yet.

    Parameters
    ----------
    asset : Asset
        Gets one event per night; the night is its partition.
    """

    ui_color = "#e8dff3"

    def __init__(self, *, asset: Asset, **kwargs: Any) -> None:
        super().__init__(**{"outlets": [asset]} | kwargs)
        self.asset = asset

    def execute(self, context: Context) -> list[str]:
        """Raise the events."""
        from toros.steps.pending import calibration_nights

        runner = self.runner(context)
        with runner.database.read() as session:
            nights = [night.isoformat() for night in calibration_nights(session)]
        if not nights:
            raise AirflowSkipException("no calibration frame waits")
        context["outlet_events"][self.asset].add_partitions(nights)
        return nights


class MoreFramesOperator(TorosOperator):
    """Wake up toros_survey once more if science frames were left for the next run.

    If no frame of this run got anywhere, another run at once would not either: then it is left to the next one
    that comes by itself.

    Parameters
    ----------
    taken : list of int
        The science frames that this run took; usually the output of the task that listed them.
    asset : Asset
        Gets the event.
    """

    template_fields: Sequence[str] = (*TorosOperator.template_fields, "taken")

    def __init__(
        self,
        *,
        taken: Sequence[int] | XComArg,
        asset: Asset,
        **kwargs: Any,
    ) -> None:
        super().__init__(**{"outlets": [asset]} | kwargs)
        self.taken = taken

    def execute(self, context: Context) -> int:
        """Count what is left."""
        from toros.steps.calibration_rules import read_rules
        from toros.steps.pending import science_frames

        taken = set(cast("Sequence[int] | None", self.taken) or ())
        runner = self.runner(context)
        with runner.database.read() as session:
            waiting = set(science_frames(session, read_rules(runner.settings.rules), runner.clock()))
        left = waiting - taken
        if not left or taken <= waiting:
            raise AirflowSkipException(f"{len(left)} science frames are left, {len(taken - waiting)} got on")
        return len(left)
