"""What Alembic runs: on the connection that it was given, in the transaction that is open."""

from __future__ import annotations

from alembic import context

from horde.scheduler.store.tables import METADATA

context.configure(
    connection=context.config.attributes["connection"], target_metadata=METADATA, version_table="scheduler_version"
)
context.run_migrations()
