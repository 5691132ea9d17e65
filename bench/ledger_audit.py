"""How long an audit takes, and that it finds a flipped bit."""

from __future__ import annotations

import asyncio
import random
import resource
import time
import uuid

from ledger_transfers import FREE

from horde.ledger.core.audit import audit
from horde.ledger.store.sql import SqlStore, sql_store
from horde.ledger.writer import Writer
from horde.services.clock import SystemClock
from horde.testkit.ledger import awarded, held, settled, some_id
from horde.testkit.postgres import ThrowawayPostgres

TRANSFERS_OF_A_LIFE = 4
"""Held, earned, earned into escrow, taxed."""
BLOCK = 128


def audit_bench(server: ThrowawayPostgres, transfers: int) -> None:
    asyncio.run(_bench(server.database(), transfers))


async def _bench(url: str, transfers: int) -> None:
    async with sql_store(url) as store:
        await fill(store, transfers)
        began, cpu = time.perf_counter(), time.process_time()
        report = await store.audit(lambda rows: audit(rows))
        took = time.perf_counter() - began
        assert report.finding is None, report.finding
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(
            f"Audit of {report.transfers:,} transfers in {report.entries:,} entries and {report.blocks:,} blocks: "
            f"{took:.1f} s (goal 15 s), {time.process_time() - cpu:.1f} CPU-s, at most {memory:.0f} MiB",
            flush=True,
        )
        number = report.entries // 2
        with store.engine.begin() as connection:
            connection.exec_driver_sql(
                "UPDATE event SET body = replace(body, '\"ending\":1', '\"ending\":2') "
                "WHERE sequence = (SELECT min(sequence) FROM event "
                f"WHERE sequence > {number} AND body LIKE '%%SETTLE%%')"
            )
        began = time.perf_counter()
        found = (await store.audit(lambda rows: audit(rows))).finding
        print(f"A changed byte in the middle was found in {time.perf_counter() - began:.1f} s: {found}", flush=True)
        assert found is not None


async def fill(store: SqlStore, transfers: int) -> None:
    """Write a journal of so many transfers: of each life of a job, two events."""
    chance = random.Random(1)
    payers = [some_id(f"payer {index}") for index in range(200)]
    owners = [some_id(f"owner {index}") for index in range(200)]
    async with Writer(store, FREE, SystemClock()) as writer:
        await writer.apply([awarded(payer, 10**12, "bench") for payer in payers])
        left = transfers // TRANSFERS_OF_A_LIFE
        began = time.perf_counter()
        while left > 0:
            names = [str(uuid.UUID(int=chance.getrandbits(128))) for _ in range(min(BLOCK, left))]
            events = [held(name, chance.choice(payers)) for name in names]
            await writer.apply([*events, *(settled(name, chance.choice(owners)) for name in names)])
            left -= len(names)
        print(f"  a journal of {transfers:,} transfers was written in {time.perf_counter() - began:.0f} s", flush=True)
