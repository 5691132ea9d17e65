"""Bringing a database's schema up to date, with Alembic, inside a transaction that is open: all of it or nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config
from alembic.script.revision import ResolutionError
from alembic.util.exc import CommandError
from sqlalchemy import Connection, text

from horde.services import telemetry

log = telemetry.get_logger(__name__)

LOCK_KEY: Final = 0x686F726465_6D6967
"""Of whoever changes a schema ("horde", "mig"): replicas start at once."""


def upgrade(connection: Connection, history: Path, revision: str = "head") -> None:
    """Bring the schema up to a revision of the history in this folder. Harmless where it is there already.

    One process after the other, where several start at once. A schema of a newer release is left as it is: releases
    only add to it, so that the one before can go on, or come back.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK_KEY})
    try:
        command.upgrade(_config(connection, history), revision)
    except CommandError as error:
        if not isinstance(error.__cause__, ResolutionError):
            raise
        log.warning("the schema is of a newer release, and is left as it is", revision=error.__cause__.argument)


def downgrade(connection: Connection, history: Path, revision: str = "base") -> None:
    """Take the schema down to a revision."""
    command.downgrade(_config(connection, history), revision)


def _config(connection: Connection, history: Path) -> Config:
    config = Config()
    config.set_main_option("script_location", str(history))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config
