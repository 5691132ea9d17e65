"""Metadata behind the bytes survives being torn."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from horde.buckets.tails import MAX_TAIL, Tail, find_tail, make_tail

METADATA = st.dictionaries(st.text("abcdef", min_size=1, max_size=8), st.text(max_size=20), max_size=4)


@given(st.binary(max_size=200), METADATA, METADATA, st.data())
def test_a_torn_tail_leaves_the_one_before(
    data: bytes, old: dict[str, str], new: dict[str, str], at: st.DataObject
) -> None:
    whole = data + make_tail(len(data), old)
    newer = make_tail(len(data), new)
    torn = at.draw(st.integers(0, len(newer) - 1))
    assert find_tail((whole + newer[:torn])[-MAX_TAIL:]) == Tail(len(data), old)
    assert find_tail((whole + bytes(torn))[-MAX_TAIL:]) == Tail(len(data), old)
    assert find_tail((whole + newer)[-MAX_TAIL:]) == Tail(len(data), new)


def test_bytes_that_look_like_a_tail_change_nothing() -> None:
    data = b"picture" + make_tail(3, {"expires": "9999999999"})
    assert find_tail(data + make_tail(len(data), {"expires": "1"})) == Tail(len(data), {"expires": "1"})


def test_too_much_metadata_is_refused() -> None:
    with pytest.raises(ValueError, match="too many"):
        make_tail(1, {"a": "x" * MAX_TAIL})
