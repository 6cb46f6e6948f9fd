"""Steps of an observatory of one's own, in which everything happens that can happen to an item."""

from __future__ import annotations

import datetime as dt

from sqlalchemy.orm import Session

from toros.errors import BadProfile, NotFits, StorageUnavailable, TorosError, WaitingForMaster
from toros.models import Field, Stack
from toros.steps.step import Step, Work

TROUBLES: dict[str, Exception] = {
    "trailed": NotFits("the stars are trails"),
    "far away": StorageUnavailable("the network is down"),
    "unfinished": WaitingForMaster("no flat yet"),
    "mislabelled": BadProfile("no such camera"),
    "cursed": ZeroDivisionError("division by zero"),
}

FIELDS = ("good", *TROUBLES, "as good")


class AskForStacks(Step[None, None, None]):
    """Wants a stack of a good field, and one of each that gives trouble; once."""

    name = "ask_for_stacks"
    version = "1"
    groups = ("stacking",)

    def query(self, session: Session, item: None, work: Work) -> None:
        if session.query(Stack).count():
            raise WaitingForMaster("all that was wanted is there")

    def load(self, session: Session, item: None, result: None, work: Work) -> None:
        here = {"ra": 0.0, "dec": 0.0, "healpix": 0}
        for name in FIELDS:
            night = dt.date(2026, 11, 20) if name != "as good" else dt.date(2026, 11, 21)
            field = Field(name=name, campaign_id=1, radius=1.0, **here)
            session.add(field)
            work.spawn(Stack(field=field, set_key=name, night=night, version=1, **here), "stack_wanted")


class MakeStack(Step[str, str, str]):
    """Makes a stack, as far as the field allows."""

    name = "make_stack"
    version = "1"
    takes = Stack
    from_state = "stack_wanted"
    to_state = "stacked"
    error_state = "failed_stack"
    groups = ("stacking",)

    def query(self, session: Session, item: Stack, work: Work) -> str:
        return item.field.name

    def transform(self, inputs: str) -> str:
        if inputs in TROUBLES:
            trouble = TROUBLES[inputs]
            raise type(trouble)(trouble.message if isinstance(trouble, TorosError) else str(trouble))
        return inputs
