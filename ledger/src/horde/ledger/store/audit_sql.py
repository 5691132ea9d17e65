"""Everything that is stored, streamed for the auditor out of one snapshot."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain, groupby
from operator import itemgetter
from typing import Any, Final

from psycopg.adapt import Loader
from psycopg.pq import Format
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from horde.ledger.core import rows
from horde.ledger.core.accounts import Account, Owner
from horde.ledger.core.book import Hold
from horde.ledger.core.chain import Block
from horde.ledger.core.identifiers import id_text
from horde.ledger.store.port import EntryRow, Head, RefusalRow
from horde.services.errors import Unavailable

PAGE: Final = 1_000
"""How many rows are in memory at a time. More is slower: they leave the processor's cache before they are looked at."""


class DamagedText(Loader):
    """Reads text whatever its bytes are: what is no text any more must be named by the audit, not end it."""

    format = Format.BINARY

    def load(self, data: Any) -> str:
        return _text(bytes(data))


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


class SqlAuditRows:
    """`AuditRows` over one reading transaction."""

    def __init__(self, connection: Connection, stopping: Callable[[], bool]) -> None:
        self._connection = connection
        self._stopping = stopping
        self._open: list[Any] = []
        self._sqlite: Any = None
        if connection.dialect.name == "sqlite":
            self._sqlite = connection.connection.driver_connection
            self._sqlite.text_factory = _text

    def close(self) -> None:
        """Give up what was not read to its end."""
        for result in self._open:
            result.close()
        if self._sqlite is not None:
            self._sqlite.text_factory = str

    def head(self) -> tuple[Head, bool]:
        row = self._query(f"SELECT {', '.join(rows.WRITER_COLUMNS)} FROM writer WHERE shard = 0").one()
        head = rows.head_of(row)
        return head, rows.writer_row(head)[-1] == bytes(row[-1])

    def blocks(self, from_block: int) -> Iterator[Block]:
        columns = ", ".join(rows.BLOCK_COLUMNS)
        for row in self._query(f"SELECT {columns} FROM block WHERE number >= {from_block:d} ORDER BY number"):
            yield rows.block_of(row)

    def entries(self, from_block: int) -> Iterator[tuple[int, list[EntryRow]]]:
        after = f"(SELECT coalesce(min(first_sequence), 1) FROM block WHERE number = {from_block:d})"
        columns = ", ".join(rows.EVENT_COLUMNS)
        pages = self._pages(f"SELECT {columns} FROM event WHERE sequence >= {after} ORDER BY sequence")
        for number, run in groupby(chain.from_iterable(pages), key=itemgetter(4)):
            yield number, [EntryRow(row[0], id_text(row[1]), row[2], row[3]) for row in run]

    def refusals(self, from_block: int) -> Iterator[tuple[RefusalRow, int]]:
        columns = ", ".join(rows.REFUSAL_COLUMNS)
        pages = self._pages(f"SELECT {columns} FROM refusal WHERE block >= {from_block:d} ORDER BY block, line")
        for row in chain.from_iterable(pages):
            yield RefusalRow(row[0], id_text(row[1]), bytes(row[2]), row[3]), row[4]

    def accounts(self) -> Iterator[Account]:
        for row in self._query(f"SELECT {', '.join(rows.ACCOUNT_COLUMNS)} FROM account ORDER BY number"):
            yield rows.account_of(row)

    def owners(self) -> Iterator[tuple[Owner, bool]]:
        for row in self._query(f"SELECT {', '.join(rows.OWNER_COLUMNS)} FROM owner ORDER BY account_id"):
            yield rows.owner_of(row), rows.seal(tuple(row[:-1])) == bytes(row[-1])

    def holds(self) -> Iterator[Hold]:
        for row in self._query(f"SELECT {', '.join(rows.HOLD_COLUMNS)} FROM hold ORDER BY id"):
            yield rows.hold_of(row)

    def statements(self) -> Iterator[tuple[int, int, int]]:
        for row in self._query("SELECT owner, count(*), sum(sequence) FROM statement GROUP BY owner ORDER BY owner"):
            yield int(row[0]), int(row[1]), int(row[2])

    def _pages(self, statement: str) -> Iterator[list[Any]]:
        """Rows as the driver gives them: to make a `Row` of each costs as much as to fetch it."""
        driver: Any = self._connection.connection.driver_connection
        server_side = self._connection.dialect.name == "postgresql"
        try:
            cursor = driver.cursor(name=f"audit_{len(self._open)}", binary=True) if server_side else driver.cursor()
            if server_side:
                cursor.adapters.register_loader("text", DamagedText)
            self._open.append(cursor)
            cursor.execute(statement)
            while page := cursor.fetchmany(PAGE):
                if self._stopping():
                    # It may take hours: a process that is told to end does not wait for it.
                    raise Unavailable("It is stopping.")
                yield page
        except self._connection.dialect.loaded_dbapi.Error as error:
            raise self._as_usual(statement, error) from error

    def _as_usual(self, statement: str, error: Any) -> Exception:
        """A driver's error as SQLAlchemy would have raised it, so that it is told like any other."""
        dialect = self._connection.dialect
        lost = dialect.is_disconnect(error, self._connection.connection.driver_connection, None)
        failure: Exception = DBAPIError.instance(
            statement, None, error, dialect.loaded_dbapi.Error, connection_invalidated=lost, dialect=dialect
        )
        return failure

    def _query(self, statement: str) -> Any:
        streaming = self._connection.execution_options(yield_per=PAGE)
        self._open.append(streaming.exec_driver_sql(statement))
        return self._open[-1]
