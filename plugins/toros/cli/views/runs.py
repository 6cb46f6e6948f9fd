"""The step runs, newest first."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from toros.models import StepRun


def log(session: Session, *, failed: bool, step: str | None, newest: int) -> list[dict[str, Any]]:
    """Return the newest runs: all, or those that failed or were given up for dead, or those of one step."""
    query = select(StepRun).order_by(StepRun.id.desc()).limit(newest)
    if failed:
        query = query.where(StepRun.status.in_(("failed", "abandoned")))
    if step is not None:
        query = query.where(StepRun.step == step)
    return [run_row(run) for run in session.scalars(query)]


def run_row(run: StepRun) -> dict[str, Any]:
    """Return a run as plain values."""
    return {
        "run": run.id,
        "step": run.step,
        "step_version": run.step_version,
        "item": run.item_id,
        "status": run.status,
        "is_error": run.status in ("failed", "abandoned"),
        "started_at": run.started_at,
        "seconds": (run.ended_at - run.started_at).total_seconds() if run.ended_at else None,
        "cpu_seconds": run.cpu_seconds,
        "peak_memory": run.peak_memory,
        "host": run.host,
        "pid": run.pid,
        "dag_id": run.dag_id,
        "dag_run_id": run.run_id,
        "task_id": run.task_id,
        "map_index": run.map_index,
        "try_number": run.try_number,
        "parameters": run.parameters,
        "error_code": run.error_code,
        "error_message": run.error_message,
        "remark": run.remark,
        "traceback": run.traceback,
    }
