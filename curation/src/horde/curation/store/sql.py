"""The store in SQL: SQLite on one machine, PostgreSQL in production. The schema is in `migrations/`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from horde.curation.store.accounts_sql import SqlAccounts
from horde.curation.store.cases_sql import SqlCases
from horde.curation.store.images_sql import SqlImages
from horde.curation.store.migrations import HISTORY
from horde.curation.store.ratings_sql import SqlRatings
from horde.curation.store.releases_sql import SqlReleases
from horde.curation.store.sharing_sql import SqlSharing
from horde.services import migrations
from horde.services.sql import SqlThread, open_database


@asynccontextmanager
async def sql_store(url: str) -> AsyncIterator[SqlCurationStore]:
    """The store at a database's URL, its schema brought up to date, for as long as the block."""
    async with SqlThread(open_database(url)) as sql:
        await sql.run(lambda connection: migrations.upgrade(connection, HISTORY))
        yield SqlCurationStore(sql)


class SqlCurationStore(SqlImages, SqlCases, SqlReleases, SqlRatings, SqlSharing, SqlAccounts):
    """Keeps it all in one database."""

    def __init__(self, sql: SqlThread) -> None:
        self._sql = sql
