"""Step runs: a list of them, and all that is on record about one."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Annotated, Any, Literal
from urllib.parse import urlencode

from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import Select, exists, select
from sqlalchemy.orm import Session, aliased, joinedload

from toros.errors import Misconfigured, NothingToDo, Transient, Unprocessable, all_errors
from toros.models import Product, StateChange, StepInput, StepRun
from toros.web.arguments import LARGEST_ID, TEXT
from toros.web.items import LONGEST_LIST, ProductLine, products_where
from toros.web.titles import titles

RUNS_PER_PAGE = 100

FATES = {
    Transient: "passing trouble: it is tried again by itself",
    Unprocessable: "the item cannot be processed as it is: not tried again, the others go on",
    NothingToDo: "there was nothing to do: skipped",
    Misconfigured: "a person must act before it is tried again",
}


Text = Annotated[str, Field(pattern=TEXT)]


class RunFilter(BaseModel):
    """Which runs to list."""

    model_config = ConfigDict(frozen=True)

    status: Literal["", "running", "succeeded", "failed", "skipped", "abandoned"] = ""
    step: Text = ""
    dag_id: Text = ""
    run_id: Text = ""
    task_id: Text = ""
    map_index: int | None = Field(default=None, ge=-1, le=LARGEST_ID)
    before: int | None = Field(default=None, ge=1, le=LARGEST_ID)
    """Only runs with a smaller id."""

    def starting_before(self, run_id: int) -> str:
        """Return the query string of the same list, from another run on."""
        asked = self.model_dump(exclude_defaults=True) | {"before": run_id}
        return urlencode(asked)


@dataclass(frozen=True)
class RunLine:
    """One run in a list."""

    id: int
    step: str
    status: str
    item_id: int | None
    item: str | None
    started_at: dt.datetime
    seconds: float | None
    error_code: str | None
    message: str | None
    advice: str | None
    recovered: bool
    """Whether a later run of the same step on the same item succeeded."""


@dataclass(frozen=True)
class RunList:
    """Runs, newest first."""

    runs: tuple[RunLine, ...]
    next_before: int | None
    """What to ask for to see older ones; None where there are none."""


@dataclass(frozen=True)
class TaskInstance:
    """The Airflow task that a run belongs to."""

    dag_id: str
    run_id: str
    task_id: str
    map_index: int | None
    try_number: int | None


@dataclass(frozen=True)
class ChangeMade:
    """A state that a run gave to an item."""

    item_id: int
    item: str
    old_state: str | None
    new_state: str
    is_error: bool


@dataclass(frozen=True)
class RunPage:
    """All that is on record about a run."""

    line: RunLine
    step_version: str
    parameters: dict[str, Any]
    parameters_hash: str
    software: dict[str, str]
    task: TaskInstance | None
    host: str
    pid: int
    ended_at: dt.datetime | None
    cpu_seconds: float | None
    peak_memory: int | None
    fate: str | None
    traceback: str | None
    changes: tuple[ChangeMade, ...]
    inputs: tuple[ProductLine, ...]
    outputs: tuple[ProductLine, ...]


def list_runs(session: Session, wanted: RunFilter) -> RunList:
    """Return runs, newest first."""
    query = select(StepRun).order_by(StepRun.id.desc()).limit(RUNS_PER_PAGE + 1)
    for column in ("status", "step", "dag_id", "run_id", "task_id"):
        if value := getattr(wanted, column):
            query = query.where(getattr(StepRun, column) == value)
    if wanted.map_index is not None:
        query = query.where(StepRun.map_index == wanted.map_index)
    if wanted.before is not None:
        query = query.where(StepRun.id < wanted.before)
    lines = run_lines(session, query)
    if len(lines) > RUNS_PER_PAGE:
        return RunList(lines[:-1], lines[-2].id)
    return RunList(lines, None)


def show_run(session: Session, run_id: int) -> RunPage | None:
    """Collect what is on record about a run; None if there is no such run."""
    run = session.get(StepRun, run_id, options=[joinedload(StepRun.software)])
    if run is None:
        return None
    read = select(StepInput.product_id).where(StepInput.steprun_id == run_id)
    return RunPage(
        line=run_lines(session, select(StepRun).where(StepRun.id == run_id))[0],
        step_version=run.step_version,
        parameters=run.parameters,
        parameters_hash=run.parameters_hash,
        software=run.software.versions,
        task=_task_of(run),
        host=run.host,
        pid=run.pid,
        ended_at=run.ended_at,
        cpu_seconds=run.cpu_seconds,
        peak_memory=run.peak_memory,
        fate=fate_of(run.error_code),
        traceback=run.traceback,
        changes=_changes(session, run_id),
        inputs=products_where(session, Product.id.in_(read)),
        outputs=products_where(session, Product.steprun_id == run_id),
    )


def run_lines(session: Session, query: Select[StepRun]) -> tuple[RunLine, ...]:
    """Turn a query for runs into lines that name their items."""
    later = aliased(StepRun)
    recovered = exists().where(
        later.item_id == StepRun.item_id,
        later.step == StepRun.step,
        later.status == "succeeded",
        later.id > StepRun.id,
    )
    rows = session.execute(query.add_columns(recovered)).all()
    names = titles(session, {run.item_id for run, _ in rows if run.item_id is not None})
    return tuple(_line(run, names, recovered=found) for run, found in rows)


def fate_of(error_code: str | None) -> str | None:
    """Say what becomes of a run that ended with this error."""
    if error_code is None:
        return None
    error = all_errors().get(error_code)
    for branch, fate in FATES.items():
        if error is not None and issubclass(error, branch):
            return fate
    return "not foreseen: an error of the program, or of the machine"


def _line(run: StepRun, names: dict[int, str], *, recovered: bool) -> RunLine:
    message, advice = _split_advice(run.why)
    return RunLine(
        id=run.id,
        step=run.step,
        status=run.status,
        item_id=run.item_id,
        item=None if run.item_id is None else names[run.item_id],
        started_at=run.started_at,
        seconds=None if run.ended_at is None else (run.ended_at - run.started_at).total_seconds(),
        error_code=run.error_code,
        message=message,
        advice=advice,
        recovered=recovered,
    )


def _split_advice(explanation: str | None) -> tuple[str | None, str | None]:
    """Undo TorosError.explanation: what happened, and what to do about it."""
    if explanation is None:
        return None, None
    message, dash, advice = explanation.rpartition(" — ")
    return (message, advice) if dash else (explanation, None)


def _task_of(run: StepRun) -> TaskInstance | None:
    if run.dag_id is None or run.run_id is None or run.task_id is None:
        return None
    return TaskInstance(run.dag_id, run.run_id, run.task_id, run.map_index, run.try_number)


def _changes(session: Session, run_id: int) -> tuple[ChangeMade, ...]:
    changes = session.scalars(
        select(StateChange)
        .options(joinedload(StateChange.old_state), joinedload(StateChange.nw_state))
        .where(StateChange.steprun_id == run_id)
        .order_by(StateChange.id)
        .limit(LONGEST_LIST)
    ).all()
    names = titles(session, {change.item_id for change in changes})
    return tuple(
        ChangeMade(
            item_id=change.item_id,
            item=names[change.item_id],
            old_state=change.old_state.name if change.old_state else None,
            new_state=change.nw_state.name,
            is_error=change.nw_state.is_error,
        )
        for change in changes
    )
