"""Whatever a text holds, its readers see it as it is."""

from __future__ import annotations

import re
from typing import Literal

from hypothesis import given
from hypothesis import strategies as st
from pages import fences, plain, reading, tables
from pages import inlines as inlines_of
from pydantic import BaseModel, Field

from toros.docs.docstrings import attribute_docs
from toros.docs.fields import field_table
from toros.docs.markdown import anchor, code, fenced, heading, link, paragraphs, prose, quoted, table
from toros.models import Pawprint

# No control characters, which no Markdown can hold; and more of what is special than chance would bring.
CHARACTERS = st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp"))
TEXTS = st.text(CHARACTERS | st.sampled_from("|\\*_[]()<>~$#&!-+.`\"' "))


@given(st.lists(TEXTS.map(lambda text: text.replace("`", "'")), min_size=1, max_size=4))
def test_prose_in_a_table_reads_as_it_was_written(texts: list[str]) -> None:
    (shown,) = tables(table(["head"] * len(texts), [[prose(text) for text in texts]]))
    assert shown[1] == [" ".join(text.split()) for text in texts]


@given(TEXTS)
def test_code_in_a_table_reads_as_it_was_written(text: str) -> None:
    (shown,) = tables(table(["before", "code", "after"], [["a", code(text), "b"]]))
    assert shown[1] == ["a", text, "b"]


@given(TEXTS)
def test_a_block_of_code_holds_any_text(text: str) -> None:
    text = f"{text}\n```sql\n{text}\n````\nend"
    assert fences(fenced(text, "text"), "text") == [f"{text}\n"]


def test_code_in_prose_is_code() -> None:
    (inline,) = inlines_of(prose("Run ``toros steps | less`` or :mod:`toros.steps`, `a_b` and so_on_ *now*."))
    assert plain(inline) == "Run toros steps | less or toros.steps, a_b and so_on_ *now*."
    assert [child.content for child in inline.children or () if child.type == "code_inline"] == [
        "toros.steps",
        "a_b",
    ]


def test_paragraphs_stay_apart_and_lines_do_not() -> None:
    assert paragraphs("One sky\n- one night -\n\n  \nAnother.") == "One sky - one night -\n\nAnother."


def test_a_table_without_rows_is_nothing() -> None:
    assert table(["star", "magnitude"], []) == ""


def test_a_link_leads_to_the_heading_of_that_name() -> None:
    title = "toros master-frame show_all (F2/b)"
    assert heading(2, title) == f"## {title}"
    assert link(title, "steps", title) == f"[`{title}`](steps.md#toros-master-frame-show_all-f2b)"
    assert anchor(" Azulcito ") == "azulcito"
    assert link("steps", "steps") == "[`steps`](steps.md)"


@given(TEXTS)
def test_a_label_cannot_leave_its_quotes(text: str) -> None:
    assert re.fullmatch(r'"([^"#&<>\n]|#\d+;)*"', quoted(text))
    assert reading(quoted("bias, dark")) == '"bias, dark"'


def test_what_stands_under_an_attribute_is_its_meaning() -> None:
    meanings = attribute_docs(Pawprint)
    assert meanings["night"] == "Observing night, local noon to noon, named by its evening."
    assert "filter" not in meanings
    assert attribute_docs(type("Nebula", (), {})) == {}


class Optics(BaseModel):
    """A telescope."""

    focal_ratio: float
    """Focal length by aperture."""


class Telescope(BaseModel):
    """An instrument with fields of every kind."""

    name: str = Field(min_length=1, description="What it is called.")
    optics: Optics | None = None
    main: Optics = Optics(focal_ratio=10)
    mirrors: tuple[float, float] = (0.4, 0.1)
    filters: list[Literal["r", "clear"]] = []
    mount: Literal["fork"] = "fork"
    limits: dict[str, float] = {}
    year: int = Field(default=2013, ge=1609, le=2100)


def test_every_kind_of_field_is_put_into_words() -> None:
    (shown,) = tables(field_table(Telescope))
    assert shown[1:] == [
        ["name", "string of 1 or more characters", "required", "What it is called."],
        ["optics", "Optics or nothing", "nothing", ""],
        ["main", "Optics", "the defaults of its fields", ""],
        ["mirrors", "[number, number]", "[0.4, 0.1]", ""],
        ["filters", 'list of "r" or "clear"', "[]", ""],
        ["mount", '"fork"', '"fork"', ""],
        ["limits", "table of number", "{}", ""],
        ["year", "integer ≥ 1609 ≤ 2100", "2013", ""],
    ]


def test_a_model_without_fields_has_no_table() -> None:
    class Nothing(BaseModel):
        """Nothing to say."""

    assert field_table(Nothing) == ""
