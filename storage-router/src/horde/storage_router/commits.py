"""Carries out the scheduler's orders: commit, discard, withdraw. Each may be repeated, each item stands for itself.

A commit reads the quarantined object, checks everything again, writes it in place, and only then deletes it from
quarantine. Whatever breaks off in between is found by the repeat: in quarantine, in place, or in both.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from horde.services import telemetry
from horde.services.errors import ServiceError
from horde.services.failpoints import declare, failpoint
from horde.storage_router.budget import ByteBudget
from horde.storage_router.core.errors import ContentConflict, ObjectNotFound, PlacementMismatch
from horde.storage_router.core.orders import CommitOrder, Committed, DiscardOrder, Publication, WithdrawOrder
from horde.storage_router.core.placement import Placement, check_placement
from horde.storage_router.core.records import Quarantined
from horde.storage_router.doors.items import Items
from horde.storage_router.private_images import PrivateImages
from horde.storage_router.quarantine import Quarantine
from horde.storage_router.shared_images import SharedImages

BEFORE_COPY = declare("storage.commit.before_copy")
AFTER_COPY = declare("storage.commit.after_copy")
BEFORE_ANSWER = declare("storage.commit.before_answer")
AFTER_DISCARD = declare("storage.discard.before_answer")
AFTER_WITHDRAW = declare("storage.withdraw.before_answer")

log = telemetry.get_logger(__name__)


class Commits:
    """Carries out orders within a budget of bytes."""

    def __init__(
        self,
        quarantine: Quarantine,
        private: PrivateImages,
        shared: SharedImages,
        budget: ByteBudget,
        items: Items,
    ) -> None:
        self._quarantine = quarantine
        self._private = private
        self._shared = shared
        self._budget = budget
        self._items = items

    async def commit(self, orders: Sequence[CommitOrder | ServiceError]) -> Sequence[Committed | ServiceError]:
        """Put each order's image in place."""
        return await self._items.each(orders, self._traced_commit)

    async def discard(self, orders: Sequence[DiscardOrder | ServiceError]) -> Sequence[ServiceError | None]:
        """Delete what each lease left in quarantine."""
        return await self._items.each(orders, self._discard)

    async def withdraw(self, orders: Sequence[WithdrawOrder | ServiceError]) -> Sequence[ServiceError | None]:
        """Delete each committed image."""
        return await self._items.each(orders, self._withdraw)

    async def _traced_commit(self, order: CommitOrder) -> Committed:
        with telemetry.span_from(order.traceparent, "commit", job=order.job_id, placement=order.placement.value):
            return await self._commit(order)

    async def _commit(self, order: CommitOrder) -> Committed:
        check_placement(order.placement, order.facts)
        record = await self._quarantine.find(order.job_id, order.lease_id)
        if record is None or record.content.sha256 != order.sha256:
            return await self._find_in_place(order, record)
        async with self._budget.hold(record.content.size_bytes):
            taken = await self._quarantine.take(order.job_id, order.lease_id)
            if taken is None:
                return await self._find_in_place(order, None)
            await failpoint(BEFORE_COPY)
            committed = await self._place(order, record, taken)
        await failpoint(AFTER_COPY)
        await self._quarantine.close(order.job_id, order.lease_id, record)
        await failpoint(BEFORE_ANSWER)
        return committed

    async def _find_in_place(self, order: CommitOrder, record: Quarantined | None) -> Committed:
        """What an earlier commit of the same order did."""
        images = self._shared if order.placement is Placement.SHARED else self._private
        found = await images.find(order)
        if found is None and record is not None:
            raise ContentConflict.of_digest()
        if found is None:
            raise ObjectNotFound
        return found

    async def _place(self, order: CommitOrder, record: Quarantined, data: bytes) -> Committed:
        if record.placement is not order.placement:
            raise PlacementMismatch(metadata={"signed": record.placement.value, "computed": order.placement.value})
        if hashlib.sha256(data).hexdigest() != order.sha256:
            log.error("quarantined bytes are damaged", job=order.job_id, lease=order.lease_id)
            raise ObjectNotFound("What is in quarantine is damaged.")
        if order.placement is Placement.SHARED:
            return await self._shared.place(Publication(order, record.content, record.placement), data)
        placed = await self._private.place(order, record.content, data)
        if placed is None:
            raise ObjectNotFound
        return placed

    async def _discard(self, order: DiscardOrder) -> None:
        await self._quarantine.discard(order.job_id, order.lease_id)
        await failpoint(AFTER_DISCARD)

    async def _withdraw(self, order: WithdrawOrder) -> None:
        if order.placement is Placement.SHARED:
            await self._shared.withdraw(order.job_id)
        else:
            await self._private.withdraw(order.job_id, order.object_name)
        await failpoint(AFTER_WITHDRAW)
