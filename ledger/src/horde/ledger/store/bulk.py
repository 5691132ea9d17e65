"""Many rows in one statement, which the two databases do in different ways.

SQLite runs a prepared statement for each row (`executemany`), in process. To PostgreSQL that would be a message for
each row; it gets one statement over arrays (`unnest`), encoded here (`arrays.py`), because the driver would adapt each
element.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import BigInteger, Connection, Integer, LargeBinary, SmallInteger, Table

from horde.ledger.store.arrays import Array, array

Row = Sequence[Any]
Command = tuple[str, Any]
"""A statement and its parameters: a tuple, or a list of tuples to run it for each."""
MAX_SQLITE_PARAMETERS: Final = 16_384


class Bulk:
    """Inserts, updates, deletes and look-ups by key of many rows of one table."""

    def __init__(self, table: Table, columns: Sequence[str], suffix: str = "") -> None:
        self._name = table.name
        self._columns = tuple(columns)
        self._types = [_pg_type(table, column) for column in columns]
        key, *others = columns
        names = ", ".join(columns)
        unnested = f"unnest({', '.join(f'%s::{kind}[]' for kind in self._types)})"
        self._insert = (
            f"INSERT INTO {table.name} ({names}) VALUES ({', '.join('?' * len(columns))}) {suffix}",
            f"INSERT INTO {table.name} ({names}) SELECT * FROM {unnested} WHERE {{guard}} {suffix}",
        )
        self._update = (
            f"UPDATE {table.name} SET {', '.join(f'{column} = ?' for column in others)} WHERE {key} = ?",
            f"UPDATE {table.name} t SET {', '.join(f'{column} = v.{column}' for column in others)} "
            f"FROM {unnested} AS v({names}) WHERE {{guard}} AND t.{key} = v.{key}",
        )
        self._delete = (
            f"DELETE FROM {table.name} WHERE {key} = ?",
            f"DELETE FROM {table.name} WHERE {{guard}} AND {key} = ANY(%s::{self._types[0]}[])",
        )

    def insert(self, rows: Sequence[Row]) -> Step:
        """Insert rows of this table's columns, in their order."""
        return Step(*self._insert, rows, self._types)

    def update(self, rows: Sequence[Row]) -> Step:
        """Set all columns but the first of the rows whose first column is given."""
        return Step(*self._update, rows, self._types, key_last=True)

    def delete(self, keys: Sequence[Any]) -> Step:
        """Delete the rows whose first column is one of these."""
        return Step(*self._delete, [(key,) for key in keys], self._types[:1])

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
            return f"{key} = ANY(%s::{self._types[0]}[])", (array(self._types[0], [*keys]),)
        padded = list(keys)
        size = 1 << max(0, len(padded) - 1).bit_length()
        if size > MAX_SQLITE_PARAMETERS:
            raise ValueError(f"{len(padded)} keys at once")
        # Sizes are powers of two, so that few statements are ever prepared.
        padded += [padded[-1]] * (size - len(padded))
        return f"{key} IN ({', '.join('?' * size)})", tuple(padded)


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to do to many rows: the statement for either database, and the rows."""

    sqlite: str
    postgresql: str
    rows: Sequence[Row]
    types: Sequence[str]
    key_last: bool = False

    def tuples(self) -> list[tuple[Any, ...]]:
        """The rows as the parameters of a statement for each."""
        return [(*row[1:], row[0]) if self.key_last else tuple(row) for row in self.rows]

    def arrays(self) -> list[Array]:
        """The rows as an array for each column."""
        columns: Iterable[Row] = zip(*self.rows, strict=True) if self.rows else [()] * len(self.types)
        return [array(kind, column) for kind, column in zip(self.types, columns, strict=True)]


def commands(dialect: str, steps: Sequence[Step], fence: str = "") -> list[Command]:
    """What does these steps, which do not touch each other's rows, on a database of this dialect.

    To PostgreSQL they go as one statement: one trip, and always the same text, whatever there is to do, so that it is
    planned once. `fence` is for PostgreSQL only: an UPDATE with RETURNING that is done first; where it finds no row
    nothing is done. The statement then selects whether it found one.
    """
    if dialect == "sqlite":
        return [(step.sqlite, step.tuples()) for step in steps if step.rows]
    guard = "EXISTS (SELECT FROM fence)" if fence else "true"
    clauses = [f"step_{place} AS ({step.postgresql.format(guard=guard)})" for place, step in enumerate(steps)]
    if fence:
        clauses.insert(0, f"fence AS ({fence})")
    last = "SELECT count(*) FROM fence" if fence else "SELECT"
    parameters = [array for step in steps for array in step.arrays()]
    return [(f"WITH {', '.join(clauses)} {last}", tuple(parameters))]


def run(connection: Connection, steps: Sequence[Step]) -> None:
    """Do these steps now."""
    for command in commands(connection.dialect.name, steps):
        connection.exec_driver_sql(*command)


def _pg_type(table: Table, column: str) -> str:
    kind = table.c[column].type
    if isinstance(kind, SmallInteger):
        return "smallint"
    if isinstance(kind, BigInteger):
        return "bigint"
    if isinstance(kind, Integer):
        return "integer"
    return "bytea" if isinstance(kind, LargeBinary) else "text"
