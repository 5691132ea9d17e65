"""The identity store in SQL: SQLite on one machine, PostgreSQL in production. The schema is in `migrations/`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import Connection, delete, insert, or_, select, update

from horde.gateway.core.decisions import Decision
from horde.gateway.core.errors import RoleMissing, TooManyApiKeys
from horde.gateway.core.identities import MAX_API_KEYS, Account, ApiKey, beginning_of, forgettable
from horde.gateway.core.requesters import Role, Scope
from horde.gateway.store.closings_sql import SqlClosings
from horde.gateway.store.migrations import HISTORY
from horde.gateway.store.rulings_sql import SqlRulings, record
from horde.gateway.store.shared_keys_sql import SqlSharedKeys
from horde.gateway.store.tables import accounts, api_keys, microseconds, shared_keys, time_of
from horde.services import migrations
from horde.services.errors import Aborted
from horde.services.sql import SqlThread, open_database

R = TypeVar("R")


@asynccontextmanager
async def sql_store(url: str) -> AsyncIterator[SqlIdentityStore]:
    """The store at a database's URL, its schema brought up to date, for as long as the block."""
    async with SqlThread(open_database(url)) as sql:
        await sql.run(lambda connection: migrations.upgrade(connection, HISTORY))
        yield SqlIdentityStore(sql)


class SqlIdentityStore(SqlSharedKeys, SqlClosings, SqlRulings):
    """Keeps identity in a database."""

    def __init__(self, sql: SqlThread) -> None:
        self._sql = sql

    async def create_account(self, account: Account, key: ApiKey) -> tuple[Account, bool]:
        def work(connection: Connection) -> tuple[Account, bool]:
            if account.request_id:
                row = connection.execute(select(accounts).where(accounts.c.request_id == account.request_id)).first()
                if row is not None:
                    return _account(row), False
            connection.execute(insert(accounts).values(_account_row(account)))
            connection.execute(insert(api_keys).values(_key_row(key)))
            return account, True

        return await self._run(work)

    async def ensure_account(self, account: Account, key: ApiKey) -> None:
        def work(connection: Connection) -> None:
            known = select(accounts.c.account_id).where(accounts.c.account_id == account.account_id)
            if connection.execute(known).first() is None:
                connection.execute(insert(accounts).values(_account_row(account)))
            known = select(api_keys.c.api_key_id).where(api_keys.c.api_key_id == key.api_key_id)
            if connection.execute(known).first() is None:
                connection.execute(insert(api_keys).values(_key_row(key)))

        await self._sql.run(work)

    async def account(self, account_id: str) -> Account | None:
        def work(connection: Connection) -> Account | None:
            row = connection.execute(select(accounts).where(accounts.c.account_id == account_id)).first()
            return None if row is None else _account(row)

        return await self._sql.read(work)

    async def account_numbered(self, number: int) -> Account | None:
        def work(connection: Connection) -> Account | None:
            found = connection.execute(
                select(accounts).where(accounts.c.account_id.startswith(beginning)).limit(2)
            ).all()
            return _account(found[0]) if len(found) == 1 else None

        beginning = beginning_of(number)
        return await self._sql.read(work) if beginning else None

    async def update_account(self, account_id: str, changes: Mapping[str, Any]) -> Account | None:
        def work(connection: Connection) -> Account | None:
            if changes:
                connection.execute(update(accounts).where(accounts.c.account_id == account_id).values(**changes))
            row = connection.execute(select(accounts).where(accounts.c.account_id == account_id)).first()
            return None if row is None else _account(row)

        return await self._sql.run(work)

    async def set_roles(self, account_id: str, roles: frozenset[Role], decision: Decision) -> Account | None:
        def work(connection: Connection) -> Account | None:
            # Both rows are locks, taken in one order: two operators who depose each other must not both succeed.
            both = accounts.c.account_id.in_({account_id, decision.by_account_id})
            locked = select(accounts).where(both).order_by(accounts.c.account_id).with_for_update()
            found = {row.account_id: _account(row) for row in connection.execute(locked)}
            decider, account = found.get(decision.by_account_id), found.get(account_id)
            if decider is None or Role.OPERATOR not in decider.roles:
                raise RoleMissing(metadata={"role": Role.OPERATOR.value})
            if account is None or account.roles == roles:
                return account
            changed = update(accounts).where(accounts.c.account_id == account_id).values(roles=_roles_text(roles))
            connection.execute(changed)
            record(connection, decision)
            return replace(account, roles=roles)

        return await self._run(work)

    async def accounts(
        self, limit: int, before: tuple[datetime, str] | None = None, role: Role | None = None
    ) -> Sequence[Account]:
        at, name = accounts.c.created_at_us, accounts.c.account_id
        wanted = select(accounts).order_by(at.desc(), name.desc()).limit(limit)
        if before is not None:
            us = microseconds(before[0])
            wanted = wanted.where(or_(at < us, (at == us) & (name < before[1])))
        if role is not None:
            wanted = wanted.where(accounts.c.roles.contains(role.value))
        return await self._sql.read(lambda connection: [_account(row) for row in connection.execute(wanted)])

    async def key(self, api_key_id: str) -> tuple[ApiKey, Account] | None:
        def work(connection: Connection) -> tuple[ApiKey, Account] | None:
            row = connection.execute(select(api_keys).where(api_keys.c.api_key_id == api_key_id)).first()
            if row is None:
                return None
            owner = connection.execute(select(accounts).where(accounts.c.account_id == row.account_id)).one()
            return _key(row), _account(owner)

        return await self._sql.read(work)

    async def only_strange_peppers(self, known: Collection[str]) -> bool:
        def work(connection: Connection) -> bool:
            some = select(api_keys.c.api_key_id).limit(1)
            ours = some.where(api_keys.c.pepper_id.in_(list(known)))
            # All keys are looked at only where no key is ours: a gateway that starts as it should finds one at once.
            return connection.execute(some).first() is not None and connection.execute(ours).first() is None

        return await self._sql.read(work)

    async def keys(self, account_id: str) -> Sequence[ApiKey]:
        return await self._sql.read(lambda connection: _keys_of(connection, account_id))

    async def create_key(self, key: ApiKey) -> tuple[ApiKey, bool]:
        def work(connection: Connection) -> tuple[ApiKey, bool]:
            # The account's row is the lock: two keys at once must not both be the last one allowed.
            own_account = select(accounts.c.account_id).where(accounts.c.account_id == key.account_id)
            connection.execute(own_account.with_for_update())
            own = _keys_of(connection, key.account_id)
            for known in own:
                if key.request_id and known.request_id == key.request_id:
                    return known, False
            if sum(not known.revoked for known in own) >= MAX_API_KEYS:
                raise TooManyApiKeys(metadata={"limit": str(MAX_API_KEYS)})
            if forgotten := [known.api_key_id for known in forgettable(own)]:
                connection.execute(delete(api_keys).where(api_keys.c.api_key_id.in_(forgotten)))
            connection.execute(insert(api_keys).values(_key_row(key)))
            return key, True

        return await self._run(work)

    async def revoke_key(self, account_id: str, api_key_id: str) -> ApiKey | None:
        def work(connection: Connection) -> ApiKey | None:
            mine = (api_keys.c.api_key_id == api_key_id) & (api_keys.c.account_id == account_id)
            connection.execute(update(api_keys).where(mine).values(revoked=True))
            row = connection.execute(select(api_keys).where(mine)).first()
            return None if row is None else _key(row)

        return await self._sql.run(work)

    async def touch_keys(self, used: Mapping[str, datetime]) -> None:
        def work(connection: Connection) -> None:
            for api_key_id, at in used.items():
                earlier = or_(api_keys.c.last_used_at_us.is_(None), api_keys.c.last_used_at_us < microseconds(at))
                touched = update(api_keys).where(api_keys.c.api_key_id == api_key_id, earlier)
                connection.execute(touched.values(last_used_at_us=microseconds(at)))
                earlier = or_(shared_keys.c.last_used_at_us.is_(None), shared_keys.c.last_used_at_us < microseconds(at))
                touched = update(shared_keys).where(shared_keys.c.shared_key_id == api_key_id, earlier)
                connection.execute(touched.values(last_used_at_us=microseconds(at)))

        await self._sql.run(work)

    async def unopened(self, limit: int) -> Sequence[Account]:
        def work(connection: Connection) -> Sequence[Account]:
            waiting = select(accounts).where(accounts.c.opened.is_(False))
            ordered = waiting.order_by(accounts.c.created_at_us, accounts.c.account_id).limit(limit)
            return [_account(row) for row in connection.execute(ordered)]

        return await self._sql.read(work)

    async def mark_opened(self, account_ids: Sequence[str]) -> None:
        def work(connection: Connection) -> None:
            known = accounts.c.account_id.in_(list(account_ids))
            connection.execute(update(accounts).where(known).values(opened=True))

        await self._sql.run(work)

    async def _run(self, work: Callable[[Connection], R]) -> R:
        """Run a transaction, and once more if another replica was quicker: then it finds what the other has kept."""
        try:
            return await self._sql.run(work)
        except Aborted:
            return await self._sql.run(work)


def _keys_of(connection: Connection, account_id: str) -> list[ApiKey]:
    own = select(api_keys).where(api_keys.c.account_id == account_id)
    return [_key(row) for row in connection.execute(own.order_by(api_keys.c.created_at_us, api_keys.c.api_key_id))]


def _account_row(account: Account) -> dict[str, Any]:
    return {
        "account_id": account.account_id,
        "display_name": account.display_name,
        "created_at_us": microseconds(account.created_at),
        "roles": _roles_text(account.roles),
        "request_id": account.request_id or None,
        "opened": False,
        "public": account.public,
        "contact": account.contact,
        "asked_name": account.asked_name,
    }


def _roles_text(roles: frozenset[Role]) -> str:
    return " ".join(sorted(role.value for role in roles))


def _account(row: Any) -> Account:
    return Account(
        account_id=row.account_id,
        display_name=row.display_name,
        created_at=time_of(row.created_at_us),
        roles=frozenset(Role(role) for role in row.roles.split()),
        request_id=row.request_id or "",
        public=row.public,
        contact=row.contact,
        asked_name=row.asked_name,
    )


def _key_row(key: ApiKey) -> dict[str, Any]:
    return {
        "api_key_id": key.api_key_id,
        "account_id": key.account_id,
        "label": key.label,
        "scopes": " ".join(sorted(scope.value for scope in key.scopes)),
        "digest": key.digest,
        "pepper_id": key.pepper_id,
        "created_at_us": microseconds(key.created_at),
        "last_used_at_us": None if key.last_used_at is None else microseconds(key.last_used_at),
        "revoked": key.revoked,
        "request_id": key.request_id or None,
    }


def _key(row: Any) -> ApiKey:
    return ApiKey(
        api_key_id=row.api_key_id,
        account_id=row.account_id,
        label=row.label,
        scopes=frozenset(Scope(scope) for scope in row.scopes.split()),
        digest=bytes(row.digest),
        pepper_id=row.pepper_id,
        created_at=time_of(row.created_at_us),
        last_used_at=None if row.last_used_at_us is None else time_of(row.last_used_at_us),
        revoked=row.revoked,
        request_id=row.request_id or "",
    )
