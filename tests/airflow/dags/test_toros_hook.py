"""The hook: every way to say where the science database is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.engine import make_url

from toros.errors import BadConnection
from toros.hooks.toros import TorosHook
from toros.models.database import Database

PASSWORD = "p@ss:w/rd%20 #?é"


def set_connection(monkeypatch: pytest.MonkeyPatch, conn_id: str = "toros_default", **fields: Any) -> None:
    monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps({"conn_type": "toros", **fields}))


def test_without_a_connection_the_settings_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOROS_DATABASE_URL", "sqlite:////data/science.db")
    monkeypatch.setenv("TOROS_DATA_ROOT", "/data")

    assert TorosHook().settings.database_url == "sqlite:////data/science.db"
    assert TorosHook().settings.data_root == Path("/data")


def test_a_url_in_the_extra_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    url = "postgresql+psycopg://toros@other/science"
    set_connection(monkeypatch, host="db", schema="toros", extra={"url": url})

    assert TorosHook().get_conn().url == url


def test_the_pieces_of_a_connection_name_a_postgresql_database(monkeypatch: pytest.MonkeyPatch) -> None:
    set_connection(
        monkeypatch, host="db.example", port=5433, login="vera@obs", password=PASSWORD, schema="science"
    )
    url = make_url(TorosHook().settings.database_url)

    assert url.drivername == "postgresql+psycopg"
    assert (url.host, url.port, url.database) == ("db.example", 5433, "science")
    assert (url.username, url.password) == ("vera@obs", PASSWORD)


def test_a_connection_as_a_uri_is_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_TOROS_DEFAULT", "toros://vera:p%40ss@db:5433/science")
    url = make_url(TorosHook().settings.database_url)

    assert (url.username, url.password, url.host, url.database) == ("vera", "p@ss", "db", "science")


def test_another_driver_can_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    set_connection(monkeypatch, host="db", schema="s", extra={"drivername": "postgresql+psycopg2"})
    assert make_url(TorosHook().settings.database_url).drivername == "postgresql+psycopg2"


def test_a_path_without_a_server_is_an_sqlite_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    set_connection(monkeypatch, schema=str(tmp_path / "my science.db"))
    assert make_url(TorosHook().settings.database_url).database == str(tmp_path / "my science.db")


def test_a_connection_that_names_only_a_data_root_leaves_the_database(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TOROS_DATABASE_URL", "sqlite:////data/science.db")
    set_connection(monkeypatch, extra={"data_root": "/mnt/products"})

    assert TorosHook().settings.database_url == "sqlite:////data/science.db"
    assert TorosHook().settings.data_root == Path("/mnt/products")


def test_the_data_root_may_start_at_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    set_connection(monkeypatch, extra={"data_root": "~/products"})
    assert TorosHook().settings.data_root == tmp_path / "products"


def test_one_airflow_can_serve_two_observatories(monkeypatch: pytest.MonkeyPatch) -> None:
    set_connection(monkeypatch, "north", schema="/north.db")
    set_connection(monkeypatch, "south", schema="/south.db")

    assert TorosHook("north").get_conn().url == "sqlite:////north.db"
    assert TorosHook("south").get_conn().url == "sqlite:////south.db"


# ------------------------------------------------------------------------------- the test button of Airflow


def test_the_button_is_content_with_a_migrated_database(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_connection(monkeypatch, extra={"url": database.url})
    assert TorosHook().test_connection() == (
        True,
        "The science database answers, and its tables are up to date.",
    )


def test_the_button_says_that_tables_are_missing(
    empty_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_connection(monkeypatch, extra={"url": empty_database.url})
    passed, message = TorosHook().test_connection()

    assert not passed
    assert "toros migrate" in message


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"host": "127.0.0.1", "port": 1, "schema": "science"}, "database_unavailable"),
        ({"host": "db", "schema": "science", "extra": {"drivername": "mysql+unheard_of"}}, "bad_connection"),
        ({"extra": {"url": "no url at all"}}, "bad_connection"),
        ({"schema": "/proc/science.db"}, "database_unavailable"),
    ],
)
def test_the_button_says_why_there_is_no_database(
    monkeypatch: pytest.MonkeyPatch, fields: dict[str, Any], code: str
) -> None:
    set_connection(monkeypatch, login="vera", password="secret!", **fields)
    passed, message = TorosHook().test_connection()

    assert not passed
    assert message.startswith(f"[{code}]")
    assert "secret!" not in message


def test_a_bad_connection_is_told_when_it_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    set_connection(monkeypatch, extra={"url": "mysql+unheard_of://db/science"})
    with pytest.raises(BadConnection, match="toros_default"), TorosHook().get_conn().read():
        pass


# --------------------------------------------------------------------------------------------- processes

FORK = """
import json, os

from sqlalchemy import select

from toros.hooks.toros import TorosHook
from toros.models import State

def count():
    with TorosHook().get_conn().read() as session:
        return len(session.scalars(select(State)).all())

hook = TorosHook()
engine, before = hook.get_conn().engine, count()
readable, writable = os.pipe()
if os.fork() == 0:
    own = hook.get_conn().engine
    answer = {"own engine": own is not engine, "states": count()}
    os.write(writable, json.dumps(answer).encode())
    os._exit(0)
os.wait()
answer = json.loads(os.read(readable, 1000))
print(json.dumps({"before": before, "after": count(), "same engine": hook.get_conn().engine is engine, **answer}))
"""


def test_a_forked_task_does_not_share_the_connections_of_its_parent(
    in_fresh_python: Any, database: Database
) -> None:
    report = in_fresh_python(FORK, environ={"TOROS_DATABASE_URL": database.url})

    assert report["own engine"]
    assert report["same engine"]
    assert report["before"] == report["states"] == report["after"] > 0
