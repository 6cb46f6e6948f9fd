"""The page of the errors."""

from __future__ import annotations

from collections.abc import Iterator

from toros.cli.legend import FATES
from toros.docs.docstrings import docstring_of
from toros.docs.markdown import anchor_here, blocks, code, fenced, heading, paragraphs, prose, table
from toros.docs.page import Page
from toros.errors import TorosError


def errors_page() -> Page:
    """Write the tree of errors: the branch an error hangs on decides its fate."""
    branches = TorosError.__subclasses__()
    return Page(
        "errors",
        "Errors",
        "Every error of the pipeline, by the branch of the tree that it hangs on: the branch decides its fate. "
        "A code never changes its meaning; rows, reports and alert rules name it.",
        blocks(
            (
                fenced("\n".join([TorosError.__name__, *_tree(TorosError)]), "text"),
                *(part for branch in branches for part in _section(branch)),
            )
        ),
    )


def _section(branch: type[TorosError]) -> Iterator[str]:
    yield heading(2, f"{branch.__name__}: {FATES[branch.__name__]}")
    yield paragraphs(docstring_of(branch))
    yield table(
        ("code", "error", "meaning", "what to do"),
        (
            (
                anchor_here(error.code) + code(error.code),
                code(error.__name__),
                prose(docstring_of(error)),
                prose(error.default_advice),
            )
            for error in _all_on(branch)
        ),
    )


def _all_on(branch: type[TorosError]) -> Iterator[type[TorosError]]:
    yield branch
    for child in branch.__subclasses__():
        yield from _all_on(child)


def _tree(error: type[TorosError], indent: str = "") -> Iterator[str]:
    children = error.__subclasses__()
    for child in children:
        fork, trunk = ("└── ", "    ") if child is children[-1] else ("├── ", "│   ")
        yield f"{indent}{fork}{child.__name__} ({child.code})"
        yield from _tree(child, indent + trunk)
