"""A stack for people: which frames are in it, and whether new ones are compared with it."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from toros.models import Pawprint, Reference, StackMember


@dataclass(frozen=True)
class MemberLine:
    """A frame in a stack."""

    frame_id: int
    frame: str
    started: dt.datetime
    weight: float | None
    """Share of the stack; None as long as it is not made."""
    clipped: float | None
    """Part of its pixels that was left out."""


@dataclass(frozen=True)
class ReferenceLine:
    """A time in which a stack was the reference of its field."""

    id: int
    since: dt.datetime
    until: dt.datetime | None
    """None if it still is."""
    run_id: int


@dataclass(frozen=True)
class StackSheet:
    """What only stacks have."""

    members: tuple[MemberLine, ...]
    references: tuple[ReferenceLine, ...]


def show_stack(session: Session, stack_id: int) -> StackSheet:
    """Collect what only stacks have; members in the order in which they were taken."""
    members = session.execute(
        select(StackMember, Pawprint)
        .join(StackMember.pawprint)
        .where(StackMember.stack_id == stack_id)
        .order_by(Pawprint.jd, Pawprint.id)
    )
    references = session.scalars(
        select(Reference).where(Reference.stack_id == stack_id).order_by(Reference.id.desc())
    )
    return StackSheet(
        tuple(
            MemberLine(frame.id, frame.name, frame.observation_date, member.weight, member.clipped)
            for member, frame in members
        ),
        tuple(ReferenceLine(row.id, row.valid_from, row.valid_until, row.steprun_id) for row in references),
    )
