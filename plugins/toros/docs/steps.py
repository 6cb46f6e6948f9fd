"""The page of the steps."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping

from toros.docs.docstrings import attribute_docs, docstring_of
from toros.docs.fields import field_table
from toros.docs.flow import moves
from toros.docs.markdown import blocks, code, codes, heading, link, paragraphs, prose, table
from toros.docs.page import Page
from toros.steps.registry import AnyStep
from toros.steps.step import Step

PAGE = "steps"


def steps_page(steps: Mapping[str, AnyStep]) -> Page:
    """Write what each step takes, leaves and may be told."""
    ordered = [steps[name] for name in sorted(steps)]
    return Page(
        PAGE,
        "Steps",
        "Every step is performed completely or not at all, and leaves a row for every execution.",
        blocks((_overview(ordered), _lease(), *(part for step in ordered for part in _section(step)))),
    )


def link_to_step(name: str) -> str:
    """Link to the section of a step."""
    return link(name, PAGE, name)


def _overview(steps: Iterable[AnyStep]) -> str:
    return table(
        ("step", "takes", "from", "to", "on error", "groups"),
        (
            (
                link_to_step(step.name),
                _taken(step),
                _state(step.from_state),
                _state(step.to_state),
                _state(step.error_state),
                codes(step.groups),
            )
            for step in steps
        ),
    )


def _section(step: AnyStep) -> Iterator[str]:
    yield heading(2, step.name)
    yield paragraphs(docstring_of(step))
    yield table(("", ""), _declaration(step))
    yield field_table(step.Parameters)


def _lease() -> str:
    return f"**Lease:** {prose(attribute_docs(Step)['lease'])}"


def _declaration(step: AnyStep) -> Iterator[tuple[str, str]]:
    conditions = [condition.compile(compile_kwargs={"literal_binds": True}) for condition in step.conditions]
    yield "version", code(step.version)
    yield "takes", _taken(step) or "no single item: it looks for its work itself"
    if conditions:
        yield "if", codes(conditions, " and ")
    for move in moves(step):
        way = f"{_state(move.old)} → {_state(move.new)}" if move.old else _state(move.new)
        yield (
            {"usual": "state", "error": "on error", "exception": "by exception", "new item": "makes"}[
                move.usage
            ],
            way,
        )
    yield "groups", codes(step.groups)
    yield "lease", prose(_in_words(step.lease))
    yield "class", code(f"{step.__module__}.{step.__qualname__}")


def _taken(step: AnyStep) -> str:
    return link(step.takes.__name__, "tables", step.takes.__tablename__) if step.takes else ""


def _state(name: str) -> str:
    return link(name, "states", name) if name else ""


def _in_words(lease: dt.timedelta) -> str:
    return f"{lease.total_seconds() / 60:g} min"
