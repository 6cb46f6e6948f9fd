"""Alembic's entry: runs inside the transaction that toros.migrations hands over."""

from alembic import context

from toros.models import Model

context.configure(connection=context.config.attributes["connection"], target_metadata=Model.metadata)
with context.begin_transaction():
    context.run_migrations()
