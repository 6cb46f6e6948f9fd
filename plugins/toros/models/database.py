"""The science database: one engine per process and URL, short transactions, honest errors."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, InterfaceError, NoSuchModuleError, OperationalError
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool

from toros.errors import BadConnection, DatabaseUnavailable, DiskFull, SchemaOutdated, TorosError

BUSY_TIMEOUT_SECONDS = 30
_WRITES = "toros_writes"
_SQLITE_AWAY = ("locked", "busy", "unable to open", "disk I/O error", "readonly")


class Database:
    """The science database behind a URL.

    Parameters
    ----------
    url : str
        SQLAlchemy URL of an SQLite file or a PostgreSQL database.

    Notes
    -----
    No connection outlives a transaction (NullPool), so a fork never inherits one. SQLite runs in WAL mode;
    a transaction that will write takes the write lock at its beginning, because a lock upgrade in the middle
    of a transaction fails at once instead of waiting.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.is_sqlite = url.startswith("sqlite")

    @property
    def engine(self) -> Engine:
        """The engine of this process."""
        return _engine(self.url, os.getpid())

    @contextmanager
    def read(self) -> Iterator[Session]:
        """Open a session that reads; nothing it changes is kept.

        Raises
        ------
        DatabaseUnavailable
            The database does not answer, or stays locked.
        """
        with _translated(), Session(self.engine, expire_on_commit=False) as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """Open a session for one transaction: committed at the end, rolled back on any error.

        Raises
        ------
        DatabaseUnavailable
            The database does not answer, or stays locked.
        """
        engine = self.engine.execution_options(**{_WRITES: True})
        with _translated(), Session(engine, expire_on_commit=False) as session, session.begin():
            yield session


@lru_cache(maxsize=16)
def _engine(url: str, pid: int) -> Engine:  # noqa: ARG001  the pid keeps a child from using its parent's engine
    try:
        parsed = make_url(url)
        options: dict[str, Any] = {"poolclass": NullPool}
        if parsed.get_backend_name() == "sqlite":
            if parsed.database:
                Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
            if "timeout" not in parsed.query:
                options["connect_args"] = {"timeout": BUSY_TIMEOUT_SECONDS}
        elif parsed.get_backend_name() == "postgresql":
            options["connect_args"] = {"connect_timeout": 10}
        engine = create_engine(parsed, **options)
    except (ArgumentError, NoSuchModuleError, ModuleNotFoundError) as error:
        raise BadConnection(f"cannot use the database URL: {error}") from None
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # we say BEGIN ourselves
    _switch_to_wal(connection)
    # synchronous=FULL: what a step committed survives a power cut.
    for pragma in ("synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _switch_to_wal(connection: Any) -> None:
    """Change the journal of a new file; of two who do so at once SQLite refuses one, and does not let it wait."""
    patience = time.monotonic() + BUSY_TIMEOUT_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > patience:
                raise
            time.sleep(0.01)
        else:
            return


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get(_WRITES)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except DBAPIError as error:
        ours = _in_our_words(error)
        if ours is None:
            raise
        raise ours from error


def _in_our_words(error: DBAPIError) -> TorosError | None:
    name = type(error.orig).__name__
    text = str(error.orig).strip().partition("\n")[0] or name
    if name in ("UndefinedTable", "UndefinedColumn") or text.startswith(("no such table", "no such column")):
        return SchemaOutdated(text)
    if name == "DiskFull" or "disk is full" in text:
        return DiskFull(text)
    if isinstance(error.orig, sqlite3.OperationalError) and not any(sign in text for sign in _SQLITE_AWAY):
        return None  # SQLite calls mistakes in the SQL operational, too
    if isinstance(error, OperationalError | InterfaceError) or error.connection_invalidated:
        return DatabaseUnavailable(text)
    return None
