"""How far the demonstration is: a few questions to the science database."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from dataclasses import dataclass

from sqlalchemy import String, cast, func, select
from sqlalchemy.orm import aliased

from toros.models import Arrival, Item, Pawprint, Reference, Rejection, State, StepRun
from toros.models.database import Database
from toros.steps.plan_stacks import wanted_stacks
from toros.steps.survey_rules import StackRules

DONE = {
    "Arrival": {"registered", "duplicate", "rejected"},
    "CalFile": {"cleaned_data", "failed_to_clean"},
    "MasterCal": {"master_accepted", "master_rejected", "failed_to_combine"},
    "Pawprint": {
        "measured",
        "searched",
        "failed_quality",
        "failed_search",
        "failed_difference",
        "failed_to_measure",
        "wcs_review",
        "failed_to_preprocess",
        "failed_to_clean",
    },
    "Stack": {"reference_chosen", "reference_declined", "failed_stack"},
    "Candidate": {"candidate_traced"},
}


@dataclass(frozen=True)
class Progress:
    """Items by kind and state."""

    counts: Counter[tuple[str, str]]
    comparable: int = 0
    """Measured frames whose field has a reference: they go on."""

    def of(self, kind: str) -> int:
        """Return how many items of a kind there are."""
        return sum(number for (found, _), number in self.counts.items() if found == kind)

    def done(self, kind: str) -> int:
        """Return how many items of a kind are where they should end."""
        ended = sum(n for (found, state), n in self.counts.items() if found == kind and state in DONE[kind])
        return ended - self.comparable if kind == "Pawprint" else ended

    def is_complete(self, files: int) -> bool:
        """Tell whether so many files have come in, and everything is done."""
        return self.of("Arrival") >= files and all(self.done(kind) == self.of(kind) for kind in DONE)


def look(database: Database) -> Progress:
    """Count the items."""
    query = select(Item.kind, State.name, func.count()).join(Item.state).group_by(Item.kind, State.name)
    comparable = (
        select(func.count(Pawprint.id.distinct()))
        .join(Pawprint.state)
        .join(
            Reference,
            (Reference.field_id == Pawprint.field_id)
            & Reference.filter.is_not_distinct_from(Pawprint.filter)
            & Reference.valid_until.is_(None),
        )
        .where(State.name == "measured")
    )
    with database.read() as session:
        counts = Counter({(kind, state): number for kind, state, number in session.execute(query)})
        return Progress(counts, session.scalars(comparable).one())


def is_stacked(database: Database, rules: StackRules) -> bool:
    """Tell whether no field has frames that are still to be stacked."""
    with database.read() as session:
        return not any(True for _ in wanted_stacks(session, rules))


def rejections(database: Database) -> Counter[str]:
    """Count the rejected files by code."""
    query = select(Rejection.code, func.count()).group_by(Rejection.code)
    with database.read() as session:
        return Counter(dict(session.execute(query).all()))


def failures(database: Database) -> list[tuple[str, str, str]]:
    """Return the items that failed, or wait for a person: kind, name of the file or number, and state."""
    frame = aliased(Pawprint, flat=True)
    query = (
        select(Item.kind, func.coalesce(frame.name, cast(Item.id, String)), State.name)
        .join(Item.state)
        .outerjoin(frame, frame.id == Item.id)
        .where(State.name.like("failed%") | (State.name == "wcs_review"))
        .order_by(Item.id)
    )
    with database.read() as session:
        return [(kind, name, state) for kind, name, state in session.execute(query)]


def latencies(database: Database, step: str, night: dt.date) -> list[float]:
    """Return the seconds from the last byte of each science frame of a night on the disk to the end of a step on it."""
    query = (
        select(Arrival.mtime_ns, StepRun.ended_at)
        .join(Arrival.state)
        .join(StepRun, StepRun.item_id == Arrival.exposure_id)
        .where(
            State.name == "registered",
            StepRun.step == step,
            StepRun.status == "succeeded",
            Arrival.exposure_id.in_(select(Pawprint.id).where(Pawprint.night == night)),
        )
    )
    with database.read() as session:
        rows = session.execute(query).all()
        return sorted(ended.timestamp() - mtime / 1e9 for mtime, ended in rows if ended is not None)
