"""Canonical texts are read as `json` reads them, however they are read."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from horde.ledger.core.entries import canonical, parse

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)
OBJECTS = st.dictionaries(st.text(max_size=8), VALUES, max_size=6)


@given(OBJECTS)
def test_a_canonical_text_is_read_as_what_was_written(value: dict[str, object]) -> None:
    text = canonical(value)
    read = parse(text)
    assert read == json.loads(text) == value
    # Whether a number is an integer, and every character, are seen by this but not by `==`.
    assert canonical(read) == text


@given(OBJECTS, st.data())
def test_a_text_that_was_cut_or_goes_on_is_refused(value: dict[str, object], data: st.DataObject) -> None:
    text = canonical(value)
    for damaged in (text[: data.draw(st.integers(0, len(text) - 1))], text + "}", text + text):
        with pytest.raises(ValueError, match=r"line 1"):
            parse(damaged)


@pytest.mark.parametrize("text", ['{"a":NaN}', '{"a":Infinity}', '{"a":-Infinity}', "{'a':1}", '{"a":1,}', '{"a":01}'])
def test_what_is_no_json_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"line 1"):
        parse(text)
