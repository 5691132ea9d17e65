"""What Alembic runs: the steps, on the connection that it was given, in the transaction that is open."""

from alembic import context

context.configure(connection=context.config.attributes["connection"], version_table="webhooks_schema")
with context.begin_transaction():
    context.run_migrations()
