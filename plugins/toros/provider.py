"""What Airflow's provider discovery reads: the connection type, the ``[toros]`` settings, where things are.

This is read while Airflow reads its own configuration, in every process: it may import nothing but the
settings table.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from toros import __version__
from toros.config import OPTIONS, Option

INTEGRATION = "TOROS"


def get_provider_info() -> dict[str, Any]:
    """Describe this package to Airflow, in the layout of ``provider_info.schema.json``."""
    return {
        "package-name": "toros-airflow",
        "name": "TOROS",
        "description": "The TOROS image pipeline: from raw FITS frames to alerts, in atomic, recorded steps.",
        "versions": [__version__],
        "integrations": [{"integration-name": INTEGRATION, "tags": ["astronomy"]}],
        "connection-types": [TOROS_CONNECTION],
        "config": {"toros": {"description": "The TOROS image pipeline.", "options": _config_options()}},
        **{kind: _modules_of(kind) for kind in ("operators", "sensors", "hooks", "triggers")},
    }


TOROS_CONNECTION: dict[str, Any] = {
    "connection-type": "toros",
    "hook-class-name": "toros.hooks.toros.TorosHook",
    "hook-name": "TOROS science database",
    "conn-fields": {
        "drivername": {
            "label": "Database driver",
            "schema": {"type": ["string", "null"], "default": "postgresql+psycopg"},
            "description": "SQLAlchemy dialect and driver: postgresql+psycopg, or sqlite.",
        },
        "data_root": {
            "label": "Data root",
            "schema": {"type": ["string", "null"]},
            "description": "Folder of the products; empty means the one of the [toros] settings.",
        },
    },
    "ui-field-behaviour": {
        "hidden-fields": [],
        "relabeling": {"schema": "Database", "login": "User"},
        "placeholders": {
            "host": "database server; empty for SQLite",
            "schema": "toros, or the path of the SQLite file",
            "port": "5432",
        },
    },
}


def _config_options() -> dict[str, dict[str, Any]]:
    return {option.name: _config_option(option) for option in OPTIONS}


def _config_option(option: Option) -> dict[str, Any]:
    return {
        "description": option.description,
        "version_added": "0.1.0",
        "type": option.type,
        "example": option.example,
        # A literal per cent sign would be taken for an interpolation.
        "default": option.default.replace("%", "%%"),
        "sensitive": option.sensitive,
    }


def _modules_of(kind: str) -> list[dict[str, Any]]:
    files = sorted((Path(__file__).parent / kind).glob("[!_]*.py"))
    modules = [f"toros.{kind}.{file.stem}" for file in files]
    return [{"integration-name": INTEGRATION, "python-modules": modules}] if modules else []
