"""How steps move items from state to state: what they declare, and what they do beyond it."""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from toros.steps.registry import AnyStep

Usage = Literal["usual", "error", "exception", "new item"]


@dataclass(frozen=True)
class Move:
    """A step takes an item from one state to another; new items come from nowhere."""

    step: AnyStep
    old: str
    new: str
    usage: Usage


def moves(step: AnyStep) -> Iterator[Move]:
    """Yield all moves of a step."""
    if step.to_state:
        yield Move(step, step.from_state, step.to_state, "usual")
    if step.error_state:
        yield Move(step, step.from_state, step.error_state, "error")
    if step.from_state:
        for state in _named(step, "leave", 0):
            yield Move(step, step.from_state, state, "exception")
    for state in _named(step, "spawn", 1):
        yield Move(step, "", state, "new item")


def _named(step: AnyStep, function: str, position: int) -> list[str]:
    """Return the states that the step's module gives to a function of its workbench, as literal texts."""
    return [
        argument.value
        for call in _calls_in(step.__module__)
        if isinstance(call.func, ast.Attribute) and call.func.attr == function and len(call.args) > position
        for argument in [call.args[position]]
        if isinstance(argument, ast.Constant) and isinstance(argument.value, str)
    ]


@lru_cache(maxsize=64)
def _calls_in(module: str) -> list[ast.Call]:
    try:
        source = inspect.getsource(sys.modules[module])
    except OSError:  # compiled, or typed in
        return []
    return [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
