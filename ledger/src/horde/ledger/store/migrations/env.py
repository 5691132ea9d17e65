"""Alembic's entry: it runs on a connection that is handed in, and never opens one."""

from __future__ import annotations

from alembic import context

from horde.ledger.store.tables import METADATA

context.configure(connection=context.config.attributes["connection"], target_metadata=METADATA)
context.run_migrations()
