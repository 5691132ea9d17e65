"""Carries out the scheduler's orders: commit, discard, withdraw. Each may be repeated, each item stands for itself.

A commit takes the quarantined object, checks everything again, writes it in place, and only then closes its lease,
which takes it out of quarantine. Whatever breaks off in between is found by the repeat: in quarantine, in place, or in
both.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

from horde.services import telemetry
from horde.services.errors import ServiceError
from horde.services.failpoints import declare, failpoint
from horde.storage_router.arrivals import Arrivals
from horde.storage_router.budget import ByteBudget
from horde.storage_router.core.errors import ContentConflict, ObjectNotFound, PlacementMismatch
from horde.storage_router.core.orders import CommitOrder, Committed, DiscardOrder, Publication, WithdrawOrder
from horde.storage_router.core.placement import Placement, check_placement
from horde.storage_router.core.records import Quarantined
from horde.storage_router.doors.items import Items
from horde.storage_router.private_images import PrivateImages
from horde.storage_router.quarantine import Quarantine, Taken
from horde.storage_router.shared_images import SharedImages

BEFORE_COPY = declare("storage.commit.before_copy")
AFTER_COPY = declare("storage.commit.after_copy")
BEFORE_ANSWER = declare("storage.commit.before_answer")
AFTER_DISCARD = declare("storage.discard.before_answer")
AFTER_WITHDRAW = declare("storage.withdraw.before_answer")

MOST: Final = 1024 * 1024
"""What is no longer is read at once, without asking first how long it is."""

log = telemetry.get_logger(__name__)


class Commits:
    """Carries out orders within a budget of bytes."""

    def __init__(
        self,
        quarantine: Quarantine,
        arrivals: Arrivals,
        private: PrivateImages,
        shared: SharedImages,
        budget: ByteBudget,
        items: Items,
    ) -> None:
        self._quarantine = quarantine
        self._arrivals = arrivals
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
        async with self._taken(order) as taken:
            if taken is None or taken.record.content.sha256 != order.sha256:
                return await self._find_in_place(order, taken)
            await failpoint(BEFORE_COPY)
            committed = await self._place(order, taken.record, taken.data)
        await failpoint(AFTER_COPY)
        await self._quarantine.close(order.job_id, order.lease_id, taken.record)
        await failpoint(BEFORE_ANSWER)
        return committed

    @asynccontextmanager
    async def _taken(self, order: CommitOrder) -> AsyncIterator[Taken | None]:
        """What the order's lease has brought, within the budget: as it came a moment ago, or as it lies there."""
        if (fresh := self._arrivals.take((order.job_id, order.lease_id))) is not None:
            async with self._budget.hold(len(fresh.data)):
                yield fresh
            return
        async with self._budget.hold(MOST):
            taken = await self._quarantine.take(order.job_id, order.lease_id, MOST)
            if taken is None or taken.data:
                yield taken
                return
        async with self._budget.hold(taken.record.content.size_bytes):
            yield await self._quarantine.take(order.job_id, order.lease_id)

    async def _find_in_place(self, order: CommitOrder, other: Taken | None) -> Committed:
        """What an earlier commit of the same order did."""
        images = self._shared if order.placement is Placement.SHARED else self._private
        found = await images.find(order)
        if found is None and other is not None:
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
        self._arrivals.take((order.job_id, order.lease_id))
        await self._quarantine.discard(order.job_id, order.lease_id)
        await failpoint(AFTER_DISCARD)

    async def _withdraw(self, order: WithdrawOrder) -> None:
        if order.placement is Placement.SHARED:
            await self._shared.withdraw(order.job_id)
        else:
            await self._private.withdraw(order.job_id, order.object_name)
        await failpoint(AFTER_WITHDRAW)
