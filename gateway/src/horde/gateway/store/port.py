"""What the gateway keeps: identity, and nothing else. The port; see `store_memory.py` and `store_sql.py`."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

from horde.gateway.core.allowance import Reservation, SharedKey
from horde.gateway.core.closing import Closing
from horde.gateway.core.decisions import Decision
from horde.gateway.core.identities import Account, ApiKey
from horde.gateway.core.prompt_filters import PromptFilter
from horde.gateway.core.requesters import Role
from horde.gateway.core.restrictions import Restriction


class SharedKeyStore(Protocol):
    """Shared keys, and what was reserved of their budgets. As IdentityStore."""

    async def shared_key(self, shared_key_id: str) -> SharedKey | None:
        """A shared key, revoked or not, with what it has spent and holds."""

    async def shared_keys(self, account_id: str) -> Sequence[SharedKey]:
        """All shared keys of an account, newest first."""

    async def create_shared_key(self, key: SharedKey) -> tuple[SharedKey, bool]:
        """Keep a new one. Where its request_id is known of this account: that key, False. Raises TooManyApiKeys."""

    async def change_shared_key(
        self, account_id: str, shared_key_id: str, changes: Mapping[str, Any]
    ) -> SharedKey | None:
        """Change fields of one (`label`, `budget_mkudos`, `expires_at`, `bounds`, `revoked`); None if it has none."""

    async def reserve(self, asked: Reservation) -> bool:
        """Set kudos of a key's budget aside for a generation; whether it had none before. The stamp is renewed.

        What has ended stays as it is; what is open keeps the larger amount, and must fit as one that is new.
        Raises SharedKeyBudgetSpent and SharedKeyBound (of the open generations), and then changes nothing.
        """

    async def release(self, generation_id: str, stamp: str) -> None:
        """Forget a reservation that is open and of this stamp: its generation never came to be."""

    async def settle(self, generation_id: str, spent_mkudos: int) -> None:
        """End an open reservation: what its generation cost is spent. One that has ended stays as it is."""

    async def reservation(self, generation_id: str) -> Reservation | None:
        """That of a generation: with which shared key it was asked for."""

    async def open_reservations(self, after: str, limit: int, shared_key_id: str = "") -> Sequence[Reservation]:
        """Those that have not ended, of one key or of all, by generation_id, after this one."""

    async def reservations(
        self, shared_key_id: str, limit: int, before: Reservation | None = None
    ) -> Sequence[Reservation]:
        """A key's, newest first, before this one."""

    async def forget_reservations(self, before: datetime) -> None:
        """Forget those that ended and were last reserved before then."""


class RulingStore(Protocol):
    """What people who run the horde decided, each with the record of it. As IdentityStore."""

    async def restrict(self, restriction: Restriction, decision: Decision) -> tuple[Restriction, bool]:
        """Keep a new one. Where its request_id is known of who made it: that one, False, nothing kept."""

    async def restriction(self, restriction_id: str) -> Restriction | None:
        """One, whether it holds or not."""

    async def change_restriction(
        self, restriction_id: str, changes: Mapping[str, Any], decision: Decision
    ) -> Restriction | None:
        """Change fields of one (`lifted_at`, `lifted_by`, `lifted_because`, `appeal_note`); None if there is none."""

    async def restrictions_in_force(self, now: datetime) -> Sequence[Restriction]:
        """All that hold."""

    async def restrictions_changed(self, since: datetime) -> Sequence[Restriction]:
        """Those that were made or changed since then."""

    async def restrictions(
        self,
        now: datetime,
        limit: int,
        before: Restriction | None = None,
        *,
        past: bool = False,
        appealed: bool = False,
    ) -> Sequence[Restriction]:
        """Newest first, before this one; those that hold, or (`past`) all; or those with a note and not lifted."""

    async def forget_standing(self, account_id: str, now: datetime) -> None:
        """Forget an account's appeals, and restrictions about it that do not hold now; what was decided stays."""

    async def decide(self, decision: Decision) -> None:
        """Record what was decided elsewhere."""

    async def decided(
        self, limit: int, before: tuple[datetime, str] | None = None, subject: str = ""
    ) -> Sequence[Decision]:
        """What was decided, newest first, before this time and id; all, or what is about this subject, also by way of a
        restriction whose target it is."""

    async def create_filter(self, rule: PromptFilter, decision: Decision) -> tuple[PromptFilter, bool]:
        """Keep a new rule. Where its request_id is known of who made it: that one, False, nothing kept."""

    async def delete_filter(self, filter_id: str, decision: Decision) -> None:
        """End a rule; one that is not there is as good as ended."""

    async def filters(self) -> Sequence[PromptFilter]:
        """All rules, oldest first."""

    async def filters_changed_at(self) -> int:
        """When a rule was last made or ended, in microseconds since 1970; 0: never."""


class IdentityStore(SharedKeyStore, RulingStore, Protocol):
    """Accounts and API keys. Each method is one transaction, and durable when it answers.

    Any method may raise Unavailable (repeat later) or Aborted (repeat now) of `horde.services.errors`.
    """

    async def create_account(self, account: Account, key: ApiKey) -> tuple[Account, bool]:
        """Keep a new account with its first key. Where its request_id is known: that account, False, nothing kept."""

    async def ensure_account(self, account: Account, key: ApiKey) -> None:
        """Keep an account and a key where their ids are not yet known; a known one is left as it is."""

    async def account(self, account_id: str) -> Account | None:
        """The account of this id."""

    async def account_numbered(self, number: int) -> Account | None:
        """The account of this number; None also where two have it, so that nobody is taken for another."""

    async def update_account(self, account_id: str, changes: Mapping[str, Any]) -> Account | None:
        """Change fields of an account (`display_name`, `public`, `contact`); None if there is none."""

    async def set_roles(self, account_id: str, roles: frozenset[Role], decision: Decision) -> Account | None:
        """Give an account these roles and no others; None if there is none. Recorded where that changes something.

        Raises RoleMissing where who decided is no operator any more: another one was quicker.
        """

    async def accounts(
        self, limit: int, before: tuple[datetime, str] | None = None, role: Role | None = None
    ) -> Sequence[Account]:
        """Accounts, newest first, made before this time and id; with this role, or (None) all."""

    async def key(self, api_key_id: str) -> tuple[ApiKey, Account] | None:
        """A key, revoked or not, and whose it is."""

    async def only_strange_peppers(self, known: Collection[str]) -> bool:
        """Whether there are API keys, and none of them was made under a pepper of these ids."""

    async def keys(self, account_id: str) -> Sequence[ApiKey]:
        """All keys of an account, oldest first."""

    async def create_key(self, key: ApiKey) -> tuple[ApiKey, bool]:
        """Keep a new key. Where its request_id is known of this account: that key, False. Raises TooManyApiKeys."""

    async def revoke_key(self, account_id: str, api_key_id: str) -> ApiKey | None:
        """Make a key useless; None if the account has no such key."""

    async def touch_keys(self, used: Mapping[str, datetime]) -> None:
        """Remember when keys, shared ones too, were last used; never moves back."""

    async def close_account(self, closing: Closing) -> tuple[Closing, Sequence[str]]:
        """End an account: keep this of it, and nothing else; answers the ids of its keys, which are gone with it.

        Where it was ended before: what is kept of that, and no ids.
        """

    async def closing(self, account_id: str) -> Closing | None:
        """What is kept of an account that was ended."""

    async def closing_by_key(self, api_key_id: str) -> Closing | None:
        """The same, by the key that the wish came with."""

    async def closings(self, after: str, limit: int) -> Sequence[Closing]:
        """All that is kept of accounts that were ended, by account, beginning after this one."""

    async def change_closing(self, account_id: str, changes: Mapping[str, Any]) -> None:
        """Change `burned_mkudos` or `forgotten`."""

    async def forget_closing(self, account_id: str) -> None:
        """Keep nothing."""

    async def unopened(self, limit: int) -> Sequence[Account]:
        """Accounts that the ledger was not yet told of, oldest first."""

    async def mark_opened(self, account_ids: Sequence[str]) -> None:
        """The ledger knows these accounts."""
