"""Statistics in SQL. No migrations: what is here is computed, so a new version of the tables is filled anew."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from sqlalchemy import BigInteger, Column, Connection, MetaData, Table, Text, insert, select, update

from horde.ledger.store.bulk import Bulk, run
from horde.ledger.store.statistics import Statistics, Step, Total
from horde.services.sql import SqlThread, open_database

VERSION: Final = "v1"
"""Of the tables, and part of their names: change it and they begin anew."""

METADATA = MetaData()
CURSOR = Table(f"statistics_cursor_{VERSION}", METADATA, Column("sequence", BigInteger, nullable=False))


def _sums(name: str) -> Table:
    return Table(
        f"statistics_{name}_{VERSION}",
        METADATA,
        Column("name", Text, primary_key=True),
        Column("jobs", BigInteger, nullable=False),
        Column("earned", BigInteger, nullable=False, index=True),
    )


OWNERS, MODELS, TOTALS = _sums("owner"), _sums("model"), _sums("total")


def _adding(table: Table) -> Bulk:
    sums = ", ".join(f"{column} = {table.name}.{column} + excluded.{column}" for column in ("jobs", "earned"))
    return Bulk(table, ("name", "jobs", "earned"), f"ON CONFLICT (name) DO UPDATE SET {sums}")


_ADD_OWNERS, _ADD_MODELS, _ADD_TOTALS = _adding(OWNERS), _adding(MODELS), _adding(TOTALS)


@asynccontextmanager
async def sql_statistics(url: str) -> AsyncIterator[SqlStatistics]:
    """Open the database and make the tables, for as long as the block."""
    async with SqlThread(open_database(url), readers=1) as sql:
        await sql.run(_create)
        yield SqlStatistics(sql)


def _create(connection: Connection) -> None:
    METADATA.create_all(connection)
    if connection.execute(select(CURSOR.c.sequence)).first() is None:
        connection.execute(insert(CURSOR).values(sequence=0))


class SqlStatistics:
    """`StatisticsStore` over SQLAlchemy."""

    def __init__(self, sql: SqlThread) -> None:
        self._sql = sql

    async def cursor(self) -> int:
        return await self._sql.read(lambda connection: int(connection.execute(select(CURSOR.c.sequence)).scalar_one()))

    async def add(self, after: int, step: Step) -> None:
        def work(connection: Connection) -> None:
            moved = connection.execute(update(CURSOR).where(CURSOR.c.sequence == after).values(sequence=step.sequence))
            if moved.rowcount != 1:
                return
            owners = step.owner_jobs.keys() | step.owner_earned.keys()
            models = step.model_jobs
            adding = [
                _ADD_OWNERS.insert([(name, step.owner_jobs[name], step.owner_earned[name]) for name in owners]),
                _ADD_MODELS.insert([(name, models[name], step.model_earned[name]) for name in models]),
                _ADD_TOTALS.insert([(name, 0, value) for name, value in step.totals.items()]),
            ]
            run(connection, adding)

        await self._sql.run(work)

    async def read(self, leaders: int, models: int) -> Statistics:
        def work(connection: Connection) -> Statistics:
            return Statistics(
                sequence=int(connection.execute(select(CURSOR.c.sequence)).scalar_one()),
                totals=Counter({row.name: int(row.earned) for row in connection.execute(select(TOTALS))}),
                leaders=_top(connection, OWNERS, "earned", leaders),
                models=_top(connection, MODELS, "jobs", models),
            )

        return await self._sql.read(work)


def _top(connection: Connection, table: Table, column: str, limit: int) -> list[Total]:
    query = select(table).order_by(table.c[column].desc(), table.c.name).limit(limit)
    return [Total(row.name, int(row.jobs), int(row.earned)) for row in connection.execute(query)]
