"""``toros retry``: items go back to a state they have been in, and are worked on once more."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from toros.cli.batch import attempt, finish
from toros.cli.output import AsJson
from toros.cli.stream import login_name, open_runner

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

By = Annotated[str | None, typer.Option("--by", help="Who decides; by default the login name.")]
Because = Annotated[str, typer.Option("--because", help="Why; kept on record.")]


def retry(
    items: Annotated[
        list[int] | None, typer.Argument(metavar="[ITEM]...", help="Numbers of the items.")
    ] = None,
    state: Annotated[str | None, typer.Option(help="All items in this error state.")] = None,
    code: Annotated[
        str | None, typer.Option(help="All items that are in an error state for this reason.")
    ] = None,
    to: Annotated[
        str | None,
        typer.Option(
            help="The state to go back to, one that the item has been in; by default the one before."
        ),
    ] = None,
    by: By = None,
    because: Because = "",
    as_json: AsJson = False,
) -> None:
    """Send items back: out of an error state to the state before, or to any state that they have been in (--to).

    The next run of the DAG, or of `toros run`, takes them from there. The way back is part of their history,
    and nothing that was made of them before is removed.
    """
    if bool(items) == bool(state or code):
        raise typer.BadParameter("name the items, or choose them by --state, by --code, or by both")
    from toros.steps.send_back import SendBack

    runner = open_runner()
    with runner.database.read() as session:
        chosen = _states_of(session, items) if items else _failed(session, state, code)
    decision = {"to_state": to, "person": by or login_name(), "reason": because}
    attempts = [
        attempt(runner, SendBack(from_state=present, **decision), item) for item, present in chosen.items()
    ]
    finish(attempts, as_json=as_json)


def _states_of(session: Session, items: Sequence[int]) -> dict[int, str]:
    """Return the present states of these items; of one that is not there, none."""
    from sqlalchemy import select

    from toros.models import Item, State

    query = select(Item.id, State.name).join(Item.state).where(Item.id.in_(items))
    found = dict(session.execute(query).all())
    return {item: found.get(item, "") for item in items}


def _failed(session: Session, state: str | None, code: str | None) -> dict[int, str]:
    """Return the items in an error state, by state, by the reason why they got there, or by both."""
    from sqlalchemy import select

    from toros.models import Item, State, StateChange, StepRun

    query = (
        select(Item.id, State.name)
        .join(Item.state)
        .join(StateChange, (StateChange.item_id == Item.id) & (StateChange.count == Item.state_count))
        .join(StateChange.steprun)
        .where(State.is_error)
        .order_by(Item.id)
    )
    if state is not None:
        query = query.where(State.name == state)
    if code is not None:
        query = query.where(StepRun.error_code == code)
    return dict(session.execute(query).all())
