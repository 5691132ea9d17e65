"""Accounts that were ended, in SQL."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, TypeVar

from sqlalchemy import Connection, delete, insert, select, update

from horde.gateway.core.closing import Closing
from horde.gateway.store.tables import (
    accounts,
    api_keys,
    closings,
    microseconds,
    reservations,
    shared_keys,
    time_of,
)
from horde.services.sql import SqlThread

R = TypeVar("R")


class SqlClosings:
    """The part of the identity store that is about accounts that were ended."""

    _sql: SqlThread

    async def _run(self, work: Callable[[Connection], R]) -> R:
        raise NotImplementedError

    async def close_account(self, closing: Closing) -> tuple[Closing, Sequence[str]]:
        def work(connection: Connection) -> tuple[Closing, Sequence[str]]:
            account_id = closing.account_id
            # The account's row is the lock: no key comes to be beside it.
            connection.execute(
                select(accounts.c.account_id).where(accounts.c.account_id == account_id).with_for_update()
            )
            known = _one(connection, closings.c.account_id == account_id)
            if known is not None:
                return known, []
            connection.execute(insert(closings).values(_row(closing)))
            shared = select(shared_keys.c.shared_key_id).where(shared_keys.c.account_id == account_id)
            own = select(api_keys.c.api_key_id).where(api_keys.c.account_id == account_id)
            gone = [*connection.execute(own).scalars(), *connection.execute(shared).scalars()]
            connection.execute(delete(reservations).where(reservations.c.shared_key_id.in_(shared)))
            for table in (shared_keys, api_keys, accounts):
                connection.execute(delete(table).where(table.c.account_id == account_id))
            return closing, gone

        return await self._run(work)

    async def closing(self, account_id: str) -> Closing | None:
        return await self._sql.read(lambda connection: _one(connection, closings.c.account_id == account_id))

    async def closing_by_key(self, api_key_id: str) -> Closing | None:
        return await self._sql.read(lambda connection: _one(connection, closings.c.api_key_id == api_key_id))

    async def closings(self, after: str, limit: int) -> Sequence[Closing]:
        some = select(closings).where(closings.c.account_id > after).order_by(closings.c.account_id).limit(limit)
        return await self._sql.read(lambda connection: [_closing(row) for row in connection.execute(some)])

    async def change_closing(self, account_id: str, changes: Mapping[str, Any]) -> None:
        changed = update(closings).where(closings.c.account_id == account_id).values(**changes)
        await self._run(lambda connection: connection.execute(changed))

    async def forget_closing(self, account_id: str) -> None:
        await self._run(
            lambda connection: connection.execute(delete(closings).where(closings.c.account_id == account_id))
        )


def _one(connection: Connection, which: Any) -> Closing | None:
    row = connection.execute(select(closings).where(which)).first()
    return None if row is None else _closing(row)


def _row(closing: Closing) -> dict[str, Any]:
    row = asdict(closing)
    row["asked_at_us"] = microseconds(row.pop("asked_at"))
    return row


def _closing(row: Any) -> Closing:
    fields = dict(row._mapping)
    fields["asked_at"] = time_of(fields.pop("asked_at_us"))
    fields["digest"] = bytes(fields["digest"])
    return Closing(**fields)
