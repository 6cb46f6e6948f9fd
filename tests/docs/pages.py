"""Pages as their readers see them: Markdown is parsed, not searched for substrings."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence

from markdown_it import MarkdownIt
from markdown_it.token import Token

PARSER = MarkdownIt("commonmark").enable("table")


def tables(text: str) -> list[list[list[str]]]:
    """Return all tables of a page as rows of plain text; the header is the first row."""
    found: list[list[list[str]]] = []
    before = ""
    for token in PARSER.parse(text):
        if token.type == "table_open":
            found.append([])
        elif token.type == "tr_open":
            found[-1].append([])
        elif before in ("th_open", "td_open"):
            found[-1][-1].append(plain(token))
        before = token.type
    return found


def rows(text: str) -> list[list[str]]:
    """Return the rows of all tables, without their headers."""
    return [row for table in tables(text) for row in table[1:]]


def sections(text: str) -> dict[str, str]:
    """Cut a page into its sections of the second level: what stands below each heading."""
    parts = re.split(r"^## (.*)$", text, flags=re.MULTILINE)
    return {reading(title): body for title, body in zip(parts[1::2], parts[2::2], strict=True)}


def headings(text: str) -> list[str]:
    """Return the plain text of all headings."""
    tokens = PARSER.parse(text)
    return [plain(inline) for opening, inline in itertools.pairwise(tokens) if opening.type == "heading_open"]


def anchors(text: str) -> list[str]:
    """Return where links may lead to on a page, by GitHub's rule for headings, and by name."""
    slugs = [
        "".join(c for c in title.lower() if c.isalnum() or c in "_- ").replace(" ", "-")
        for title in headings(text)
    ]
    return slugs + [
        name
        for token in inlines(text)
        for child in token.children or ()
        if child.type == "html_inline"
        for name in re.findall(r'<a id="([^"]*)">', child.content)
    ]


def links(text: str) -> list[str]:
    """Return where the links of a page lead to."""
    return [
        str(child.attrs["href"])
        for token in inlines(text)
        for child in token.children or ()
        if child.type == "link_open"
    ]


def fences(text: str, language: str) -> list[str]:
    """Return all blocks of code in a language."""
    return [t.content for t in PARSER.parse(text) if t.type == "fence" and t.info == language]


def reading(line: str) -> str:
    """Return what one line of Markdown reads as."""
    return "".join(plain(token) for token in inlines(line))


def in_words(text: str) -> str:
    """Return what a docstring reads as: on one line, its code without backticks."""
    return " ".join(text.replace("`", "").split())


def inlines(text: str) -> Iterator[Token]:
    return (token for token in PARSER.parse(text) if token.type == "inline")


def plain(token: Token) -> str:
    children: Sequence[Token] = token.children or ()
    return "".join(
        "\n" if child.type == "softbreak" else "" if child.type == "html_inline" else child.content
        for child in children
    )
