"""Removes what a killed process left behind: a stale claim, a running record, orphan files.

A run is dead when its process is known to have ended, or when nobody here can know and its lease has run out.
It is first marked as abandoned (after that its own transaction can no longer commit), only then are its files
removed.
"""

from __future__ import annotations

import datetime as dt
import logging

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from toros.models import Item, Product, StepRun
from toros.models.database import Database
from toros.steps.process import ProcessIdentity
from toros.store.store import Store

log = logging.getLogger(__name__)

active_runs: set[int] = set()
"""Runs that this very process performs at this moment."""

LONGEST_RUN_WITHOUT_ITEM = dt.timedelta(hours=1)


def dead_runs(database: Database, now: dt.datetime) -> list[StepRun]:
    """Return the runs that are recorded as running, but are not."""
    with database.read() as session:
        suspects = [
            (run, until or run.started_at + LONGEST_RUN_WITHOUT_ITEM)
            for run, until in session.execute(
                select(StepRun, Item.claimed_until)
                .outerjoin(Item, Item.claimed_by_id == StepRun.id)
                .where(StepRun.status == "running")
            )
        ]
    return [run for run, until in suspects if _is_dead(run, until, now)]


def heal_item(database: Database, store: Store, item_id: int, now: dt.datetime) -> None:
    """Free an item that a dead run holds."""
    with database.read() as session:
        holder = session.scalar(
            select(StepRun).join(Item, Item.claimed_by_id == StepRun.id).where(Item.id == item_id)
        )
        until = session.scalar(select(Item.claimed_until).where(Item.id == item_id))
    if holder is not None and until is not None and _is_dead(holder, until, now):
        _abandon(database, store, holder.id, now)


def heal(database: Database, store: Store, now: dt.datetime) -> list[int]:
    """Heal everything that dead runs left.

    Returns
    -------
    list of int
        The runs that were healed.
    """
    healed = [run.id for run in dead_runs(database, now) if _abandon(database, store, run.id, now)]
    for run_id in store.staged_runs():
        if _has_ended(database, run_id):
            _remove_files(database, store, run_id)
            healed.append(run_id)
    return sorted(healed)


def _is_dead(run: StepRun, until: dt.datetime, now: dt.datetime) -> bool:
    if run.id in active_runs:
        return False
    process = ProcessIdentity(run.host, run.boot, run.pid, run.pid_started)
    # A run of this very process that is not active any more could not record its end (database away).
    return process == ProcessIdentity.own() or process.is_dead() or until < now


def _abandon(database: Database, store: Store, run_id: int, now: dt.datetime) -> bool:
    with database.write() as session:
        if not _free(session, run_id, now):
            return False  # it ended by itself, or somebody else healed it, a moment ago
    _remove_files(database, store, run_id)
    log.warning("run %d was found dead; its claim and its files are removed", run_id)
    return True


def _free(session: Session, run_id: int, now: dt.datetime) -> bool:
    freed = session.execute(
        update(StepRun)
        .where(StepRun.id == run_id, StepRun.status == "running")
        .values(
            status="abandoned",
            ended_at=now,
            error_code="abandoned",
            error_message="its end was never recorded (killed, out of memory, power cut, database away)",
        )
    )
    session.execute(
        update(Item.__table__)  # type: ignore[arg-type]
        .where(Item.claimed_by_id == run_id)
        .values(claimed_by_id=None, claimed_until=None)
    )
    return bool(freed.rowcount)  # type: ignore[attr-defined]


def _has_ended(database: Database, run_id: int) -> bool:
    with database.read() as session:
        status = session.scalar(select(StepRun.status).where(StepRun.id == run_id))
    return status is not None and status != "running"


def _remove_files(database: Database, store: Store, run_id: int) -> None:
    with database.read() as session:
        recorded = list(session.scalars(select(Product.path).where(Product.steprun_id == run_id)))
    store.discard(run_id, keep=recorded)
