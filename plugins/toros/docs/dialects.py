"""The page of the dialects."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from toros.docs.docstrings import attribute_docs
from toros.docs.markdown import blocks, code, codes, heading, link, prose, table
from toros.docs.page import Page
from toros.docs.profiles import keywords_in_words, layout, patterns_in_words, rules_in_words
from toros.instruments.cards import Keyword
from toros.instruments.dialect import DateMark, Dialect, Quantities, TypeRule

PAGE = "dialects"
BLANK = Dialect(name="blank")
"""What a dialect says that says nothing: the generic one is compared with it."""


def dialects_page(dialects: Sequence[Dialect]) -> Page:
    """Write what every dialect says itself; the last one is the generic one that the others build on."""
    *others, generic = dialects
    return Page(
        PAGE,
        "Dialects",
        "How capture programs write their headers, in the order in which they are recognised. "
        "What a dialect does not say itself, it takes from the last one.",
        blocks(
            (
                table(
                    ("dialect", "program", "rank", "recognised by"),
                    (
                        (
                            link(dialect.name, PAGE, dialect.name),
                            prose(dialect.description),
                            str(dialect.rank),
                            patterns_in_words(dialect.recognise),
                        )
                        for dialect in dialects
                    ),
                ),
                *(part for dialect in others for part in _section(dialect, generic)),
                *_section(generic, BLANK),
                heading(2, "What a dialect may say"),
                layout((Dialect, Quantities, Keyword, TypeRule, DateMark)),
            )
        ),
    )


def _section(dialect: Dialect, base: Dialect) -> Iterator[str]:
    yield heading(2, dialect.name)
    yield prose(dialect.description)
    said = list(_said(dialect, base))
    yield table(("about", "says", "meaning"), said) if said else "Says nothing of its own."


def _said(dialect: Dialect, base: Dialect) -> Iterator[tuple[str, str, str]]:
    """Yield what a dialect says beyond the one that it builds on: its own words come before those of that one."""
    meanings = attribute_docs(Quantities)
    for name in Quantities.model_fields:
        keywords = getattr(dialect.quantities, name)
        if keywords != getattr(base.quantities, name):
            yield code(name), keywords_in_words(keywords), prose(meanings.get(name, ""))
    meanings = attribute_docs(Dialect)
    for kind, words in dialect.image_types.items():
        if own := words[: len(words) - len(base.image_types.get(kind, ()))]:
            yield code(f"image_types.{kind}"), codes(own), prose(meanings["image_types"])
    in_words: dict[str, Callable[[Any], str]] = {
        "unsaid_types": codes,
        "no_filter": codes,
        "unnamed": codes,
        "type_rules": rules_in_words,
        "date_marks": _marks_in_words,
    }
    for name, write in in_words.items():
        values = getattr(dialect, name)
        if own := values[: len(values) - len(getattr(base, name))]:
            yield code(name), write(own), prose(meanings.get(name, ""))


def _marks_in_words(marks: Sequence[DateMark]) -> str:
    return "; ".join(
        f"a comment that matches {code(mark.comment.pattern)}: "
        f"{mark.exposure_fraction:g} of the exposure had passed at DATE-OBS"
        for mark in marks
    )
