"""Secrets as they are kept: sealed with a key that does not lie in the database.

A file holds the keys, 32 bytes in hexadecimal a line: the first seals, all open. So a key is changed by a new first
line; at the next start what was sealed with another one is sealed anew, and the old line may go.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from horde.services.identity import create_key_file, read_private
from horde.services.lifecycle import CannotStart
from horde.webhooks.core.signing import MOST_BYTES

KEY_BYTES = 32


class NotOpened(CannotStart):
    """A secret was sealed with a key that is not here any more."""


class Seals:
    """Seals and opens secrets."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        """`keys`: of 32 bytes, the one that seals first."""
        fernets = [Fernet(base64.urlsafe_b64encode(key)) for key in keys]
        self._newest = fernets[0]
        self._all = MultiFernet(fernets)

    def seal(self, secret: bytes) -> bytes:
        """The secret as it is kept."""
        return self._all.encrypt(secret)

    def open(self, kept: bytes) -> bytes:
        """The secret of what is kept. Raises NotOpened."""
        try:
            return self._all.decrypt(kept)
        except InvalidToken:
            raise NotOpened("a webhook's secret was sealed with a key that is not in the file of keys") from None

    def renewed(self, kept: bytes) -> bytes:
        """What is kept, under the newest key; also what was kept before anything was sealed. Raises NotOpened."""
        # No secret is longer, and nothing that is sealed is as short.
        if len(kept) <= MOST_BYTES:
            return self.seal(kept) if kept else b""
        try:
            self._newest.decrypt(kept)
        except InvalidToken:
            return self.seal(self.open(kept))
        return kept


def load_seals(path: Path) -> Seals:
    """The seals of a file, which is made where there is none. Raises CannotStart, NotPrivate."""
    if not path.exists():
        create_key_file(path)
    try:
        keys = [bytes.fromhex(line) for line in read_private(path).decode().split()]
    except ValueError:
        keys = []
    if not keys or {len(key) for key in keys} != {KEY_BYTES}:
        raise CannotStart(f"{path} must hold keys of {KEY_BYTES} bytes in hexadecimal, one a line")
    return Seals(keys)
