"""Bringing a database's schema up to date, with Alembic, inside a transaction that is open: all of it or nothing."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection


def upgrade(connection: Connection, history: Path, revision: str = "head") -> None:
    """Bring the schema up to a revision of the history in this folder. Harmless where it is there already."""
    command.upgrade(_config(connection, history), revision)


def downgrade(connection: Connection, history: Path, revision: str = "base") -> None:
    """Take the schema down to a revision."""
    command.downgrade(_config(connection, history), revision)


def _config(connection: Connection, history: Path) -> Config:
    config = Config()
    config.set_main_option("script_location", str(history))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config
