"""Discover: look into the watched folders, and note every complete file that was never seen before."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import islice

from sqlalchemy import select, tuple_
from sqlalchemy.orm import Session

from toros.errors import NothingToDo
from toros.models import Arrival
from toros.models.database import Database
from toros.steps.step import Step, Work
from toros.store.inbox import FoundFile, rest_needed, scan

BATCH = 300
"""Files looked up by one query: SQLite allows 999 variables."""


class Discover(Step[None, list[FoundFile], list[FoundFile]]):
    """Turn complete files of the watched folders into arrivals; the Loader takes it from there."""

    name = "discover"
    version = "1"
    groups = ("ingest",)

    def query(self, session: Session, item: None, work: Work) -> None:
        """Ask nothing yet: what is new is known after the scan."""

    def extract(self, rows: None, work: Work) -> list[FoundFile]:  # noqa: ARG002
        now = time.time()
        settle, patience = work.settings.settle_seconds, work.settings.patience_seconds
        return [
            file
            for file in never_seen(work.database, scan(work.settings.inbox))
            if is_text(str(file.path))
            and _rested(file, now) >= rest_needed(file, settle_seconds=settle, patience_seconds=patience)
        ]

    def write(self, result: list[FoundFile], work: Work) -> None:
        if not result:
            raise NothingToDo("no new file in the watched folders")
        for file in sorted(result, key=lambda file: (file.mtime_ns, file.path)):
            work.spawn(Arrival(path=str(file.path), size=file.size, mtime_ns=file.mtime_ns), "arrived")


def never_seen(database: Database, files: Iterable[FoundFile]) -> Iterator[FoundFile]:
    """Pass on those files that are no arrival, as they are now."""
    files = iter(files)
    while batch := list(islice(files, BATCH)):
        keys = {file: (str(file.path), file.size, file.mtime_ns) for file in batch}
        with database.read() as session:
            known = set(
                session.execute(
                    select(Arrival.path, Arrival.size, Arrival.mtime_ns).where(
                        tuple_(Arrival.path, Arrival.size, Arrival.mtime_ns).in_(
                            [key for key in keys.values() if is_text(key[0])]
                        )
                    )
                )
            )
        yield from (file for file, key in keys.items() if key not in known)


def _rested(file: FoundFile, now: float) -> float:
    """Return for how many seconds a file has been left alone."""
    modified = file.mtime_ns / 1e9
    if modified > now:  # set by a clock that is ahead of ours: ask when the file came here
        with suppress(OSError):
            modified = file.path.stat().st_ctime
    return now - modified


def is_text(path: str) -> bool:
    """Tell whether the name can be stored: a name that is not UTF-8 cannot, in any database."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True
