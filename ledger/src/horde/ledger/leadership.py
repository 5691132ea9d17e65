"""Who may be the writer: an advisory lock of PostgreSQL chooses, and standbys wait for it.

The lock only chooses. It is bound to a connection, and a process that lost it may not know for a while: what protects
the ledger is the epoch row, which the next writer raises before it writes. With SQLite the process is the leader.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final

import psycopg
from sqlalchemy.engine import make_url

from horde.services.clock import Clock
from horde.services.telemetry import get_logger

log = get_logger(__name__)

LOCK_KEY: Final = 0x686F726465_6C6467
"""Of the one shard there is ("horde", "ldg")."""
AGAIN_S: Final = 0.5
"""Pause before the lock is asked for again, when the database is away."""


@asynccontextmanager
async def in_charge(database_url: str, clock: Clock) -> AsyncIterator[None]:
    """Wait until nobody else leads, and lead for as long as the block."""
    url = make_url(database_url)
    if url.get_backend_name() != "postgresql":
        yield
        return
    address = url.set(drivername="postgresql").render_as_string(hide_password=False)
    log.info("ledger.standing_by")
    connection = await _lock(address, clock)
    keeper = asyncio.create_task(_keep(connection, address, clock))
    try:
        yield
    finally:
        keeper.cancel()
        with suppress(asyncio.CancelledError):
            await keeper


async def _lock(address: str, clock: Clock) -> psycopg.AsyncConnection[tuple[object, ...]]:
    """A connection that holds the lock, however long that takes."""
    while True:
        try:
            connection = await psycopg.AsyncConnection.connect(
                address, autocommit=True, keepalives_idle=5, keepalives_interval=2, keepalives_count=3
            )
            try:
                await connection.execute("SELECT pg_advisory_lock(%s)", (LOCK_KEY,))
            except BaseException:
                await connection.close()
                raise
            return connection
        except psycopg.OperationalError as error:
            log.warning("ledger.no_lock", error=str(error).strip())
            await clock.sleep(AGAIN_S)


async def _keep(connection: psycopg.AsyncConnection[tuple[object, ...]], address: str, clock: Clock) -> None:
    """Ask for the lock again whenever its connection breaks. Meanwhile the writer goes on: if another took over, the
    epoch row stops it."""
    while True:
        try:
            async for _ in connection.notifies():
                pass
        except psycopg.OperationalError:
            log.warning("ledger.lock_lost")
        finally:
            await connection.close()
        connection = await _lock(address, clock)
