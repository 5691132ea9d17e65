"""The identity store in dictionaries: for tests, and to say in few lines what the SQL one must do."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from horde.gateway.core.closing import Closing
from horde.gateway.core.decisions import Decision
from horde.gateway.core.errors import RoleMissing, TooManyApiKeys
from horde.gateway.core.identities import MAX_API_KEYS, Account, ApiKey, beginning_of, forgettable
from horde.gateway.core.requesters import Role
from horde.gateway.store.memory_rulings import MemoryRulings
from horde.gateway.store.memory_shared_keys import MemorySharedKeys


class MemoryIdentityStore(MemorySharedKeys, MemoryRulings):
    """Forgets everything with the process."""

    def __init__(self) -> None:
        super().__init__()
        self._accounts: dict[str, Account] = {}
        self._keys: dict[str, ApiKey] = {}
        self._opened: set[str] = set()
        self._closings: dict[str, Closing] = {}

    async def create_account(self, account: Account, key: ApiKey) -> tuple[Account, bool]:
        for known in self._accounts.values():
            if account.request_id and known.request_id == account.request_id:
                return known, False
        await self.ensure_account(account, key)
        return account, True

    async def ensure_account(self, account: Account, key: ApiKey) -> None:
        self._accounts.setdefault(account.account_id, account)
        self._keys.setdefault(key.api_key_id, key)

    async def account(self, account_id: str) -> Account | None:
        return self._accounts.get(account_id)

    async def account_numbered(self, number: int) -> Account | None:
        beginning = beginning_of(number)
        found = [
            account for account in self._accounts.values() if beginning and account.account_id.startswith(beginning)
        ]
        return found[0] if len(found) == 1 else None

    async def update_account(self, account_id: str, changes: Mapping[str, Any]) -> Account | None:
        account = self._accounts.get(account_id)
        if account is not None:
            account = self._accounts[account_id] = replace(account, **changes)
        return account

    async def set_roles(self, account_id: str, roles: frozenset[Role], decision: Decision) -> Account | None:
        decider, account = self._accounts.get(decision.by_account_id), self._accounts.get(account_id)
        if decider is None or Role.OPERATOR not in decider.roles:
            raise RoleMissing(metadata={"role": Role.OPERATOR.value})
        if account is not None and account.roles != roles:
            self.decisions.append(decision)
            account = self._accounts[account_id] = replace(account, roles=roles)
        return account

    async def accounts(
        self, limit: int, before: tuple[datetime, str] | None = None, role: Role | None = None
    ) -> Sequence[Account]:
        found = (account for account in self._accounts.values() if role is None or role in account.roles)
        newest = sorted(found, key=lambda account: (account.created_at, account.account_id), reverse=True)
        return [account for account in newest if before is None or (account.created_at, account.account_id) < before][
            :limit
        ]

    async def key(self, api_key_id: str) -> tuple[ApiKey, Account] | None:
        key = self._keys.get(api_key_id)
        return None if key is None else (key, self._accounts[key.account_id])

    async def only_strange_peppers(self, known: Collection[str]) -> bool:
        return bool(self._keys) and all(key.pepper_id not in known for key in self._keys.values())

    async def keys(self, account_id: str) -> Sequence[ApiKey]:
        own = (key for key in self._keys.values() if key.account_id == account_id)
        return sorted(own, key=lambda key: (key.created_at, key.api_key_id))

    async def create_key(self, key: ApiKey) -> tuple[ApiKey, bool]:
        own = await self.keys(key.account_id)
        for known in own:
            if key.request_id and known.request_id == key.request_id:
                return known, False
        if sum(not known.revoked for known in own) >= MAX_API_KEYS:
            raise TooManyApiKeys(metadata={"limit": str(MAX_API_KEYS)})
        for known in forgettable(own):
            del self._keys[known.api_key_id]
        self._keys[key.api_key_id] = key
        return key, True

    async def revoke_key(self, account_id: str, api_key_id: str) -> ApiKey | None:
        key = self._keys.get(api_key_id)
        if key is None or key.account_id != account_id:
            return None
        self._keys[api_key_id] = replace(key, revoked=True)
        return self._keys[api_key_id]

    async def touch_keys(self, used: Mapping[str, datetime]) -> None:
        for api_key_id, at in used.items():
            key = self._keys.get(api_key_id)
            if key is not None and (key.last_used_at is None or key.last_used_at < at):
                self._keys[api_key_id] = replace(key, last_used_at=at)
            shared = self._shared.get(api_key_id)
            if shared is not None and (shared.last_used_at is None or shared.last_used_at < at):
                self._shared[api_key_id] = replace(shared, last_used_at=at)

    async def close_account(self, closing: Closing) -> tuple[Closing, Sequence[str]]:
        account_id = closing.account_id
        if account_id in self._closings:
            return self._closings[account_id], []
        self._closings[account_id] = closing
        own = [name for name, key in self._keys.items() if key.account_id == account_id]
        shared = [name for name, key in self._shared.items() if key.account_id == account_id]
        for name in own:
            del self._keys[name]
        for name in shared:
            del self._shared[name]
        self._reserved = {
            name: reservation for name, reservation in self._reserved.items() if reservation.shared_key_id not in shared
        }
        self._accounts.pop(account_id, None)
        return closing, [*own, *shared]

    async def closing(self, account_id: str) -> Closing | None:
        return self._closings.get(account_id)

    async def closing_by_key(self, api_key_id: str) -> Closing | None:
        return next((closing for closing in self._closings.values() if closing.api_key_id == api_key_id), None)

    async def closings(self, after: str, limit: int) -> Sequence[Closing]:
        return [self._closings[name] for name in sorted(self._closings) if name > after][:limit]

    async def change_closing(self, account_id: str, changes: Mapping[str, Any]) -> None:
        if account_id in self._closings:
            self._closings[account_id] = replace(self._closings[account_id], **changes)

    async def forget_closing(self, account_id: str) -> None:
        self._closings.pop(account_id, None)

    async def unopened(self, limit: int) -> Sequence[Account]:
        waiting = (account for account in self._accounts.values() if account.account_id not in self._opened)
        return sorted(waiting, key=lambda account: (account.created_at, account.account_id))[:limit]

    async def mark_opened(self, account_ids: Sequence[str]) -> None:
        self._opened.update(account_ids)
