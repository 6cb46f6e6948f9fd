"""What Airflow discovers: one plugin, light enough to be loaded in every task process.

Operators, sensors, triggers and hooks are plain imports and need no registration here.
"""

from __future__ import annotations

import sys
from typing import Any

from airflow.sdk.plugins_manager import AirflowPlugin

from toros.links import URL_PREFIX, URL_ROUTE, airflow_base_path


class TorosPlugin(AirflowPlugin):
    """The TOROS pipeline inside Airflow."""

    name = "toros"

    @classmethod
    def on_load(cls, *_args: Any, **_kwargs: Any) -> None:
        """Import the science stack once, where this process is one that forks tasks."""
        from toros.warm import is_scheduler_with_tasks, warm_up

        if is_scheduler_with_tasks(sys.argv):
            warm_up()

    @property
    def fastapi_apps(self) -> list[dict[str, Any]]:  # type: ignore[override]
        """The pages; imported when the API server asks for them, and in no other process."""
        from toros.web.mount import pages_inside_airflow

        return [{"app": pages_inside_airflow(), "url_prefix": URL_PREFIX, "name": "TOROS"}]

    @property
    def external_views(self) -> list[dict[str, Any]]:  # type: ignore[override]
        """Where the pages show up in the Airflow UI: in the navigation, and beside the tasks of a DAG run."""
        pages = f"{airflow_base_path()}{URL_PREFIX}"
        icons = {"icon": f"{pages}/static/toros.svg", "icon_dark_mode": f"{pages}/static/toros_dark.svg"}
        return [
            {
                "name": "TOROS",
                "href": f"{pages}/",
                "destination": "nav",
                "url_route": URL_ROUTE,
                "nav_top_level": True,
                **icons,
            },
            {
                "name": "Step runs",
                "href": f"{pages}/runs?dag_id={{DAG_ID}}&run_id={{RUN_ID}}",
                "destination": "dag_run",
                "url_route": f"{URL_ROUTE}-runs",
                **icons,
            },
        ]
