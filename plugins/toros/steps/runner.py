"""Runs a step on an item: claim, query, extract, transform, write, load - completely or not at all.

What is written when:

1. claim      one transaction: the run is recorded as running, the item is held, with a lease
2. work       no transaction is open; files go into the staging area only
3. publish    files are flushed and renamed to names that never existed before
4. record     ONE transaction: product rows, new rows, state change, release, run succeeded
5. or failure  one transaction: run failed with code, message and traceback; release; error state if it is
               the item's fault; then what was staged or published is removed

A process killed anywhere leaves the old state (before 4) or the new one (after 4). Its claim and its files are
found and removed by :mod:`toros.steps.healing`.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import logging
import traceback as tracebacks
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

from sqlalchemy import func, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from toros.config import Settings, load_settings
from toros.errors import (
    ClaimLost,
    Conflict,
    ItemBusy,
    Misconfigured,
    NothingToDo,
    TorosError,
    Transient,
    UnknownItem,
    Unprocessable,
    error_of_code,
    printable,
)
from toros.models import (
    Item,
    Lineage,
    Product,
    QualityMeasure,
    Software,
    State,
    StateChange,
    StepInput,
    StepRun,
    utcnow,
)
from toros.models.database import Database
from toros.steps.healing import active_runs, heal_item
from toros.steps.process import Meter, ProcessIdentity, software_versions
from toros.steps.step import Step, Work
from toros.store.store import PublishedFile, Store, translated_os_errors

log = logging.getLogger(__name__)

CONFLICT_TRIES = 5
TRACEBACK_LENGTH = 20_000

AnyStep = Step[Any, Any, Any]
T = TypeVar("T")


@dataclass(frozen=True)
class Origin:
    """The Airflow task that a run belongs to, if any."""

    dag_id: str | None = None
    run_id: str | None = None
    task_id: str | None = None
    map_index: int | None = None
    try_number: int | None = None


@dataclass(frozen=True)
class Outcome:
    """What became of an item.

    ``again`` is True when the work had been done by an earlier run: running a step twice gives the state of
    running it once.
    """

    run_id: int
    item_id: int | None
    state: str | None
    products: tuple[int, ...] = ()
    spawned: tuple[int, ...] = ()
    again: bool = False


@dataclass(frozen=True)
class Runner:
    """Runs steps against one database and one data root.

    Parameters
    ----------
    database : Database
    settings : Settings
    origin : Origin, optional
        Recorded with every run.
    clock : callable, optional
        Gives the present moment (UTC); tests set it.
    """

    database: Database
    settings: Settings
    origin: Origin = field(default_factory=Origin)
    clock: Callable[[], dt.datetime] = utcnow

    @classmethod
    def from_settings(cls, settings: Settings | None = None) -> Runner:
        """Make a runner for the effective settings."""
        settings = settings or load_settings()
        return cls(Database(settings.database_url), settings)

    @property
    def store(self) -> Store:
        """The data root."""
        return Store(self.settings.data_root)

    def run(self, step: AnyStep, item_id: int | None = None) -> Outcome:
        """Run a step on an item.

        Raises
        ------
        Transient
            Worth another try; the item is as it was.
        Unprocessable
            The item is now (or was already) in the step's error state.
        NothingToDo
            The item is not in the state that the step takes, or the step found nothing.
        Misconfigured
            A person must act; the item is as it was.
        """
        for _ in range(CONFLICT_TRIES - 1):
            try:
                return self._run_once(step, item_id)
            except Conflict as conflict:
                log.info("%s on item %s runs again: %s", step.name, item_id, conflict)
        return self._run_once(step, item_id)

    def _run_once(self, step: AnyStep, item_id: int | None) -> Outcome:
        meter = Meter()
        if item_id is not None:
            heal_item(self.database, self.store, item_id, self.clock())
        run_id = self._claim(step, item_id)
        if isinstance(run_id, Outcome):
            return run_id
        active_runs.add(run_id)
        work = Work(run_id, self.store, self.database, self.settings, self.clock(), step.to_state)
        try:
            outcome = self._perform(step, item_id, work, meter)
        except BaseException as error:
            self._record_failure(step, item_id, work, meter, error)
            raise
        finally:
            active_runs.discard(run_id)
        try:
            self.store.clear(run_id)
        except Transient as error:  # the work is recorded; healing removes the empty staging folder
            log.warning("could not clear the staging folder of run %d: %s", run_id, error)
        log.info("%s: item %s is now %s (run %d)", step.name, item_id, outcome.state, run_id)
        return outcome

    # ------------------------------------------------------------------------------------------- claim

    def _claim(self, step: AnyStep, item_id: int | None) -> int | Outcome:
        with self.database.write() as session:
            if step.takes is not None or item_id is not None:
                item = session.get(Item, item_id) if item_id is not None else None
                if item is None or step.takes is None or not isinstance(item, step.takes):
                    taken = f"a {step.takes.__name__}" if step.takes else "no item"
                    raise UnknownItem(f"step {step.name} takes {taken}; item {item_id} is {item!r}")
                if not _meets(session, step, item.id):
                    raise UnknownItem(f"item {item_id} does not meet the conditions of step {step.name}")
                if item.state.name != step.from_state:
                    return _already_done(session, step, item)
            for state in filter(None, (step.to_state, step.error_state)):
                _state_id(session, state)  # found out now, not when the work is done
            run = self._new_run(session, step, item_id)
            if item_id is not None:
                _hold(session, step, item_id, run.id, self.clock() + step.lease)
            return run.id

    def _new_run(self, session: Session, step: AnyStep, item_id: int | None) -> StepRun:
        parameters = step.parameters.model_dump(mode="json")
        process = ProcessIdentity.own()
        run = StepRun(
            step=step.name,
            step_version=step.version,
            parameters=parameters,
            parameters_hash=_digest(parameters),
            software_id=_software_id(session),
            item_id=item_id,
            dag_id=self.origin.dag_id,
            run_id=self.origin.run_id,
            task_id=self.origin.task_id,
            map_index=self.origin.map_index,
            try_number=self.origin.try_number,
            host=process.host,
            boot=process.boot,
            pid=process.pid,
            pid_started=process.started,
            started_at=self.clock(),
        )
        session.add(run)
        session.flush()
        return run

    # ------------------------------------------------------------------------------------ work and record

    def _perform(self, step: AnyStep, item_id: int | None, work: Work, meter: Meter) -> Outcome:
        with self.database.read() as session:
            rows = step.query(session, session.get(step.takes, item_id) if step.takes else None, work)
        with translated_os_errors(self.store.root):
            inputs = step.extract(rows, work)
        result = step.transform(inputs)
        with translated_os_errors(self.store.root):
            step.write(result, work)
        published = self.store.publish(work.run_id, [product.file for product in work.products])
        try:
            return self._record(step, item_id, work, result, published, meter)
        except IntegrityError as error:
            if _is_taken(error):
                raise Conflict(str(error.orig)) from error
            raise

    def _record(
        self,
        step: AnyStep,
        item_id: int | None,
        work: Work,
        result: Any,
        published: list[PublishedFile],
        meter: Meter,
    ) -> Outcome:
        with self.database.write() as session:
            item = session.get(step.takes, item_id) if step.takes else None
            self._end_run(session, work.run_id, "succeeded", meter, remark=work.remark)
            step.load(session, item, result, work)
            for new, state in work.spawned:
                _enter(session, new, state, work.run_id, work.now)
            products = _add_products(session, work, item, published)
            if item is not None:
                _release(session, item.id, work.run_id)
                _change_state(session, item, work.state, work.run_id, work.now)
                session.add_all(
                    QualityMeasure(item_id=item.id, steprun_id=work.run_id, **measure._asdict())
                    for measure in work.measures
                )
            session.add_all(StepInput(steprun_id=work.run_id, product_id=i) for i in sorted(work.inputs))
            session.flush()
            spawned = tuple(new.id for new, _ in work.spawned)
        return Outcome(
            work.run_id, item_id, work.state or None, tuple(product.id for product in products), spawned
        )

    def _published(self, run_id: int) -> list[str]:
        with self.database.read() as session:
            return list(session.scalars(select(Product.path).where(Product.steprun_id == run_id)))

    # ------------------------------------------------------------------------------------------ failure

    def _record_failure(
        self, step: AnyStep, item_id: int | None, work: Work, meter: Meter, error: BaseException
    ) -> None:
        run_id = work.run_id
        ours = isinstance(error, TorosError)
        status = "skipped" if isinstance(error, NothingToDo) else "failed"
        failure = {
            "error_code": error.code if isinstance(error, TorosError) else type(error).__name__[:60],
            "error_message": error.explanation if isinstance(error, TorosError) else printable(str(error)),
            "traceback": None if ours else _traceback(error),
        }
        try:
            # ClaimLost: given up for dead, or committed although we never heard of it. Now that this is settled,
            # the rows tell which files stay.
            with suppress(ClaimLost), self.database.write() as session:
                self._end_run(session, run_id, status, meter, **failure)
                if item_id is not None:
                    _release(session, item_id, run_id)
                    if isinstance(error, Unprocessable) and step.error_state:
                        item = session.get_one(Item, item_id)
                        _change_state(session, item, step.error_state, run_id, work.now)
                        step.refuse(session, item, error, run_id)
            published = [str(product.file.path) for product in work.products]
            self.store.discard(run_id, keep=self._published(run_id), published=published)
        except Transient as second:
            # The record is closed, and the remains are removed, by whoever next looks at this item.
            log.warning("could not record the failure of run %d: %s", run_id, second)

    def _end_run(
        self, session: Session, run_id: int, status: str, meter: Meter, **further: str | None
    ) -> None:
        ended = session.execute(
            update(StepRun)
            .where(StepRun.id == run_id, StepRun.status == "running")
            .values(
                status=status,
                ended_at=self.clock(),
                cpu_seconds=meter.cpu_seconds(),
                peak_memory=meter.peak_memory(),
                **further,
            )
        )
        if ended.rowcount != 1:  # type: ignore[attr-defined]
            raise ClaimLost(f"run {run_id} was given up for dead")


# ------------------------------------------------------------------------------- rows of claims and states


def _meets(session: Session, step: AnyStep, item_id: int) -> bool:
    """Tell whether an item meets the further conditions of a step."""
    if not step.conditions or step.takes is None:
        return True
    return session.scalar(select(step.takes.id).where(step.takes.id == item_id, *step.conditions)) is not None


def _hold(session: Session, step: AnyStep, item_id: int, run_id: int, until: dt.datetime) -> None:
    held = session.execute(
        update(Item.__table__)  # type: ignore[arg-type]
        .where(
            Item.id == item_id,
            Item.state_id == _state_id(session, step.from_state),
            Item.claimed_by_id.is_(None),
        )
        .values(claimed_by_id=run_id, claimed_until=until)
    )
    if held.rowcount != 1:  # type: ignore[attr-defined]
        raise ItemBusy(f"item {item_id} is held by another run")


def _release(session: Session, item_id: int, run_id: int) -> None:
    released = session.execute(
        update(Item.__table__)  # type: ignore[arg-type]
        .where(Item.id == item_id, Item.claimed_by_id == run_id)
        .values(claimed_by_id=None, claimed_until=None)
    )
    if released.rowcount != 1:  # type: ignore[attr-defined]
        raise ClaimLost(f"run {run_id} no longer holds item {item_id}")


def _change_state(session: Session, item: Item, state: str, run_id: int, now: dt.datetime) -> None:
    session.refresh(item)
    change = StateChange(
        item_id=item.id,
        count=item.state_count + 1,
        old_state_id=item.state_id,
        nw_state_id=_state_id(session, state),
        steprun_id=run_id,
        created_at=now,
    )
    session.add(change)
    item.state_id, item.state_count, item.modified_at = change.nw_state_id, change.count, now


def _enter(session: Session, item: Item, state: str, run_id: int, now: dt.datetime) -> None:
    with session.no_autoflush:  # a row that points at the item may have brought it into the session already
        item.state_id, item.state_count = _state_id(session, state), 1
        item.created_at = item.modified_at = now
    session.add(item)
    session.flush()
    session.add(
        StateChange(item_id=item.id, count=1, nw_state_id=item.state_id, steprun_id=run_id, created_at=now)
    )


def _add_products(
    session: Session, work: Work, item: Item | None, published: list[PublishedFile]
) -> list[Product]:
    rows = []
    for new, file in zip(work.products, published, strict=True):
        owner = new.owner or item
        if owner is None:
            raise Misconfigured(f"run {work.run_id} made a product that belongs to no item: {file.path}")
        latest = session.scalar(
            select(func.max(Product.version)).where(Product.item_id == owner.id, Product.kind == new.kind)
        )
        row = Product(
            item_id=owner.id,
            kind=new.kind,
            version=(latest or 0) + 1,
            path=str(file.path),
            size=file.size,
            checksum=file.checksum,
            steprun_id=work.run_id,
            caveats=list(new.caveats),
        )
        session.add(row)
        session.flush()
        session.add_all(Lineage(input_id=i, output_id=row.id) for i in sorted(set(new.inputs)))
        rows.append(row)
    return rows


def _already_done(session: Session, step: AnyStep, item: Item) -> Outcome:
    last = session.scalar(
        select(StepRun)
        .where(
            StepRun.item_id == item.id, StepRun.step == step.name, StepRun.status.in_(("succeeded", "failed"))
        )
        .order_by(StepRun.id.desc())
        .limit(1)
    )
    if last is not None and last.status == "succeeded":
        products = session.scalars(
            select(Product.id).where(Product.steprun_id == last.id).order_by(Product.id)
        )
        spawned = session.scalars(
            select(StateChange.item_id)
            .where(StateChange.steprun_id == last.id, StateChange.count == 1)
            .order_by(StateChange.item_id)
        )
        return Outcome(last.id, item.id, item.state.name, tuple(products), tuple(spawned), again=True)
    if last is not None and item.state.name == step.error_state:
        raise error_of_code(last.error_code, last.error_message or "")
    raise NothingToDo(f"item {item.id} is {item.state.name}, step {step.name} takes {step.from_state}")


def _state_id(session: Session, name: str) -> int:
    found = session.scalar(select(State.id).where(State.name == name))
    if found is None:
        raise Misconfigured(
            f"there is no state {name!r}", advice="add it with `toros state add`, or run `toros migrate`"
        )
    return found


def _software_id(session: Session) -> int:
    versions = software_versions()
    digest = _digest(versions)
    found = session.scalar(select(Software.id).where(Software.digest == digest))
    if found is not None:
        return found
    row = Software(digest=digest, versions=versions)
    try:
        with session.begin_nested():
            session.add(row)
    except IntegrityError:  # another process was first
        return session.scalars(select(Software.id).where(Software.digest == digest)).one()
    return row.id


def _is_taken(error: IntegrityError) -> bool:
    """Tell a row that somebody else wrote first from a row that must not be written at all."""
    sqlite = getattr(error.orig, "sqlite_errorname", "")
    return sqlite in ("SQLITE_CONSTRAINT_UNIQUE", "SQLITE_CONSTRAINT_PRIMARYKEY") or (
        getattr(error.orig, "sqlstate", "") == "23505"
    )


def _traceback(error: BaseException) -> str:
    return printable("".join(tracebacks.format_exception(error))[-TRACEBACK_LENGTH:])


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
