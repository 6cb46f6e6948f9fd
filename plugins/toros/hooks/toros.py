"""The hook to the science database and the data root."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseHook
from airflow.sdk.exceptions import AirflowNotFoundException

from toros.config import Settings, load_settings

if TYPE_CHECKING:
    from airflow.sdk import Connection
    from airflow.sdk.definitions.context import Context

    from toros.models.database import Database
    from toros.steps.runner import Runner


class TorosHook(BaseHook):
    """Reach the science database through an Airflow connection, or through the ``[toros]`` settings without one.

    Parameters
    ----------
    toros_conn_id : str
        Connection of type ``toros``. Host, port, login, password and schema name a PostgreSQL database; without
        a host the schema is the path of an SQLite file. Extra: ``url`` (a whole SQLAlchemy URL, wins),
        ``drivername``, ``data_root``.
    """

    conn_name_attr = "toros_conn_id"
    default_conn_name = "toros_default"
    conn_type = "toros"
    hook_name = "TOROS science database"

    def __init__(self, toros_conn_id: str = default_conn_name, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.toros_conn_id = toros_conn_id

    @property
    def settings(self) -> Settings:
        """The effective settings, with what the connection says."""
        settings = load_settings()
        try:
            connection = self.get_connection(self.toros_conn_id)
        except AirflowNotFoundException:
            return settings
        return settings_with(settings, connection)

    def get_conn(self) -> Database:
        """Return the science database."""
        from toros.models.database import Database

        return Database(self.settings.database_url)

    def runner(self, context: Context | None = None) -> Runner:
        """Return what runs steps, in the name of the task of that context."""
        from toros.models.database import Database
        from toros.steps.runner import Origin, Runner

        settings = self.settings
        origin = Origin() if context is None else Origin(**_origin_of(context))
        return Runner(Database(settings.database_url), settings, origin)

    def test_connection(self) -> tuple[bool, str]:
        """Answer the button in the connection form."""
        from toros.errors import TorosError
        from toros.migrations import check_schema

        try:
            check_schema(self.get_conn())
        except TorosError as error:
            return False, str(error)
        return True, "The science database answers, and its tables are up to date."


def settings_with(settings: Settings, connection: Connection) -> Settings:
    """Return the settings as a connection of type ``toros`` changes them."""
    extra = connection.extra_dejson
    changes: dict[str, Any] = {"database_url": _url_of(connection, extra) or settings.database_url}
    if extra.get("data_root"):
        changes["data_root"] = Path(extra["data_root"]).expanduser()
    return dataclasses.replace(settings, **changes)


def _url_of(connection: Connection, extra: dict[str, Any]) -> str | None:
    from sqlalchemy.engine import URL

    if extra.get("url"):
        return str(extra["url"])
    if not connection.host:
        return f"sqlite:///{connection.schema}" if connection.schema else None
    url = URL.create(
        extra.get("drivername") or "postgresql+psycopg",
        username=connection.login,
        password=connection.password,
        host=connection.host,
        port=connection.port,
        database=connection.schema,
    )
    return url.render_as_string(hide_password=False)


def _origin_of(context: Context) -> dict[str, Any]:
    task = context["ti"]
    return {
        "dag_id": task.dag_id,
        "run_id": task.run_id,
        "task_id": task.task_id,
        "map_index": task.map_index,
        "try_number": task.try_number,
    }
