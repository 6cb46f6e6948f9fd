"""What Airflow's plugin loader finds when TOROS is used as a plugins folder, without being installed."""

from __future__ import annotations

from importlib.metadata import entry_points

# An installed TOROS is discovered by its entry point; a second plugin of the same name is an import error.
if not entry_points(group="airflow.plugins").select(value="toros.plugin:TorosPlugin"):
    from toros.plugin import TorosPlugin  # noqa: F401
