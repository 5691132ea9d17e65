"""What many rows are sent as."""

from __future__ import annotations

import pytest

from horde.ledger.bulk import Bulk, commands
from horde.ledger.tables import OWNER

TWO = Bulk(OWNER, ("account_id", "decree"))


def test_postgresql_gets_an_array_for_each_column() -> None:
    rows = [('a "quoted" one', 1), ("back\\slash, {brace}", None), ("", -5)]
    ((statement, parameters),) = commands("postgresql", [TWO.insert(rows)])
    assert "unnest(%s::text[], %s::smallint[])" in statement
    assert parameters == (r'{"a \"quoted\" one","back\\slash, {brace}",""}', "{1, NULL, -5}")


def test_nothing_to_do_is_said_in_the_same_words() -> None:
    ((some, _),) = commands("postgresql", [TWO.insert([("a", 1)]), TWO.delete(["b"])])
    ((none, parameters),) = commands("postgresql", [TWO.insert([]), TWO.delete([])])
    assert some == none
    assert parameters == ("{}", "{}", "{}")


def test_a_text_cannot_pass_for_two() -> None:
    with pytest.raises(ValueError, match="zero character"):
        commands("postgresql", [TWO.insert([("a\0b", 1)])])


def test_sqlite_gets_rows_and_only_where_there_are_any() -> None:
    steps = [TWO.insert([]), TWO.update([("a", 1)])]
    assert commands("sqlite", steps) == [("UPDATE owner SET decree = ? WHERE account_id = ?", [(1, "a")])]
