"""Statistics in SQL. No migrations: what is here is computed, so a new version of the tables is filled anew."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Connection,
    MetaData,
    Table,
    Text,
    and_,
    delete,
    insert,
    select,
    update,
)

from horde.ledger.store.bulk import Bulk, run
from horde.ledger.store.statistics import HOUR_S, KEPT, PERIODS, Statistics, Step, Total, slot
from horde.services.sql import SqlThread, open_database

VERSION: Final = "v3"
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
TIMES = _sums("time")
"""By slot and what is counted in it: `<slot>/<total>`, or `<slot>/model/<model>`."""


def _adding(table: Table) -> Bulk:
    sums = ", ".join(f"{column} = {table.name}.{column} + excluded.{column}" for column in ("jobs", "earned"))
    return Bulk(table, ("name", "jobs", "earned"), f"ON CONFLICT (name) DO UPDATE SET {sums}")


_ADD_OWNERS, _ADD_MODELS, _ADD_TOTALS = _adding(OWNERS), _adding(MODELS), _adding(TOTALS)
_ADD_TIMES = _adding(TIMES)


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
                _ADD_TIMES.insert(
                    [
                        (f"{place}/{name}", 0, value)
                        for place, added in step.times.items()
                        for name, value in added.items()
                        if value
                    ]
                ),
            ]
            run(connection, adding)
            _forget(connection, max(step.times, default=""))

        await self._sql.run(work)

    async def read(self, leaders: int, models: int, now_us: int) -> Statistics:
        def work(connection: Connection) -> Statistics:
            return Statistics(
                sequence=int(connection.execute(select(CURSOR.c.sequence)).scalar_one()),
                totals=Counter({row.name: int(row.earned) for row in connection.execute(select(TOTALS))}),
                leaders=_top(connection, OWNERS, "earned", leaders),
                models=_top(connection, MODELS, "jobs", models),
                periods=_periods(connection, now_us),
                model_periods=_model_periods(connection, now_us),
            )

        return await self._sql.read(work)


def _since(length: int, at_us: int) -> ColumnElement[bool]:
    """Of the slots of a length, those of this moment and later."""
    return and_(TIMES.c.name >= slot(length, at_us), TIMES.c.name < f"{length + 1:04d}")


def _forget(connection: Connection, newest: str) -> None:
    """Slots that no period reaches any more, seen from the newest entry."""
    if not newest:
        return
    # The hours' slots come last by name, so the newest is an hour's.
    at_us = int(newest.partition("/")[2]) * HOUR_S * 1_000_000
    for length, seconds in KEPT.items():
        old = and_(TIMES.c.name >= f"{length:04d}/", TIMES.c.name < slot(length, max(0, at_us - seconds * 1_000_000)))
        connection.execute(delete(TIMES).where(old))


def _periods(connection: Connection, now_us: int) -> dict[str, Counter[str]]:
    found = {}
    for name, period in PERIODS.items():
        since = _since(period.slot_seconds, max(0, now_us - period.seconds * 1_000_000))
        found[name] = Counter[str]()
        query = select(TIMES).where(since, TIMES.c.name.not_like("%/model/%"))
        for row in connection.execute(query):
            found[name][row.name.rpartition("/")[2]] += int(row.earned)
    return found


def _model_periods(connection: Connection, now_us: int) -> dict[str, Counter[str]]:
    found = {}
    for name, period in PERIODS.items():
        if period.slot_seconds == HOUR_S:
            since = _since(HOUR_S, max(0, now_us - period.seconds * 1_000_000))
            found[name] = Counter[str]()
            for row in connection.execute(select(TIMES).where(since, TIMES.c.name.like("%/model/%"))):
                found[name][row.name.split("/", 3)[3]] += int(row.earned)
    return found


def _top(connection: Connection, table: Table, column: str, limit: int) -> list[Total]:
    query = select(table).order_by(table.c[column].desc(), table.c.name).limit(limit)
    return [Total(row.name, int(row.jobs), int(row.earned)) for row in connection.execute(query)]
