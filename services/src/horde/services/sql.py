"""How to be a service with a SQL database: SQLite on one machine, PostgreSQL in production.

Transactions are plain functions of a SQLAlchemy connection, run whole in a thread of their own: one hop per
transaction, so group what can be grouped (`batching.py`). Writers queue behind one thread; readers have a small pool.
Drivers' errors become Aborted (repeat the transaction) or Unavailable (repeat later) here, and nowhere else.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from types import TracebackType
from typing import Any, Self, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, IntegrityError, InterfaceError, OperationalError
from sqlalchemy.pool import StaticPool

from horde.services import telemetry
from horde.services.errors import Aborted, ResourceExhausted, Unavailable
from horde.services.lifecycle import CannotStart
from horde.services.neighbours import Watch

log = telemetry.get_logger(__name__)
R = TypeVar("R")
Work = Callable[[Connection], R]
"""A transaction."""

REPEATABLE = frozenset({"40001", "40P01"})
"""SQLSTATEs that mean: nothing is wrong, run the transaction again."""
SQLITE_ABSENT = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_CANTOPEN,
    }
)
"""SQLite's codes for a file that cannot be used just now."""
SQLITE_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
"""And for one that will never be read again."""
READ_ONLY: dict[str, Any] = {"horde_read_only": True}
CONNECT_OPTIONS: dict[str, Any] = {
    "connect_timeout": 5,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 11_000,
}
"""For PostgreSQL: seconds, but for the last, which is milliseconds. A server that vanished is noticed within 11 s,
whether it owes an answer or not."""
TRANSACTION_IDLE_MS = 3_000
"""How long a transaction may be silent between two statements. A process that stands still in the middle of one, or is
cut off, would else keep its locks, and whoever takes over would wait for them."""
SERVER_SETTINGS = f"""
SELECT set_config('idle_in_transaction_session_timeout', '{TRANSACTION_IDLE_MS}', false),
       set_config('tcp_keepalives_idle', '{CONNECT_OPTIONS["keepalives_idle"]}', false),
       set_config('tcp_keepalives_interval', '{CONNECT_OPTIONS["keepalives_interval"]}', false),
       set_config('tcp_keepalives_count', '{CONNECT_OPTIONS["keepalives_count"]}', false),
       set_config('tcp_user_timeout', '{CONNECT_OPTIONS["tcp_user_timeout"]}', false)
"""
"""The server notices as soon as we do that the other side has vanished, also in the middle of many statements."""
OLDEST_POSTGRESQL = 14
"""The first that ends a session which says nothing (`leadership.py`)."""
MAX_SCANS = 2
"""Long reads at once: one that runs, and one that waits."""


class DatabaseDamaged(CannotStart):
    """A SQLite file that is none, or has been overwritten in part."""

    def __init__(self, database: str, why: object) -> None:
        super().__init__(
            f"the database {database} is damaged: {str(why).strip()}. Do not delete it: stop whatever uses it, set the "
            "file and what stands beside it (-wal, -shm) aside, and put the last backup in its place"
        )


def too_old(version: int) -> str:
    """What is wrong with a PostgreSQL server of this version, as its driver numbers it (140005 is 14.5), if anything
    is."""
    major, minor = divmod(version, 10_000)
    if major >= OLDEST_POSTGRESQL:
        return ""
    return f"PostgreSQL {major}.{minor} is too old: {OLDEST_POSTGRESQL} or newer is needed"


def check_version(connection: Any) -> None:
    """Raise CannotStart where the server of a connection of psycopg's is too old for us."""
    if wrong := too_old(connection.info.server_version):
        raise CannotStart(f"the database at {connection.info.host}: {wrong}")


def _connected(connection: Any, record: object) -> None:
    check_version(connection)
    connection.autocommit = True
    connection.execute(SERVER_SETTINGS)
    connection.autocommit = False


def open_database(url: str, *, busy_seconds: float = 5.0) -> Engine:
    """An engine for `sqlite:///FILE`, `sqlite://` (in memory) or `postgresql://…`.

    SQLite is durable (write-ahead log, synchronous=FULL), checks foreign keys, and takes its write lock when a
    transaction begins, so that none fails half-way for want of it.
    """
    parsed = make_url(url)
    # Where the truth of a service lies is said at its start: it may not be where the operator thinks.
    log.info("database", at=parsed.render_as_string(hide_password=True))
    if parsed.get_backend_name() == "postgresql":
        address = parsed.set(drivername="postgresql+psycopg")
        engine = create_engine(address, pool_pre_ping=True, pool_size=8, connect_args=dict(CONNECT_OPTIONS))
        event.listen(engine, "connect", _connected)
        return engine
    if parsed.get_backend_name() != "sqlite":
        raise ValueError(f"{parsed.get_backend_name()} is neither sqlite nor postgresql")
    memory = parsed.database in (None, "", ":memory:")
    options: dict[str, Any] = {"poolclass": StaticPool} if memory else {}
    arguments = {"check_same_thread": False, "timeout": busy_seconds}
    engine = create_engine(parsed, connect_args=arguments, **options)

    @event.listens_for(engine, "connect")
    def connected(connection: Any, record: object) -> None:
        # The driver must not begin transactions by itself: it begins the wrong kind.
        connection.isolation_level = None
        for pragma in (
            "journal_mode=WAL",
            "synchronous=FULL",
            "foreign_keys=ON",
            f"busy_timeout={int(busy_seconds * 1000)}",
        ):
            connection.execute(f"PRAGMA {pragma}").close()

    @event.listens_for(engine, "begin")
    def begun(connection: Connection) -> None:
        reading = connection.get_execution_options().get("horde_read_only")
        connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")

    return engine


@contextmanager
def translated(database: str = "") -> Iterator[None]:
    """Turn what drivers raise into what callers, or the operator of this database, can act on."""
    try:
        yield
    except IntegrityError as error:
        raise Aborted("The data has changed meanwhile.") from error
    except (DBAPIError, sqlite3.DatabaseError) as error:
        # What fails while a connection is being opened comes from SQLite's driver as it is.
        driver = error.orig if isinstance(error, DBAPIError) else error
        if int(getattr(driver, "sqlite_errorcode", 0)) & 0xFF in SQLITE_DAMAGED:
            raise DatabaseDamaged(database, driver) from error
        if str(getattr(driver, "sqlstate", "")) in REPEATABLE:
            raise Aborted("It collided with another transaction.") from error
        if isinstance(error, DBAPIError) and (error.connection_invalidated or _is_absent(error)):
            raise Unavailable("The database does not answer.") from error
        raise


def _is_absent(error: DBAPIError) -> bool:
    code = getattr(error.orig, "sqlite_errorcode", None)
    if code is not None:
        # SQLite calls a column that does not exist an OperationalError as well.
        return int(code) & 0xFF in SQLITE_ABSENT
    return isinstance(error, (OperationalError, InterfaceError))


class _Kept:
    """A connection that one thread keeps: to take one from the pool and give it back costs as much as a small
    transaction."""

    def __init__(self, engine: Engine, **options: Any) -> None:
        self._engine = engine
        self._options = options
        self._connection: Connection | None = None

    def run(self, work: Callable[[Connection], R]) -> R:
        if self._connection is None or self._connection.invalidated:
            self.drop()
            self._connection = self._engine.connect().execution_options(**self._options)
        try:
            with self._connection.begin():
                return work(self._connection)
        except DBAPIError as error:
            if error.connection_invalidated:
                self.drop()
            raise

    def drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class SqlThread:
    """Runs whole transactions in threads: one that writes, a few that read.

    A transaction is committed when its function returns and rolled back when it raises. If the caller is cancelled, one
    that has begun still runs to its end: whoever asks again must bear that it happened. One that waits is forgotten.
    """

    def __init__(self, engine: Engine, readers: int = 2) -> None:
        self.engine = engine
        self._writer = ThreadPoolExecutor(1, "sql-write")
        in_memory = isinstance(engine.pool, StaticPool)
        self._readers = self._writer if in_memory else ThreadPoolExecutor(readers, "sql-read")
        # One thread, for one that computes is enough to slow down all others: they share Python's lock.
        self._scanner = self._writer if in_memory else ThreadPoolExecutor(1, "sql-scan")
        self._scans = 0
        self.stopping = threading.Event()
        """Set when the block is being left: a long read had better end."""
        self._name = engine.url.render_as_string(hide_password=True)
        self._watch = Watch(f"the database {self._name}")
        self._writing = _Kept(engine)
        self._reading: dict[int, _Kept] = {}
        """By thread."""

    async def run(self, work: Callable[[Connection], R]) -> R:
        """Run one writing transaction; they run one after the other, in the order of the calls."""
        return await self._in(self._writer, self._write, work)

    async def read(self, work: Callable[[Connection], R]) -> R:
        """Read beside the writer: each statement sees what was committed before it began. What is read may be read
        twice, if the database went away meanwhile."""
        return await self._in(self._readers, self._read, work)

    async def snapshot(self, work: Callable[[Connection], R]) -> R:
        """Read beside the writer, all as of one moment."""
        return await self._in(self._readers, self._snapshot, work)

    async def scan(self, work: Callable[[Connection], R]) -> R:
        """Read much, all as of one moment, in a thread that is for nothing else: whatever it takes, no reader waits.

        Raises ResourceExhausted where MAX_SCANS are under way.
        """
        if self._scans >= MAX_SCANS:
            raise ResourceExhausted(
                "As much is being read as may be at once.",
                metadata={"bound": "sql.max_scans"},
                retry_after=timedelta(seconds=30),
            )
        self._scans += 1
        scanning = self._scanner.submit(self._snapshot, work)
        # Not when its caller has gone: it still runs, and keeps its place.
        scanning.add_done_callback(partial(self._scanned, asyncio.get_running_loop()))
        return await asyncio.wrap_future(scanning)

    def _scanned(self, loop: asyncio.AbstractEventLoop, _: object) -> None:
        def free() -> None:
            self._scans -= 1

        if not loop.is_closed():
            loop.call_soon_threadsafe(free)

    async def _in(self, thread: ThreadPoolExecutor, how: Callable[[Work[R]], R], work: Work[R]) -> R:
        try:
            result = await asyncio.get_running_loop().run_in_executor(thread, how, work)
        except Unavailable as error:
            # A subclass, or one that the transaction raised by itself, is the service's and no word of the database.
            if isinstance(error.__cause__, DBAPIError):
                self._watch.failed(str(error.__cause__.orig).strip())
            raise
        self._watch.answered()
        return result

    def _write(self, work: Callable[[Connection], R]) -> R:
        with translated(self._name):
            return self._writing.run(work)

    def _read(self, work: Callable[[Connection], R]) -> R:
        # PostgreSQL's transactions would give single statements nothing but two more trips.
        postgresql = self.engine.dialect.name == "postgresql"
        options = {"isolation_level": "AUTOCOMMIT"} if postgresql else READ_ONLY
        kept = self._reading.setdefault(threading.get_ident(), _Kept(self.engine, **options))
        with translated(self._name):
            try:
                return kept.run(work)
            except DBAPIError as error:
                if not error.connection_invalidated:
                    raise
            return kept.run(work)

    def _snapshot(self, work: Callable[[Connection], R]) -> R:
        options = READ_ONLY
        if self.engine.dialect.name == "postgresql":
            options = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        with translated(self._name), self.engine.connect() as connection:
            reading = connection.execution_options(**options)
            with reading.begin():
                return work(reading)

    def _drop(self) -> None:
        for kept in (self._writing, *self._reading.values()):
            kept.drop()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.stopping.set()
        loop = asyncio.get_running_loop()
        for pool in {self._scanner, self._readers, self._writer}:
            # Not in this thread: what still runs would block the loop.
            await loop.run_in_executor(None, pool.shutdown)
        await loop.run_in_executor(None, self._drop)
        self.engine.dispose()
