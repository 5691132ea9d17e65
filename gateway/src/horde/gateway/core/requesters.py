"""Who asks: the requester identity, and the ids that follow from it.

Every id is fixed before anything is sent, so that every step of a generation's life can be repeated by anybody.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from uuid import UUID, uuid5

NAMESPACE = UUID("6f1a3a1e-2d0c-5c6e-9b57-0b6c8f6d4a11")
"""The contract's, of `horde/api/job/v1/job.proto`."""
ANONYMOUS = "anonymous"
"""The id of the account that all anonymous share."""


class Scope(Enum):
    """What an API key may be used for."""

    GENERATE = "GENERATE"
    WORK = "WORK"
    MANAGE = "MANAGE"


class Role(Enum):
    """What an account may do beyond asking, lending and owning."""

    MODERATOR = "MODERATOR"
    OPERATOR = "OPERATOR"


@dataclass(frozen=True, slots=True)
class Requester:
    """The account; for anonymous also the SHA-256 of the token that the client made and keeps."""

    account_id: str
    anonymous_digest: bytes = b""

    @property
    def anonymous(self) -> bool:
        return self.account_id == ANONYMOUS

    def __str__(self) -> str:
        """The text form, which ids and tickets are made from."""
        return f"{ANONYMOUS}:{self.anonymous_digest.hex()}" if self.anonymous else self.account_id


@dataclass(frozen=True, slots=True)
class Principal:
    """A caller who proved who it is: whose requests these are, and what they may be. Anonymous may GENERATE alone.

    Who came with a shared key asks in the name of its account (`requester`) and sees only what that key asked for. Who
    came with a pass may do what its generation's requester may, with that generation (`pass_of`) alone.
    `api_key_id` is the id of the key that it came with, of either kind.
    """

    requester: Requester
    api_key_id: str = ""
    scopes: frozenset[Scope] = frozenset({Scope.GENERATE})
    roles: frozenset[Role] = frozenset()
    shared_key_id: str = ""
    closed: bool = False
    """The account was ended: it may ask what became of it, and nothing else."""
    pass_of: str = ""

    def __str__(self) -> str:
        """The text form of the requester identity, with the shared key; ids are made from it."""
        return f"{self.requester}:{self.shared_key_id}" if self.shared_key_id else str(self.requester)

    @property
    def anonymous(self) -> bool:
        return self.requester.anonymous

    @property
    def account_id(self) -> str:
        return self.requester.account_id


def generation_id(requester: Requester | Principal, request_id: str) -> str:
    """The id of what this requester asks for under this request_id."""
    return str(uuid5(NAMESPACE, f"{requester}/{request_id}"))


def opening_event_id(account_id: str) -> str:
    """The ledger's event that makes an account known."""
    return str(uuid5(UUID(account_id), "open"))


def transfer_event_id(sender_account_id: str, request_id: str) -> str:
    """The ledger's event of a gift or an award."""
    return str(uuid5(UUID(sender_account_id), request_id))
