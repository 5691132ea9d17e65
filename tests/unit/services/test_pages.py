"""Page tokens: what was given out is read as it was, and whatever else comes is none, in every service."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from horde.gateway.core import pages as of_names
from horde.services.pages import MAX_CHARACTERS, MOST, read_place, write_place

ROOT = Path(__file__).parents[3]
PLACES = {
    "a number of 30 digits": json.dumps([10**30, "x"]),
    "one more than a database keeps": json.dumps([MOST, "x"]),
    "one less than a database keeps": json.dumps([-MOST - 1, "x"]),
    "half a character": '[1, "\\ud800"]',
    "a character that PostgreSQL does not keep": '[1, "\\u0000"]',
    "no number": '[NaN, "x"]',
    "a truth for a number": '[true, "x"]',
    "too little": "[1]",
    "no list": '{"1": "x"}',
    "a deep list": "[" * 300,
    "a very deep list": "[" * 60_000,
    "a number that Python does not read": "[" + "9" * 5_000 + ', "x"]',
}


def token_of(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode()


@pytest.mark.parametrize("name", PLACES)
def test_a_token_of_what_no_list_holds_is_none(name: str) -> None:
    assert read_place(token_of(PLACES[name]), int, str) is None


@pytest.mark.parametrize("token", ["!", "W10", "é", token_of('[1, "x"]') + "A" * MAX_CHARACTERS])
def test_a_token_of_nothing_is_none(token: str) -> None:
    assert read_place(token, int, str) is None


@given(st.integers(-MOST, MOST - 1), st.uuids(), st.booleans())
def test_what_was_given_out_is_read_as_it_was(number: int, name: object, truth: bool) -> None:
    assert read_place(write_place(number, str(name), truth), int, str, bool) == [number, str(name), truth]


def test_a_name_that_no_database_keeps_is_none() -> None:
    assert of_names.read_place(of_names.write_place("a model:1")) == "a model:1"
    assert of_names.read_place(of_names.write_place("a\0b")) is None


def test_nobody_else_reads_tokens() -> None:
    readers = {
        module.relative_to(ROOT).as_posix()
        for module in ROOT.glob("*/src/**/*.py")
        if "page" in (text := module.read_text()) and "64decode" in text
    }
    assert readers == {"services/src/horde/services/pages.py", "gateway/src/horde/gateway/core/pages.py"}
