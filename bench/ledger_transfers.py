"""Durable transfers: the ledger's group-committing writer, and one transaction for each transfer.

The row-lock scheme is what an application without a ledger of its own would do: lock both accounts in order, check,
write the same rows (entry, two statement lines), move both balances, commit. It gets 32 connections, and everything
after the locks in one statement. Both run in this process against the same server, with the same accounts.
"""

from __future__ import annotations

import asyncio
import random
import sqlite3
import statistics
import time
import uuid
from collections.abc import Sequence
from pathlib import Path

import psycopg

from horde.ledger.core.economy import Economy
from horde.ledger.core.identifiers import id_bytes
from horde.ledger.core.operations import Event, Gift
from horde.ledger.store.sql import sql_store
from horde.ledger.writer import Writer
from horde.services.clock import SystemClock
from horde.testkit.ledger import awarded, some_id

ACCOUNTS = 10_000
CLIENTS = 32
"""Connections of the row-lock scheme."""
CALLERS = 32
GROUP = 32
"""Events in one call of a caller: half of what waits is in the commit, half is on its way."""
FREE = Economy(gift_min_mkudos=1, gifts_per_day=2**31, gift_per_day_mkudos=2**60, gift_back_after_us=0)
BODY = (
    '{"at":1795313036947160,"decided":{},"id":"998ba0c3-77bb-4be1-a95c-8fe2d5382def","kind":"GIFT","op":{"amount":5,'
    '"from":"a33120c3-4fc3-404f-b2ed-d2cb4ebfcf91","note":"","to":"78d87aa3-ba0d-48c9-8eba-8f2f4274b85f"},"seq":123456,'
    '"transfers":[["spend/a33120c3-4fc3-404f-b2ed-d2cb4ebfcf91","spend/78d87aa3-ba0d-48c9-8eba-8f2f4274b85f",5,9]]}'
)
"""What an entry of a gift looks like, for the rows of the other scheme."""

NAMES = [some_id(f"bench {index}") for index in range(ACCOUNTS)]


def pairs(count: int, hot: bool, seed: int) -> list[tuple[int, int]]:
    """Who gives to whom: anybody to anybody, or everybody to one."""
    chance = random.Random(seed)
    if hot:
        return [(chance.randrange(1, ACCOUNTS), 0) for _ in range(count)]
    return [tuple(chance.sample(range(ACCOUNTS), 2)) for _ in range(count)]  # type: ignore[misc]


def gifts(count: int, hot: bool, seed: int) -> list[Event]:
    chance = random.Random(seed)
    return [
        Event(str(uuid.UUID(int=chance.getrandbits(128))), Gift(NAMES[giver], NAMES[taker], 5, ""))
        for giver, taker in pairs(count, hot, seed)
    ]


async def fill(writer: Writer) -> None:
    """Everybody gets enough to give away."""
    for start in range(0, ACCOUNTS, 250):
        await writer.apply([awarded(name, 10**9, "bench") for name in NAMES[start : start + 250]])


async def group_rate(url: str, events: Sequence[Event]) -> tuple[float, float]:
    """Transfers per second of the writer, and CPU microseconds of this process for each."""
    async with sql_store(url) as store, Writer(store, FREE, SystemClock()) as writer:
        await fill(writer)
        groups = [events[start : start + GROUP] for start in range(0, len(events), GROUP)]
        groups.reverse()

        async def call() -> None:
            while groups:
                for answer in await writer.apply(groups.pop()):
                    assert not isinstance(answer.result, Exception), answer.result

        began, cpu = time.perf_counter(), time.process_time()
        await asyncio.gather(*(call() for _ in range(CALLERS)))
        took = time.perf_counter() - began
        return len(events) / took, (time.process_time() - cpu) / len(events) * 1e6


async def half_load(url: str, rate: float, seconds: float, seed: int) -> list[float]:
    """How long calls take, in milliseconds, when callers offer `rate` transfers a second, at even distances."""
    events = gifts(int(rate * seconds), False, seed)
    groups = [events[start : start + GROUP] for start in range(0, len(events), GROUP)]
    took: list[float] = []
    async with sql_store(url) as store, Writer(store, FREE, SystemClock()) as writer:
        await fill(writer)

        async def call(group: Sequence[Event]) -> None:
            began = time.perf_counter()
            await writer.apply(group)
            took.append((time.perf_counter() - began) * 1e3)

        began = time.perf_counter()
        async with asyncio.TaskGroup() as calls:
            for place, group in enumerate(groups):
                wait = began + place * GROUP / rate - time.perf_counter()
                if wait > 0:
                    await asyncio.sleep(wait)
                calls.create_task(call(group))
    return sorted(took)


_LOCK = "SELECT number, posted FROM account WHERE number IN (%s, %s) ORDER BY number FOR UPDATE"
_MOVE = """
WITH entry AS (
    INSERT INTO event (sequence, id, fingerprint, body, block)
    VALUES (nextval('bench_sequence'), %s, %s, %s, 0) RETURNING sequence
), lines AS (
    INSERT INTO statement (owner, sequence) SELECT who, sequence FROM entry, (VALUES (%s::bigint), (%s)) AS v(who)
)
UPDATE account SET posted = posted + CASE number WHEN %s THEN -%s ELSE %s END WHERE number IN (%s, %s)
"""


async def row_lock_rate(url: str, work: Sequence[tuple[int, int]], seconds: float) -> float:
    """Transfers per second of one transaction for each, over a fixed time."""
    async with sql_store(url) as store, Writer(store, FREE, SystemClock()) as writer:
        await fill(writer)
    left = list(work)
    done = 0
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        await connection.execute("CREATE SEQUENCE bench_sequence START 1000000")
        rows = await (await connection.execute("SELECT name, number FROM account")).fetchall()
    numbers: dict[str, int] = dict(rows)
    ends = time.perf_counter() + seconds

    async def client() -> None:
        nonlocal done
        async with await psycopg.AsyncConnection.connect(url, autocommit=True, prepare_threshold=1) as connection:
            cursor = connection.cursor()
            while left and time.perf_counter() < ends:
                giver, taker = (numbers[f"spend/{NAMES[number]}"] for number in left.pop())
                await cursor.execute("BEGIN")
                await cursor.execute(_LOCK, (giver, taker))
                posted: dict[int, int] = dict(await cursor.fetchall())
                assert posted[giver] >= 5
                key = uuid.uuid4().bytes
                await cursor.execute(_MOVE, (key, key, BODY, giver, taker, giver, 5, 5, giver, taker))
                await cursor.execute("COMMIT")
                done += 1

    began = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(CLIENTS)))
    return done / (time.perf_counter() - began)


async def sqlite_single_rate(folder: Path, work: Sequence[tuple[int, int]], seconds: float) -> float:
    """Transfers per second in SQLite (WAL, FULL), one transaction for each."""
    path = folder / f"single-{uuid.uuid4().hex[:8]}.db"
    async with sql_store(f"sqlite:///{path}") as store, Writer(store, FREE, SystemClock()) as writer:
        await fill(writer)
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA synchronous=FULL")
    numbers = dict(connection.execute("SELECT name, number FROM account").fetchall())
    ends, done, began = time.perf_counter() + seconds, 0, time.perf_counter()
    for task in work:
        giver, taker = (numbers[f"spend/{NAMES[who]}"] for who in task)
        key = id_bytes(str(uuid.uuid4()))
        connection.execute("BEGIN IMMEDIATE")
        (posted,) = connection.execute("SELECT posted FROM account WHERE number = ?", (giver,)).fetchone()
        assert posted >= 5
        sequence = 1_000_000 + done
        connection.execute("INSERT INTO event VALUES (?, ?, ?, ?, 0)", (sequence, key, key, BODY))
        connection.executemany("INSERT INTO statement VALUES (?, ?)", [(giver, sequence), (taker, sequence)])
        connection.execute("UPDATE account SET posted = posted - 5 WHERE number = ?", (giver,))
        connection.execute("UPDATE account SET posted = posted + 5 WHERE number = ?", (taker,))
        connection.execute("COMMIT")
        done += 1
        if time.perf_counter() > ends:
            break
    took = time.perf_counter() - began
    connection.close()
    return done / took


def middle(values: Sequence[float]) -> float:
    return statistics.median(values)
