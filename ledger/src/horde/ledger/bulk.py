"""Many rows in one statement, which the two databases do in different ways.

SQLite runs a prepared statement for each row (`executemany`), in process. To PostgreSQL that would be a message for
each row; it gets one statement over arrays (`unnest`), written as array literals, because to build a text is several
times cheaper here than to adapt each element.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, Final

from sqlalchemy import BigInteger, Connection, Integer, LargeBinary, SmallInteger, Table

Row = Sequence[Any]
MAX_SQLITE_PARAMETERS: Final = 16_384


class Bulk:
    """Inserts, updates, deletes and look-ups by key of many rows of one table."""

    def __init__(self, table: Table, columns: Sequence[str], suffix: str = "") -> None:
        self._name = table.name
        self._columns = tuple(columns)
        self._types = [_pg_type(table, column) for column in columns]
        names = ", ".join(columns)
        marks = ", ".join("?" * len(columns))
        arrays = ", ".join(f"%s::{kind}[]" for kind in self._types)
        self._insert_sqlite = f"INSERT INTO {table.name} ({names}) VALUES ({marks}) {suffix}"
        self._insert_pg = f"INSERT INTO {table.name} ({names}) SELECT * FROM unnest({arrays}) {suffix}"

    def insert(self, connection: Connection, rows: Sequence[Row]) -> None:
        """Insert rows of this table's columns, in their order."""
        if not rows:
            return
        if connection.dialect.name == "sqlite":
            connection.exec_driver_sql(self._insert_sqlite, [tuple(row) for row in rows])
        else:
            connection.exec_driver_sql(self._insert_pg, self._arrays(rows))

    def update(self, connection: Connection, rows: Sequence[Row]) -> None:
        """Set all columns but the first of the rows whose first column is given."""
        if not rows:
            return
        key, *others = self._columns
        if connection.dialect.name == "sqlite":
            assignments = ", ".join(f"{column} = ?" for column in others)
            statement = f"UPDATE {self._name} SET {assignments} WHERE {key} = ?"
            connection.exec_driver_sql(statement, [(*row[1:], row[0]) for row in rows])
        else:
            assignments = ", ".join(f"{column} = v.{column}" for column in others)
            arrays = ", ".join(f"%s::{kind}[]" for kind in self._types)
            statement = (
                f"UPDATE {self._name} t SET {assignments} FROM unnest({arrays}) AS v({', '.join(self._columns)}) "
                f"WHERE t.{key} = v.{key}"
            )
            connection.exec_driver_sql(statement, self._arrays(rows))

    def delete(self, connection: Connection, keys: Collection[Any]) -> None:
        """Delete the rows whose first column is one of these."""
        if keys:
            where, parameters = self.among(connection, keys)
            connection.exec_driver_sql(f"DELETE FROM {self._name} WHERE {where}", parameters)

    def select(self, connection: Connection, keys: Collection[Any]) -> list[Any]:
        """The rows whose first column is one of these."""
        if not keys:
            return []
        where, parameters = self.among(connection, keys)
        statement = f"SELECT {', '.join(self._columns)} FROM {self._name} WHERE {where}"
        return list(connection.exec_driver_sql(statement, parameters))

    def among(self, connection: Connection, keys: Collection[Any]) -> tuple[str, tuple[Any, ...]]:
        """A condition that the first column is one of these, and its parameters."""
        key = self._columns[0]
        if connection.dialect.name != "sqlite":
            return f"{key} = ANY(%s::{self._types[0]}[])", (_LITERALS[self._types[0]](keys),)
        padded = list(keys)
        size = 1 << max(0, len(padded) - 1).bit_length()
        if size > MAX_SQLITE_PARAMETERS:
            raise ValueError(f"{len(padded)} keys at once")
        # Sizes are powers of two, so that few statements are ever prepared.
        padded += [padded[-1]] * (size - len(padded))
        return f"{key} IN ({', '.join('?' * size)})", tuple(padded)

    def _arrays(self, rows: Sequence[Row]) -> tuple[str, ...]:
        columns = zip(*rows, strict=True)
        return tuple(_LITERALS[kind](column) for kind, column in zip(self._types, columns, strict=True))


def _pg_type(table: Table, column: str) -> str:
    kind = table.c[column].type
    if isinstance(kind, SmallInteger):
        return "smallint"
    if isinstance(kind, BigInteger):
        return "bigint"
    if isinstance(kind, Integer):
        return "integer"
    return "bytea" if isinstance(kind, LargeBinary) else "text"


def _numbers(values: Iterable[int | None]) -> str:
    return "{" + ",".join(["NULL" if value is None else str(value) for value in values]) + "}"


def _bytes(values: Iterable[bytes]) -> str:
    return '{"\\\\x' + '","\\\\x'.join([value.hex() for value in values]) + '"}'


def _texts(values: Iterable[str]) -> str:
    return '{"' + '","'.join([value.replace("\\", "\\\\").replace('"', '\\"') for value in values]) + '"}'


_LITERALS: Final[dict[str, Callable[[Any], str]]] = {
    "smallint": _numbers,
    "integer": _numbers,
    "bigint": _numbers,
    "bytea": _bytes,
    "text": _texts,
}
