"""Deletes what is too old. Runs on a timer inside the service; several replicas may run it at once.

What is deleted when: quarantine after seven days, private images past their time, inputs past their hour that nobody
claims, claims after 25 hours, signs of discarded leases after a day, broken uploads after an hour. Shared images never.
Each round looks at a bounded number of objects and goes on, next time, where it stopped.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta

from horde.services import telemetry
from horde.services.clock import Clock
from horde.services.errors import ServiceError
from horde.services.failpoints import declare, failpoint
from horde.storage_router import keys
from horde.storage_router.buckets import Bucket, Entry
from horde.storage_router.inputs import CLAIM_HOLDS, KEPT, Inputs
from horde.storage_router.partials import Partials
from horde.storage_router.records import PrivateImage

QUARANTINE_KEPT = timedelta(days=7)
"""Longer than any SETTLING may last."""
DISCARDED_KEPT = timedelta(days=1)
"""Longer than any grant of the lease."""
PAGE = 500
"""Objects looked at in each folder, each round."""

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
        self._after: dict[str, str] = {}

    async def run(self, every: timedelta) -> None:
        """Sweep for as long as the service runs."""
        while True:
            await self._clock.sleep(every.total_seconds())
            try:
                swept = await self.sweep()
            except ServiceError as error:
                log.warning("sweeping broke off", error=str(error))
                continue
            if swept.deleted:
                log.info("swept", looked_at=swept.looked_at, deleted=swept.deleted)

    async def sweep(self) -> Swept:
        """One round: a page of each folder."""
        self._partials.expire()
        rounds = [
            await self._sweep(keys.QUARANTINE, self._delete_after(QUARANTINE_KEPT)),
            await self._sweep(keys.DISCARDED, self._delete_after(DISCARDED_KEPT)),
            await self._sweep(keys.CLAIMS, self._delete_after(CLAIM_HOLDS)),
            await self._sweep(keys.INPUTS, self._expire_input),
            await self._sweep(keys.IMAGES, self._expire_image),
        ]
        return Swept(sum(each.looked_at for each in rounds), sum(each.deleted for each in rounds))

    async def _sweep(self, prefix: str, expire: Callable[[Entry], Awaitable[bool]]) -> Swept:
        page = await self._bucket.page(prefix, after=self._after.get(prefix, ""), limit=self._page)
        deleted = 0
        for entry in page:
            deleted += await expire(entry)
        self._after[prefix] = page[-1].key if len(page) == self._page else ""
        return Swept(len(page), deleted)

    def _delete_after(self, kept: timedelta) -> Callable[[Entry], Awaitable[bool]]:
        async def expire(entry: Entry) -> bool:
            if self._clock.now() < entry.modified_at + kept:
                return False
            return await self._delete(entry.key)

        return expire

    async def _expire_input(self, entry: Entry) -> bool:
        if self._clock.now() < entry.modified_at + KEPT:
            return False
        await failpoint(BEFORE_DELETE)
        return await self._inputs.expire(entry.key.removeprefix(keys.INPUTS))

    async def _expire_image(self, entry: Entry) -> bool:
        found = await self._bucket.head(entry.key)
        if found is None or self._clock.now() < PrivateImage.from_metadata(found.metadata).expires_at:
            return False
        return await self._delete(entry.key)

    async def _delete(self, key: str) -> bool:
        await failpoint(BEFORE_DELETE)
        await self._bucket.delete(key)
        return True
