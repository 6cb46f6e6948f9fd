"""``toros config``: what is set, and where."""

from __future__ import annotations

import configparser
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toros.cli.output import AsJson, print_listing
from toros.cli.stream import CONNECTION_VARIABLE, effective_settings

if TYPE_CHECKING:
    from toros.config import Option


def config(as_json: AsJson = False) -> None:
    """List the effective settings and where each comes from; passwords are not shown."""
    from toros.config import OPTIONS, load_settings

    effective, set_here = effective_settings(), load_settings()
    rows = []
    for option in OPTIONS:
        value: Any = getattr(effective, option.name)
        origin = _origin(option) if value == getattr(set_here, option.name) else CONNECTION_VARIABLE
        rows.append(
            {
                "name": option.name,
                "value": _masked(value) if option.sensitive else value,
                "origin": origin,
                "description": option.description,
            }
        )
    print_listing(rows, ("name", "value", "origin"), as_json=as_json)


def _origin(option: Option) -> str:
    """Name the place that an option is read from: the first of toros.config's order that has it."""
    name = option.name.upper()
    for variable in (f"TOROS_{name}", f"AIRFLOW__TOROS__{name}"):
        if variable in os.environ:
            return variable
    home = os.environ.get("AIRFLOW_HOME")
    file = (Path(home) if home else Path.home() / "airflow") / "airflow.cfg"
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(file)
    return str(file) if parser.has_option("toros", option.name) else "default"


def _masked(url: str) -> str:
    """Return a database URL without its password, and without its query, which may hold one too."""
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        return make_url(url).set(query={}).render_as_string(hide_password=True)
    except ArgumentError:
        return "***"
