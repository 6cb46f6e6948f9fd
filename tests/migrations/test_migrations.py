"""The tables can be made, removed and made again; they are those of the models."""

from __future__ import annotations

import threading

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import CheckConstraint, func, inspect, select

from toros.errors import SchemaOutdated
from toros.migrations import check_schema, downgrade, migrate
from toros.models import Campaign, Model, Observatory, State
from toros.models.database import Database


def tables(database: Database) -> set[str]:
    with database.read() as session:
        return set(inspect(session.connection()).get_table_names())


def test_the_tables_go_up_and_down_and_up_again(empty_database: Database) -> None:
    migrate(empty_database)
    assert tables(empty_database) == {*Model.metadata.tables, "alembic_version"}

    downgrade(empty_database, "base")
    assert tables(empty_database) == {"alembic_version"}

    migrate(empty_database)
    check_schema(empty_database)
    assert tables(empty_database) == {*Model.metadata.tables, "alembic_version"}


def test_models_and_migrations_agree(database: Database) -> None:
    with database.read() as session:
        context = MigrationContext.configure(session.connection())
        assert compare_metadata(context, Model.metadata) == []


def test_every_constraint_of_the_models_is_in_the_tables(database: Database) -> None:
    """Alembic's comparison does not look at checks."""
    with database.read() as session:
        inspector = inspect(session.connection())
        present = {
            check["name"]
            for table in Model.metadata.tables
            for check in inspector.get_check_constraints(table)
        }
    wanted = {
        constraint.name
        for table in Model.metadata.tables.values()
        for constraint in table.constraints
        if isinstance(constraint, CheckConstraint)
    }
    assert present == wanted


def rows(database: Database) -> dict[str, int]:
    with database.read() as session:
        return {
            model.__name__: session.scalar(select(func.count()).select_from(model)) or 0
            for model in (State, Observatory, Campaign)
        }


def test_the_seed_is_planted_once(empty_database: Database) -> None:
    migrate(empty_database)
    planted = rows(empty_database)
    migrate(empty_database)

    assert rows(empty_database) == planted
    assert planted["State"] > 20


def test_what_a_person_changed_in_the_seed_stays(database: Database) -> None:
    with database.write() as session:
        session.scalars(select(Observatory)).one().elevation = 4650
    migrate(database)
    with database.read() as session:
        assert session.scalars(select(Observatory.elevation)).all() == [4650]


def test_every_step_of_toritos_has_its_states(database: Database) -> None:
    with database.read() as session:
        states = {state.name: state for state in session.scalars(select(State))}
    assert states["raw_data"].order < states["cleaned_data"].order < states["preprocessed_data"].order
    errors = {name for name, state in states.items() if state.is_error}
    named = {name for name in states if name.startswith("failed_") or name.endswith(("rejected", "review"))}
    assert errors == named


def test_tables_that_are_not_there_are_found_out(empty_database: Database) -> None:
    with pytest.raises(SchemaOutdated, match="of revision None") as outdated:
        check_schema(empty_database)
    assert "toros migrate" in str(outdated.value)


def test_two_hosts_may_migrate_at_the_same_moment(empty_database: Database) -> None:
    together = threading.Barrier(2)
    errors: list[BaseException] = []

    def migrate_it() -> None:
        together.wait()
        try:
            migrate(Database(empty_database.url))
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=migrate_it) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert errors == []
    check_schema(empty_database)
