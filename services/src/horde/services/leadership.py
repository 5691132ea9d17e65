"""Who may lead: with PostgreSQL an advisory lock chooses, and standbys wait for it; with SQLite the process leads.

The lock only chooses. It is bound to a connection, and whoever loses that may not know for a while: what protects the
data is an epoch row of the service, which the next leader raises before it reads anything.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import psycopg
from sqlalchemy.engine import make_url

from horde.services import telemetry
from horde.services.clock import Clock
from horde.services.loops import Loops
from horde.services.neighbours import Watch
from horde.services.sql import CONNECT_OPTIONS

log = telemetry.get_logger(__name__)

PAUSE_SECONDS: Final = 0.5
"""Until the lock is asked for again, when the database is away."""

Connection = psycopg.AsyncConnection[tuple[object, ...]]


@asynccontextmanager
async def in_charge(database_url: str, lock_key: int, clock: Clock) -> AsyncIterator[None]:
    """Wait until no other process holds the lock of this key, and lead for as long as the block."""
    url = make_url(database_url)
    if url.get_backend_name() != "postgresql":
        yield
        return
    address = url.set(drivername="postgresql").render_as_string(hide_password=False)
    lock = _Lock(address, lock_key, clock)
    log.info("standing by")
    connection = await lock.take()
    async with Loops() as loops:
        loops.start("leadership", lock.keep(connection))
        yield


class _Lock:
    """One advisory lock, held by a connection of its own."""

    def __init__(self, address: str, key: int, clock: Clock) -> None:
        self._address = address
        self._key = key
        self._clock = clock
        self._database = Watch("the database's lock")

    async def take(self) -> Connection:
        """A connection that holds the lock, however long that takes."""
        while True:
            try:
                connection: Connection = await psycopg.AsyncConnection.connect(
                    self._address, autocommit=True, **CONNECT_OPTIONS
                )
                try:
                    await connection.execute("SELECT pg_advisory_lock(%s)", (self._key,))
                except BaseException:
                    await connection.close()
                    raise
            except psycopg.OperationalError as error:
                self._database.failed(str(error).strip())
                await self._clock.sleep(PAUSE_SECONDS)
            else:
                self._database.answered()
                return connection

    async def keep(self, connection: Connection) -> None:
        """Hold the lock, and take it again when its connection breaks: if another leads by then, the epoch stops us."""
        while True:
            try:
                async for _ in connection.notifies():
                    pass
            except psycopg.OperationalError as error:
                self._database.failed(str(error).strip())
            finally:
                await connection.close()
            connection = await self.take()
