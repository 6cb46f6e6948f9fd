"""How Airflow takes the pages in: behind its login, over its connection, in its navigation.

Imported when the API server asks the plugin for its applications, never in a task.
"""

from __future__ import annotations

from functools import cache

from airflow.api_fastapi.auth.managers.models.resource_details import AccessView
from airflow.api_fastapi.core_api.security import requires_access_view
from fastapi import FastAPI

from toros.hooks.toros import TorosHook
from toros.web.app import create_app
from toros.web.archive import Archive


@cache
def pages_inside_airflow() -> FastAPI:
    """Make the application for whoever may see the plugins of this Airflow."""
    return create_app(requires_access_view(AccessView.PLUGINS), archive_of_airflow)


def archive_of_airflow() -> Archive:
    """Open the archive behind the connection ``toros_default``, or of the ``[toros]`` settings without one."""
    return Archive.of(TorosHook().settings)
