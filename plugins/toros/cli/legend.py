"""``toros errors`` and ``toros caveats``: what the codes mean."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from rich.text import Text
from rich.tree import Tree

from toros.cli.output import AsJson, console, print_json, print_listing

if TYPE_CHECKING:
    from toros.errors import TorosError

FATES = {
    "Transient": "tried again by itself, with growing pauses",
    "Unprocessable": "the item goes to its error state, the others go on",
    "NothingToDo": "skipped, not failed",
    "Misconfigured": "fails at once, a person must act",
}
"""What becomes of the errors on each branch."""


def errors(as_json: AsJson = False) -> None:
    """Show the tree of errors: their codes, what each means, and what becomes of an item that meets one."""
    from toros.errors import TorosError

    branches = TorosError.__subclasses__()
    if as_json:
        print_json([row for branch in branches for row in _rows(branch, FATES[branch.__name__])])
        return
    tree = Tree(Text("errors"))
    for branch in branches:
        _grow(tree, branch, f"{branch.__name__}: {FATES[branch.__name__]}")
    console().print(tree)


def caveats(as_json: AsJson = False) -> None:
    """List the caveats that products carry, and what each means."""
    from toros.caveats import LEGEND

    rows = [{"code": str(code), "meaning": meaning} for code, meaning in LEGEND.items()]
    print_listing(rows, ("code", "meaning"), as_json=as_json)


def _rows(error: type[TorosError], fate: str) -> list[dict[str, Any]]:
    row = {
        "code": error.code,
        "name": error.__name__,
        "fate": fate,
        "meaning": _meaning(error),
        "advice": error.default_advice or None,
    }
    return [row, *(row for child in error.__subclasses__() for row in _rows(child, fate))]


def _grow(tree: Tree, error: type[TorosError], label: str) -> None:
    limb = tree.add(Text(label))
    for child in error.__subclasses__():
        _grow(limb, child, f"{child.code}: {_meaning(child)}")


def _meaning(error: type[TorosError]) -> str:
    return (inspect.getdoc(error) or "").partition("\n")[0]
