"""What is sealed for one key nobody else reads, and it looks different each time."""

from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from horde.services.sealing import seal, unseal

seeds = st.binary(min_size=32, max_size=32)


@settings(max_examples=50, deadline=None)
@given(seeds, st.binary(max_size=100), st.binary(max_size=50))
def test_who_has_the_key_reads_what_was_sealed(seed: bytes, words: bytes, about: bytes) -> None:
    key = Ed25519PrivateKey.from_private_bytes(seed)
    assert unseal(seal(words, key.public_key(), about), key, about) == words


def test_two_that_say_the_same_have_nothing_in_common() -> None:
    key = Ed25519PrivateKey.generate().public_key()
    first, second = (base64.urlsafe_b64decode(seal(b"anna", key, b"")) for _ in range(2))
    assert sum(a == b for a, b in zip(first, second, strict=True)) < len(first) // 2


@pytest.mark.parametrize("change", ["key", "about", "a byte", "cut", "empty", "no base64"])
def test_what_is_for_another_or_was_changed_is_refused(change: str) -> None:
    key, other = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    sealed = seal(b"anna", key.public_key(), b"lease 1")
    changed = bytearray(base64.urlsafe_b64decode(sealed))
    changed[40] ^= 1
    read, about = {
        "key": (sealed, b"lease 1"),
        "about": (sealed, b"lease 2"),
        "a byte": (base64.urlsafe_b64encode(changed).decode(), b"lease 1"),
        "cut": (sealed[:-8], b"lease 1"),
        "empty": ("", b"lease 1"),
        "no base64": ("ü" * 80, b"lease 1"),
    }[change]
    with pytest.raises(ValueError, match="not sealed"):
        unseal(read, other if change == "key" else key, about)
