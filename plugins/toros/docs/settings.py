"""The page of the settings."""

from __future__ import annotations

from toros import config
from toros.config import OPTIONS, Option
from toros.docs.docstrings import docstring_of
from toros.docs.markdown import anchor_here, blocks, code, prose, table
from toros.docs.page import Page


def settings_page() -> Page:
    """Write what can be set, and where."""
    _, _, order_of_lookup = docstring_of(config).partition("\n\n")
    return Page(
        "settings",
        "Settings",
        "Airflow's processes and the `toros` command read the same settings; `toros config` shows the effective ones.",
        blocks(
            (
                order_of_lookup.replace("``", "`"),
                table(("name", "type", "default", "meaning", "example"), map(_row, OPTIONS)),
            )
        ),
    )


def _row(option: Option) -> tuple[str, ...]:
    meaning = (
        f"{option.description} Not shown in logs and listings." if option.sensitive else option.description
    )
    return (
        anchor_here(option.name) + code(option.name),
        option.type,
        code(option.default) or "empty",
        prose(meaning),
        code(option.example or ""),
    )
