"""The only holder of the shared bucket. Nothing reaches it but a Publication, and that cannot be made of private bytes.

Order of writing: the record with the consent first, then the image. So there is never an image without its consent
record; a record without its image, which is what a crash between the two leaves, is not an image yet, and the repeated
commit completes it. Order of withdrawal: the sign that it is withdrawn first, then the image, then the record.

Both leave an entry in a journal by the hour, so that a data release learns what is new without a listing of all.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import datetime, timedelta

from horde.buckets.port import Bucket
from horde.services.failpoints import declare, failpoint
from horde.storage_router.core import keys
from horde.storage_router.core.consent import compose, compose_withdrawal
from horde.storage_router.core.errors import ContentConflict, ObjectNotFound
from horde.storage_router.core.orders import CommitOrder, Committed, Publication
from horde.storage_router.core.pictures import ImageFormat
from horde.storage_router.core.records import Content
from horde.storage_router.doors.permits import GetImageTicket, GetSharedTicket

AFTER_RECORD = declare("storage.commit.after_record")
AFTER_IMAGE = declare("storage.commit.after_image")
AFTER_SIGN = declare("storage.withdraw.after_sign")

JSON = "application/json"


class SharedImages:
    """Committed shared images, each beside its record."""

    def __init__(self, bucket: Bucket, now: Callable[[], datetime]) -> None:
        self._bucket = bucket
        self._now = now

    async def place(self, publication: Publication, data: bytes) -> Committed:
        """Put an image and its record in place, or find them there. One that was withdrawn stays away."""
        order, content = publication.order, publication.content
        committed = Committed(content.size_bytes, content.format)
        if await self._bucket.head(keys.withdrawn(order.job_id)) is not None:
            return committed
        # Both before the image: so whoever reads the journal of an hour that is over misses none of that hour.
        entry = keys.journal(self._now(), order.job_id)
        await asyncio.gather(self._place_record(publication), self._bucket.put(entry, b""))
        await failpoint(AFTER_RECORD)
        await self._bucket.put(
            keys.shared_image(order.job_id, content.format), data, media_type=content.format.media_type
        )
        await failpoint(AFTER_IMAGE)
        # Withdrawn in between: whichever of the two wrote last has seen the other, and cleans up.
        if await self._bucket.head(keys.withdrawn(order.job_id)) is not None:
            await self._delete(order.job_id)
        return committed

    async def _place_record(self, publication: Publication) -> None:
        job_id = publication.order.job_id
        record = compose(publication)
        key = keys.shared_record(job_id)
        while not await self._bucket.put(key, record, media_type=JSON):
            there = await self._bucket.read(key)
            if there is None:
                continue
            if there.data == record:
                return
            if (content := await self._find(job_id)) is not None:
                if content.sha256 == publication.content.sha256:
                    return
                raise ContentConflict.of_digest()
            # Of a commit that never got as far as its image, and whose bytes are lost: nobody has seen it.
            await self._bucket.delete(key)

    async def find(self, order: CommitOrder) -> Committed | None:
        """The image of this order if it is in place, or was withdrawn. Raises ContentConflict if another is."""
        content = await self._find(order.job_id)
        if content is None:
            withdrawn = await self._bucket.read(keys.withdrawn(order.job_id))
            image = None if withdrawn is None else json.loads(withdrawn.data)["image"]
            content = None if image is None else _content(image)
        if content is None:
            return None
        if content.sha256 != order.sha256:
            raise ContentConflict.of_digest()
        return Committed(content.size_bytes, content.format)

    async def open(self, ticket: GetImageTicket | GetSharedTicket, *, reviewing: bool = False) -> tuple[str, Content]:
        """Where the ticket's image is, and what. What moderation withholds is there for who is `reviewing` alone."""
        content, withheld = await asyncio.gather(self._find(ticket.job_id), self._is_withheld(ticket.job_id))
        if content is None or content.sha256 != ticket.sha256 or (withheld and not reviewing):
            raise ObjectNotFound
        return keys.shared_image(ticket.job_id, content.format), content

    async def withdraw(self, job_id: str) -> None:
        """Delete an image and its record, and leave the sign that it is withdrawn."""
        record = await self._bucket.read(keys.shared_record(job_id))
        now = self._now()
        # First of all: a release that has the image already must hear of it. A repeat in another hour makes another.
        await self._bucket.put(keys.withdrawals(now, job_id), b"")
        sign = compose_withdrawal(job_id, None if record is None else record.data, now)
        await self._bucket.put(keys.withdrawn(job_id), sign, media_type=JSON)
        await failpoint(AFTER_SIGN)
        await self._delete(job_id)

    async def content(self, job_id: str) -> Content | None:
        """What is in place of this job."""
        return await self._find(job_id)

    async def read(self, job_id: str, content: Content) -> bytes | None:
        """All bytes of an image."""
        found = await self._bucket.read(keys.shared_image(job_id, content.format))
        return None if found is None else found.data

    async def get(self, key: str, offset: int, length: int) -> bytes | None:
        """Bytes of an opened image."""
        return await self._bucket.get(key, offset, length)

    async def link(self, key: str, lifetime: timedelta) -> str | None:
        """A link to an opened image, if the store makes any."""
        return await self._bucket.link(key, lifetime)

    async def _find(self, job_id: str) -> Content | None:
        """What the record says, if its image is there too."""
        record = await self._bucket.read(keys.shared_record(job_id))
        if record is None:
            return None
        content = _content(json.loads(record.data)["image"])
        image = await self._bucket.head(keys.shared_image(job_id, content.format))
        return content if image is not None and image.size_bytes == content.size_bytes else None

    async def _is_withheld(self, job_id: str) -> bool:
        """Whether moderation keeps it from everybody, as the curation service writes it beside the images."""
        stored = await self._bucket.read(keys.moderation(job_id))
        return stored is not None and bool(json.loads(stored.data).get("withheld", False))

    async def _delete(self, job_id: str) -> None:
        for format in ImageFormat:
            await self._bucket.delete(keys.shared_image(job_id, format))
        await self._bucket.delete(keys.shared_record(job_id))


def _content(image: dict[str, str | int]) -> Content:
    return Content(
        str(image["sha256"]),
        int(image["size_bytes"]),
        ImageFormat[str(image["format"])],
        int(image["width"]),
        int(image["height"]),
    )
