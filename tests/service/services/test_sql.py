"""Whole transactions in a thread, on SQLite and on a throwaway PostgreSQL, with the same promises."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Column, Connection, ForeignKey, Integer, MetaData, Table, insert, select, text

from horde.services import neighbours
from horde.services import sql as sql_module
from horde.services.errors import Aborted, NotFound, Unavailable
from horde.services.lifecycle import CannotStart
from horde.services.sql import SqlThread, open_database
from horde.testkit.postgres import ThrowawayPostgres, older, throwaway_postgres
from horde.testkit.waiting import HANG_SECONDS

tables = MetaData()
shelves = Table("shelves", tables, Column("id", Integer, primary_key=True))
books = Table(
    "books", tables, Column("id", Integer, primary_key=True), Column("shelf", ForeignKey("shelves.id"), nullable=False)
)


@pytest.fixture(params=["file", "memory", "postgresql"])
async def sql(request: Any, tmp_path: Path) -> AsyncIterator[SqlThread]:
    if request.param == "postgresql":
        url = request.getfixturevalue("postgresql_url")
    else:
        url = f"sqlite:///{tmp_path}/x.db" if request.param == "file" else "sqlite://"
    engine = open_database(url)
    async with SqlThread(engine) as thread:
        await thread.run(tables.drop_all)
        await thread.run(tables.create_all)
        yield thread


def add_shelf(connection: Connection) -> None:
    connection.execute(insert(shelves).values(id=1))


def count(connection: Connection) -> int:
    return len(connection.execute(select(shelves)).all())


async def test_a_transaction_is_whole_or_not_at_all(sql: SqlThread) -> None:
    def fails(connection: Connection) -> None:
        add_shelf(connection)
        raise NotFound

    with pytest.raises(NotFound):
        await sql.run(fails)
    assert await sql.read(count) == 0
    await sql.run(add_shelf)
    assert await sql.read(count) == 1


async def test_what_collides_is_aborted(sql: SqlThread) -> None:
    await sql.run(add_shelf)
    with pytest.raises(Aborted):
        await sql.run(add_shelf)
    assert await sql.read(count) == 1


async def test_foreign_keys_are_checked(sql: SqlThread) -> None:
    with pytest.raises(Aborted):
        await sql.run(lambda connection: connection.execute(insert(books).values(id=1, shelf=99)))


async def test_writers_follow_each_other_in_order(sql: SqlThread) -> None:
    def next_shelf(connection: Connection) -> int:
        number = count(connection) + 1
        connection.execute(insert(shelves).values(id=number))
        return number

    assert await asyncio.gather(*[sql.run(next_shelf) for _ in range(20)]) == list(range(1, 21))


async def test_a_caller_who_gives_up_does_not_stop_the_transaction(sql: SqlThread) -> None:
    begun, loop = asyncio.Event(), asyncio.get_running_loop()

    def slow(connection: Connection) -> None:
        loop.call_soon_threadsafe(begun.set)
        add_shelf(connection)

    task = asyncio.create_task(sql.run(slow))
    await begun.wait()
    task.cancel()
    assert await sql.run(count) == 1


async def test_our_own_mistakes_stay_mistakes(sql: SqlThread) -> None:
    with pytest.raises(Exception, match="nonsense") as caught:
        await sql.read(lambda connection: connection.execute(text("SELECT nonsense FROM shelves")).all())
    assert not isinstance(caught.value, Aborted)


@pytest.mark.parametrize("sql", ["file", "postgresql"], indirect=True)
async def test_a_snapshot_is_of_one_moment(sql: SqlThread) -> None:
    await sql.run(add_shelf)
    loop = asyncio.get_running_loop()

    def twice(connection: Connection) -> tuple[int, int]:
        before = count(connection)
        adding = sql.run(lambda writing: writing.execute(insert(shelves).values(id=2)))
        asyncio.run_coroutine_threadsafe(adding, loop).result(HANG_SECONDS)
        return before, count(connection)

    assert await sql.snapshot(twice) == (1, 1)
    assert await sql.read(count) == 2


async def test_reading_goes_on_after_connections_were_cut(
    postgresql_server: ThrowawayPostgres, postgresql_url: str
) -> None:
    async with SqlThread(open_database(postgresql_url), readers=1) as sql:
        await sql.run(tables.create_all)
        assert await sql.read(count) == 0
        assert postgresql_server.kill_connections() >= 2
        assert await sql.read(count) == 0
        with pytest.raises(Unavailable):
            await sql.run(add_shelf)
        await sql.run(add_shelf)
        assert await sql.read(count) == 1


async def test_sqlite_is_durable_and_readers_do_not_wait_for_the_writer(tmp_path: Path) -> None:
    async with SqlThread(open_database(f"sqlite:///{tmp_path}/x.db", busy_seconds=0.05)) as sql:
        await sql.run(tables.create_all)
        pragmas = [await sql.run(lambda c, p=p: c.execute(text(f"PRAGMA {p}")).scalar()) for p in ("journal_mode", "synchronous", "foreign_keys")]  # type: ignore[misc] # fmt: skip # noqa: E501
        assert pragmas == ["wal", 2, 1]
        loop = asyncio.get_running_loop()
        inside, leave = asyncio.Event(), asyncio.Event()

        def slow(connection: Connection) -> None:
            add_shelf(connection)
            loop.call_soon_threadsafe(inside.set)
            asyncio.run_coroutine_threadsafe(leave.wait(), loop).result(HANG_SECONDS)

        writing = asyncio.create_task(sql.run(slow))
        await inside.wait()
        assert await sql.read(count) == 0
        async with SqlThread(open_database(f"sqlite:///{tmp_path}/x.db", busy_seconds=0.05)) as other:
            with pytest.raises(Unavailable):
                await other.run(add_shelf)
        leave.set()
        await writing
        assert await sql.read(count) == 1


def test_where_the_truth_lies_is_said_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(sql_module.log, "info", lambda event, at: said.append(at), raising=False)
    open_database("postgresql://ledger:hunter2@db.example:5432/ledger").dispose()
    assert said == ["postgresql://ledger:***@db.example:5432/ledger"]


def test_another_database_is_refused() -> None:
    with pytest.raises(ValueError, match="neither"):
        open_database("mysql://x/y")


async def test_a_database_that_goes_away_and_comes_back_is_two_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[tuple[str, Any]] = []

    class Recorder:
        def warning(self, event: str, **facts: Any) -> None:
            lines.append((event, facts["failures"]))

        info = warning

    monkeypatch.setattr(neighbours, "log", Recorder())
    with throwaway_postgres() as server:
        async with SqlThread(open_database(server.database())) as sql:
            await sql.run(tables.create_all)
            server.stop()
            for _ in range(20):
                with pytest.raises(Unavailable):
                    await sql.run(add_shelf)
            server.start()
            await sql.run(add_shelf)
    assert lines == [("a neighbour fails", 1), ("a neighbour is back", 20)]


async def test_a_postgresql_that_is_too_old_for_us_is_refused_at_the_first_connection(postgresql_url: str) -> None:
    async with older(postgresql_url, 13) as url, SqlThread(open_database(url)) as thread:
        with pytest.raises(CannotStart, match=r"PostgreSQL 13\.\d+ is too old"):
            await thread.read(count)
    async with older(postgresql_url, 14) as url, SqlThread(open_database(url)) as thread:
        assert await thread.read(lambda connection: connection.scalar(text("SELECT 1"))) == 1
