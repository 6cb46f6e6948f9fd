"""The stream at a glance: what is in which state, what failed and why, what waits and for what."""

from __future__ import annotations

import datetime as dt
import shutil
from pathlib import Path
from typing import Any

from sqlalchemy import ColumnElement, case, exists, func, select
from sqlalchemy.orm import Session, aliased

from toros.cli.views.nights import in_night
from toros.models import Item, MasterCal, Product, State, StateChange, StepRun
from toros.models.runs import RUN_STATUSES
from toros.steps.pending import items_waiting_for
from toros.steps.registry import AnyStep

Rows = list[dict[str, Any]]


def steps(session: Session, known: dict[str, AnyStep]) -> Rows:
    """Return the declaration of every step, along the stream, and how many items wait for it."""
    order = dict(session.execute(select(State.name, State.order)).all())
    rows = [
        {
            "name": step.name,
            "version": step.version,
            "takes": step.takes.__name__ if step.takes else None,
            "from_state": step.from_state or None,
            "to_state": step.to_state or None,
            "error_state": step.error_state or None,
            "groups": list(step.groups),
            "waiting": len(items_waiting_for(session, step)) if step.takes else None,
        }
        for step in known.values()
    ]
    return sorted(rows, key=lambda row: (order.get(row["from_state"], 0), row["name"]))


def states(session: Session, night: dt.date | None) -> Rows:
    """Return how many items of each kind are in each state."""
    return _rows(
        session,
        select(Item.kind, State.name.label("state"), func.count().label("items"), State.is_error)
        .join(Item.state)
        .where(in_night(night))
        .group_by(Item.kind, State.name, State.is_error, State.order)
        .order_by(State.order, Item.kind),
    )


def failures(session: Session, night: dt.date | None) -> Rows:
    """Return the reasons why items are in their error states, the most frequent first."""
    count = func.count().label("items")
    return _rows(
        session,
        select(
            State.name.label("state"),
            StepRun.error_code.label("code"),
            count,
            func.max(StepRun.ended_at).label("last"),
            func.max(Item.id).label("for_example"),
            func.max(StepRun.error_message).label("message"),
        )
        .select_from(Item)
        .join(Item.state)
        .join(StateChange, (StateChange.item_id == Item.id) & (StateChange.count == Item.state_count))
        .join(StateChange.steprun)
        .where(State.is_error, in_night(night))
        .group_by(State.name, StepRun.error_code)
        .order_by(count.desc(), State.name, StepRun.error_code),
    )


def waiting(session: Session, night: dt.date | None) -> Rows:
    """Return why items wait: those that a step looked at and left for later."""
    count, later = func.count().label("items"), aliased(StepRun)
    return _rows(
        session,
        select(
            State.name.label("state"),
            StepRun.step,
            count,
            func.min(StepRun.started_at).label("since"),
            StepRun.error_message.label("why"),
        )
        .select_from(StepRun)
        .join(Item, Item.id == StepRun.item_id)
        .join(Item.state)
        .where(
            StepRun.status == "skipped",
            ~exists().where(later.item_id == StepRun.item_id, later.id > StepRun.id),
            ~State.is_error,
            in_night(night),
        )
        .group_by(State.name, StepRun.step, StepRun.error_message)
        .order_by(count.desc(), State.name, StepRun.error_message),
    )


def runs(session: Session, night: dt.date | None, since: dt.datetime) -> Rows:
    """Return what the steps did: on the items of a night, or else since a moment."""
    chosen: ColumnElement[bool] = StepRun.started_at >= since
    if night is not None:
        chosen = StepRun.item_id.in_(select(Item.id).where(in_night(night)))
    last = func.max(StepRun.started_at).label("last")
    return _rows(
        session,
        select(
            StepRun.step,
            last,
            *(
                func.sum(case((StepRun.status == status, 1), else_=0)).label(status)
                for status in RUN_STATUSES
            ),
        )
        .where(chosen)
        .group_by(StepRun.step)
        .order_by(last.desc(), StepRun.step),
    )


def masters(session: Session, night: dt.date | None) -> Rows:
    """Return how many masters of each type are in each state."""
    return _rows(
        session,
        select(
            MasterCal.imagetype,
            State.name.label("state"),
            func.count().label("masters"),
            func.max(MasterCal.night).label("newest_night"),
            State.is_error,
        )
        .join(MasterCal.state)
        .where(in_night(night))
        .group_by(MasterCal.imagetype, State.name, State.is_error, State.order)
        .order_by(MasterCal.imagetype, State.order),
    )


def disk(session: Session, data_root: Path) -> dict[str, Any]:
    """Return how much room the products take, and how much is left (bytes)."""
    there = next(folder for folder in (data_root, *data_root.absolute().parents) if folder.is_dir())
    usage = shutil.disk_usage(there)
    return {
        "data_root": str(data_root),
        "products": session.scalar(select(func.count(Product.id))),
        "products_bytes": int(session.scalar(select(func.sum(Product.size))) or 0),
        "free_bytes": usage.free,
        "total_bytes": usage.total,
    }


def _rows(session: Session, query: Any) -> Rows:
    return [dict(row) for row in session.execute(query).mappings()]
