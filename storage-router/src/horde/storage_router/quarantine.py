"""Where every upload lands first: one object for each lease, until it is committed, discarded or too old.

A lease that was committed or discarded is closed: a sign stays for as long as its grant can live, so that what comes
later is not kept. The sign is written before the object is deleted, and an upload looks for the sign after it has
stored: so one of the two removes the object. The sign of a commit says what was committed.
"""

from __future__ import annotations

from horde.buckets.port import Bucket
from horde.storage_router.core import keys
from horde.storage_router.core.errors import LeaseClosed
from horde.storage_router.core.records import Quarantined


class Quarantine:
    """Holds the private bucket; knows only the folders `quarantine/` and `closed/`."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    async def store(self, job_id: str, lease_id: str, data: bytes, record: Quarantined) -> Quarantined:
        """Keep an upload, if it is the lease's first; says what is kept. Call `settle` next."""
        key = keys.quarantined(job_id, lease_id)
        if await self._bucket.put(
            key, data, metadata=record.to_metadata(), media_type=record.content.format.media_type
        ):
            return record
        kept = await self.look(job_id, lease_id)
        if kept is None:
            raise LeaseClosed.of_lease(lease_id)
        return kept

    async def settle(self, job_id: str, lease_id: str, stored: Quarantined) -> Quarantined:
        """Take away what was stored after its lease was closed; says what counts. Raises LeaseClosed."""
        try:
            closed = await self._find_closed(job_id, lease_id)
        except LeaseClosed:
            await self.forget(job_id, lease_id)
            raise
        if closed is not None:
            await self.forget(job_id, lease_id)
        return closed or stored

    async def look(self, job_id: str, lease_id: str) -> Quarantined | None:
        """What a lease has brought, committed or not. Raises LeaseClosed if it was discarded."""
        return await self.find(job_id, lease_id) or await self._find_closed(job_id, lease_id)

    async def find(self, job_id: str, lease_id: str) -> Quarantined | None:
        """What a lease has stored here."""
        found = await self._bucket.head(keys.quarantined(job_id, lease_id))
        return None if found is None else Quarantined.from_metadata(found.metadata)

    async def take(self, job_id: str, lease_id: str) -> bytes | None:
        """The bytes of what a lease has stored."""
        found = await self._bucket.read(keys.quarantined(job_id, lease_id))
        return None if found is None else found.data

    async def forget(self, job_id: str, lease_id: str) -> None:
        """Delete what a lease has stored."""
        await self._bucket.delete(keys.quarantined(job_id, lease_id))

    async def close(self, job_id: str, lease_id: str, committed: Quarantined) -> None:
        """Delete what stands elsewhere now; what was committed stays known."""
        await self._bucket.put(keys.closed(job_id, lease_id), b"", metadata=committed.to_metadata())
        await self.forget(job_id, lease_id)

    async def discard(self, job_id: str, lease_id: str) -> None:
        """Delete what a lease has stored, and what it still may store."""
        await self._bucket.put(keys.closed(job_id, lease_id), b"")
        await self.forget(job_id, lease_id)

    async def _find_closed(self, job_id: str, lease_id: str) -> Quarantined | None:
        found = await self._bucket.head(keys.closed(job_id, lease_id))
        if found is None:
            return None
        if not found.metadata:
            raise LeaseClosed.of_lease(lease_id)
        return Quarantined.from_metadata(found.metadata)
