"""The database goes away in the middle of the night, again and again, and comes back."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from accounts import account_of, assert_nothing_is_lost
from chaos_dose import Dose, Tell
from sqlalchemy.engine import make_url
from stormy_nights import count_runs, frames_of_night, open_observatory, work, work_until_stuck

from small_steps import start
from toros.models.database import Database
from toros.sandbox.processes import wait_until

pytestmark = pytest.mark.chaos

Outage = Callable[[], AbstractContextManager[None]]

LOCK = """
import sqlite3, sys

connection = sqlite3.connect(sys.argv[1], timeout=60, isolation_level=None)
connection.execute("PRAGMA locking_mode = EXCLUSIVE")
connection.execute("BEGIN EXCLUSIVE")
print("locked", flush=True)
sys.stdin.read()
"""
"""Holds the file so that nobody else can write or read, as a backup program does."""


@pytest.fixture
def impatient(database: Database) -> Database:
    """The database, for clients who do not wait long for a lock."""
    if not database.is_sqlite:
        return database
    return Database(f"{database.url}?timeout=0.2")


@pytest.fixture
def outage(database: Database, request: pytest.FixtureRequest) -> Outage:
    """Take the database away, for as long as the context lasts."""
    name = str(make_url(database.url).database)
    if database.is_sqlite:
        return lambda: _locked(Path(name))
    server = request.getfixturevalue("postgresql")
    return lambda: _closed(server, name)


@contextmanager
def _locked(file: Path) -> Iterator[None]:
    with subprocess.Popen(
        [sys.executable, "-c", LOCK, file], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"locked\n"
        yield
        holder.communicate()


@contextmanager
def _closed(server: Any, name: str) -> Iterator[None]:
    """As when a server is shut down: connections are cut in whatever they do, and no new one is accepted."""
    server.run(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
    server.run(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")
    yield
    server.run(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")


def test_a_night_goes_on_when_the_database_comes_back(
    tmp_path: Path, impatient: Database, outage: Outage, dose: Dose, tell: Tell
) -> None:
    chance, most = random.Random(dose.seed), 5 if dose.is_short else 15
    undisturbed = open_observatory(tmp_path / "undisturbed", inbox=tmp_path / "inbox")
    plagued = open_observatory(tmp_path / "plagued", inbox=tmp_path / "inbox", database_url=impatient.url)
    for frame in frames_of_night(0, exposures=10):
        frame.write(tmp_path / "inbox" / frame.name)
    work(undisturbed)

    with outage():
        assert work_until_stuck(plagued) == {"database_unavailable"}

    worker = start(work, plagued)
    assert wait_until(lambda: count_runs(plagued) > 0, seconds=60)
    outages = 0
    while worker.is_alive() and outages < most:
        with outage():
            time.sleep(chance.uniform(0.3, 1.0))
        outages += 1
        time.sleep(chance.uniform(0.1, 0.6))
    worker.join(300)
    tell(f"{outages} outages")

    assert worker.exitcode == 0
    assert outages > 1
    assert_nothing_is_lost(plagued)
    assert account_of(plagued) == account_of(undisturbed)
