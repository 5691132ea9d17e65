"""Shared keys and reservations in dictionaries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from horde.gateway.core.allowance import (
    MAX_SHARED_KEYS,
    Reservation,
    SharedKey,
    check_reservation,
    forgettable_shared,
)
from horde.gateway.core.errors import SharedKeyNotFound, TooManyApiKeys


class MemorySharedKeys:
    """The part of the identity store that is about shared keys."""

    def __init__(self) -> None:
        super().__init__()
        self._shared: dict[str, SharedKey] = {}
        self._reserved: dict[str, Reservation] = {}

    async def shared_key(self, shared_key_id: str) -> SharedKey | None:
        key = self._shared.get(shared_key_id)
        if key is None:
            return None
        held = [
            reservation.mkudos
            for reservation in self._reserved.values()
            if reservation.shared_key_id == shared_key_id and not reservation.ended
        ]
        return replace(key, held_mkudos=sum(held), open_generations=len(held))

    async def shared_keys(self, account_id: str) -> Sequence[SharedKey]:
        found = [await self.shared_key(name) for name, key in self._shared.items() if key.account_id == account_id]
        own = [key for key in found if key is not None]
        return sorted(own, key=lambda key: (key.created_at, key.shared_key_id), reverse=True)

    async def create_shared_key(self, key: SharedKey) -> tuple[SharedKey, bool]:
        own = await self.shared_keys(key.account_id)
        for known in own:
            if known.request_id == key.request_id:
                return known, False
        if sum(not known.revoked for known in own) >= MAX_SHARED_KEYS:
            raise TooManyApiKeys(metadata={"limit": str(MAX_SHARED_KEYS)})
        for known in forgettable_shared(own):
            del self._shared[known.shared_key_id]
            for name in [
                n for n, reservation in self._reserved.items() if reservation.shared_key_id == known.shared_key_id
            ]:
                del self._reserved[name]
        self._shared[key.shared_key_id] = key
        return key, True

    async def change_shared_key(
        self, account_id: str, shared_key_id: str, changes: Mapping[str, Any]
    ) -> SharedKey | None:
        key = self._shared.get(shared_key_id)
        if key is None or key.account_id != account_id:
            return None
        self._shared[shared_key_id] = replace(key, **changes)
        return await self.shared_key(shared_key_id)

    async def reserve(self, asked: Reservation) -> bool:
        key = await self.shared_key(asked.shared_key_id)
        if key is None:
            raise SharedKeyNotFound(metadata={"shared_key_id": asked.shared_key_id})
        known = self._reserved.get(asked.generation_id)
        if known is None:
            check_reservation(key, asked.mkudos)
            self._reserved[asked.generation_id] = asked
            return True
        if not known.ended:
            held, others = key.held_mkudos - known.mkudos, key.open_generations - 1
            check_reservation(replace(key, held_mkudos=held, open_generations=others), asked.mkudos)
            self._reserved[asked.generation_id] = replace(asked, mkudos=max(known.mkudos, asked.mkudos))
        return False

    async def release(self, generation_id: str, stamp: str) -> None:
        known = self._reserved.get(generation_id)
        if known is not None and known.stamp == stamp and not known.ended:
            del self._reserved[generation_id]

    async def settle(self, generation_id: str, spent_mkudos: int) -> None:
        known = self._reserved.get(generation_id)
        if known is None or known.ended:
            return
        self._reserved[generation_id] = replace(known, ended=True)
        key = self._shared[known.shared_key_id]
        self._shared[known.shared_key_id] = replace(key, settled_mkudos=key.settled_mkudos + spent_mkudos)

    async def reservation(self, generation_id: str) -> Reservation | None:
        return self._reserved.get(generation_id)

    async def open_reservations(self, after: str, limit: int, shared_key_id: str = "") -> Sequence[Reservation]:
        waiting = (
            generation
            for generation in self._reserved.values()
            if not generation.ended
            and generation.generation_id > after
            and shared_key_id in ("", generation.shared_key_id)
        )
        return sorted(waiting, key=lambda reservation: reservation.generation_id)[:limit]

    async def reservations(
        self, shared_key_id: str, limit: int, before: Reservation | None = None
    ) -> Sequence[Reservation]:
        own = [reservation for reservation in self._reserved.values() if reservation.shared_key_id == shared_key_id]
        if before is not None:
            own = [
                generation
                for generation in own
                if (generation.at, generation.generation_id) < (before.at, before.generation_id)
            ]
        return sorted(own, key=lambda reservation: (reservation.at, reservation.generation_id), reverse=True)[:limit]

    async def forget_reservations(self, before: datetime) -> None:
        old = [name for name, reservation in self._reserved.items() if reservation.ended and reservation.at < before]
        for name in old:
            del self._reserved[name]
