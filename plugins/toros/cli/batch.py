"""Steps on many items: one bad item never stops the others."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypeAlias

import typer
from rich.console import Console
from rich.progress import track

from toros.cli.exits import Exit
from toros.cli.output import print_json, print_rows
from toros.errors import Misconfigured, NothingToDo, TorosError, Transient

if TYPE_CHECKING:
    from toros.steps.runner import Runner
    from toros.steps.step import Step

    AnyStep: TypeAlias = Step[Any, Any, Any]

SHOWN_FAILURES = 20


class Result(StrEnum):
    """What became of an item."""

    DONE = "done"
    DONE_BEFORE = "done before"
    NOTHING_TO_DO = "nothing to do"
    FAILED = "failed"
    TRY_AGAIN = "try again"
    MISCONFIGURED = "misconfigured"
    CRASHED = "crashed"


EXITS = {
    Result.MISCONFIGURED: Exit.MISCONFIGURED,
    Result.TRY_AGAIN: Exit.TRANSIENT,
    Result.CRASHED: Exit.DATA,
    Result.FAILED: Exit.DATA,
}
"""What ends otherwise than well, the most urgent first."""


@dataclass(frozen=True)
class Attempt:
    """One step on one item, and how it ended."""

    step: str
    item: int | None
    result: Result
    run: int | None = None
    state: str | None = None
    new_items: int = 0
    code: str | None = None
    message: str | None = None
    advice: str | None = None

    @property
    def advanced(self) -> bool:
        """Whether there is something in the stream that was not there before."""
        return self.result is Result.DONE and (self.item is not None or self.new_items > 0)


def attempt(runner: Runner, step: AnyStep, item_id: int | None = None) -> Attempt:
    """Run a step on an item, and tell how it ended."""
    try:
        outcome = runner.run(step, item_id)
    except TorosError as error:
        result = _result_of(error)
        return Attempt(
            step.name,
            item_id,
            result,
            state=step.error_state if result is Result.FAILED else None,
            code=error.code,
            message=error.message,
            advice=error.advice or None,
        )
    except Exception as error:  # noqa: BLE001  a fault of ours: recorded with its traceback; the others go on
        return Attempt(
            step.name,
            item_id,
            Result.CRASHED,
            code=type(error).__name__,
            message=str(error),
            advice="this is a fault of the program; `toros log --failed --json` holds the traceback",
        )
    result = Result.DONE_BEFORE if outcome.again else Result.DONE
    return Attempt(
        step.name,
        item_id,
        result,
        run=outcome.run_id,
        state=outcome.state,
        new_items=len(outcome.spawned),
    )


def attempt_all(runner: Runner, step: AnyStep, items: Sequence[int]) -> list[Attempt]:
    """Run a step on items one after the other, with a progress bar on a terminal."""
    with_bar = track(
        items,
        description=step.name,
        console=Console(stderr=True),
        transient=True,
        disable=not (items and sys.stderr.isatty()),
    )
    return [attempt(runner, step, item) for item in with_bar]


def finish(attempts: Sequence[Attempt], *, as_json: bool) -> None:
    """Print how it went, and end the command with the exit code that it deserves."""
    if as_json:
        print_json([asdict(attempt) for attempt in attempts])
    else:
        _print_summary(attempts)
        _print_failures([attempt for attempt in attempts if attempt.result in EXITS])
    results = {attempt.result for attempt in attempts}
    raise typer.Exit(next((code for result, code in EXITS.items() if result in results), Exit.OK))


def _result_of(error: TorosError) -> Result:
    if isinstance(error, NothingToDo):
        return Result.NOTHING_TO_DO
    if isinstance(error, Transient):
        return Result.TRY_AGAIN
    if isinstance(error, Misconfigured):
        return Result.MISCONFIGURED
    return Result.FAILED


def _print_summary(attempts: Iterable[Attempt]) -> None:
    groups = Counter((a.step, a.result, a.state, a.code) for a in attempts)
    new_items: Counter[object] = Counter()
    for a in attempts:
        new_items[a.step, a.result, a.state, a.code] += a.new_items
    rows = [
        {
            "step": step,
            "result": result,
            "runs": count,
            "state": state,
            "new_items": new_items[step, result, state, code] or None,
            "reason": code,
            "is_error": result in EXITS,
        }
        for (step, result, state, code), count in groups.items()
    ]
    print_rows(rows, ("step", "result", "runs", "state", "new_items", "reason"), empty="nothing to do")


def _print_failures(failures: Sequence[Attempt]) -> None:
    rows = [asdict(failure) for failure in failures[:SHOWN_FAILURES]]
    if rows:
        print_rows(rows, ("step", "item", "code", "message", "advice"))
    if len(failures) > SHOWN_FAILURES:
        typer.echo(f"and {len(failures) - SHOWN_FAILURES} more: `toros log --failed` lists them all")
