"""Operators that take everything that waits: many small steps in one task, each still atomic and recorded."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from toros.errors import Misconfigured, NothingToDo, Transient, Unprocessable
from toros.links import ProductLink, StepRunLink
from toros.operators.base import TorosOperator
from toros.operators.step import make_step

if TYPE_CHECKING:
    from airflow.sdk.definitions.context import Context

    from toros.steps.runner import Runner


class BatchOperator(TorosOperator):
    """Run a step on every item that is in the state it takes; one bad item never stops the others.

    Parameters
    ----------
    step : str
        Name of the step.

    Notes
    -----
    Returns the ids of the items that were processed. What is not the fault of an item fails the task, when all
    have had their turn; if another try may help, there is one.
    """

    operator_extra_links = (StepRunLink(), ProductLink())
    ui_color = "#cfe2f5"

    def __init__(self, *, step: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.step = step

    def execute(self, context: Context) -> list[int]:
        """Run the step on all that waits."""
        from toros.steps.pending import items_waiting_for

        runner = self.runner(context)
        with runner.database.read() as session:
            waiting = items_waiting_for(session, type(make_step(self.step, runner, None)))
        return self.run_all(runner, waiting)

    def run_all(self, runner: Runner, items: Iterable[int]) -> list[int]:
        """Run the step on each item.

        Raises
        ------
        Transient
            At least one item is worth another try.
        Misconfigured
            No item is, but at least one needs a person to act.
        """
        step = make_step(self.step, runner, None)
        done: list[int] = []
        left: list[Transient | Misconfigured] = []
        for item_id in items:
            try:
                runner.run(step, item_id)
            except (Unprocessable, NothingToDo) as error:
                self.log.warning("%s, item %d: %s", self.step, item_id, error)
            except (Transient, Misconfigured) as error:
                self.log.warning("%s, item %d is left as it was: %s", self.step, item_id, error)
                left.append(error)
            else:
                done.append(item_id)
        self.log.info("%s: %d done, %d left as they were", self.step, len(done), len(left))
        if left:
            raise min(left, key=lambda error: isinstance(error, Misconfigured))
        return done


class LoadOperator(BatchOperator):
    """Discover what is new in the watched folders, and register it: the only way into the stream."""

    ui_color = "#bcd7f0"

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"step": "load"} | kwargs)

    def execute(self, context: Context) -> list[int]:
        """Discover, then load all arrivals."""
        from toros.steps.healing import heal

        runner = self.runner(context)
        heal(runner.database, runner.store, runner.clock())
        try:
            runner.run(make_step("discover", runner, None))
        except NothingToDo as nothing:
            self.log.info("%s", nothing)
        return super().execute(context)


class ScienceFramesOperator(TorosOperator):
    """List the science frames that can be worked on now, oldest first.

    Parameters
    ----------
    limit : int, optional
        At most so many; by default ``[toros] frames_per_run``.
    """

    def __init__(
        self,
        *,
        limit: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.limit = limit

    def execute(self, context: Context) -> list[int]:
        """Ask the science database."""
        from toros.steps.calibration_rules import read_rules
        from toros.steps.pending import science_frames

        runner = self.runner(context)
        with runner.database.read() as session:
            waiting = science_frames(session, read_rules(runner.settings.rules), runner.clock())
        return waiting[: self.limit or runner.settings.frames_per_run]


class WantedMastersOperator(TorosOperator):
    """List the master frames of one kind that are to be made, also those that an earlier run could not finish.

    Parameters
    ----------
    imagetype : str
        ``Bias``, ``Dark`` or ``Flat``.
    """

    template_fields: Sequence[str] = (*TorosOperator.template_fields, "imagetype")

    def __init__(self, *, imagetype: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.imagetype = imagetype

    def execute(self, context: Context) -> list[int]:
        """Ask the science database."""
        from toros.steps.pending import wanted_masters

        runner = self.runner(context)
        with runner.database.read() as session:
            return wanted_masters(session, self.imagetype)


class WaitingItemsOperator(TorosOperator):
    """List the items that wait for a step, also those that an earlier run could not finish.

    Parameters
    ----------
    step : str
        Name of the step.
    """

    def __init__(self, *, step: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.step = step

    def execute(self, context: Context) -> list[int]:
        """Ask the science database."""
        from toros.steps.pending import items_waiting_for

        runner = self.runner(context)
        with runner.database.read() as session:
            return items_waiting_for(session, type(make_step(self.step, runner, None)))


class WaitingForReferenceOperator(TorosOperator):
    """List the measured frames whose field has a reference, oldest first; at most ``[toros] frames_per_run``."""

    def execute(self, context: Context) -> list[int]:
        """Ask the science database."""
        from toros.steps.calibration_rules import read_rules
        from toros.steps.difference import Difference
        from toros.steps.pending import items_waiting_for, science_frames

        runner = self.runner(context)
        with runner.database.read() as session:
            workable = set(science_frames(session, read_rules(runner.settings.rules), runner.clock()))
            measured = items_waiting_for(session, Difference)
        return [frame for frame in measured if frame in workable][: runner.settings.frames_per_run]
