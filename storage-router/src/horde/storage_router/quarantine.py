"""Where every upload lands first: one object for each lease, until it is committed, discarded or too old."""

from __future__ import annotations

from horde.buckets.port import Bucket
from horde.storage_router.core import keys
from horde.storage_router.core.errors import ContentConflict
from horde.storage_router.core.records import Quarantined


class Quarantine:
    """Holds the private bucket; knows only the folders `quarantine/` and `discarded/`."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    async def store(self, job_id: str, lease_id: str, data: bytes, record: Quarantined) -> Quarantined:
        """Keep an upload, if it is the lease's first; says what is kept."""
        key = keys.quarantined(job_id, lease_id)
        if await self._bucket.put(
            key, data, metadata=record.to_metadata(), media_type=record.content.format.media_type
        ):
            return record
        kept = await self.find(job_id, lease_id)
        if kept is None:
            # Committed or discarded in between: there is nothing left to report by this lease.
            raise ContentConflict.of_digest()
        return kept

    async def find(self, job_id: str, lease_id: str) -> Quarantined | None:
        """What a lease has stored."""
        found = await self._bucket.head(keys.quarantined(job_id, lease_id))
        return None if found is None else Quarantined.from_metadata(found.metadata)

    async def take(self, job_id: str, lease_id: str) -> bytes | None:
        """The bytes of what a lease has stored."""
        found = await self._bucket.read(keys.quarantined(job_id, lease_id))
        return None if found is None else found.data

    async def forget(self, job_id: str, lease_id: str) -> None:
        """Delete what a lease has stored: it stands elsewhere now, or is not wanted."""
        await self._bucket.delete(keys.quarantined(job_id, lease_id))

    async def discard(self, job_id: str, lease_id: str) -> None:
        """Delete what a lease has stored, and what it still may store: its grant can outlive it.

        The sign comes first. An upload looks for it after it has stored, so one of the two removes the object.
        """
        await self._bucket.put(keys.discarded(job_id, lease_id), b"")
        await self.forget(job_id, lease_id)

    async def is_discarded(self, job_id: str, lease_id: str) -> bool:
        """Whether nobody wants this lease's image any more."""
        return await self._bucket.head(keys.discarded(job_id, lease_id)) is not None
