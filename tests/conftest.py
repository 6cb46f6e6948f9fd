"""What every test may ask for: a fresh database, a data root, settings, and a runner whose clock can be set.

Whoever asks for ``database`` runs on SQLite; under ``-m services`` on PostgreSQL, in a database of its own that is
dropped afterwards. Nobody meets the settings, the Airflow or the other processes of the person who runs the tests.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"):
    os.environ[_name] = "1"  # before numpy is imported: the suite runs in several processes
for _name in [name for name in os.environ if name.startswith(("TOROS_", "AIRFLOW_"))]:
    if not _name.startswith(("TOROS_TEST_", "TOROS_REAL_FRAMES")):
        del os.environ[_name]
_airflow_home = tempfile.mkdtemp(prefix="toros-airflow-home-")
os.environ["AIRFLOW_HOME"] = _airflow_home

import hypothesis  # noqa: E402
import pytest  # noqa: E402
from sqlalchemy import NullPool, create_engine  # noqa: E402
from sqlalchemy.engine import make_url  # noqa: E402
from sqlalchemy.exc import OperationalError  # noqa: E402

from clock import Clock  # noqa: E402
from toros.config import Settings, load_settings  # noqa: E402
from toros.migrations import migrate  # noqa: E402
from toros.models.database import Database  # noqa: E402
from toros.steps.runner import Runner  # noqa: E402
from toros.store.store import Store  # noqa: E402

POSTGRESQL = "postgresql+psycopg://postgres@127.0.0.1:5432/postgres"
REPOSITORY = Path(__file__).parents[1]

hypothesis.settings.register_profile("toros", deadline=None)
hypothesis.settings.load_profile("toros")


def pytest_unconfigure() -> None:
    shutil.rmtree(_airflow_home, ignore_errors=True)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark what needs real frames; use servers, and hours, only when asked: ``-m services``, ``-m chaos``."""
    for item in items:
        if "real_frames" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.real_frames)
    for marker in ("services", "chaos"):
        if marker not in config.option.markexpr:
            left_out = [item for item in items if item.get_closest_marker(marker)]
            config.hook.pytest_deselected(items=left_out)
            items[:] = [item for item in items if not item.get_closest_marker(marker)]


# --------------------------------------------------------------------------------------------- databases


class PostgreSQLServer:
    """A server on which each test gets a database of its own."""

    def __init__(self, url: str) -> None:
        self.url = make_url(url)
        self.engine = create_engine(self.url, poolclass=NullPool, isolation_level="AUTOCOMMIT")

    def run(self, statement: str) -> None:
        with self.engine.connect() as connection:
            connection.exec_driver_sql(statement)

    @contextmanager
    def new_database(self, template: str = "template1") -> Iterator[Database]:
        name = f"toros_test_{uuid.uuid4().hex}"
        self.run(f"CREATE DATABASE {name} TEMPLATE {template}")
        try:
            yield Database(self.url.set(database=name).render_as_string(hide_password=False))
        finally:
            self.run(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def postgresql() -> PostgreSQLServer:
    """The server named by TOROS_TEST_POSTGRES."""
    server = PostgreSQLServer(os.environ.get("TOROS_TEST_POSTGRES", POSTGRESQL))
    try:
        server.run("SELECT 1")
    except OperationalError as error:
        pytest.skip(f"PostgreSQL does not answer, set TOROS_TEST_POSTGRES: {error.orig}")
    return server


@pytest.fixture(scope="session")
def postgresql_template(postgresql: PostgreSQLServer) -> Iterator[str]:
    """A migrated database to copy."""
    with postgresql.new_database() as template:
        migrate(template)
        yield str(make_url(template.url).database)


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated file to copy."""
    path = tmp_path_factory.mktemp("template") / "toros.db"
    migrate(Database(f"sqlite:///{path}"))
    return path


ON_BOTH = ["sqlite", pytest.param("postgresql", marks=pytest.mark.services)]


@pytest.fixture(params=ON_BOTH)
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """A science database with all tables and the seed rows."""
    if request.param == "sqlite":
        shutil.copyfile(request.getfixturevalue("sqlite_template"), tmp_path / "toros.db")
        yield Database(f"sqlite:///{tmp_path / 'toros.db'}")
    else:
        server: PostgreSQLServer = request.getfixturevalue("postgresql")
        with server.new_database(request.getfixturevalue("postgresql_template")) as database:
            yield database


@pytest.fixture(params=ON_BOTH)
def empty_database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """A database without any table."""
    if request.param == "sqlite":
        yield Database(f"sqlite:///{tmp_path / 'empty.db'}")
    else:
        server: PostgreSQLServer = request.getfixturevalue("postgresql")
        with server.new_database() as database:
            yield database


# ------------------------------------------------------------------------------------- engine and frames


@pytest.fixture
def clock() -> Clock:
    """The clock of the runner."""
    return Clock()


@pytest.fixture
def settings(database: Database, tmp_path: Path) -> Settings:
    """The default settings, with all folders below tmp_path."""
    (tmp_path / "inbox").mkdir()
    return load_settings(
        {
            "AIRFLOW_HOME": str(tmp_path / "airflow"),
            "TOROS_DATA_ROOT": str(tmp_path / "data"),
            "TOROS_INBOX": str(tmp_path / "inbox"),
            "TOROS_DATABASE_URL": database.url,
        }
    )


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """The data root of the settings."""
    return Store(tmp_path / "data")


@pytest.fixture
def runner(database: Database, settings: Settings, clock: Clock) -> Runner:
    """A runner of steps on the fresh database."""
    return Runner(database, settings, clock=clock)


@pytest.fixture(scope="session")
def real_frames() -> Path:
    """The folder of real frames, to read from only."""
    path = Path(os.environ.get("TOROS_REAL_FRAMES") or REPOSITORY.parent / "shared" / "data")
    if not path.is_dir():
        pytest.skip("no real frames: name their folder in TOROS_REAL_FRAMES")
    return path
