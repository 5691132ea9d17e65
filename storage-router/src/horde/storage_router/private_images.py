"""Committed private images: unguessable names, for the requester alone, until they expire."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from datetime import datetime, timedelta

from horde.buckets.port import Bucket
from horde.storage_router.core import keys
from horde.storage_router.core.errors import ContentConflict, ObjectNotFound
from horde.storage_router.core.orders import CommitOrder, Committed
from horde.storage_router.core.records import Content, PrivateImage, digest_requester
from horde.storage_router.doors.permits import GetImageTicket


class PrivateImages:
    """Holds the private bucket; knows only the folder `images/`, and takes from quarantine."""

    def __init__(self, bucket: Bucket, now: Callable[[], datetime]) -> None:
        self._bucket = bucket
        self._now = now

    async def place(self, order: CommitOrder, content: Content, data: bytes) -> Committed | None:
        """Put what is in quarantine in place, or find it there. None if it is in neither."""
        expires_at = (self._now() + order.keep_for).replace(microsecond=0)
        image = PrivateImage(content, order.job_id, digest_requester(order.requester), expires_at)
        key = keys.private_image(order.object_name)
        source = keys.quarantined(order.job_id, order.lease_id)
        copied = await self._bucket.copy(
            source, key, data, metadata=image.to_metadata(), media_type=content.format.media_type
        )
        return _committed(image) if copied else await self.find(order)

    async def find(self, order: CommitOrder) -> Committed | None:
        """The image of this order if it is in place. Raises ContentConflict if another is."""
        found = await self._bucket.head(keys.private_image(order.object_name))
        if found is None:
            return None
        image = PrivateImage.from_metadata(found.metadata)
        if (image.content.sha256, image.job_id) != (order.sha256, order.job_id):
            raise ContentConflict.of_digest()
        return _committed(image)

    async def open(self, ticket: GetImageTicket) -> tuple[str, Content]:
        """Where the ticket's image is, and what. Not there, expired and not this requester's are all the same."""
        key = keys.private_image(ticket.object_name)
        found = await self._bucket.head(key)
        if found is None:
            raise ObjectNotFound
        image = PrivateImage.from_metadata(found.metadata)
        whose = hmac.compare_digest(image.requester_digest, digest_requester(ticket.requester))
        what = (image.job_id, image.content.sha256) == (ticket.job_id, ticket.sha256)
        if not whose or not what or image.expires_at <= self._now():
            raise ObjectNotFound
        return key, image.content

    async def withdraw(self, job_id: str, object_name: str) -> None:
        """Delete an image for good. One of another job stays."""
        key = keys.private_image(object_name)
        found = await self._bucket.head(key)
        if found is not None and PrivateImage.from_metadata(found.metadata).job_id == job_id:
            await self._bucket.delete(key)

    async def content(self, job_id: str, object_name: str) -> Content | None:
        """What is in place under this name, if it is this job's and has not expired."""
        found = await self._bucket.head(keys.private_image(object_name))
        image = None if found is None else PrivateImage.from_metadata(found.metadata)
        return None if image is None or image.job_id != job_id or image.expires_at <= self._now() else image.content

    async def read(self, object_name: str) -> bytes | None:
        """All bytes of an image."""
        found = await self._bucket.read(keys.private_image(object_name))
        return None if found is None else found.data

    async def get(self, key: str, offset: int, length: int) -> bytes | None:
        """Bytes of an opened image."""
        return await self._bucket.get(key, offset, length)

    async def link(self, key: str, lifetime: timedelta) -> str | None:
        """A link to an opened image, if the store makes any."""
        return await self._bucket.link(key, lifetime)


def _committed(image: PrivateImage) -> Committed:
    return Committed(image.content.size_bytes, image.content.format, image.expires_at)
