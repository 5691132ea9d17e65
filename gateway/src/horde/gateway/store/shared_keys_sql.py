"""Shared keys and reservations in SQL. The key's row is the lock of its budget."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import Connection, delete, func, insert, select, tuple_, update

from horde.gateway.core.allowance import (
    MAX_SHARED_KEYS,
    Bounds,
    Reservation,
    SharedKey,
    check_reservation,
    forgettable_shared,
)
from horde.gateway.core.errors import SharedKeyNotFound, TooManyApiKeys
from horde.gateway.store.tables import accounts, microseconds, reservations, shared_keys, time_of
from horde.services.sql import SqlThread

R = TypeVar("R")


class SqlSharedKeys:
    """The part of the identity store that is about shared keys."""

    _sql: SqlThread

    async def _run(self, work: Callable[[Connection], R]) -> R:
        raise NotImplementedError

    async def shared_key(self, shared_key_id: str) -> SharedKey | None:
        return await self._sql.read(lambda connection: _one(connection, shared_key_id))

    async def shared_keys(self, account_id: str) -> Sequence[SharedKey]:
        return await self._sql.read(lambda connection: _of_account(connection, account_id))

    async def create_shared_key(self, key: SharedKey) -> tuple[SharedKey, bool]:
        def work(connection: Connection) -> tuple[SharedKey, bool]:
            # The account's row is the lock: two keys at once must not both be the last one allowed.
            own_account = select(accounts.c.account_id).where(accounts.c.account_id == key.account_id)
            connection.execute(own_account.with_for_update())
            own = _of_account(connection, key.account_id)
            for known in own:
                if known.request_id == key.request_id:
                    return known, False
            if sum(not known.revoked for known in own) >= MAX_SHARED_KEYS:
                raise TooManyApiKeys(metadata={"limit": str(MAX_SHARED_KEYS)})
            if forgotten := [known.shared_key_id for known in forgettable_shared(own)]:
                connection.execute(delete(reservations).where(reservations.c.shared_key_id.in_(forgotten)))
                connection.execute(delete(shared_keys).where(shared_keys.c.shared_key_id.in_(forgotten)))
            connection.execute(insert(shared_keys).values(_row(key)))
            return key, True

        return await self._run(work)

    async def change_shared_key(
        self, account_id: str, shared_key_id: str, changes: Mapping[str, Any]
    ) -> SharedKey | None:
        def work(connection: Connection) -> SharedKey | None:
            known = _one(connection, shared_key_id, lock=True)
            if known is None or known.account_id != account_id:
                return None
            changed = replace(known, **changes)
            mine = shared_keys.c.shared_key_id == shared_key_id
            connection.execute(update(shared_keys).where(mine).values(_row(changed)))
            return changed

        return await self._run(work)

    async def reserve(self, asked: Reservation) -> bool:
        def work(connection: Connection) -> bool:
            key = _one(connection, asked.shared_key_id, lock=True)
            if key is None:
                raise SharedKeyNotFound(metadata={"shared_key_id": asked.shared_key_id})
            known = _reservation_of(connection, asked.generation_id)
            if known is None:
                check_reservation(key, asked.mkudos)
                connection.execute(insert(reservations).values(_reservation_row(asked)))
                return True
            if not known.ended:
                others = replace(
                    key, held_mkudos=key.held_mkudos - known.mkudos, open_generations=key.open_generations - 1
                )
                check_reservation(others, asked.mkudos)
                renewed = replace(asked, mkudos=max(known.mkudos, asked.mkudos))
                mine = reservations.c.generation_id == asked.generation_id
                connection.execute(update(reservations).where(mine).values(_reservation_row(renewed)))
            return False

        return await self._run(work)

    async def release(self, generation_id: str, stamp: str) -> None:
        mine = (reservations.c.generation_id == generation_id) & (reservations.c.stamp == stamp)
        await self._run(
            lambda connection: connection.execute(delete(reservations).where(mine, reservations.c.ended.is_(False)))
        )

    async def settle(self, generation_id: str, spent_mkudos: int) -> None:
        def work(connection: Connection) -> None:
            known = _reservation_of(connection, generation_id)
            if known is None:
                return
            _one(connection, known.shared_key_id, lock=True)
            mine = (reservations.c.generation_id == generation_id) & reservations.c.ended.is_(False)
            # Of two gateways that settle at once, one finds it open.
            if connection.execute(update(reservations).where(mine).values(ended=True)).rowcount:
                key = shared_keys.c.shared_key_id == known.shared_key_id
                spent = shared_keys.c.settled_mkudos + spent_mkudos
                connection.execute(update(shared_keys).where(key).values(settled_mkudos=spent))

        await self._run(work)

    async def reservation(self, generation_id: str) -> Reservation | None:
        return await self._sql.read(lambda connection: _reservation_of(connection, generation_id))

    async def open_reservations(self, after: str, limit: int, shared_key_id: str = "") -> Sequence[Reservation]:
        waiting = select(reservations).where(reservations.c.ended.is_(False), reservations.c.generation_id > after)
        if shared_key_id:
            waiting = waiting.where(reservations.c.shared_key_id == shared_key_id)
        ordered = waiting.order_by(reservations.c.generation_id).limit(limit)
        return await self._sql.read(
            lambda connection: [_reservation(row) for row in connection.execute(ordered)],
        )

    async def reservations(
        self, shared_key_id: str, limit: int, before: Reservation | None = None
    ) -> Sequence[Reservation]:
        place = tuple_(reservations.c.at_us, reservations.c.generation_id)
        own = select(reservations).where(reservations.c.shared_key_id == shared_key_id)
        if before is not None:
            own = own.where(place < tuple_(microseconds(before.at), before.generation_id))
        ordered = own.order_by(reservations.c.at_us.desc(), reservations.c.generation_id.desc()).limit(limit)
        return await self._sql.read(lambda connection: [_reservation(row) for row in connection.execute(ordered)])

    async def forget_reservations(self, before: datetime) -> None:
        old = reservations.c.ended.is_(True) & (reservations.c.at_us < microseconds(before))
        await self._run(lambda connection: connection.execute(delete(reservations).where(old)))


def _keys() -> Any:
    """All shared keys, with what their open reservations hold."""
    held = func.coalesce(func.sum(reservations.c.mkudos), 0)
    is_open = (reservations.c.shared_key_id == shared_keys.c.shared_key_id) & reservations.c.ended.is_(False)
    sums = select(held).where(is_open).correlate(shared_keys).scalar_subquery()
    count = select(func.count()).select_from(reservations).where(is_open).correlate(shared_keys).scalar_subquery()
    return select(shared_keys, sums.label("held_mkudos"), count.label("open_generations"))


def _one(connection: Connection, shared_key_id: str, *, lock: bool = False) -> SharedKey | None:
    mine = shared_keys.c.shared_key_id == shared_key_id
    if lock:
        # The lock first, and then the sums: they must be those of after it was had.
        connection.execute(select(shared_keys.c.shared_key_id).where(mine).with_for_update())
    row = connection.execute(_keys().where(mine)).first()
    return None if row is None else _key(row)


def _of_account(connection: Connection, account_id: str) -> list[SharedKey]:
    own = _keys().where(shared_keys.c.account_id == account_id)
    ordered = own.order_by(shared_keys.c.created_at_us.desc(), shared_keys.c.shared_key_id.desc())
    return [_key(row) for row in connection.execute(ordered)]


def _reservation_of(connection: Connection, generation_id: str) -> Reservation | None:
    row = connection.execute(select(reservations).where(reservations.c.generation_id == generation_id)).first()
    return None if row is None else _reservation(row)


def _row(key: SharedKey) -> dict[str, Any]:
    return {
        "shared_key_id": key.shared_key_id,
        "account_id": key.account_id,
        "label": key.label,
        "digest": key.digest,
        "pepper_id": key.pepper_id,
        "created_at_us": microseconds(key.created_at),
        "request_id": key.request_id,
        "asked": key.asked,
        "budget_mkudos": key.budget_mkudos,
        "expires_at_us": None if key.expires_at is None else microseconds(key.expires_at),
        "bounds": json.dumps(asdict(key.bounds)),
        "revoked": key.revoked,
        "last_used_at_us": None if key.last_used_at is None else microseconds(key.last_used_at),
        "settled_mkudos": key.settled_mkudos,
    }


def _key(row: Any) -> SharedKey:
    bounds = json.loads(row.bounds)
    return SharedKey(
        shared_key_id=row.shared_key_id,
        account_id=row.account_id,
        label=row.label,
        digest=bytes(row.digest),
        pepper_id=row.pepper_id,
        created_at=time_of(row.created_at_us),
        request_id=row.request_id,
        asked=bytes(row.asked),
        budget_mkudos=row.budget_mkudos,
        expires_at=None if row.expires_at_us is None else time_of(row.expires_at_us),
        bounds=Bounds(**{**bounds, "models": tuple(bounds["models"])}),
        revoked=row.revoked,
        last_used_at=None if row.last_used_at_us is None else time_of(row.last_used_at_us),
        settled_mkudos=row.settled_mkudos,
        held_mkudos=int(row.held_mkudos),
        open_generations=row.open_generations,
    )


def _reservation_row(reservation: Reservation) -> dict[str, Any]:
    return {
        "generation_id": reservation.generation_id,
        "shared_key_id": reservation.shared_key_id,
        "mkudos": reservation.mkudos,
        "stamp": reservation.stamp,
        "at_us": microseconds(reservation.at),
        "ended": reservation.ended,
    }


def _reservation(row: Any) -> Reservation:
    return Reservation(row.generation_id, row.shared_key_id, row.mkudos, row.stamp, time_of(row.at_us), row.ended)
