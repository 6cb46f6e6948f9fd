"""What cameras and dialects have in common: they are read from data files."""

from __future__ import annotations

from collections.abc import Iterable

from toros.docs.docstrings import docstring_of
from toros.docs.fields import field_table
from toros.docs.markdown import blocks, code, heading, paragraphs
from toros.instruments.cards import Keyword
from toros.instruments.data_file import DataModel
from toros.instruments.dialect import CardPatterns, TypeRule


def layout(models: Iterable[type[DataModel]]) -> str:
    """Write what such a file may say: a section for each table of it."""
    return blocks(
        part
        for model in models
        for part in (heading(3, model.__name__), paragraphs(docstring_of(model)), field_table(model))
    )


def patterns_in_words(alternatives: Iterable[CardPatterns]) -> str:
    """Write sets of cards that must match: all of one set, any of the sets."""
    return "; or ".join(
        " and ".join(f"{code(card)} matches {code(pattern.pattern)}" for card, pattern in cards.items())
        for cards in alternatives
    )


def rules_in_words(rules: Iterable[TypeRule]) -> str:
    """Write in their order the rules that tell image types apart."""
    return "; ".join(
        f"{rule.type} if {code(rule.where)} matches {code(rule.matches.pattern)}"
        f"{', whatever the header says' if rule.wins_over_header else ''}"
        for rule in rules
    )


def keywords_in_words(keywords: Iterable[Keyword]) -> str:
    """Write the cards of a quantity, best first."""
    return (
        ", ".join(
            code(keyword.card)
            + ("" if keyword.part is None else f" (word {keyword.part + 1})")
            + ("" if keyword.scale == 1 else f" (times {keyword.scale:g})")
            for keyword in keywords
        )
        or "no card"
    )
