"""The schema's history, for SQLite and PostgreSQL alike. Each version goes up and down."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection


def config(connection: Connection) -> Config:
    """Alembic's configuration for a connection that is open."""
    made = Config()
    made.set_main_option("script_location", str(Path(__file__).parent))
    made.attributes["connection"] = connection
    return made


def migrate(connection: Connection, revision: str = "head") -> None:
    """Bring the schema up to a revision, inside the connection's transaction."""
    command.upgrade(config(connection), revision)


def migrate_down(connection: Connection, revision: str = "base") -> None:
    """Take the schema down to a revision, inside the connection's transaction."""
    command.downgrade(config(connection), revision)
