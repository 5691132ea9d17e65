"""What is sent is JSON of an object that the mesh can be told of, or refused."""

from __future__ import annotations

import pytest

from horde.web_door.core.refusals import Refusal
from horde.web_door.v2.context import parsed


@pytest.mark.parametrize(
    "body",
    [b"{", b'{"a": NaN}', b'{"a": -Infinity}', b'{"a": "\\ud800"}', b'{"\\udfff": 1}', b"\xff", b"[" * 200_000],
    ids=["cut", "nan", "infinity", "half a character", "half a name", "no text", "deep"],
)
def test_what_no_message_can_hold_is_refused(body: bytes) -> None:
    with pytest.raises(Refusal) as refused:
        parsed(body)
    assert (refused.value.status, refused.value.rc) == (400, "BadRequest")


def test_nul_is_refused_by_its_own_code() -> None:
    for body in (b'{"a": "\\u0000"}', b'{"a": "\x00"}'):
        with pytest.raises(Refusal, match="NUL"):
            parsed(body)


def test_an_empty_body_is_an_empty_object() -> None:
    assert parsed(b"") == {}
    assert parsed(b'{"a": "\xc3\xa4"}') == {"a": "ä"}
