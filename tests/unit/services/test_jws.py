"""The one form of token, held against PyJWT: it makes what PyJWT reads, and accepts nothing that PyJWT refuses."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from horde.services import jws

KEY = Ed25519PrivateKey.generate()
HEADER = jws.header_of("k1")
PLAIN: dict[str, Any] = {"alg": "EdDSA", "kid": "k1", "typ": "JWT"}
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
CLAIMS = st.dictionaries(st.text().filter(lambda name: name not in ("sub", "jti")), VALUES, max_size=6)
OPTIONS: Any = {"verify_exp": False, "verify_iat": False, "verify_nbf": False, "verify_aud": False, "verify_iss": False}


def ours(token: str) -> dict[str, Any] | None:
    try:
        return jws.read(token).verify(KEY.public_key())
    except (jws.NotAToken, jws.BadSignature):
        return None


def theirs(token: str) -> dict[str, Any] | None:
    try:
        claims: dict[str, Any] = jwt.decode(token, KEY.public_key(), algorithms=["EdDSA"], options=OPTIONS)
    except (jwt.PyJWTError, UnicodeError):
        return None
    return claims


def part(data: bytes) -> str:
    return urlsafe_b64encode(data).decode().rstrip("=")


def signed(header: bytes | dict[str, Any], body: bytes, key: Ed25519PrivateKey = KEY) -> str:
    """A token whose parts are whatever is given, with a good signature."""
    said = f"{part(header if isinstance(header, bytes) else json.dumps(header).encode())}.{part(body)}"
    return f"{said}.{part(key.sign(said.encode()))}"


@given(CLAIMS)
def test_what_we_make_anybody_can_read(claims: dict[str, Any]) -> None:
    token = jws.sign(HEADER, claims, KEY)
    assert ours(token) == claims == theirs(token)
    assert jws.read(token).key_id == "k1" == jwt.get_unverified_header(token)["kid"]
    assert jwt.get_unverified_header(token) == PLAIN


@given(CLAIMS)
def test_what_others_make_with_the_same_header_is_read(claims: dict[str, Any]) -> None:
    assert ours(jwt.encode(claims, KEY, "EdDSA", {"kid": "k1"})) == claims
    assert ours(signed(dict(reversed(PLAIN.items())), json.dumps(claims, indent=2).encode())) == claims


@settings(max_examples=400)
@given(CLAIMS, st.data())
def test_nothing_that_was_changed_is_accepted_by_either(claims: dict[str, Any], data: st.DataObject) -> None:
    good = jws.sign(HEADER, claims, KEY)
    letters = st.sampled_from("ABCwxyz019-_+/=.! \n\u00e9\0")
    at = data.draw(st.integers(0, len(good)))
    bad = data.draw(
        st.sampled_from([good[:at] + letter + good[at + 1 :] for letter in [data.draw(letters)]])
        | st.just(good[:at])
        | st.just(good[at:])
        | letters.map(lambda letter: good[:at] + letter + good[at:])
    )
    if bad == good:
        return
    assert ours(bad) is None
    # PyJWT lets the padding stand that no JWS has.
    assert theirs(bad) is None or "=" in bad


JUNK = ["EdDSA", "Ed25519", "none", "HS256", "JWT", "jwt", "k1", "", ["b64"], [], False, True, None, 1]


@settings(max_examples=200)
@given(
    st.dictionaries(
        st.sampled_from(["alg", "kid", "typ", "crit", "b64", "jwk", "cty", "zip"]), st.sampled_from(JUNK), max_size=2
    ),
    st.sets(st.sampled_from(list(PLAIN)), max_size=1),
)
def test_a_header_says_these_three_things_and_no_other(change: dict[str, Any], without: set[str]) -> None:
    header = {name: value for name, value in (PLAIN | change).items() if name not in without}
    token = signed(header, b"{}")
    good = header == {**PLAIN, "kid": header.get("kid")} and isinstance(header["kid"], str)
    assert (ours(token) is not None) == good
    assert not good or theirs(token) is not None


@pytest.mark.parametrize(
    ("header", "body"),
    [
        (b'{"alg":"none","alg":"EdDSA","kid":"k1","typ":"JWT"}', b"{}"),
        (b'{"alg":"EdDSA","kid":"k2","kid":"k1","typ":"JWT"}', b"{}"),
        (PLAIN, b'{"exp":1,"exp":2}'),
        (PLAIN, b'{"facts":{"asked":false,"asked":true}}'),
        (PLAIN, b'{"exp":NaN}'),
        (PLAIN, b'{"exp":Infinity}'),
        (PLAIN, b"[]"),
        (PLAIN, b"{"),
        (PLAIN, b""),
        (PLAIN, "{}".encode("utf-16")),
        (PLAIN, b"\xef\xbb\xbf{}"),
        (PLAIN, b'{"a":"\xff"}'),
        (PLAIN, b"[" * 5_000),
        (PLAIN, b'{"exp":' + b"9" * 5_000 + b"}"),
        ([], b"{}"),
    ],
)
def test_a_signed_token_that_can_be_read_in_two_ways_is_none(header: Any, body: bytes) -> None:
    assert ours(signed(header, body)) is None


def test_another_key_or_algorithm_does_not_sign_for_ours() -> None:
    assert ours(signed(PLAIN, b"{}", Ed25519PrivateKey.generate())) is None
    public = KEY.public_key().public_bytes_raw()
    assert ours(jwt.encode({}, public, "HS256", {"kid": "k1"})) is None
    assert ours(jwt.encode({}, "", "none", {"kid": "k1"})) is None
    assert ours(signed(PLAIN, b"{}").rpartition(".")[0] + ".") is None


def test_a_token_has_one_spelling() -> None:
    good = signed(PLAIN, b'{"a":1}')
    header, body, signature = good.split(".")
    assert ours(good) == {"a": 1}
    for spelt in (
        f"{header}=.{body}.{signature}",
        f"{header}.{body}.{signature}==",
        f"{header}.{body}\n.{signature}",
        f" {good}",
        f"{good}.",
        f".{good}",
        f"{header}..{body}.{signature}",
        signature[-1] and f"{header}.{body}.{signature[:-1]}{chr(ord(signature[-1]) + 1)}",
    ):
        assert ours(spelt) is None


def test_one_that_is_far_too_long_is_not_looked_at() -> None:
    assert ours(signed(PLAIN, json.dumps({"a": "x" * jws.MAX_BYTES}).encode())) is None
