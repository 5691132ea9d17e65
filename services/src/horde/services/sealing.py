"""Sealing a few words for a service: who carries them cannot read them, nor tell two that say the same from others.

The keys that services sign with are all that they know of each other, so they serve here, too: the same point of the
curve in other coordinates is a key to agree on secrets with (RFC 7748, 4.1). Each sealing draws a key of its own.
"""

from __future__ import annotations

import base64
import binascii
import hashlib

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

_PRIME = 2**255 - 19
_KEY_BYTES = 32
_ONCE = bytes(12)
"""The nonce: each key is used once."""


def seal(words: bytes, key: Ed25519PublicKey, about: bytes) -> str:
    """Words that only who has the private half of `key` can read, and only where they are `about` the same."""
    drawn, reader = X25519PrivateKey.generate(), _agreeing(key)
    mine, theirs = drawn.public_key().public_bytes_raw(), reader.public_bytes_raw()
    sealed = ChaCha20Poly1305(_derived(drawn.exchange(reader), mine + theirs)).encrypt(_ONCE, words, about)
    return base64.urlsafe_b64encode(mine + sealed).decode()


def unseal(sealed: str, key: Ed25519PrivateKey, about: bytes) -> bytes:
    """What was sealed; raises ValueError where it was for another key, or about something else."""
    reader = X25519PrivateKey.from_private_bytes(hashlib.sha512(key.private_bytes_raw()).digest()[:_KEY_BYTES])
    try:
        raw = base64.b64decode(sealed.encode(), altchars=b"-_", validate=True)
        mine, rest = raw[:_KEY_BYTES], raw[_KEY_BYTES:]
        shared = reader.exchange(X25519PublicKey.from_public_bytes(mine))
        return ChaCha20Poly1305(_derived(shared, mine + reader.public_key().public_bytes_raw())).decrypt(
            _ONCE, rest, about
        )
    except (binascii.Error, InvalidTag, ValueError) as error:
        raise ValueError("These words were not sealed for this key, or not about this.") from error


def _agreeing(key: Ed25519PublicKey) -> X25519PublicKey:
    """The same point in the coordinates in which secrets are agreed on: u = (1 + y) / (1 - y)."""
    y = int.from_bytes(key.public_bytes_raw(), "little") & (2**255 - 1)
    u = (1 + y) * pow(1 - y, -1, _PRIME) % _PRIME
    return X25519PublicKey.from_public_bytes(u.to_bytes(_KEY_BYTES, "little"))


def _derived(shared: bytes, context: bytes) -> bytes:
    return HKDF(SHA256(), _KEY_BYTES, salt=None, info=b"horde seal " + context).derive(shared)
