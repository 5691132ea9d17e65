"""What many rows are sent as."""

from __future__ import annotations

import psycopg
import pytest
from psycopg.pq import Format

from horde.ledger.store.arrays import array
from horde.ledger.store.bulk import Bulk, commands
from horde.ledger.store.tables import OWNER

TWO = Bulk(OWNER, ("account_id", "decree"))


def test_postgresql_gets_an_array_for_each_column() -> None:
    rows = [('a "quoted" one', 1), ("back\\slash, {brace}", None), ("", -5)]
    ((statement, parameters),) = commands("postgresql", [TWO.insert(rows)])
    assert "unnest(%s::text[], %s::smallint[])" in statement
    assert parameters == (array("text", [row[0] for row in rows]), array("smallint", [1, None, -5]))


def test_nothing_to_do_is_said_in_the_same_words() -> None:
    ((some, _),) = commands("postgresql", [TWO.insert([("a", 1)]), TWO.delete(["b"])])
    ((none, parameters),) = commands("postgresql", [TWO.insert([]), TWO.delete([])])
    assert some == none
    assert parameters == (array("text", []), array("smallint", []), array("text", []))


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("text", ["a", "ü", "", 'quo"ted', "{}", None, "NULL"]),
        ("text", ["same", "long"]),
        ("bytea", [bytes(range(16)), b"\xff" * 16]),
        ("bytea", [b"", None, b"\0"]),
        ("bigint", [0, -1, 2**63 - 1, -(2**63)]),
        ("integer", [1, None, -(2**31)]),
        ("smallint", [None]),
        ("bigint", []),
    ],
)
def test_the_driver_reads_an_array_as_what_it_was_made_of(kind: str, values: list[object]) -> None:
    """The driver's reader is not ours; that PostgreSQL reads it so is shown by the conformance tests."""
    loader = psycopg.adapters.get_loader(psycopg.adapters.types[kind].array_oid, Format.BINARY)
    assert loader is not None
    assert loader(0).load(array(kind, values).encoded) == values


def test_sqlite_gets_rows_and_only_where_there_are_any() -> None:
    steps = [TWO.insert([]), TWO.update([("a", 1)])]
    assert commands("sqlite", steps) == [("UPDATE owner SET decree = ? WHERE account_id = ?", [(1, "a")])]
