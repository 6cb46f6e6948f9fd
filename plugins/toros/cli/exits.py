"""How a command ends: the errors of the pipeline become two lines and an exit code."""

from __future__ import annotations

import traceback
from enum import IntEnum
from typing import Any

import typer
from typer.core import TyperGroup

from toros.errors import Misconfigured, NothingToDo, TorosError, Transient, printable

EXIT_CODES = (
    "Exit codes: 0 all is well; 1 something is wrong with the data (an item failed, fsck found violations); "
    "2 the command was mistyped; 3 a person must act first (settings, profiles, schema); "
    "4 try again later (database, disk, a busy item)."
)


class Exit(IntEnum):
    """What the caller's shell is told."""

    OK = 0
    DATA = 1
    USAGE = 2
    MISCONFIGURED = 3
    TRANSIENT = 4


def exit_of(error: TorosError) -> Exit:
    """Return the exit code that an error deserves: the branch of the tree that it hangs on."""
    if isinstance(error, NothingToDo):
        return Exit.OK
    if isinstance(error, Misconfigured):
        return Exit.MISCONFIGURED
    if isinstance(error, Transient):
        return Exit.TRANSIENT
    return Exit.DATA


class Commands(TyperGroup):
    """The outermost group of commands: whatever the pipeline complains about ends here."""

    def invoke(self, ctx: typer.Context) -> Any:  # type: ignore[override]  # typer's own Context is a subclass
        try:
            return super().invoke(ctx)
        except TorosError as error:
            if ctx.params.get("with_traceback"):
                traceback.print_exception(error)
            complain(error)
            raise typer.Exit(exit_of(error)) from None


def complain(error: TorosError) -> None:
    """Say on stderr what happened and what to do about it."""
    typer.echo(f"error [{error.code}]: {printable(error.message)}", err=True)
    if error.advice:
        typer.echo(f"what to do: {printable(error.advice)}", err=True)
