"""Which items belong to an observing night."""

from __future__ import annotations

import datetime as dt

from sqlalchemy import ColumnElement, or_, select, true
from sqlalchemy.orm import Session

from toros.models import CalFile, Item, MasterCal, Pawprint, Stack

DATED = (Pawprint, CalFile, MasterCal, Stack)
"""Items that have a night; an arrival has none before it is registered."""


def in_night(night: dt.date | None) -> ColumnElement[bool]:
    """Return the condition that an item belongs to a night; without a night, all do."""
    if night is None:
        return true()
    tables = [model.__table__.c for model in DATED]
    return or_(*(Item.id.in_(select(table.id).where(table.night == night)) for table in tables))


def items_of_night(session: Session, night: dt.date) -> set[int]:
    """Return the ids of all items of a night."""
    return set(session.scalars(select(Item.id).where(in_night(night))))
