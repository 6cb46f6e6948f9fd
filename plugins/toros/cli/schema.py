"""``toros migrate`` and ``toros downgrade``: the tables of the science database, version by version."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from toros.cli.stream import effective_settings
from toros.errors import BadParameters

if TYPE_CHECKING:
    from toros.models.database import Database


def migrate(
    revision: Annotated[str, typer.Option(help="A revision of the schema; by default the newest.")] = "head",
) -> None:
    """Make the tables of the science database, or bring them to this version; nothing in them is lost."""
    from toros import migrations

    with _known_revision(revision):
        migrations.migrate(_database(), revision)
    typer.echo(f"the tables are at revision {revision}")


def downgrade(
    revision: Annotated[str, typer.Argument(help="A revision of the schema; `base` removes all tables.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Bring the tables back to an older version; what only newer ones can hold is lost."""
    from toros import migrations

    if not yes:
        typer.confirm(f"Rows that revision {revision} cannot hold will be lost. Go on?", abort=True)
    with _known_revision(revision):
        migrations.downgrade(_database(), revision)
    typer.echo(f"the tables are at revision {revision}")


def _database() -> Database:
    from toros.models.database import Database

    return Database(effective_settings().database_url)


@contextmanager
def _known_revision(revision: str) -> Iterator[None]:
    from alembic.util import CommandError

    try:
        yield
    except CommandError as error:
        raise BadParameters(
            f"cannot go to revision {revision!r}: {error}",
            advice="use `head`, `base` or the id of a revision",
        ) from None
