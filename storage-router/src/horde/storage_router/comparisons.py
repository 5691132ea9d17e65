"""Compares pictures that the scheduler had painted twice. Nothing is kept of them but the numbers that are answered."""

from __future__ import annotations

from collections.abc import Sequence

from horde.services.errors import ServiceError
from horde.storage_router.budget import ByteBudget
from horde.storage_router.core.errors import ObjectNotFound
from horde.storage_router.core.likeness import Distance, Sketch, distance
from horde.storage_router.core.orders import CompareOrder, PictureRef
from horde.storage_router.core.placement import Placement
from horde.storage_router.core.records import Content
from horde.storage_router.decoding import Decoder
from horde.storage_router.doors.items import Items
from horde.storage_router.private_images import PrivateImages
from horde.storage_router.quarantine import Quarantine
from horde.storage_router.shared_images import SharedImages


class Comparisons:
    """Looks at pictures where they are, in a bounded child, one after the other within a budget of bytes."""

    def __init__(
        self,
        quarantine: Quarantine,
        private: PrivateImages,
        shared: SharedImages,
        decoder: Decoder,
        budget: ByteBudget,
        items: Items,
    ) -> None:
        self._quarantine = quarantine
        self._private = private
        self._shared = shared
        self._decoder = decoder
        self._budget = budget
        self._items = items

    async def compare(self, orders: Sequence[CompareOrder | ServiceError]) -> Sequence[Distance | ServiceError]:
        """How far the two of each order are from each other."""
        return await self._items.each(orders, self._compare)

    async def _compare(self, order: CompareOrder) -> Distance:
        return distance(await self._sketch(order.one), await self._sketch(order.other))

    async def _sketch(self, ref: PictureRef) -> Sketch:
        content = await self._content(ref)
        async with self._budget.hold(content.size_bytes):
            data = await self._read(ref, content)
            if data is None:
                raise ObjectNotFound
            return Sketch(await self._decoder.sketch(data, content))

    async def _content(self, ref: PictureRef) -> Content:
        if ref.lease_id:
            found = await self._quarantine.find(ref.job_id, ref.lease_id)
            content = None if found is None else found.content
        elif ref.placement is Placement.SHARED:
            content = await self._shared.content(ref.job_id)
        else:
            content = await self._private.content(ref.job_id, ref.object_name)
        if content is None:
            raise ObjectNotFound
        return content

    async def _read(self, ref: PictureRef, content: Content) -> bytes | None:
        if ref.lease_id:
            taken = await self._quarantine.take(ref.job_id, ref.lease_id)
            return None if taken is None else taken.data
        if ref.placement is Placement.SHARED:
            return await self._shared.read(ref.job_id, content)
        return await self._private.read(ref.object_name)
