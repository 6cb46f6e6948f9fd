"""How commands reach the stream: the settings, the database, and what runs steps."""

from __future__ import annotations

import getpass
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from toros.config import Settings
    from toros.steps.runner import Runner

CONNECTION_VARIABLE = "AIRFLOW_CONN_TOROS_DEFAULT"


def effective_settings() -> Settings:
    """Read the settings, and the connection where the environment names one, as Airflow's processes do."""
    from toros.config import load_settings

    if CONNECTION_VARIABLE not in os.environ:
        return load_settings()
    from toros.hooks.toros import TorosHook

    return TorosHook().settings


def open_runner() -> Runner:
    """Open the science database, the data root, and what runs steps on them.

    Raises
    ------
    SchemaOutdated
        The tables are not those of this version.
    """
    from toros.migrations import check_schema
    from toros.steps.runner import Runner

    runner = Runner.from_settings(effective_settings())
    check_schema(runner.database)
    return runner


def login_name() -> str:
    """Return who sits at the keyboard."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have a number only
        return str(os.getuid())
