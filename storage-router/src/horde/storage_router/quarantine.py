"""Where every upload lands first: one object for each lease, until it is committed, discarded or too old.

A lease that was committed or discarded is closed: an empty object takes the place of what it brought, for as long as
its grant can live, and says what was committed. So whoever uploads makes the object only if there is none, and the
store decides who was first: nobody has to look before or after. An empty object is a sign and nothing else, since no
picture is empty.
"""

from __future__ import annotations

from dataclasses import dataclass

from horde.buckets.port import Bucket, Head
from horde.storage_router.core import keys
from horde.storage_router.core.errors import LeaseClosed
from horde.storage_router.core.records import Quarantined


@dataclass(frozen=True, slots=True)
class Taken:
    """What a lease has stored, with its bytes; none if they are more than were asked for."""

    record: Quarantined
    data: bytes


class Quarantine:
    """Holds the private bucket; knows only the folder `quarantine/`."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    async def store(self, job_id: str, lease_id: str, data: bytes, record: Quarantined) -> Quarantined:
        """Keep an upload, if it is the lease's first; says what is kept, or was committed. Raises LeaseClosed."""
        key = keys.quarantined(job_id, lease_id)
        if await self._bucket.put(
            key, data, metadata=record.to_metadata(), media_type=record.content.format.media_type
        ):
            return record
        kept = await self.look(job_id, lease_id)
        if kept is None:
            raise LeaseClosed.of_lease(lease_id)
        return kept

    async def look(self, job_id: str, lease_id: str) -> Quarantined | None:
        """What a lease has brought, committed or not. Raises LeaseClosed if it was discarded."""
        found = await self._bucket.head(keys.quarantined(job_id, lease_id))
        if found is None:
            return None
        if not found.metadata:
            raise LeaseClosed.of_lease(lease_id)
        return Quarantined.from_metadata(found.metadata)

    async def find(self, job_id: str, lease_id: str) -> Quarantined | None:
        """What a lease has stored here, and is here."""
        found = await self._bucket.head(keys.quarantined(job_id, lease_id))
        return None if found is None or _is_closed(found) else Quarantined.from_metadata(found.metadata)

    async def take(self, job_id: str, lease_id: str, most: int | None = None) -> Taken | None:
        """The same with its bytes, if they are at most `most`."""
        found = await self._bucket.read(keys.quarantined(job_id, lease_id), most)
        if found is None or _is_closed(found.head):
            return None
        return Taken(Quarantined.from_metadata(found.head.metadata), found.data)

    async def close(self, job_id: str, lease_id: str, committed: Quarantined) -> None:
        """Let go of what stands elsewhere now; what was committed stays known."""
        await self._bucket.replace(keys.quarantined(job_id, lease_id), b"", metadata=committed.to_metadata())

    async def discard(self, job_id: str, lease_id: str) -> None:
        """Let go of what a lease has stored, and of what it still may store. What was committed stays known."""
        key = keys.quarantined(job_id, lease_id)
        if await self._bucket.put(key, b""):
            return
        found = await self._bucket.head(key)
        if found is None or not _is_closed(found):
            await self._bucket.replace(key, b"", metadata={})


def _is_closed(found: Head) -> bool:
    return not found.size_bytes
