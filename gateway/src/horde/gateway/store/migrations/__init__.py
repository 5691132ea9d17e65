"""The schema's history. `migrate` brings a database up to date; each step is written once and never changed."""

from __future__ import annotations

from alembic import command
from alembic.config import Config
from sqlalchemy import Engine


def migrate(engine: Engine) -> None:
    """Bring the database to the newest schema, in one transaction. Harmless where it is there already."""
    config = Config()
    config.set_main_option("script_location", "horde.gateway.store:migrations")
    config.set_main_option("path_separator", "os")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
