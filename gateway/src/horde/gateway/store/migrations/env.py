"""What Alembic runs: the steps, on the connection that `migrate` hands in."""

from alembic import context

context.configure(connection=context.config.attributes["connection"], version_table="gateway_schema")
with context.begin_transaction():
    context.run_migrations()
