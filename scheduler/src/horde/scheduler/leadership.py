"""Who may lead: with PostgreSQL an advisory lock chooses, and standbys wait for it; with SQLite the process leads.

The lock only chooses. Whoever loses its connection may not know for a while; what protects the jobs is the epoch row,
which the next leader raises before it reads anything.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final

import psycopg
from sqlalchemy.engine import make_url

from horde.services import telemetry
from horde.services.clock import Clock

log = telemetry.get_logger(__name__)

LOCK_KEY: Final = 0x686F726465_736368
"""Of the one pool of models there is ("horde", "sch")."""
PAUSE: Final = 0.5
"""Seconds until the lock is asked for again, when the database is away."""

Connection = psycopg.AsyncConnection[tuple[object, ...]]


@asynccontextmanager
async def in_charge(database_url: str, clock: Clock) -> AsyncIterator[None]:
    """Wait until nobody else leads, and lead for as long as the block."""
    url = make_url(database_url)
    if url.get_backend_name() != "postgresql":
        yield
        return
    address = url.set(drivername="postgresql").render_as_string(hide_password=False)
    log.info("standing by")
    keeper = asyncio.create_task(_keep(await _lock(address, clock), address, clock))
    try:
        yield
    finally:
        keeper.cancel()
        with suppress(asyncio.CancelledError):
            await keeper


async def _lock(address: str, clock: Clock) -> Connection:
    """A connection that holds the lock, however long that takes."""
    while True:
        try:
            connection: Connection = await psycopg.AsyncConnection.connect(
                address, autocommit=True, keepalives_idle=5, keepalives_interval=2, keepalives_count=3
            )
            try:
                await connection.execute("SELECT pg_advisory_lock(%s)", (LOCK_KEY,))
            except BaseException:
                await connection.close()
                raise
            return connection
        except psycopg.OperationalError as error:
            log.warning("no lock", error=str(error).strip())
            await clock.sleep(PAUSE)


async def _keep(connection: Connection, address: str, clock: Clock) -> None:
    """Hold the lock, and ask for it again when its connection breaks: if another leads by then, the epoch stops us."""
    while True:
        try:
            async for _ in connection.notifies():
                pass
        except psycopg.OperationalError:
            log.warning("lock lost")
        finally:
            await connection.close()
        connection = await _lock(address, clock)
