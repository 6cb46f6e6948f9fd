"""The science database: short transactions, honest errors."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import func, select, text

from toros.errors import BadConnection, DatabaseUnavailable, DiskFull, SchemaOutdated
from toros.models import Observatory, State
from toros.models.database import Database


def rename(database: Database, name: str) -> None:
    with database.write() as session:
        session.scalars(select(Observatory)).one().name = name


def name_of(database: Database) -> str:
    with database.read() as session:
        return session.scalars(select(Observatory)).one().name


def test_what_is_written_stays_and_what_is_only_read_does_not(database: Database) -> None:
    rename(database, "EABA")
    with database.read() as session:
        session.scalars(select(Observatory)).one().name = "nowhere"
        session.flush()
    assert name_of(database) == "EABA"


def test_an_error_takes_back_the_whole_transaction(database: Database) -> None:
    def rename_and_fail() -> None:
        with database.write() as session:
            session.scalars(select(Observatory)).one().name = "nowhere"
            session.flush()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        rename_and_fail()
    assert name_of(database) == "Macon ridge"


def test_what_was_read_can_be_used_when_the_session_is_closed(database: Database) -> None:
    with database.read() as session:
        state = session.scalars(select(State).order_by(State.id)).first()
    assert state is not None
    assert state.name == "arrived"


def test_writers_wait_for_each_other_and_none_of_their_work_is_lost(database: Database) -> None:
    """Read, add one, write back: an update would be lost if two did so at once."""

    def add_one() -> None:
        for _ in range(5):
            with database.write() as session:
                query = select(Observatory)
                site = session.scalars(query if database.is_sqlite else query.with_for_update()).one()
                site.elevation = (site.elevation or 0) + 1

    with database.write() as session:
        session.scalars(select(Observatory)).one().elevation = 0
    threads = [threading.Thread(target=add_one) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with database.read() as session:
        assert session.scalars(select(Observatory.elevation)).one() == 20


def test_readers_do_not_wait_for_a_writer(database: Database) -> None:
    with database.write() as session:
        session.scalars(select(Observatory)).one().name = "EABA"
        session.flush()
        assert name_of(database) == "Macon ridge"
    assert name_of(database) == "EABA"


def test_foreign_keys_hold_and_a_commit_survives_a_power_cut(database: Database) -> None:
    if not database.is_sqlite:
        pytest.skip("PostgreSQL needs no pragmas")
    with database.read() as session:
        pragmas = {
            name: session.execute(text(f"PRAGMA {name}")).scalar_one()
            for name in ("foreign_keys", "journal_mode", "synchronous")
        }
    assert pragmas == {"foreign_keys": 1, "journal_mode": "wal", "synchronous": 2}


def test_a_locked_database_is_unavailable(sqlite_template: Path, tmp_path: Path) -> None:
    path = tmp_path / "toros.db"
    path.write_bytes(sqlite_template.read_bytes())
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(DatabaseUnavailable, match="database is locked"):
            rename(Database(f"sqlite:///{path}?timeout=0.01"), "EABA")


def test_a_server_that_does_not_answer_is_unavailable() -> None:
    with (
        pytest.raises(DatabaseUnavailable),
        Database("postgresql+psycopg://toros@127.0.0.1:1/toros").read() as s,
    ):
        s.execute(text("SELECT 1"))


def test_a_full_disk_is_called_so(database: Database) -> None:
    if not database.is_sqlite:
        pytest.skip("a server's disk cannot be filled from here")

    def write_beyond_the_last_page() -> None:
        with database.write() as session:
            pages = session.execute(text("PRAGMA page_count")).scalar_one()
            session.execute(text(f"PRAGMA max_page_count = {pages}"))
            session.scalars(select(Observatory)).one().description = "x" * 1_000_000

    with pytest.raises(DiskFull):
        write_beyond_the_last_page()
    assert name_of(database) == "Macon ridge"


def test_missing_tables_and_columns_ask_for_a_migration(empty_database: Database) -> None:
    with pytest.raises(SchemaOutdated, match="toros migrate"), empty_database.read() as session:
        session.scalar(select(func.count()).select_from(State))
    with empty_database.write() as session:
        session.execute(text("CREATE TABLE state (id INTEGER)"))
    with pytest.raises(SchemaOutdated), empty_database.read() as session:
        session.scalars(select(State.name)).all()


@pytest.mark.parametrize("url", ["", "toros.db", "nosuchdialect://x", "postgresql+nosuchdriver://x"])
def test_an_url_that_means_nothing_is_a_bad_connection(url: str) -> None:
    with pytest.raises(BadConnection, match="TOROS_DATABASE_URL"), Database(url).read():
        pass


def test_the_folder_of_an_sqlite_file_is_made(tmp_path: Path) -> None:
    with Database(f"sqlite:///{tmp_path / 'new' / 'toros.db'}").write() as session:
        session.execute(text("CREATE TABLE t (id INTEGER)"))
    assert (tmp_path / "new" / "toros.db").is_file()


def test_a_new_file_may_be_opened_by_several_at_the_same_moment(tmp_path: Path) -> None:
    errors: list[BaseException] = []

    def open_it(url: str, together: threading.Barrier) -> None:
        together.wait()
        try:
            with Database(url).write() as session:
                session.execute(text("CREATE TABLE IF NOT EXISTS star (name TEXT)"))
        except BaseException as error:
            errors.append(error)

    for number in range(40):  # they meet in some of them only
        together = threading.Barrier(3)
        url = f"sqlite:///{tmp_path / f'{number}.db'}"
        threads = [threading.Thread(target=open_it, args=(url, together)) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert errors == []
