"""How far the demonstration is: a few questions to the science database."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from sqlalchemy import func, select

from toros.models import Arrival, Item, Rejection, State, StepRun
from toros.models.database import Database

DONE = {
    "Arrival": {"registered", "duplicate", "rejected"},
    "CalFile": {"cleaned_data", "failed_to_clean"},
    "MasterCal": {"master_accepted", "master_rejected", "failed_to_combine"},
    "Pawprint": {
        "measured",
        "failed_quality",
        "failed_to_measure",
        "wcs_review",
        "failed_to_preprocess",
        "failed_to_clean",
    },
}


@dataclass(frozen=True)
class Progress:
    """Items by kind and state."""

    counts: Counter[tuple[str, str]]

    def of(self, kind: str) -> int:
        """Return how many items of a kind there are."""
        return sum(number for (found, _), number in self.counts.items() if found == kind)

    def done(self, kind: str) -> int:
        """Return how many items of a kind are where they should end."""
        return sum(n for (found, state), n in self.counts.items() if found == kind and state in DONE[kind])

    def is_complete(self, files: int) -> bool:
        """Tell whether so many files have come in, and everything is done."""
        return self.of("Arrival") >= files and all(self.done(kind) == self.of(kind) for kind in DONE)


def look(database: Database) -> Progress:
    """Count the items."""
    query = select(Item.kind, State.name, func.count()).join(Item.state).group_by(Item.kind, State.name)
    with database.read() as session:
        return Progress(Counter({(kind, state): number for kind, state, number in session.execute(query)}))


def rejections(database: Database) -> Counter[str]:
    """Count the rejected files by code."""
    query = select(Rejection.code, func.count()).group_by(Rejection.code)
    with database.read() as session:
        return Counter(dict(session.execute(query).all()))


def latencies(database: Database) -> list[float]:
    """Return the seconds from the last byte of each science frame on the disk to its measurements."""
    query = (
        select(Arrival.mtime_ns, StepRun.ended_at)
        .join(Arrival.state)
        .join(StepRun, StepRun.item_id == Arrival.exposure_id)
        .where(State.name == "registered", StepRun.step == "measure", StepRun.status == "succeeded")
    )
    with database.read() as session:
        rows = session.execute(query).all()
        return sorted(ended.timestamp() - mtime / 1e9 for mtime, ended in rows if ended is not None)
