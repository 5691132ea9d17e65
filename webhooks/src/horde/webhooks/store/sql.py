"""The store in SQL: SQLite on one machine, PostgreSQL in production. The schema is in `migrations/`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from horde.services import migrations
from horde.services.sql import SqlThread, open_database
from horde.services.terms import LeadersSql
from horde.webhooks.store.deliveries_sql import SqlDeliveries
from horde.webhooks.store.migrations import HISTORY
from horde.webhooks.store.tables import leader
from horde.webhooks.store.webhooks_sql import SqlWebhooks


@asynccontextmanager
async def sql_store(url: str) -> AsyncIterator[SqlWebhookStore]:
    """The store at a database's URL, its schema brought up to date, for as long as the block. Whoever opened it before
    writes no more."""
    async with SqlThread(open_database(url)) as sql:
        await sql.run(lambda connection: migrations.upgrade(connection, HISTORY))
        led = LeadersSql(sql, leader)
        await led.lead()
        yield SqlWebhookStore(led)


class SqlWebhookStore(SqlWebhooks, SqlDeliveries):
    """Keeps it all in one database."""

    def __init__(self, sql: LeadersSql) -> None:
        self._sql = sql
