"""How commands print: tables for people, JSON for programs."""

from __future__ import annotations

import datetime as dt
import json
import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, TypeAlias

import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from toros.errors import printable

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]

Row: TypeAlias = Mapping[str, object]

PIPE_WIDTH = 1000
"""Columns of an output that is no terminal: one row stays one line, for grep."""


def print_json(data: object) -> None:
    """Print anything made of rows as JSON; moments are ISO 8601 in UTC, what is not a finite number is null."""
    typer.echo(json.dumps(_plain(data), indent=2, ensure_ascii=False))


def print_rows(rows: Sequence[Row], columns: Sequence[str], *, title: str = "", empty: str = "none") -> None:
    """Print these columns of the rows as a table, or the word for an empty one."""
    if not rows:
        console().print(Text(f"{title}: {empty}" if title else empty))
        return
    table = Table(title=Text(title) if title else None, title_justify="left", box=box.SIMPLE_HEAD)
    for column in columns:
        numeric = all(_is_number(row[column]) for row in rows)
        table.add_column(column.replace("_", " "), justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        style = "red" if row.get("is_error") else None
        table.add_row(*(Text(as_text(row[column])) for column in columns), style=style)
    console().print(table)


def print_fields(fields: Row, *, title: str = "") -> None:
    """Print one thing, a line for each of its columns that is not empty."""
    rows = [{"column": name, "value": as_text(value)} for name, value in fields.items() if value is not None]
    print_rows(rows, ("column", "value"), title=title)


def print_listing(
    rows: Sequence[Row], columns: Sequence[str], *, as_json: bool, title: str = "", empty: str = "none"
) -> None:
    """Print whole rows as JSON, or these columns of them as a table."""
    if as_json:
        print_json(rows)
    else:
        print_rows(rows, columns, title=title, empty=empty)


def console() -> Console:
    """Return the console on stdout."""
    return Console(width=None if sys.stdout.isatty() else PIPE_WIDTH, highlight=False)


def as_text(value: object) -> str:
    """Write a value for people."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.10g}"
    if isinstance(value, dt.datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}"
    if isinstance(value, Mapping):
        return ", ".join(f"{key}={as_text(part)}" for key, part in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(as_text(part) for part in value)
    return printable(str(value))


def _is_number(value: object) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dt.date):  # a moment is a date, too
        return value.isoformat()
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Iterable) and not isinstance(value, str):
        return [_plain(part) for part in value]
    return value
