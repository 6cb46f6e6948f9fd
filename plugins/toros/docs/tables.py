"""The page of the tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from sqlalchemy import CheckConstraint, Column, Index, Table, UniqueConstraint
from sqlalchemy.orm import Mapper

from toros.docs.docstrings import attribute_docs, docstring_of
from toros.docs.entities import entity_diagram
from toros.docs.markdown import blocks, code, codes, heading, link, paragraphs, prose, table
from toros.docs.page import Page
from toros.models import Model, UTCDateTime

PAGE = "tables"


def tables_page() -> Page:
    """Write every table with its columns and what holds them together."""
    mappers = sorted(Model.registry.mappers, key=lambda mapper: table_of(mapper).name)
    return Page(
        PAGE,
        "Tables",
        "The science database: one table for each model of `toros.models`, named like its class in lower case.",
        blocks(
            (
                entity_diagram(map(table_of, mappers)),
                table(
                    ("table", "holds"),
                    ((_link_to_table(table_of(m).name), prose(_summary(m.class_))) for m in mappers),
                ),
                *(part for mapper in mappers for part in _section(mapper)),
            )
        ),
    )


def table_of(mapper: Mapper[Any]) -> Table:
    """Return the table of a model itself, not one that it inherits from."""
    if not isinstance(mapper.local_table, Table):
        raise TypeError(f"{mapper} is not mapped to a table")
    return mapper.local_table


def _section(mapper: Mapper[Any]) -> Iterator[str]:
    own = table_of(mapper)
    yield heading(2, own.name)
    yield paragraphs(docstring_of(mapper.class_))
    yield f"Model: {code(f'toros.models.{mapper.class_.__name__}')}. {_inheritance(mapper)}".rstrip()
    yield table(("column", "type", "null", "key", "meaning"), _columns(mapper))
    yield table(("rule", "says"), sorted(_rules(own)))
    relations = [relation for relation in mapper.relationships if relation.parent is mapper]
    if relations:
        yield "Relations: " + ", ".join(
            f"{code(relation.key)} → {_link_to_table(table_of(relation.mapper).name)}"
            for relation in relations
        )


def _inheritance(mapper: Mapper[Any]) -> str:
    if mapper.inherits is None:
        return ""
    above = table_of(mapper.inherits).name
    return f"Each row extends the row of {_link_to_table(above)} that has the same number."


def _columns(mapper: Mapper[Any]) -> Iterator[tuple[str, ...]]:
    meanings = attribute_docs(mapper.class_)
    for column in table_of(mapper).columns:
        attribute = mapper.get_property_by_column(column).key
        yield (
            code(column.name),
            code(_type(column)),
            "yes" if column.nullable else "no",
            _key(column),
            prose(meanings.get(attribute, "")),
        )


def _type(column: Column[Any]) -> str:
    return f"{column.type}{' (UTC)' if isinstance(column.type, UTCDateTime) else ''}"


def _key(column: Column[Any]) -> str:
    references = (_link_to_table(key.column.table.name) for key in column.foreign_keys)
    return ", ".join((*(["primary"] if column.primary_key else []), *(f"→ {name}" for name in references)))


def _rules(own: Table) -> Iterator[tuple[str, str]]:
    """Yield what the database itself enforces, and what it keeps an index of."""
    for constraint in own.constraints:
        if isinstance(constraint, CheckConstraint):
            yield code(constraint.name), f"always {code(constraint.sqltext)}"
        elif isinstance(constraint, UniqueConstraint):
            yield code(constraint.name), f"unique: {_names(constraint.columns)}"
    for index in own.indexes:
        yield (
            code(index.name),
            f"{'unique ' if index.unique else ''}index: {_names(index.columns)}{_where(index)}",
        )


def _where(index: Index) -> str:
    condition = index.dialect_options["postgresql"]["where"]
    return "" if condition is None else f", where {code(condition)}"


def _names(columns: Iterable[Column[Any]]) -> str:
    return codes(column.name for column in columns)


def _link_to_table(name: str) -> str:
    return link(name, PAGE, name)


def _summary(model: type) -> str:
    return docstring_of(model).partition("\n\n")[0]
