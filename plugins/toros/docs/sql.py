"""The page of the hand-written SQL."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import dropwhile

from toros.docs.markdown import blocks, fenced, heading, prose
from toros.docs.page import Page
from toros.sql import question, read_sql, sql_folder


def sql_page() -> Page:
    """Write every statement with the question that it answers."""
    folder = sql_folder()
    names = sorted(path.relative_to(folder).with_suffix("").as_posix() for path in folder.rglob("*.sql"))
    return Page(
        "sql",
        "SQL",
        "Every hand-written statement, as it stands in `include/sql`: each runs on SQLite and PostgreSQL alike.",
        blocks(part for name in names for part in _section(name)),
    )


def _section(name: str) -> Iterator[str]:
    text = read_sql(name)
    statement = "\n".join(dropwhile(lambda line: line.startswith("--"), text.splitlines()))
    yield heading(2, name)
    yield prose(question(text))
    yield fenced(statement.strip("\n"), "sql")
