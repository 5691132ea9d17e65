"""Permission to fetch bytes at the storage router: of shared images, and of files of data releases."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from horde.curation.core.images import SharedImage
from horde.services.clock import Clock
from horde.services.tokens import Signer

AUDIENCE: Final = "storage-router"
LIFETIME: Final = timedelta(minutes=15)


@dataclass(frozen=True, slots=True)
class Ticket:
    """A way to some bytes."""

    address: str
    """Where the storage router is."""
    token: str
    expires_in: timedelta


class Tickets:
    """Makes tickets. `address` is where the storage router is reached from outside."""

    def __init__(self, signer: Signer, clock: Clock, address: str) -> None:
        self._signer = signer
        self._clock = clock
        self._address = address

    def image(self, image: SharedImage, *, reviewing: bool = False) -> Ticket:
        """For a shared image; `reviewing`: also while it is withheld."""
        claims = {
            "act": "get_shared",
            "job_id": image.image_id,
            "sha256": image.sha256,
            "reviewing": reviewing,
        }
        return self._ticket(claims)

    def release_file(self, key: str, size_bytes: int, sha256: str) -> Ticket:
        """For a file of a finished release, by its key in the bucket of releases; `sha256` may be empty."""
        claims = {"act": "get_release_file", "key": key, "size_bytes": size_bytes, "file_sha256": sha256}
        return self._ticket(claims)

    def _ticket(self, claims: dict[str, object]) -> Ticket:
        token = self._signer.sign(AUDIENCE, claims, LIFETIME, self._clock.now())
        return Ticket(self._address, token, LIFETIME)
