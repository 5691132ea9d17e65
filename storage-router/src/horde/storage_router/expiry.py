"""Deletes what is too old. Runs on a timer inside the service; several replicas may run it at once.

What is deleted when: quarantine after seven days, private images past their time, inputs past their hour that nobody
claims, claims after 25 hours, signs of closed leases after 26, broken uploads after an hour. Shared images never.
Each round looks at everything once, a page at a time: nothing that is due stays longer than a round takes, and no more
than a page is in memory.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta

from horde.buckets.port import Bucket, Entry
from horde.services import lifecycle, telemetry
from horde.services.clock import Clock
from horde.services.errors import ServiceError
from horde.services.failpoints import declare, failpoint
from horde.storage_router.core import keys
from horde.storage_router.core.partials import Partials
from horde.storage_router.core.records import PrivateImage
from horde.storage_router.inputs import CLAIM_HOLDS, KEPT, SLACK, Inputs
from horde.storage_router.room import Count

QUARANTINE_KEPT = timedelta(days=7)
"""Longer than any SETTLING may last."""
CLOSED_KEPT = timedelta(hours=26)
"""Longer than any grant of the lease lives: ten minutes more than its generation, which lives for 24 hours at most."""
PAGE = 20_000
"""Objects of a listing that are in memory at once: some megabytes."""
TURN = 100
"""Objects looked at before others have their turn."""

BEFORE_DELETE = declare("storage.expiry.before_delete")

log = telemetry.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Swept:
    """What one round did."""

    looked_at: int
    deleted: int


class Sweeper:
    """Holds the private bucket only: nothing shared ever expires."""

    def __init__(self, bucket: Bucket, inputs: Inputs, partials: Partials, clock: Clock, page: int = PAGE) -> None:
        self._bucket = bucket
        self._inputs = inputs
        self._partials = partials
        self._clock = clock
        self._page = page

    async def run(self, every: timedelta) -> None:
        """Sweep for as long as the service runs, and for no more than half of that time."""
        took = 0.0
        while True:
            await self._clock.sleep(max(every.total_seconds(), took))
            began = self._clock.monotonic()
            try:
                swept = await self.sweep()
            except ServiceError as error:
                log.warning("sweeping broke off", error=str(error))
                continue
            finally:
                took = self._clock.monotonic() - began
                lifecycle.give_memory_back()
            if swept.deleted:
                log.info("swept", looked_at=swept.looked_at, deleted=swept.deleted)

    async def sweep(self) -> Swept:
        """One round: each folder, to its end."""
        self._partials.expire()
        rounds = [
            await self._sweep(keys.QUARANTINE, self._expire_quarantined),
            await self._sweep(keys.CLOSED, self._delete_after(CLOSED_KEPT)),
            await self._sweep(keys.CLAIMS, self._delete_after(CLAIM_HOLDS)),
            await self._sweep(keys.CLAIMED, self._expire_claimed),
            await self._sweep_inputs(),
            await self._sweep(keys.IMAGES, self._expire_image),
        ]
        return Swept(sum(round_.looked_at for round_ in rounds), sum(round_.deleted for round_ in rounds))

    async def _sweep(self, folder: str, expire: Callable[[Entry], Awaitable[bool]]) -> Swept:
        looked_at = deleted = 0
        async for page in self._bucket.walk(folder, self._page):
            for number, entry in enumerate(page):
                if number % TURN == 0:
                    # A bucket in memory or in a folder answers without waiting.
                    await asyncio.sleep(0)
                deleted += await expire(entry)
            looked_at += len(page)
        return Swept(looked_at, deleted)

    async def _sweep_inputs(self) -> Swept:
        count = self._inputs.room.count()
        try:
            return await self._sweep(keys.INPUTS, self._expire_input(count))
        finally:
            count.finish()

    def _delete_after(self, kept: timedelta) -> Callable[[Entry], Awaitable[bool]]:
        async def expire(entry: Entry) -> bool:
            if self._clock.now() < entry.modified_at + kept:
                return False
            return await self._delete(entry.key)

        return expire

    async def _expire_quarantined(self, entry: Entry) -> bool:
        # What is empty is the sign of a closed lease.
        if self._clock.now() < entry.modified_at + (QUARANTINE_KEPT if entry.size_bytes else CLOSED_KEPT):
            return False
        return await self._delete(entry.key)

    def _expire_input(self, count: Count) -> Callable[[Entry], Awaitable[bool]]:
        async def expire(entry: Entry) -> bool:
            if self._clock.now() >= entry.modified_at + KEPT:
                await failpoint(BEFORE_DELETE)
                if await self._inputs.expire(entry.key):
                    return True
            count.add(keys.requester_in(entry.key), entry.size_bytes)
            return False

        return expire

    async def _expire_claimed(self, entry: Entry) -> bool:
        """What a release left when it broke off: an input that nobody claims any more, or a sign beside nothing."""
        if self._clock.now() < entry.modified_at + SLACK:
            return False
        if not await self._inputs.expire(keys.claimed_input(entry.key)):
            return False
        return await self._delete(entry.key)

    async def _expire_image(self, entry: Entry) -> bool:
        found = await self._bucket.head(entry.key)
        if found is None or self._clock.now() < PrivateImage.from_metadata(found.metadata).expires_at:
            return False
        return await self._delete(entry.key)

    async def _delete(self, key: str) -> bool:
        await failpoint(BEFORE_DELETE)
        await self._bucket.delete(key)
        return True
