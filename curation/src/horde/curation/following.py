"""Follows the journals of the shared bucket: what was shared becomes known here, what was withdrawn is known as such.

An hour is read again and again until it has been over for a while, because its entries come in any order; then it is
done for ever, and noted. So a restart goes on where it was, and memory holds one page. Images first, withdrawals after:
what was withdrawn while its record was being read is found by the second.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Final

from horde.curation.core.images import SharedImage
from horde.curation.neighbours.shared_bucket import SHARED, WITHDRAWN, SharedBucket
from horde.curation.store.port import ImageStore
from horde.services.clock import Clock
from horde.services.errors import ServiceError
from horde.services.telemetry import get_logger

log = get_logger(__name__)

HOUR: Final = timedelta(hours=1)
SETTLING: Final = timedelta(minutes=15)
"""An hour is over this long after its end: clocks differ, and a write may be slow."""
LATE: Final = timedelta(days=8)
"""A commit whose entry is there, and its image not, is repeated for as long as quarantine lasts: seven days. Then it
has an entry in another hour, too, and releases still go by the first."""
READS: Final = 16
"""Records read at once."""
REST: Final = 10
"""Times as long as a round took there is rest after it, at least: of the processor and the bucket it takes a tenth."""
MAX_REST: Final = 30.0
"""Seconds of rest at most: one slow round must not keep a withdrawal from everybody for minutes."""


class Follower:
    """Brings the store up to date with the bucket."""

    def __init__(self, bucket: SharedBucket, store: ImageStore, clock: Clock, every: timedelta) -> None:
        self._bucket = bucket
        self._store = store
        self._clock = clock
        self._every = every.total_seconds()

    async def run(self) -> None:
        """Round after round, until cancelled. While the bucket or the database is away nothing is lost."""
        while True:
            began = self._clock.monotonic()
            try:
                await self.round()
            except ServiceError as error:
                # Who fails is said by the watch over it.
                log.debug("the journals could not be read", error=str(error))
            rest = min(MAX_REST, REST * (self._clock.monotonic() - began))
            await self._clock.sleep(max(self._every, rest))

    async def round(self) -> None:
        """Read both journals up to now."""
        for journal in (SHARED, WITHDRAWN):
            await self._catch_up(journal)

    async def _catch_up(self, journal: str) -> None:
        hour = await self._store.place(journal) or await self._bucket.first_hour(journal)
        if hour is None:
            return
        while hour <= (now := self._clock.now()):
            over = hour + HOUR + SETTLING <= now
            await (self._read_shared(hour, over=over) if journal == SHARED else self._read_withdrawn(hour))
            hour += HOUR
            if over:
                await self._store.keep_place(journal, hour)

    async def _read_shared(self, hour: datetime, *, over: bool) -> None:
        async for page in self._bucket.entries(SHARED, hour):
            known = await self._store.known([image_id for image_id, _ in page])
            fresh = [(image_id, at) for image_id, at in page if image_id not in known]
            missing = {image_id for image_id, _ in fresh}
            for start in range(0, len(fresh), READS):
                reading = (self._bucket.image(*entry, hour) for entry in fresh[start : start + READS])
                found = [image for image in await asyncio.gather(*reading) if image is not None]
                missing -= {image.image_id for image in found}
                await self._add(found)
            # One that a report made known, or a later hour of a journal that is read out of order.
            earlier = {image_id for image_id, known_hour in known.items() if known_hour is None or known_hour > hour}
            if behind := earlier | (missing if over else set()):
                await self._store.keep_hour(behind, hour, hour - LATE)

    async def _add(self, images: list[SharedImage]) -> None:
        if images:
            await self._store.add_images(images)

    async def _read_withdrawn(self, hour: datetime) -> None:
        async for page in self._bucket.entries(WITHDRAWN, hour):
            known = await self._store.known([image_id for image_id, _ in page])
            # A bucket that was copied says a later time: then more is listed as removed than has to be, and never less.
            await self._store.withdraw_images(
                {image_id: at.astimezone(UTC) for image_id, at in page if image_id in known}
            )
