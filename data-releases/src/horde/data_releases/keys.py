"""The operator's two secrets: the key that releases are signed with, and the one behind the pseudonyms."""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

SECRET_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class Keys:
    """Both."""

    signing: Ed25519PrivateKey
    pseudonyms: bytes


def load_signing_key(path: Path) -> Ed25519PrivateKey:
    """The key in this file, which is made where there is none. Raises ValueError if it is another kind of key."""
    fresh = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    key = load_pem_private_key(_read_or_make(path, fresh), None)
    if not isinstance(key, Ed25519PrivateKey):
        raise ValueError(f"{path} holds no Ed25519 key")
    return key


def load_pseudonym_key(path: Path) -> bytes:
    """The secret in this file, which is made where there is none."""
    return _read_or_make(path, secrets.token_bytes(SECRET_BYTES))


def public_pem(key: Ed25519PrivateKey) -> bytes:
    """The public half, for whoever verifies."""
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def is_signed(data: bytes, signature: bytes, pem: bytes) -> bool:
    """Whether this key has signed these bytes."""
    key = load_pem_public_key(pem)
    if not isinstance(key, Ed25519PublicKey):
        return False
    try:
        key.verify(signature, data)
    except InvalidSignature:
        return False
    return True


def _read_or_make(path: Path, fresh: bytes) -> bytes:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path.read_bytes()
    with os.fdopen(handle, "wb") as opened:
        opened.write(fresh)
    return fresh
