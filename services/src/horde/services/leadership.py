"""Who may lead: with PostgreSQL an advisory lock chooses, and standbys wait for it; with SQLite the process leads.

The lock only chooses. It is bound to a connection, and whoever loses that may not know for a while: what protects the
data is an epoch row of the service, which the next leader raises before it reads anything.

A process that stands still keeps its connections, and one behind a cut network seems to: so the leader says again and
again that it is there, and the database ends a connection that says nothing for IDLE_SECONDS. Then the next one leads,
and first ends what the one before had begun to write: in the middle of many statements no time of the database's runs.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import psycopg
from sqlalchemy.engine import make_url

from horde.services import probes, telemetry
from horde.services.clock import Clock
from horde.services.lifecycle import AnotherLeads
from horde.services.loops import Loops
from horde.services.neighbours import Watch
from horde.services.sql import CONNECT_OPTIONS, check_version

log = telemetry.get_logger(__name__)

PAUSE_SECONDS: Final = 0.5
"""Until the lock is asked for again, when the database is away or another has it."""
BEAT_SECONDS: Final = 0.5
"""How often a leader says that it is there."""
IDLE_SECONDS: Final = 3.0
"""How long it may be silent."""
RETAKE_SECONDS: Final = IDLE_SECONDS + 1
"""How long a leader whose connection broke tries to have the lock back: its own old connection may have it still."""

BEGUN: Final = """
SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
WHERE datname = current_database() AND usename = current_user AND backend_xid IS NOT NULL AND wait_event = 'ClientRead'
"""
"""Ends whoever has begun to write to this database, and of whom it waits for more. Only leaders write."""

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
                connection = await self._connect()
                await probes.fit(True)
                async with _closed_unless_given(connection):
                    await connection.execute("SELECT pg_advisory_lock(%s)", (self._key,))
                    await connection.execute(BEGUN)
            except psycopg.OperationalError as error:
                await probes.fit(False)
                self._database.failed(str(error).strip())
                await self._clock.sleep(PAUSE_SECONDS)
            else:
                self._database.answered()
                return connection

    async def keep(self, connection: Connection) -> None:
        """Hold the lock, and take it again when its connection breaks. Raises AnotherLeads.

        Until that is known we may still serve; what we would write is refused by the epoch.
        """
        while True:
            try:
                while True:
                    await connection.execute("SELECT 1")
                    await self._clock.sleep(BEAT_SECONDS)
            except psycopg.OperationalError as error:
                self._database.failed(str(error).strip())
            finally:
                await connection.close()
            connection = await self._retake()

    async def _retake(self) -> Connection:
        """A connection that holds the lock again. A database that is away is waited for; another who leads is not."""
        refused_since: float | None = None
        while True:
            try:
                connection = await self._connect()
                self._database.answered()
                async with _closed_unless_given(connection):
                    answer = await connection.execute("SELECT pg_try_advisory_lock(%s)", (self._key,))
                    if await answer.fetchone() == (True,):
                        return connection
                await connection.close()
                refused_since = self._clock.monotonic() if refused_since is None else refused_since
                if self._clock.monotonic() - refused_since >= RETAKE_SECONDS:
                    raise AnotherLeads("another process leads")
            except psycopg.OperationalError as error:
                refused_since = None
                self._database.failed(str(error).strip())
            await self._clock.sleep(PAUSE_SECONDS)

    async def _connect(self) -> Connection:
        connection: Connection = await psycopg.AsyncConnection.connect(
            self._address, autocommit=True, **CONNECT_OPTIONS
        )
        async with _closed_unless_given(connection):
            check_version(connection)
            await connection.execute(f"SET idle_session_timeout = {int(IDLE_SECONDS * 1000)}")
        return connection


@asynccontextmanager
async def _closed_unless_given(connection: Connection) -> AsyncIterator[None]:
    """Close a connection that could not be used."""
    try:
        yield
    except BaseException:
        await connection.close()
        raise
