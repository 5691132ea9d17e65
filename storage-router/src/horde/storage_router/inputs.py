"""Source images, masks and control images: kept for one hour, or for as long as a generation claims them.

A claim is an object of its own. An input past its hour lives only by claims, and a new claim on it holds only if
another is still there *after* the new one was written: whoever releases the last claim looks again after taking it
away, so one of the two sees the other. Within its hour an input is usable until shortly before the sweeper may take it.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from horde.buckets.port import Bucket, Entry
from horde.services.failpoints import declare, failpoint
from horde.storage_router.core import keys
from horde.storage_router.core.errors import ContentConflict, InputUnusable, ObjectNotFound
from horde.storage_router.core.records import Content, InputRecord, digest_requester
from horde.storage_router.doors.permits import GetInputTicket
from horde.storage_router.room import Room

KEPT = timedelta(hours=1)
"""How long an input that nobody claims is kept."""
SLACK = timedelta(minutes=5)
"""How much longer it is really there: a claim made in its last moment must not meet the sweeper."""
CLAIM_HOLDS = timedelta(hours=25)
"""Longer than any generation lives."""
MAX_CLAIMS = 1_000
"""Claims on one input that are looked at."""

AFTER_CLAIM = declare("storage.inputs.after_claim")
AFTER_RELEASE = declare("storage.inputs.after_release")


@dataclass(frozen=True, slots=True)
class NamedInput:
    """An input as a request names it."""

    input_id: str
    sha256: str


class Inputs:
    """Holds the private bucket; knows only the folders `inputs/` and `claims/`."""

    def __init__(self, bucket: Bucket, now: Callable[[], datetime], room: Room) -> None:
        self._bucket = bucket
        self._now = now
        self.room = room

    async def store(self, input_id: str, requester: str, content: Content, data: bytes) -> Content:
        """Keep an input. The same again is fine; other content, or somebody else's, is a conflict.

        Raises InputsFull, but not to one that is kept already.
        """
        record = InputRecord(content, digest_requester(requester), self._now())
        key = keys.input_image(input_id)
        while True:
            found = await self._bucket.head(key)
            if found is not None:
                there = InputRecord.from_metadata(found.metadata)
                if not _is_of(there, requester) or there.content.sha256 != content.sha256:
                    raise ContentConflict.of_digest()
                return there.content
            if await self._put(key, data, record):
                return content

    async def _put(self, key: str, data: bytes, record: InputRecord) -> bool:
        if self.room.used is None:
            await self.count()
        self.room.take(len(data))
        # If this fails, it may be stored all the same: the sweeper's count will tell.
        made = await self._bucket.put(
            key, data, metadata=record.to_metadata(), media_type=record.content.format.media_type
        )
        if not made:
            self.room.give_back(len(data))
        return made

    async def count(self) -> None:
        """Look how much room is taken."""
        before, counted, after = self.room.taken, 0, ""
        while page := await self._bucket.page(keys.INPUTS, after=after):
            counted += sum(entry.size_bytes for entry in page)
            after = page[-1].key
        self.room.recount(counted, before)

    async def describe(self, requester: str, named: NamedInput) -> Content:
        """What is stored. Raises InputUnusable."""
        record = await self._find(requester, named)
        if not self._is_fresh(record) and not await self._claims(named.input_id):
            raise InputUnusable.named(named.input_id)
        return record.content

    async def claim(self, generation_id: str, requester: str, named: NamedInput) -> None:
        """Keep an input for a generation. Raises InputUnusable."""
        record = await self._find(requester, named)
        key = keys.claim(named.input_id, generation_id)
        is_new = await self._bucket.put(key, b"")
        await failpoint(AFTER_CLAIM)
        if self._is_fresh(record) or not is_new:
            return
        if all(entry.key == key for entry in await self._claims(named.input_id)):
            await self._bucket.delete(key)
            raise InputUnusable.named(named.input_id)

    async def release(self, generation_id: str, input_ids: Sequence[str]) -> None:
        """End a generation's claims; delete what nobody claims any more and is past its hour."""
        for input_id in input_ids:
            await self._bucket.delete(keys.claim(input_id, generation_id))
            await failpoint(AFTER_RELEASE)
            await self.expire(input_id)

    async def expire(self, input_id: str) -> bool:
        """Delete an input if it is past its hour and unclaimed; says whether it is gone."""
        key = keys.input_image(input_id)
        found = await self._bucket.head(key)
        if found is None:
            return True
        record = InputRecord.from_metadata(found.metadata)
        if self._now() < record.stored_at + KEPT + SLACK or await self._claims(input_id):
            return False
        await self._bucket.delete(key)
        self.room.give_back(found.size_bytes)
        return True

    async def open(self, ticket: GetInputTicket) -> tuple[str, Content]:
        """Where the ticket's input is, and what."""
        key = keys.input_image(ticket.input_id)
        found = await self._bucket.head(key)
        if found is None:
            raise ObjectNotFound
        record = InputRecord.from_metadata(found.metadata)
        if record.content.sha256 != ticket.sha256:
            raise ObjectNotFound
        return key, record.content

    async def get(self, key: str, offset: int, length: int) -> bytes | None:
        """Bytes of an opened input."""
        return await self._bucket.get(key, offset, length)

    async def _find(self, requester: str, named: NamedInput) -> InputRecord:
        found = await self._bucket.head(keys.input_image(named.input_id))
        if found is None:
            raise InputUnusable.named(named.input_id)
        record = InputRecord.from_metadata(found.metadata)
        if not _is_of(record, requester) or record.content.sha256 != named.sha256:
            raise InputUnusable.named(named.input_id)
        return record

    def _is_fresh(self, record: InputRecord) -> bool:
        return self._now() < record.stored_at + KEPT

    async def _claims(self, input_id: str) -> Sequence[Entry]:
        """The claims that hold. One is forgotten after 25 hours."""
        since = self._now() - CLAIM_HOLDS
        claims = await self._bucket.page(keys.claims_on(input_id), limit=MAX_CLAIMS)
        return [claim for claim in claims if claim.modified_at > since]


def _is_of(record: InputRecord, requester: str) -> bool:
    return hmac.compare_digest(record.requester_digest, digest_requester(requester))
