"""Markdown that shows data as they are: whatever a name or a text holds, it breaks no table and no link."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

_MARKUP = re.compile(r"[\\`*\[\]<>|~$#&]|(?<![^\W_])_|_(?![^\W_])")  # within a word, an underscore is one
_IN_LABELS = re.compile(r"[#&\"<>]")
_CODE_SPAN = re.compile(r"`([^`]+)`")
_ROLE = re.compile(r":[a-z]+:`~?")


def prose(text: str) -> str:
    """Write a text as one line that reads as it is; only what stands between backticks is code.

    Docstrings may mark code as reStructuredText does, with two backticks or with a role.
    """
    text = _ROLE.sub("`", " ".join(text.split())).replace("``", "`")
    parts = _CODE_SPAN.split(text)  # prose, code, prose, code ... prose
    return "".join(
        code(part) if index % 2 else _MARKUP.sub(r"\\\g<0>", part) for index, part in enumerate(parts)
    )


def paragraphs(text: str) -> str:
    """Write a text of several paragraphs; within one, line breaks do not matter."""
    return blocks(prose(part) for part in re.split(r"\n\s*\n", text))


def code(text: object) -> str:
    """Write a value in code type, on one line; nothing for an empty one."""
    line = " ".join(str(text).splitlines())
    if not line or ("`" not in line and "|" not in line and line == line.strip()):
        return f"`{line}`" if line else ""
    # Inside a table no escape of a bar means the same to all readers of Markdown; an entity does.
    return f"<code>{_MARKUP.sub(lambda found: f'&#{ord(found[0])};', line)}</code>"


def codes(texts: Iterable[object], separator: str = ", ") -> str:
    """Write several values in code type."""
    return separator.join(map(code, texts))


def fenced(text: str, language: str) -> str:
    """Write a block of code, whatever it holds."""
    longest = max((len(run) for run in re.findall(r"`{3,}", text)), default=2)
    fence = "`" * (longest + 1)
    return f"{fence}{language}\n{text.rstrip()}\n{fence}"


def mermaid(lines: Iterable[str]) -> str:
    """Write a diagram."""
    return fenced("\n".join(lines), "mermaid")


def quoted(text: str) -> str:
    """Write the label of a part of a diagram, with Mermaid's own entities."""
    return f'"{_IN_LABELS.sub(lambda found: f"#{ord(found[0])};", " ".join(text.split()))}"'


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Write a table of cells that are Markdown already; nothing if it has no rows."""
    lines = [_row(row) for row in rows]
    return "\n".join([_row(header), _row(["---"] * len(header)), *lines]) if lines else ""


def heading(level: int, title: str) -> str:
    """Write a heading."""
    return f"{'#' * level} {prose(title)}"


def anchor_here(name: str) -> str:
    """Mark a place that a link can lead to, where there is no heading."""
    return f'<a id="{anchor(name)}"></a>'


def anchor(title: str) -> str:
    """Return the anchor that a heading gets, by the rule of GitHub."""
    return re.sub(r"[^\w\- ]", "", title.strip().lower()).replace(" ", "-")


def link(text: str, page: str, title: str = "") -> str:
    """Link a name, in code type, to a page or to a heading of it."""
    return f"[{code(text)}]({page}.md{f'#{anchor(title)}' if title else ''})"


def blocks(parts: Iterable[str]) -> str:
    """Put blocks below each other; empty ones are left out."""
    return "\n\n".join(part for part in parts if part)


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
