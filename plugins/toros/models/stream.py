"""The stream: items, the states they pass through, and the history of every change."""

from __future__ import annotations

import datetime as dt
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from toros.models.base import Model, UTCDateTime, utcnow
from toros.models.runs import StepRun


class State(Model):
    """A place in the stream. States are rows, not code; error states are states."""

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(100), unique=True)
    folder: Mapped[str | None] = mapped_column(Text)
    order: Mapped[int]
    is_error: Mapped[bool]

    def __repr__(self) -> str:
        return self.name


class Item(Model):
    """Anything that flows through the pipeline: it has a state, a history and at most one holder.

    Arrivals, pawprints, calibration frames, masters and stacks are items. They share one sequence of ids, so
    a number names one thing only.
    """

    __table_args__: Any = (
        CheckConstraint("(claimed_by_id IS NULL) = (claimed_until IS NULL)", name="claim_is_whole"),
        Index("ix_item_kind_state_id", "kind", "state_id"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(String(20))
    state_id: Mapped[int] = mapped_column(ForeignKey("state.id"))
    state_count: Mapped[int]
    created_at: Mapped[dt.datetime] = mapped_column(UTCDateTime, default=utcnow)
    modified_at: Mapped[dt.datetime] = mapped_column(UTCDateTime, default=utcnow, onupdate=utcnow)
    claimed_by_id: Mapped[int | None] = mapped_column(
        ForeignKey("steprun.id", use_alter=True, name="fk_item_claimed_by_id"), index=True
    )
    claimed_until: Mapped[dt.datetime | None] = mapped_column(UTCDateTime)

    state: Mapped[State] = relationship(lazy="joined", innerjoin=True)
    claimed_by: Mapped[StepRun | None] = relationship(foreign_keys=[claimed_by_id], post_update=True)
    changes: Mapped[list[StateChange]] = relationship(back_populates="item", order_by="StateChange.count")

    __mapper_args__ = {"polymorphic_on": "kind"}  # noqa: RUF012  SQLAlchemy's own protocol

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id}: {self.state.name if self.state else None}>"


class StateChange(Model):
    """One link of an item's history: always made by a step run, never edited."""

    __table_args__ = (
        UniqueConstraint("item_id", "count"),
        CheckConstraint("(count = 1) = (old_state_id IS NULL)", name="only_the_first_comes_from_nowhere"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    item_id: Mapped[int] = mapped_column(ForeignKey("item.id"))
    count: Mapped[int]
    old_state_id: Mapped[int | None] = mapped_column(ForeignKey("state.id"))
    nw_state_id: Mapped[int] = mapped_column(ForeignKey("state.id"))
    steprun_id: Mapped[int] = mapped_column(ForeignKey("steprun.id"), index=True)
    created_at: Mapped[dt.datetime] = mapped_column(UTCDateTime, default=utcnow)

    item: Mapped[Item] = relationship(back_populates="changes")
    old_state: Mapped[State | None] = relationship(foreign_keys=[old_state_id])
    nw_state: Mapped[State] = relationship(foreign_keys=[nw_state_id])
    steprun: Mapped[StepRun] = relationship()
