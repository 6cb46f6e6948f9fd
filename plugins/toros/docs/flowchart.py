"""The flowchart of a DAG."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from toros.docs.markdown import quoted


def flowchart(tasks: Sequence[Mapping[str, Any]], edges: Iterable[Mapping[str, str]]) -> Iterator[str]:
    """Yield the lines of a Mermaid flowchart: tasks in their groups, and what follows what.

    Mapped tasks and groups, of which there is one for each item, are drawn as stacks.
    """
    number = {task["task_id"]: f"t{index}" for index, task in enumerate(tasks)}
    yield "flowchart LR"
    open_groups: list[str] = []
    for task in tasks:
        yield from _enter(open_groups, task["groups"])
        name = task["task_id"].removeprefix(f"{open_groups[-1]}." if open_groups else "")
        shape = "[[{}]]" if task["is_mapped"] else "[{}]"
        yield f"{_indent(open_groups)}{number[task['task_id']]}{shape.format(quoted(name))}"
    yield from _enter(open_groups, [])
    for edge in edges:
        label = f"|{quoted(edge['label'])}|" if edge["label"] else ""
        yield f"    {number[edge['from']]} -->{label} {number[edge['to']]}"


def _enter(open_groups: list[str], groups: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Leave the groups that a task does not lie in, and enter those that it does."""
    wanted = [group["group_id"] for group in groups]
    while open_groups != wanted[: len(open_groups)]:
        open_groups.pop()
        yield f"{_indent(open_groups)}end"
    for group in groups[len(open_groups) :]:
        title = f"{group['group_id']}, once per item" if group["is_mapped"] else group["group_id"]
        name = re.sub(r"\W", "_", group["group_id"])
        yield f"{_indent(open_groups)}subgraph g_{name} [{quoted(title)}]"
        open_groups.append(group["group_id"])


def _indent(open_groups: Sequence[str]) -> str:
    return "    " * (len(open_groups) + 1)
