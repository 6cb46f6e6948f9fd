"""The operator that runs one atomic step on one item."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from toros.links import ProductLink, StepRunLink
from toros.operators.base import TorosOperator
from toros.operators.fate import fate_of_task

if TYPE_CHECKING:
    from airflow.sdk import XComArg
    from airflow.sdk.definitions.context import Context

    from toros.steps.runner import Outcome, Runner
    from toros.steps.step import Step


class StepOperator(TorosOperator):
    """Run a step on one item of the stream: completely, or not at all.

    Parameters
    ----------
    item_id : int, str or XComArg, optional
        The item. Without one, the step looks for its work itself.
    parameters : mapping or str, optional
        Parameters of the step (see ``toros steps``), or a template that gives them as JSON.
    step : str, optional
        Name of the step; the subclasses in :mod:`toros.operators.steps` know theirs.

    Notes
    -----
    Returns the item's id. In a mapped task, ``map_index_template="{{ frame }}"`` shows the name of the frame.
    """

    template_fields: Sequence[str] = (*TorosOperator.template_fields, "step", "item_id", "parameters")
    operator_extra_links = (StepRunLink(), ProductLink())
    ui_color = "#dfe8f2"
    step: str = ""

    def __init__(
        self,
        *,
        item_id: int | str | XComArg | None = None,
        parameters: Mapping[str, Any] | str | None = None,
        step: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.item_id = item_id
        self.parameters = parameters
        if step is not None:
            self.step = step

    def execute(self, context: Context) -> int | None:
        """Run the step."""
        runner = self.runner(context)
        item_id = None if self.item_id is None else int(cast("int | str", self.item_id))
        if item_id is not None:
            name_task(context, runner, item_id)
        with fate_of_task(context):
            outcome = runner.run(make_step(self.step, runner, self.parameters), item_id)
        show(context, outcome)
        self.log.info("%s", outcome)
        return outcome.item_id


def make_step(name: str, runner: Runner, parameters: Mapping[str, Any] | str | None) -> Step[Any, Any, Any]:
    """Make the step of that name; a rendered template gives its parameters as JSON text."""
    from toros.steps.registry import find_step

    given: Mapping[str, Any] | None = json.loads(parameters) if isinstance(parameters, str) else parameters
    return find_step(name, runner.settings.step_modules)(**given or {})


def name_task(context: Context, runner: Runner, item_id: int) -> None:
    """Let a mapped task carry the name of its frame."""
    from toros.models import Item

    with runner.database.read() as session:
        item = session.get(Item, item_id)
        context["frame"] = getattr(item, "name", None) or getattr(item, "set_key", None) or f"item {item_id}"  # type: ignore[typeddict-unknown-key]


def show(context: Context, outcome: Outcome) -> None:
    """Hand the ids to the links of the task's page."""
    context["ti"].xcom_push(key="toros_run_id", value=outcome.run_id)
    if outcome.item_id is not None:
        context["ti"].xcom_push(key="toros_item_id", value=outcome.item_id)
