"""Send back: a person decides that an item goes back to a state it has been in, and is worked on once more."""

from __future__ import annotations

from typing import Any

from pydantic import Field
from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from toros.errors import BadParameters
from toros.models import Arrival, Item, Rejection, State, StateChange
from toros.steps.step import Parameters, Step, Work

BY_HAND = "by_hand"
"""Group of the steps that only a person starts."""


class Decision(Parameters):
    """Who decided, and why; kept with the step run."""

    person: str = Field(min_length=1)
    reason: str = ""


class SendBackParameters(Decision):
    """From where, and to where; by default to the state before."""

    from_state: str
    to_state: str | None = None


class SendBack(Step[str, str, str]):
    """Send an item back, so that the steps from there on take it again.

    The way back is a link of the item's history like any other, and what had been made stays: the steps make
    new versions beside it. The rejection of an arrival goes, as the Loader will judge it anew; why it was
    refused stays on record with the run that refused it.
    """

    name = "send_back"
    version = "1"
    takes = Item
    groups = (BY_HAND,)
    Parameters = SendBackParameters

    def __init__(self, **parameters: Any) -> None:
        super().__init__(**parameters)
        # This step takes an item from whatever state it is told.
        self.from_state = self.parameters.from_state  # type: ignore[misc]

    def query(self, session: Session, item: Item, work: Work) -> str:  # noqa: ARG002
        if isinstance(item, Arrival) and item.rejection is None:
            raise BadParameters(
                f"arrival {item.id} is {item.state.name}", advice="only refused files are loaded again"
            )
        target = self.parameters.to_state or _state_before(session, item)
        if target == item.state.name or target not in _states_left(session, item):
            raise BadParameters(
                f"item {item.id} is {item.state.name}, and cannot go back to {target}",
                advice=f"`toros show {item.id}` lists the states that it has been in",
            )
        return str(target)

    def write(self, result: str, work: Work) -> None:
        work.leave(result)

    def load(self, session: Session, item: Item, result: str, work: Work) -> None:  # noqa: ARG002
        if isinstance(item, Arrival):
            session.execute(delete(Rejection).where(Rejection.arrival_id == item.id))
            item.exposure_id = None


def _state_before(session: Session, item: Item) -> str:
    if not item.state.is_error:
        raise BadParameters(
            f"item {item.id} is {item.state.name}, which is no error state",
            advice="name the state that it shall go back to (--to)",
        )
    return session.scalars(
        select(State.name)
        .join(StateChange, StateChange.old_state_id == State.id)
        .where(StateChange.item_id == item.id, StateChange.count == item.state_count)
    ).one()


def _states_left(session: Session, item: Item) -> set[str]:
    return set(
        session.scalars(
            select(State.name)
            .join(StateChange, StateChange.old_state_id == State.id)
            .where(StateChange.item_id == item.id)
        )
    )
