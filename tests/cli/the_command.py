"""The command, run as a shell would run it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from typer.testing import CliRunner

from toros.cli import app


@dataclass(frozen=True)
class Answer:
    """What a command said, and how it ended."""

    code: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        return json.loads(self.out)


Toros = Callable[..., Answer]


def toros_command(*words: object) -> Answer:
    """Run the command as a shell would."""
    result = CliRunner().invoke(app, [str(word) for word in words], env={"COLUMNS": "200", "NO_COLOR": "1"})
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Answer(result.exit_code, result.stdout, result.stderr)


def items_in(toros: Toros, state: str, kind: str) -> int:
    """Return how many items of a kind are in a state."""
    rows = toros("status", "--json").data["states"]
    return sum(row["items"] for row in rows if (row["state"], row["kind"]) == (state, kind))
