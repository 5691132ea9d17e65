"""What the gateway keeps: identity, and nothing else. The port; see `store_memory.py` and `store_sql.py`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

from horde.gateway.core.identities import Account, ApiKey


class IdentityStore(Protocol):
    """Accounts and API keys. Each method is one transaction, and durable when it answers.

    Any method may raise Unavailable (repeat later) or Aborted (repeat now) of `horde.services.errors`.
    """

    async def create_account(self, account: Account, key: ApiKey) -> tuple[Account, bool]:
        """Keep a new account with its first key. Where its request_id is known: that account, False, nothing kept."""

    async def ensure_account(self, account: Account, key: ApiKey) -> None:
        """Keep an account and a key where their ids are not yet known; a known one is left as it is."""

    async def account(self, account_id: str) -> Account | None:
        """The account of this id."""

    async def key(self, api_key_id: str) -> tuple[ApiKey, Account] | None:
        """A key, revoked or not, and whose it is."""

    async def keys(self, account_id: str) -> Sequence[ApiKey]:
        """All keys of an account, oldest first."""

    async def create_key(self, key: ApiKey) -> tuple[ApiKey, bool]:
        """Keep a new key. Where its request_id is known of this account: that key, False. Raises TooManyApiKeys."""

    async def revoke_key(self, account_id: str, api_key_id: str) -> ApiKey | None:
        """Make a key useless; None if the account has no such key."""

    async def touch_keys(self, used: Mapping[str, datetime]) -> None:
        """Remember when keys were last used; never moves back."""

    async def unopened(self, limit: int) -> Sequence[Account]:
        """Accounts that the ledger was not yet told of, oldest first."""

    async def mark_opened(self, account_ids: Sequence[str]) -> None:
        """The ledger knows these accounts."""
