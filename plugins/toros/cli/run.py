"""``toros load`` and ``toros run``: the steps of the stream, by hand and without Airflow."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from toros.cli.batch import Attempt, Result, attempt, attempt_all, finish
from toros.cli.output import AsJson
from toros.cli.stream import open_runner
from toros.errors import BadParameters

if TYPE_CHECKING:
    from toros.cli.batch import AnyStep
    from toros.steps.registry import AnyStep as StepClass
    from toros.steps.runner import Runner

Night = Annotated[
    dt.datetime | None,
    typer.Option(
        formats=["%Y-%m-%d"], help="Only what belongs to this observing night (its evening's date)."
    ),
]

FIRST_GROUPS = ("ingest", "calibration")
"""With `--all` these are finished before the others begin, so that no science frame waits in vain."""


def load(
    folders: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[FOLDER]...",
            exists=True,
            file_okay=False,
            resolve_path=True,
            help="Where to look; by default the watched folders of the settings.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Register every complete new file of the watched folders, or of those given.

    Files that are still being written, or that were left alone for too short a time, are left for the next time.
    """
    from toros.store.inbox import QUIET_SECONDS

    runner = open_runner()
    time.sleep(QUIET_SECONDS)  # so that whatever was whole when the command was given is taken
    if folders:
        runner = replace(runner, settings=replace(runner.settings, inbox=tuple(folders)))
    attempts = _until_quiet(runner, _steps_of(runner, "ingest"), None)
    growing = _files_not_taken(runner)
    if growing:
        typer.echo(f"{growing} files may still be growing: run this again in a while", err=True)
    finish(attempts, as_json=as_json)


def run(
    step: Annotated[
        str | None, typer.Argument(metavar="[STEP]", help="Name of a step (`toros steps` lists them).")
    ] = None,
    items: Annotated[
        list[int] | None,
        typer.Argument(metavar="[ITEM]...", help="Numbers of items; by default all that wait for the step."),
    ] = None,
    night: Night = None,
    group: Annotated[
        str | None, typer.Option(help="All steps of this group, again and again until nothing moves.")
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="All steps, again and again until nothing moves.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Run a step, a group of steps or all of them on what waits for them.

    One bad item never stops the others: it goes to its error state, with the reason on record.
    """
    if (step is not None) + (group is not None) + everything != 1:
        raise typer.BadParameter("name a step, or a --group, or --all")
    runner = open_runner()
    evening = night.date() if night else None
    if step is not None:
        attempts = _run_one(runner, step, items or [], evening)
    elif group is not None:
        attempts = _until_quiet(runner, _steps_of(runner, group), evening)
    else:
        attempts = [
            a
            for chosen in (*FIRST_GROUPS, None)
            for a in _until_quiet(runner, _steps_of(runner, chosen), evening)
        ]
    finish(_last_of_each(attempts), as_json=as_json)


def _files_not_taken(runner: Runner) -> int:
    from toros.steps.discover import never_seen
    from toros.store.inbox import scan

    return sum(1 for _ in never_seen(runner.database, scan(runner.settings.inbox)))


def _run_one(runner: Runner, name: str, items: Sequence[int], night: dt.date | None) -> list[Attempt]:
    from toros.steps.registry import find_step

    step_class = find_step(name, runner.settings.step_modules)
    if items and (night is not None or step_class.takes is None):
        raise typer.BadParameter("items are given without --night, and to a step that takes items")
    if night is not None and not hasattr(step_class.takes, "night"):
        raise typer.BadParameter(f"what {name} works on belongs to no night")
    step = step_class()
    return attempt_all(runner, step, items) if items else _run_waiting(runner, step, night)


def _run_waiting(runner: Runner, step: AnyStep, night: dt.date | None) -> list[Attempt]:
    """Run a step on all items that wait for it; one that takes no items is run once."""
    from toros.cli.views.nights import items_of_night
    from toros.steps.pending import items_waiting_for

    if step.takes is None:
        return [attempt(runner, step)]
    with runner.database.read() as session:
        waiting = items_waiting_for(session, type(step))
        if night is not None:
            of_night = items_of_night(session, night)
            waiting = [item for item in waiting if item in of_night]
    return attempt_all(runner, step, waiting)


def _steps_of(runner: Runner, group: str | None) -> list[StepClass]:
    """Return the steps of a group along the stream; without a group, all but those that a person decides on."""
    from sqlalchemy import select

    from toros.models import State
    from toros.steps.registry import find_steps
    from toros.steps.send_back import BY_HAND

    known = [s for s in find_steps(runner.settings.step_modules).values() if BY_HAND not in s.groups]
    chosen = [step for step in known if group is None or group in step.groups]
    if not chosen:
        groups = sorted({group for step in known for group in step.groups})
        raise BadParameters(f"no step is in a group {group!r}", advice=f"there are: {', '.join(groups)}")
    with runner.database.read() as session:
        order = dict(session.execute(select(State.name, State.order)).all())
    return sorted(chosen, key=lambda step: order.get(step.from_state, 0))


def _until_quiet(runner: Runner, steps: Iterable[StepClass], night: dt.date | None) -> list[Attempt]:
    """Run steps over what waits for them, round after round, until a round moves nothing."""
    able = [step() for step in steps if night is None or hasattr(step.takes, "night")]
    attempts: list[Attempt] = []
    while True:
        this_round = [a for step in able for a in _run_waiting(runner, step, night)]
        attempts += this_round
        if not any(a.advanced for a in this_round):
            return _last_of_each(attempts)


def _last_of_each(attempts: Iterable[Attempt]) -> list[Attempt]:
    """Return how it ended for each item and step; of a step without items, every run that found work."""
    last: dict[tuple[str, int | None, int | None], Attempt] = {}
    for a in attempts:
        found_work = a.item is None and a.result is Result.DONE
        last[a.step, a.item, a.run if found_work else None] = a
    worked = {a.step for a in last.values() if a.item is None and a.result is Result.DONE}
    return [a for a in last.values() if a.result is not Result.NOTHING_TO_DO or a.step not in worked]
