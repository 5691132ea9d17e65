"""Passes: a secret for each generation that opens it and nothing else, from which nothing has to be kept.

A pass is the generation's id under a secret permutation, so it is found by turning it back. Workers see generations'
ids; without the key nobody gets from one to its pass. Both are UUIDs with 122 bits of their own, of version 5 and of
version 4: the block cipher is applied again until a UUID of version 4 comes out (64 times on average, some tens of
microseconds), which is a permutation of those.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext, algorithms, modes

KEY_BYTES = 32


class Passes:
    """Makes and opens passes. The first key is in use, the others open what was made before."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        if not keys or any(len(key) != KEY_BYTES for key in keys):
            raise ValueError(f"a key of passes is {KEY_BYTES} bytes, and there is at least one")
        # One block is all there is, and never the same one for two ids: what ECB is bad at does not arise.
        ciphers = [Cipher(algorithms.AES(key), modes.ECB()) for key in keys]  # noqa: S305
        self._make = ciphers[0].encryptor()
        self._open = [cipher.decryptor() for cipher in ciphers]

    def pass_of(self, generation_id: str) -> str:
        """The pass of a generation."""
        return str(UUID(bytes=_walk(self._make, _version(UUID(generation_id), 4))))

    def candidates(self, pass_id: UUID) -> list[str]:
        """The ids of generations that this may be the pass of: one for each key, the newest first."""
        if not _is_version_4(pass_id.bytes):
            return []
        return [str(UUID(bytes=_version(UUID(bytes=_walk(opened, pass_id.bytes)), 5))) for opened in self._open]


def parse_pass_keys(text: str) -> Passes:
    """Read a key file: one key a line, in hex, the one in use first."""
    return Passes([bytes.fromhex(line) for line in text.split()])


def _walk(cipher: CipherContext, block: bytes) -> bytes:
    while True:
        block = cipher.update(block)
        if _is_version_4(block):
            return block


def _is_version_4(block: bytes) -> bool:
    return block[6] >> 4 == 4 and block[8] >> 6 == 2


def _version(uuid: UUID, version: int) -> bytes:
    return uuid.bytes[:6] + bytes([version << 4 | uuid.bytes[6] & 15]) + uuid.bytes[7:]
