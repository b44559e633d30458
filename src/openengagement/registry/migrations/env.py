"""Runs migrations for Alembic, on the connection that `registry.migrate` passes."""

from alembic import context

from openengagement.registry.schema import METADATA

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
