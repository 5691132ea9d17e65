"""The values that identity is made of: accounts and API keys as they are kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from horde.gateway.core.requesters import Role, Scope

MAX_API_KEYS = 32
"""Of one account, revoked ones not counted."""
MAX_CONTACT_CHARACTERS = 256
MAX_REVOKED_KEYS = 32
"""As many revoked ones are remembered; with a new key, those made before them are forgotten.

Never those that no request made: the operator's key is a file, and a start must not bring back a revoked one.
"""


@dataclass(frozen=True, slots=True)
class Account:
    """Somebody with kudos and keys. `request_id` is that of the call that made it; empty for the operator's.

    `asked_name` is the display name of that call, where it was changed since.
    """

    account_id: str
    display_name: str
    created_at: datetime
    roles: frozenset[Role] = frozenset()
    request_id: str = ""
    public: bool = False
    contact: str = ""
    asked_name: str = ""


NUMBER_DIGITS = 12


def number_of(account_id: str) -> int:
    """The number of an account, for programs that tell people by one: its id's first 48 bits, which are random."""
    return int(account_id.replace("-", "")[:NUMBER_DIGITS], 16)


def beginning_of(number: int) -> str:
    """How the id of an account with this number begins; empty for what is no number of any."""
    digits = f"{number:0{NUMBER_DIGITS}x}"
    return f"{digits[:8]}-{digits[8:]}-" if len(digits) == NUMBER_DIGITS else ""


@dataclass(frozen=True, slots=True)
class ApiKey:
    """One key, without its secret: `digest` is what a shown key must match, under the pepper named."""

    api_key_id: str
    account_id: str
    label: str
    scopes: frozenset[Scope]
    digest: bytes
    pepper_id: str
    created_at: datetime
    last_used_at: datetime | None = None
    revoked: bool = False
    request_id: str = ""


def forgettable(own: Sequence[ApiKey]) -> Sequence[ApiKey]:
    """The keys that an account, which has these, oldest first, need not remember."""
    return [key for key in own if key.revoked and key.request_id][:-MAX_REVOKED_KEYS]
