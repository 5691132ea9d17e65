"""API keys and the `authorization` metadata."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from horde.gateway.core.credentials import (
    AnonymousCredential,
    Peppers,
    new_api_key,
    parse_api_key,
    parse_authorization,
    parse_peppers,
)
from horde.gateway.core.errors import CredentialsMalformed, CredentialsMissing
from horde.gateway.store.secret_files import load_operator_key, load_peppers


@settings(deadline=None)
@given(st.integers(0, 62**22 - 1))
def test_a_key_reads_back(secret: int) -> None:
    key = new_api_key(lambda below: secret)
    assert parse_api_key(key.text()) == key
    assert parse_authorization([f"Bearer {key.text()}"]) == key
    assert len(key.text()) == 22


def test_what_names_a_key_is_what_the_contract_says() -> None:
    number = int.from_bytes(hashlib.sha256(b"0123456789abcdefABCDEF").digest(), "big")
    digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
    expected = "".join(digits[number // 62**place % 62] for place in range(16))
    assert parse_api_key("0123456789abcdefABCDEF").api_key_id == expected


def test_a_key_that_was_drawn_looks_so() -> None:
    assert all(new_api_key().random_looking for _ in range(1000))
    assert not parse_api_key("a" * 22).random_looking


def test_a_secret_is_not_printed() -> None:
    key = new_api_key()
    assert key.secret not in repr(key)


def test_keys_differ() -> None:
    assert len({new_api_key().text() for _ in range(100)}) == 100


def test_anonymous_is_the_digest_of_the_tokens_bytes() -> None:
    token = bytes(range(16))
    for text in (token.hex(), token.hex().upper()):
        assert parse_authorization([f"Anonymous {text}"]) == AnonymousCredential(hashlib.sha256(token).digest())


@pytest.mark.parametrize(
    ("values", "error"),
    [
        ([], CredentialsMissing),
        (["Anonymous " + "0" * 32, "Anonymous " + "0" * 32], CredentialsMalformed),
        ([b"Anonymous"], CredentialsMalformed),
        (["Anonymous " + "0" * 31], CredentialsMalformed),
        (["Anonymous  " + "0" * 32], CredentialsMalformed),
        (["Anonymous " + "0" * 32 + "\n"], CredentialsMalformed),
        (["Anonymous " + "٠" * 32], CredentialsMalformed),
        (["Bearer " + "x" * 300], CredentialsMalformed),
    ],
)
def test_other_forms_are_refused(values: list[str | bytes], error: type[Exception]) -> None:
    with pytest.raises(error):
        parse_authorization(values)


def test_peppers_are_rotated_by_overlap() -> None:
    old, new = bytes(32), bytes([1]) * 32
    key = new_api_key()
    before, during, after = Peppers([old]), Peppers([new, old]), Peppers([new])
    digest = before.digest(key)
    assert before.current_id != after.current_id == during.current_id
    assert during.matches(key, before.current_id, digest)
    assert not after.matches(key, before.current_id, digest)
    assert after.matches(key, during.current_id, during.digest(key))
    assert not during.matches(key, during.current_id, digest)
    assert not during.matches(new_api_key(), before.current_id, digest)
    assert parse_peppers(f"{new.hex()}\n{old.hex()}\n").current_id == during.current_id


@pytest.mark.parametrize("text", ["", "00", "zz" * 32])
def test_a_bad_pepper_file_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        parse_peppers(text)


def test_secrets_are_made_once_and_for_this_user_alone(tmp_path: Path) -> None:
    path = tmp_path / "sub" / "operator.key"
    key = load_operator_key(path)
    assert load_operator_key(path) == key
    assert path.stat().st_mode & 0o777 == 0o600
    assert load_peppers(tmp_path / "pepper").current_id == load_peppers(tmp_path / "pepper").current_id
    path.chmod(0o644)
    with pytest.raises(PermissionError):
        load_operator_key(path)
    assert [each.name for each in path.parent.iterdir()] == ["operator.key"]
