"""The schema of the science database, version by version (Alembic)."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import func, select

from toros.errors import SchemaOutdated
from toros.models.database import Database
from toros.models.seed import plant

ONE_AT_A_TIME = int.from_bytes(b"toros")
"""Key of the lock that keeps two hosts of one PostgreSQL database from migrating it at the same moment."""


def migrate(database: Database, revision: str = "head") -> None:
    """Bring the tables to a revision (the newest by default) and plant the seed rows."""
    with database.write() as session:
        if not database.is_sqlite:  # whose writers wait for each other anyway
            session.execute(select(func.pg_advisory_xact_lock(ONE_AT_A_TIME)))
        command.upgrade(_config(session.connection()), revision)
        if revision == "head":
            plant(session)


def downgrade(database: Database, revision: str) -> None:
    """Bring the tables back to an older revision; ``base`` removes them all."""
    with database.write() as session:
        command.downgrade(_config(session.connection()), revision)


def check_schema(database: Database) -> None:
    """Make sure that the tables are those of this version.

    Raises
    ------
    SchemaOutdated
        They are older, newer, or not there at all.
    """
    newest = ScriptDirectory.from_config(_config(None)).get_current_head()
    with database.read() as session:
        present = MigrationContext.configure(session.connection()).get_current_revision()
    if present != newest:
        raise SchemaOutdated(f"the tables are of revision {present}, this version needs {newest}")


def _config(connection: object) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.attributes["connection"] = connection
    return config
