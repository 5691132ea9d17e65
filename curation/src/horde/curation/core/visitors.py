"""For whom the gateway asks."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import Enum

from horde.curation.core.images import digest_requester

ANONYMOUS = "anonymous"
"""The id of the account that all anonymous share."""


class Role(Enum):
    """What an account may do beyond asking, lending and owning."""

    MODERATOR = "MODERATOR"
    OPERATOR = "OPERATOR"


def digest_reporter(identity: str, shared_key_id: str = "") -> str:
    """What is kept of who reported something: the same for the same key holder, and no name."""
    return hashlib.sha256(f"reporter {identity} {shared_key_id}".encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Visitor:
    """Somebody who was let in by the gateway."""

    account_id: str
    identity: str
    """The text form of the requester identity, without the shared key: whose the images are."""
    shared_key_id: str = ""
    """With which of the account's shared keys; empty: with one of its own."""
    roles: frozenset[Role] = frozenset()
    network: str = ""
    """Tells networks apart for a day; empty: not known."""

    @property
    def anonymous(self) -> bool:
        return self.account_id == ANONYMOUS

    @property
    def digest(self) -> str:
        """What records of images say of this requester."""
        return digest_requester(self.identity)

    @property
    def reporter(self) -> str:
        """See `digest_reporter`."""
        return digest_reporter(self.identity, self.shared_key_id)
