"""The outbox: what there is to tell, and to whom it was told."""

from __future__ import annotations

import datetime as dt
from typing import Any

from sqlalchemy import JSON, CheckConstraint, ForeignKey, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from toros.models.base import Model, UTCDateTime, utcnow


class AlertRule(Model):
    """A condition on the stream worth telling about, as it was last read from its files."""

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(100), unique=True)
    severity: Mapped[str] = mapped_column(String(20))
    definition: Mapped[dict[str, Any]] = mapped_column(JSON)


class Alert(Model):
    """One thing to tell, once."""

    __table_args__ = (UniqueConstraint("alertrule_id", "subject"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    alertrule_id: Mapped[int] = mapped_column(ForeignKey("alertrule.id"))
    subject: Mapped[str] = mapped_column(String(255))
    """What it is about, for example ``candidate 17``: the same subject is told once per rule."""
    details: Mapped[dict[str, Any]] = mapped_column(JSON)
    created_at: Mapped[dt.datetime] = mapped_column(UTCDateTime, default=utcnow)

    rule: Mapped[AlertRule] = relationship()
    deliveries: Mapped[list[Delivery]] = relationship(back_populates="alert")


class Delivery(Model):
    """One message to one recipient over one channel."""

    __table_args__ = (
        UniqueConstraint("alert_id", "channel", "recipient"),
        CheckConstraint("status IN ('waiting', 'sent', 'given_up')", name="status_is_known"),
        Index("ix_delivery_status_next_try", "status", "next_try"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    alert_id: Mapped[int] = mapped_column(ForeignKey("alert.id"))
    channel: Mapped[str] = mapped_column(String(40))
    recipient: Mapped[str] = mapped_column(String(255))
    status: Mapped[str] = mapped_column(String(12), default="waiting")
    attempts: Mapped[int] = mapped_column(default=0)
    next_try: Mapped[dt.datetime] = mapped_column(UTCDateTime, default=utcnow)
    sent_at: Mapped[dt.datetime | None] = mapped_column(UTCDateTime)
    last_error: Mapped[str | None] = mapped_column(Text)

    alert: Mapped[Alert] = relationship(back_populates="deliveries")
