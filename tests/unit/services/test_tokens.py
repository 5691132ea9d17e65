"""Good tokens pass; forged, expired and misdirected ones do not, each with its own error."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from horde.services.tokens import (
    KeyRing,
    PublicKey,
    Signer,
    TokenError,
    TokenExpired,
    TokenForged,
    TokenMalformed,
    TokenWrongAudience,
    Verifier,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
SIGNER = Signer("k1", Ed25519PrivateKey.generate(), "gate")
VERIFIER = Verifier({"k1": SIGNER.public_key()})


def token(**claims: Any) -> str:
    return SIGNER.sign("store", claims, MINUTE, NOW)


def test_a_good_token_says_what_was_put_in() -> None:
    claims = VERIFIER.verify(token(seat="12A"), "store", "gate", NOW + timedelta(seconds=59))
    assert claims["seat"] == "12A"
    assert claims["exp"] - claims["iat"] == 60


def test_claims_cannot_replace_what_the_signer_says() -> None:
    forged = token(iss="somebody", aud="other", exp=9999999999)
    assert VERIFIER.verify(forged, "store", "gate", NOW)["iss"] == "gate"


def test_its_time_ends_sharply_but_for_the_leeway() -> None:
    with pytest.raises(TokenExpired):
        VERIFIER.verify(token(), "store", "gate", NOW + MINUTE)
    assert VERIFIER.verify(token(), "store", "gate", NOW + MINUTE, leeway=timedelta(seconds=1))


def test_it_is_for_one_audience() -> None:
    with pytest.raises(TokenWrongAudience):
        VERIFIER.verify(token(), "elsewhere", "gate", NOW)


def test_only_an_issuer_that_is_asked_for_counts() -> None:
    with pytest.raises(TokenWrongAudience):
        VERIFIER.verify(token(), "store", ["planner", "ledger"], NOW)


def test_one_issuers_key_cannot_speak_for_another() -> None:
    key = Ed25519PrivateKey.generate()
    liar = Signer("k2", key, "gate")
    verifier = Verifier({"k2": PublicKey(key.public_key(), "planner")})
    with pytest.raises(TokenForged):
        verifier.verify(liar.sign("store", {}, MINUTE, NOW), "store", ["gate", "planner"], NOW)


def test_an_unknown_or_a_wrong_key_is_a_forgery() -> None:
    other = Signer("k9", Ed25519PrivateKey.generate(), "gate")
    with pytest.raises(TokenForged):
        VERIFIER.verify(other.sign("store", {}, MINUTE, NOW), "store", "gate", NOW)
    same_name = Signer("k1", Ed25519PrivateKey.generate(), "gate")
    with pytest.raises(TokenForged):
        VERIFIER.verify(same_name.sign("store", {}, MINUTE, NOW), "store", "gate", NOW)


def test_a_retired_key_is_believed_no_longer() -> None:
    verifier = Verifier({"k1": PublicKey(SIGNER.public_key().key, "gate", NOW + timedelta(seconds=30))})
    assert verifier.verify(token(), "store", "gate", NOW)
    with pytest.raises(TokenForged):
        verifier.verify(token(), "store", "gate", NOW + timedelta(seconds=30))


@pytest.mark.parametrize("algorithm", ["none", "HS256"])
def test_another_algorithm_is_not_accepted(algorithm: str) -> None:
    claims = {"iss": "gate", "aud": "store", "iat": 0, "exp": 9999999999}
    secret = "" if algorithm == "none" else SIGNER.public_key().key.public_bytes_raw()
    bad = jwt.encode(claims, secret, algorithm=algorithm, headers={"kid": "k1"})
    with pytest.raises(TokenMalformed):
        VERIFIER.verify(bad, "store", "gate", NOW)


@pytest.mark.parametrize("missing", ["iss", "aud", "iat", "exp"])
def test_a_token_must_say_who_to_whom_and_until_when(missing: str) -> None:
    key: Any = SIGNER._key
    claims = {"iss": "gate", "aud": "store", "iat": 0, "exp": 9999999999}
    del claims[missing]
    with pytest.raises(TokenMalformed):
        VERIFIER.verify(jwt.encode(claims, key, "EdDSA", {"kid": "k1"}), "store", "gate", NOW)


@settings(max_examples=150)
@given(st.text() | st.from_regex(r"[\w-]*\.[\w-]*\.[\w-]*", fullmatch=True))
def test_junk_is_refused_and_never_breaks(junk: str) -> None:
    with pytest.raises(TokenError):
        VERIFIER.verify(junk, "store", "gate", NOW)


@settings(max_examples=100)
@given(st.data())
def test_no_changed_byte_goes_unnoticed(data: st.DataObject) -> None:
    good = token(seat="12A")
    index = data.draw(st.integers(0, len(good) - 2))  # the very last digit has bits that mean nothing
    letter = data.draw(st.sampled_from("ABCxyz019-_").filter(lambda each: each != good[index]))
    with pytest.raises(TokenError):
        VERIFIER.verify(good[:index] + letter + good[index + 1 :], "store", "gate", NOW)


def test_a_key_is_made_once_for_its_owners_eyes_and_published(tmp_path: Path) -> None:
    first = Signer.from_file(tmp_path / "private.pem", "gate", tmp_path / "public")
    again = Signer.from_file(tmp_path / "private.pem", "gate", tmp_path / "public")
    assert first.key_id == again.key_id
    assert (tmp_path / "private.pem").stat().st_mode & 0o777 == 0o600
    (published,) = (tmp_path / "public").glob("*.json")
    assert json.loads(published.read_text())["crv"] == "Ed25519"
    assert "d" not in json.loads(published.read_text())


def test_a_private_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    Signer.from_file(tmp_path / "private.pem", "gate")
    (tmp_path / "private.pem").chmod(0o644)
    with pytest.raises(PermissionError):
        Signer.from_file(tmp_path / "private.pem", "gate")


def test_keys_rotate_by_overlap(tmp_path: Path) -> None:
    elapsed = 0.0
    old = Signer.from_file(tmp_path / "old.pem", "gate", tmp_path / "public")
    verifier = Verifier(KeyRing(tmp_path / "public", lambda: elapsed))
    early = old.sign("store", {}, MINUTE, NOW)
    assert verifier.verify(early, "store", "gate", NOW)
    new = Signer.from_file(tmp_path / "new.pem", "gate", tmp_path / "public")
    late = new.sign("store", {}, MINUTE, NOW)
    with pytest.raises(TokenForged):
        verifier.verify(late, "store", "gate", NOW)  # looked a moment ago: junk must not make it look again and again
    elapsed = 5.0
    assert verifier.verify(late, "store", "gate", NOW)
    assert verifier.verify(early, "store", "gate", NOW)


def _half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:20])


def _another_kind(path: Path) -> None:
    path.write_text('{"kty": "oct", "k": "AA"}')


def _nothing_there(path: Path) -> None:
    path.unlink()
    path.symlink_to("nowhere")


def _no_object(path: Path) -> None:
    path.write_text("[]")


def _nothing_in_it(path: Path) -> None:
    path.write_text("")


@pytest.mark.parametrize("spoil", [_half, _another_kind, _nothing_there, _no_object, _nothing_in_it])
def test_a_file_that_is_no_key_spoils_no_other_and_a_known_key_stays(
    tmp_path: Path, spoil: Callable[[Path], None]
) -> None:
    elapsed = 0.0
    public = tmp_path / "public"
    known = Signer.from_file(tmp_path / "known.pem", "gate", public)
    (path,) = public.iterdir()
    ring = KeyRing(public, lambda: elapsed)
    assert [key_id for key_id, _ in ring.items()] == [path.stem]
    (public / "zz.json").write_bytes(path.read_bytes())
    for file in (path, public / "zz.json"):
        spoil(file)
    elapsed = 61.0
    assert [key_id for key_id, _ in ring.items()] == [path.stem]
    assert Verifier(ring).verify(known.sign("store", {}, MINUTE, NOW), "store", "gate", NOW)
