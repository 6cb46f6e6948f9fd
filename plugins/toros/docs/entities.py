"""The entity-relationship diagram of the tables: their keys, and what refers to what."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from sqlalchemy import Column, ForeignKeyConstraint, Table, UniqueConstraint

from toros.docs.markdown import mermaid, quoted


def entity_diagram(tables: Iterable[Table]) -> str:
    """Draw tables with their keys; all other columns would hide them."""
    tables = list(tables)
    return mermaid(
        [
            "erDiagram",
            *(line for table in tables for line in _entity(table)),
            *(line for table in tables for line in sorted(_references(table))),
        ]
    )


def _entity(table: Table) -> Iterator[str]:
    yield f"    {table.name} {{"
    for column in table.columns:
        keys = [*(["PK"] if column.primary_key else []), *(["FK"] if column.foreign_keys else [])]
        if keys:
            yield f"        {str(column.type).partition('(')[0].lower()} {column.name} {', '.join(keys)}"
    yield "    }"


def _references(table: Table) -> Iterator[str]:
    for key in table.foreign_key_constraints:
        left = "|o" if any(column.nullable for column in key.columns) else "||"
        right = "o|" if _is_unique(key) else "o{"
        names = ", ".join(column.name for column in key.columns)
        yield f"    {key.referred_table.name} {left}--{right} {table.name} : {quoted(names)}"


def _is_unique(key: ForeignKeyConstraint) -> bool:
    """Tell whether at most one row can refer to another."""
    columns = _names(key.columns)
    return columns == _names(key.table.primary_key.columns) or any(
        columns == _names(constraint.columns)
        for constraint in key.table.constraints
        if isinstance(constraint, UniqueConstraint)
    )


def _names(columns: Iterable[Column[Any]]) -> set[str]:
    return {column.name for column in columns}
