"""Names that tell one from another within a release, and nobody across two: keyed hashes, a key for each release."""

from __future__ import annotations

import hashlib
import hmac
from typing import Final

LENGTH: Final = 16
"""Hexadecimal digits of a pseudonym."""


class Pseudonyms:
    """Of one release. The key of the operator must stay secret: who has it can try out identities."""

    def __init__(self, key: bytes, release_id: str) -> None:
        self._key = hmac.digest(key, f"release {release_id}".encode(), "sha256")

    def of(self, kind: str, identity: str | None) -> str | None:
        """The pseudonym of a requester or a worker, if it is known who it was."""
        if identity is None:
            return None
        return hmac.new(self._key, f"{kind} {identity}".encode(), hashlib.sha256).hexdigest()[:LENGTH]
