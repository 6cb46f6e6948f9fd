"""A page of the reference."""

from __future__ import annotations

from dataclasses import dataclass

from toros.docs.markdown import blocks, heading, prose

MARK = "<!-- Written by `toros docs` from the code and the data files: changes made here are lost. -->"
"""First line of every page, by which it is recognised when it is written anew."""


@dataclass(frozen=True)
class Page:
    """One page: name of its file without suffix, title, one sentence about it, and Markdown."""

    name: str
    title: str
    about: str
    body: str

    @property
    def text(self) -> str:
        """The whole file."""
        return blocks((MARK, heading(1, self.title), prose(self.about), self.body)) + "\n"
