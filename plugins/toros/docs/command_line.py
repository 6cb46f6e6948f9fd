"""The page of the command line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any

import typer

from toros.cli import app
from toros.cli.exits import EXIT_CODES
from toros.docs.markdown import blocks, code, fenced, heading, link, paragraphs, prose, table
from toros.docs.page import Page

PAGE = "command_line"
Command = Any
"""A command of Typer, whose base class is Click's own or Typer's copy of it, by version."""


def command_line_page() -> Page:
    """Write what the `toros` command can do."""
    root = typer.main.get_command(app)
    commands = _by_panel(_walk(root, app.info.name or "toros"))
    return Page(
        PAGE,
        "Command line",
        "Everything that Airflow does with the frames can be done by hand, with the same steps on the same database.",
        blocks(
            (
                table(
                    ("", "command", "does"),
                    (
                        (panel, link(path, PAGE, path), prose(_first_sentence(command.help)))
                        for path, panel, command in commands
                    ),
                ),
                prose(EXIT_CODES),
                heading(2, "Before every command"),
                _parameters(root),
                *(part for path, _, command in commands for part in _section(path, command)),
            )
        ),
    )


def _walk(group: Command, path: str, panel: str = "") -> Iterator[tuple[str, str, Command]]:
    """Yield every command below a group: how it is called, under which head it is listed, and itself."""
    for name, command in group.commands.items():
        head = panel or str(command.rich_help_panel)
        if hasattr(command, "commands"):
            yield from _walk(command, f"{path} {name}", head)
        elif not command.hidden:
            yield f"{path} {name}", head, command


def _by_panel(commands: Iterable[tuple[str, str, Command]]) -> list[tuple[str, str, Command]]:
    """Bring the commands of a panel together; panels stay in their order."""
    panels: dict[str, list[tuple[str, str, Command]]] = {}
    for command in commands:
        panels.setdefault(command[1], []).append(command)
    return list(chain.from_iterable(panels.values()))


def _section(path: str, command: Command) -> Iterator[str]:
    arguments = [_place(parameter) for parameter in command.params if _is_argument(parameter)]
    yield heading(2, path)
    yield fenced(" ".join((path, "[OPTIONS]", *arguments)), "sh")
    yield paragraphs(command.help)
    yield _parameters(command)


def _parameters(command: Command) -> str:
    context = typer.Context(command)
    rows = []
    for parameter in command.params:
        record = parameter.get_help_record(context)
        if record is not None:  # a hidden one has none
            names, text = record
            meaning = parameter.help or ""
            limits = text.removeprefix(meaning).strip().removeprefix("[").removesuffix("]")
            name = _place(parameter) if _is_argument(parameter) else names
            rows.append((code(name), prose(meaning), prose(limits)))
    return table(("argument or option", "meaning", "default and limits"), rows)


def _is_argument(parameter: Any) -> bool:
    return bool(parameter.param_type_name == "argument")


def _place(argument: Any) -> str:
    """Write where an argument stands; one that says how it is to be written has the last word."""
    if argument.metavar:
        return str(argument.metavar)
    name = f"{argument.name.upper()}{'...' if argument.nargs == -1 else ''}"
    return name if argument.required else f"[{name}]"


def _first_sentence(text: str) -> str:
    return text.partition("\n\n")[0]
