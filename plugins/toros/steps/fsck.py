"""Proves that the database, the data root and the watched folders tell the same story.

A rule on rows is a query in ``include/sql/fsck``; its name begins with the number of the rule. The rules on files
are here:

=====================  ==============================================================================
F1_file_missing        a product's file is not there
F1_file_unreadable     a product's file cannot be read
F1_size_differs        a product's file has another size than its row says
F1_checksum_differs    a product's file has other content than its row says
F4_dead_run            a run is recorded as running, but its process has ended, or its lease has run out
F4_staging_left        the staging folder of a run that has ended
F4_file_without_row    a file in the folder of a night that is no product
F5_never_registered    a complete file in a watched folder that is no arrival
F5_name_not_text       a file in a watched folder whose name no database can hold
F5_folder_unreadable   a watched folder, or something in it, that cannot be looked into
=====================  ==============================================================================

The pipeline may run meanwhile: each query sees one consistent state, and what a file seems to say against the
rows is looked at twice, because a run may have ended in between.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from typing import NamedTuple

from sqlalchemy import func, select, text

from toros.config import Settings
from toros.errors import FileMissing, StorageUnavailable, printable
from toros.models import Item, Product, StateChange, StepRun
from toros.models.database import Database
from toros.sql import read_sql, statement_names
from toros.steps import healing
from toros.steps.discover import is_text, never_seen
from toros.steps.process import ProcessIdentity
from toros.store.inbox import FoundFile, look_at, scan
from toros.store.store import Store

BATCH = 500
MOST_SHOWN = 1000
"""Violations of one rule that are listed one by one; the others are only counted."""


@dataclass(frozen=True)
class Violation:
    """A rule that does not hold, and where."""

    rule: str
    what: str
    item_id: int | None = None
    path: str | None = None


@dataclass(frozen=True)
class Report:
    """What was looked at, and what was found."""

    violations: tuple[Violation, ...]
    """At most ``MOST_SHOWN`` of each rule."""
    found: dict[str, int]
    """Number of violations by rule, all counted."""
    checked: dict[str, int]
    """Number of items, state changes, runs, products, files and watched files that were looked at."""
    waiting: int
    """Files in the watched folders that are not registered, but may still be growing."""
    healed: tuple[int, ...]
    """Dead runs that were cleared away first."""

    @property
    def ok(self) -> bool:
        """Whether every rule holds."""
        return not self.found


def fsck(
    database: Database,
    store: Store,
    settings: Settings,
    now: dt.datetime,
    *,
    heal: bool = True,
    checksums: bool = True,
) -> Report:
    """Check every rule on rows, product files and watched folders.

    Parameters
    ----------
    database, store, settings
        What to check.
    now : datetime
        The present moment: leases and the age of files are judged by it.
    heal : bool
        Clear away first what dead runs left; otherwise it is reported.
    checksums : bool
        Read every product file; otherwise only their sizes are compared.

    Raises
    ------
    DatabaseUnavailable, SchemaOutdated
        The database cannot be asked.
    """
    healed = healing.heal(database, store, now) if heal else []
    dead = healing.dead_runs(database, now)
    if dead and heal:  # died a moment ago
        healed += healing.heal(database, store, now)
        dead = healing.dead_runs(database, now)
    checked = _count_rows(database)
    shown: list[Violation] = []
    found: Counter[str] = Counter()
    for violation in chain(
        _broken_rules(database),
        map(_dead_run, dead),
        _faulty_products(database, store, checked, checksums=checksums),
        _forgotten_staging(database, store),
        _files_without_row(database, store, checked),
        _unregistered(database, settings, now, checked),
    ):
        found[violation.rule] += 1
        if found[violation.rule] <= MOST_SHOWN:
            shown.append(violation)
    waiting = checked.pop("waiting files", 0)
    return Report(tuple(shown), dict(found), dict(checked), waiting, tuple(healed))


# ------------------------------------------------------------------------------------------------- rows


def _count_rows(database: Database) -> Counter[str]:
    with database.read() as session:
        rows = {
            name: session.scalar(select(func.count()).select_from(model.__table__)) or 0
            for name, model in (("items", Item), ("state changes", StateChange), ("runs", StepRun))
        }
    return Counter(rows | {"products": 0, "files": 0, "watched files": 0})


def _broken_rules(database: Database) -> Iterator[Violation]:
    for name in statement_names("fsck"):
        with database.read() as session:
            rows = session.execute(text(read_sql(name)), execution_options={"yield_per": BATCH})
            for item_id, what in rows:
                yield Violation(name.removeprefix("fsck/"), what, item_id)


def _dead_run(run: StepRun) -> Violation:
    what = f"run {run.id} ({run.step}) is recorded as running in process {run.pid} of {run.host}, which has ended"
    return Violation("F4_dead_run", what, run.item_id)


# -------------------------------------------------------------------------------------------- data root


class _Recorded(NamedTuple):
    id: int
    item_id: int
    path: str
    size: int
    checksum: str


def _faulty_products(
    database: Database, store: Store, checked: Counter[str], *, checksums: bool
) -> Iterator[Violation]:
    for product in _products(database):
        checked["products"] += 1
        fault = _fault_of(product, store, checksums=checksums)
        if fault is not None and _is_recorded(database, product.path):
            yield Violation(fault[0], fault[1], product.item_id, product.path)


def _products(database: Database) -> Iterator[_Recorded]:
    """Walk over all products; no transaction stays open while files are read."""
    last = 0
    while True:
        with database.read() as session:
            rows = session.execute(
                select(Product.id, Product.item_id, Product.path, Product.size, Product.checksum)
                .where(Product.id > last)
                .order_by(Product.id)
                .limit(BATCH)
            )
            batch = [_Recorded(*row) for row in rows]
        if not batch:
            return
        yield from batch
        last = batch[-1].id


def _fault_of(product: _Recorded, store: Store, *, checksums: bool) -> tuple[str, str] | None:
    path = store.path(product.path)
    try:
        size = path.stat().st_size
        if size != product.size:
            return "F1_size_differs", f"{product.path} has {size} bytes, its row says {product.size}"
        if checksums and store.checksum(path) != product.checksum:
            return "F1_checksum_differs", f"{product.path} has other content than its row says"
    except (FileNotFoundError, FileMissing):
        return "F1_file_missing", f"{product.path} is not there"
    except (OSError, StorageUnavailable) as error:
        return "F1_file_unreadable", f"{product.path} cannot be read: {error}"
    return None


def _forgotten_staging(database: Database, store: Store) -> Iterator[Violation]:
    for run_id in store.staged_runs():
        with database.read() as session:
            run = session.get(StepRun, run_id)
        if run is None:
            yield Violation("F4_staging_left", f"the staging folder of run {run_id}, which nobody recorded")
        elif run.status != "running" and _process_of(run).is_dead() and run_id in store.staged_runs():
            yield Violation(
                "F4_staging_left", f"the staging folder of run {run_id}, which has ended", run.item_id
            )


def _files_without_row(database: Database, store: Store, checked: Counter[str]) -> Iterator[Violation]:
    files = store.files()
    while batch := list(islice(files, BATCH)):
        checked["files"] += len(batch)
        with database.read() as session:
            known = set(session.scalars(select(Product.path).where(Product.path.in_(filter(is_text, batch)))))
        for path in batch:
            if path not in known and not _is_in_progress(database, store, path):
                name = printable(path)
                yield Violation("F4_file_without_row", f"{name} is no product", path=name)


def _is_in_progress(database: Database, store: Store, path: str) -> bool:
    """Tell whether a run is about to record a file, or to remove it, or has just done so."""
    run_id = store.maker_of(path)
    if run_id is not None:
        with database.read() as session:
            status = session.scalar(select(StepRun.status).where(StepRun.id == run_id))
        if status == "running" or (status is not None and run_id in store.staged_runs()):
            return True
    return not store.path(path).exists() or _is_recorded(database, path)


def _is_recorded(database: Database, path: str) -> bool:
    if not is_text(path):
        return False
    with database.read() as session:
        return session.scalar(select(Product.id).where(Product.path == path)) is not None


def _process_of(run: StepRun) -> ProcessIdentity:
    return ProcessIdentity(run.host, run.boot, run.pid, run.pid_started)


# --------------------------------------------------------------------------------------- watched folders


def _unregistered(
    database: Database, settings: Settings, now: dt.datetime, checked: Counter[str]
) -> Iterator[Violation]:
    errors: list[OSError] = []
    for file in never_seen(database, _counted(scan(settings.inbox, on_error=errors.append), checked)):
        name = str(file.path)
        if not is_text(name):
            name = printable(name)
            yield Violation(
                "F5_name_not_text", f"{name} cannot be registered: give it another name", path=name
            )
        elif _present_for(file, now) < settings.patience_seconds:
            checked["waiting files"] += 1
        elif look_at(file.path) == file and any(never_seen(database, [file])):
            yield Violation("F5_never_registered", f"{name} is no arrival", path=name)
    for error in errors:
        if not isinstance(error, FileNotFoundError):  # a folder that is not there yet holds nothing unseen
            yield Violation("F5_folder_unreadable", str(error), path=str(error.filename))


def _present_for(file: FoundFile, now: dt.datetime) -> float:
    """Return for how many seconds a file has been here: a copy may be younger than the time it carries."""
    try:
        return now.timestamp() - file.path.stat().st_ctime
    except OSError:  # it is gone already
        return 0.0


def _counted(files: Iterable[FoundFile], checked: Counter[str]) -> Iterator[FoundFile]:
    for file in files:
        checked["watched files"] += 1
        yield file
