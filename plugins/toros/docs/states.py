"""The page of the states."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from typing import Any

from toros.docs.flow import Move, moves
from toros.docs.markdown import anchor_here, blocks, code, mermaid, prose, quoted, table
from toros.docs.page import Page
from toros.docs.steps import link_to_step
from toros.models import seed
from toros.steps.registry import AnyStep


def states_page(steps: Mapping[str, AnyStep]) -> Page:
    """Write the states that every database starts with, and those that the steps name beyond them."""
    all_moves = [move for name in sorted(steps) for move in moves(steps[name])]
    states = _shipped_states()
    known = {str(state["name"]) for state in states}
    named = {name for move in all_moves for name in (move.old, move.new) if name}
    added = [{"name": name} for name in sorted(named - known)]
    return Page(
        "states",
        "States",
        "An item is in one state at a time. States are rows: `toros state add` makes more of them.",
        blocks(
            (
                _diagram(all_moves),
                prose(
                    "Solid arrows are what the steps declare, dotted ones lead to error states and to what a step "
                    "leaves by exception. `send_back` (`toros retry`) leads from any state back to one that the "
                    "item has been in. A state that no step leads to is kept for steps to come, or for your own."
                ),
                table(
                    ("state", "order", "kind", "entered by", "left by"),
                    (_row(state, all_moves) for state in [*states, *added]),
                ),
            )
        ),
    )


def _shipped_states() -> list[dict[str, Any]]:
    text = (files(seed) / "states.toml").read_text(encoding="utf-8")
    states: list[dict[str, Any]] = tomllib.loads(text)["state"]
    return sorted(states, key=lambda state: state["order"])


def _row(state: Mapping[str, Any], all_moves: Iterable[Move]) -> tuple[str, ...]:
    name = str(state["name"])
    entering = {move.step.name for move in all_moves if move.new == name}
    leaving = {move.step.name for move in all_moves if move.old == name}
    return (
        anchor_here(name) + code(name),
        str(state.get("order", "")),
        "error" if state.get("is_error") else "" if "order" in state else "not in every database",
        ", ".join(map(link_to_step, sorted(entering))),
        ", ".join(map(link_to_step, sorted(leaving))),
    )


def _diagram(all_moves: Sequence[Move]) -> str:
    """Draw states, and what leads from one to another; where new items come from is drawn rounded."""
    ways: dict[tuple[str, str, str], set[str]] = {}
    for move in all_moves:
        arrow = "-->" if move.usage in ("usual", "new item") else "-.->"
        way = (move.old or f"new by {move.step.name}", arrow, move.new)
        ways.setdefault(way, set()).add(move.step.name)
    places = sorted({place for old, _, new in ways for place in (old, new)})
    number = {place: f"s{index}" for index, place in enumerate(places)}
    states = {state for move in all_moves for state in (move.old, move.new)}
    drawn = [
        f"    {number[place]}[{quoted(place)}]"
        if place in states
        else f"    {number[place]}([{quoted(place)}])"
        for place in places
    ]
    led = [
        f"    {number[old]} {arrow}|{quoted(', '.join(sorted(names)))}| {number[new]}"
        for (old, arrow, new), names in sorted(ways.items())
    ]
    return mermaid(["flowchart LR", *drawn, *led])
