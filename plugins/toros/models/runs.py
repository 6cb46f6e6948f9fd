"""The record of every execution of a step."""

from __future__ import annotations

import datetime as dt
from typing import Any

from sqlalchemy import JSON, BigInteger, CheckConstraint, ForeignKey, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from toros.models.base import Model, UTCDateTime, utcnow

RUN_STATUSES = ("running", "succeeded", "failed", "skipped", "abandoned")


class Software(Model):
    """A set of package versions, written once and named by its digest."""

    id: Mapped[int] = mapped_column(primary_key=True)
    digest: Mapped[str] = mapped_column(String(64), unique=True)
    versions: Mapped[dict[str, str]] = mapped_column(JSON)


class StepRun(Model):
    """One execution of one step on one item, whatever became of it.

    ``abandoned`` is a run whose process died; whoever finds it so heals what it left.
    """

    __table_args__ = (
        CheckConstraint(f"status IN {RUN_STATUSES!r}", name="status_is_known"),
        CheckConstraint("(status = 'running') = (ended_at IS NULL)", name="ended_unless_running"),
        CheckConstraint("status != 'failed' OR error_code IS NOT NULL", name="failure_has_a_code"),
        Index("ix_steprun_item_id_step", "item_id", "step"),
        Index("ix_steprun_status", "status"),
        Index("ix_steprun_dag_id_run_id", "dag_id", "run_id"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    step: Mapped[str] = mapped_column(String(60))
    step_version: Mapped[str] = mapped_column(String(40))
    parameters: Mapped[dict[str, Any]] = mapped_column(JSON)
    parameters_hash: Mapped[str] = mapped_column(String(64))
    software_id: Mapped[int] = mapped_column(ForeignKey("software.id"))
    item_id: Mapped[int | None] = mapped_column(ForeignKey("item.id"))
    status: Mapped[str] = mapped_column(String(12), default="running")

    dag_id: Mapped[str | None] = mapped_column(String(250))
    run_id: Mapped[str | None] = mapped_column(String(250))
    task_id: Mapped[str | None] = mapped_column(String(250))
    map_index: Mapped[int | None]
    try_number: Mapped[int | None]

    host: Mapped[str] = mapped_column(String(255))
    boot: Mapped[str] = mapped_column(String(120))
    """Boot and process namespace of the host: with it, a pid and its start name one process for ever."""
    pid: Mapped[int]
    pid_started: Mapped[float]

    started_at: Mapped[dt.datetime] = mapped_column(UTCDateTime, default=utcnow)
    ended_at: Mapped[dt.datetime | None] = mapped_column(UTCDateTime)
    cpu_seconds: Mapped[float | None]
    peak_memory: Mapped[int | None] = mapped_column(BigInteger)
    """Bytes of resident memory of the process at its highest during the run."""

    remark: Mapped[str | None] = mapped_column(Text)
    """Why a run that succeeded left its item in another state than the usual one."""
    error_code: Mapped[str | None] = mapped_column(String(60))
    error_message: Mapped[str | None] = mapped_column(Text)
    traceback: Mapped[str | None] = mapped_column(Text)

    software: Mapped[Software] = relationship()

    @property
    def why(self) -> str | None:
        """Why it failed, or why it left its item in another state than the usual one."""
        return self.error_message or self.remark

    def __repr__(self) -> str:
        return f"<StepRun {self.id}: {self.step} {self.status}>"


class StepInput(Model):
    """A product that a run read."""

    steprun_id: Mapped[int] = mapped_column(ForeignKey("steprun.id"), primary_key=True)
    product_id: Mapped[int] = mapped_column(ForeignKey("product.id"), primary_key=True, index=True)
