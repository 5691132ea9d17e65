"""Batches of orders about inputs: describe, claim, release. Each item stands for itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from horde.services.errors import ServiceError
from horde.storage_router.core.records import InputRecord
from horde.storage_router.doors.items import Items
from horde.storage_router.inputs import Inputs, NamedInput


@dataclass(frozen=True, slots=True)
class InputRelease:
    """A generation lets its inputs go."""

    generation_id: str
    requester: str
    input_ids: Sequence[str]


class InputOrders:
    """Carries out orders about inputs, a bounded number at a time."""

    def __init__(self, inputs: Inputs, items: Items) -> None:
        self._inputs = inputs
        self._items = items

    async def describe(
        self, requester: str, named: Sequence[NamedInput | ServiceError]
    ) -> Sequence[InputRecord | ServiceError]:
        """What is stored."""

        async def one(named_input: NamedInput) -> InputRecord:
            return await self._inputs.describe(requester, named_input)

        return await self._items.each(named, one)

    async def claim(
        self, generation_id: str, requester: str, named: Sequence[NamedInput | ServiceError]
    ) -> Sequence[ServiceError | None]:
        """Keep inputs for a generation."""

        async def one(named_input: NamedInput) -> None:
            await self._inputs.claim(generation_id, requester, named_input)

        return await self._items.each(named, one)

    async def delete(self, requester: str, input_ids: Sequence[str | ServiceError]) -> Sequence[ServiceError | None]:
        """Delete inputs that nobody claims."""

        async def one(input_id: str) -> None:
            await self._inputs.delete(requester, input_id)

        return await self._items.each(input_ids, one)

    async def forget(self, requester: str) -> int:
        """Delete a requester's inputs; how many are left."""
        return await self._inputs.forget(requester)

    async def release(self, claims: Sequence[InputRelease | ServiceError]) -> Sequence[ServiceError | None]:
        """End generations' claims."""

        async def one(claim: InputRelease) -> None:
            await self._inputs.release(claim.generation_id, claim.requester, claim.input_ids)

        return await self._items.each(claims, one)
