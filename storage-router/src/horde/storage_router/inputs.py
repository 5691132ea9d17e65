"""Source images, masks and control images: kept for one hour, or for as long as generations claim them.

An input belongs to its requester: the same id of another requester is another input. A claim is an object of its own.
The first claim leaves a sign beside the input; from then on it lives by claims alone: a new claim holds only if another
one is still there *after* the new one was written, and whoever releases a claim looks again after taking it away, and
deletes what nobody claims. So one of the two sees the other. An input that nobody ever claimed is usable until shortly
before the sweeper may take it.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from horde.buckets.port import Bucket, Entry
from horde.services.failpoints import declare, failpoint
from horde.storage_router.core import keys
from horde.storage_router.core.errors import ContentConflict, InputInUse, InputUnusable, ObjectNotFound
from horde.storage_router.core.records import Content, InputRecord, digest_requester
from horde.storage_router.doors.permits import GetInputTicket
from horde.storage_router.room import Room

KEPT = timedelta(hours=1)
"""How long an input that nobody claims is kept."""
SLACK = timedelta(minutes=5)
"""How much longer it is really there: a claim made in its last moment must not meet the sweeper."""
CLAIM_HOLDS = timedelta(hours=25)
"""Longer than any generation lives."""
MAX_NAME = 200
"""Bytes of a generation's id, which the sign holds: whose claim was the first."""
MAX_CLAIMS = 1_000
"""Claims on one input that are looked at."""

AFTER_CLAIM = declare("storage.inputs.after_claim")
AFTER_SIGN = declare("storage.inputs.after_sign")
AFTER_RELEASE = declare("storage.inputs.after_release")


@dataclass(frozen=True, slots=True)
class NamedInput:
    """An input as a request names it: by the digest of what was sent."""

    input_id: str
    sha256: str


class Inputs:
    """Holds the private bucket; knows only the folders `inputs/`, `claims/` and `claimed/`."""

    def __init__(self, bucket: Bucket, now: Callable[[], datetime], room: Room) -> None:
        self._bucket = bucket
        self._now = now
        self.room = room

    async def find(self, requester: str, input_id: str, sent_sha256: str) -> InputRecord | None:
        """What is kept of this very upload. Raises ContentConflict if it is of another one."""
        found = await self._bucket.head(keys.input_image(requester, input_id))
        if found is None:
            return None
        record = InputRecord.from_metadata(found.metadata)
        if not _is_of(record, requester) or record.sent_sha256 != sent_sha256:
            raise ContentConflict.of_digest()
        return record

    async def store(
        self, requester: str, input_id: str, record: InputRecord, data: bytes, address: str = ""
    ) -> InputRecord:
        """Keep an input. The same again is fine; other content is a conflict. `address` is where it comes from.

        Raises InputsFull, but not to one that is kept already.
        """
        key = keys.input_image(requester, input_id)
        while (found := await self.find(requester, input_id, record.sent_sha256)) is None:
            await self._bucket.delete(keys.claimed(requester, input_id))
            if await self._put(key, data, record, address):
                return record
        return found

    async def _put(self, key: str, data: bytes, record: InputRecord, address: str) -> bool:
        if not self.room.counted:
            await self.count()
        owner = keys.requester_in(key)
        self.room.take(owner, len(data), address)
        # If this fails, it may be stored all the same: the sweeper's count will tell.
        made = await self._bucket.put(
            key, data, metadata=record.to_metadata(), media_type=record.content.format.media_type
        )
        if not made:
            self.room.give_back(owner, len(data))
        return made

    async def count(self) -> None:
        """Look how much room is taken."""
        count = self.room.count()
        try:
            async for page in self._bucket.walk(keys.INPUTS):
                for entry in page:
                    count.add(keys.requester_in(entry.key), entry.size_bytes)
        finally:
            count.finish()

    async def describe(self, requester: str, named: NamedInput) -> InputRecord:
        """What is kept. Raises InputUnusable."""
        record = await self._find(requester, named)
        if await self._was_claimed(requester, named.input_id):
            usable = bool(await self._claims(keys.claims_on(requester, named.input_id)))
        else:
            usable = self._now() < record.stored_at + KEPT
        if not usable:
            raise InputUnusable.named(named.input_id)
        return record

    async def claim(self, generation_id: str, requester: str, named: NamedInput) -> None:
        """Keep an input for a generation. Raises InputUnusable."""
        record = await self._find(requester, named)
        key = keys.claim(requester, named.input_id, generation_id)
        is_new = await self._bucket.put(key, b"")
        await failpoint(AFTER_CLAIM)
        # The claim stands before the sign does: whoever finds the sign finds the claim, too, unless it was released.
        sign = keys.claimed(requester, named.input_id)
        is_first = await self._bucket.put(sign, generation_id.encode())
        await failpoint(AFTER_SIGN)
        if not is_new:
            return
        if is_first and await self._bucket.head(keys.input_image(requester, named.input_id)) is None:
            # A claim that took so long that its generation was over: no sign was left since the input had gone.
            await self._bucket.delete(key)
            raise InputUnusable.named(named.input_id)
        if is_first and self._now() < record.stored_at + KEPT:
            return
        claims = await self._claims(keys.claims_on(requester, named.input_id))
        if is_first or all(entry.key == key for entry in claims):
            if not is_first and await self._bucket.get(sign, 0, MAX_NAME) == generation_id.encode():
                return  # The same claim, asked for twice at once: the other has left the sign, and was granted.
            await self._bucket.delete(key)
            raise InputUnusable.named(named.input_id)

    async def release(self, generation_id: str, requester: str, input_ids: Sequence[str]) -> None:
        """End a generation's claims; delete what nobody claims any more."""
        for input_id in input_ids:
            await self._bucket.delete(keys.claim(requester, input_id, generation_id))
            await failpoint(AFTER_RELEASE)
            await self.expire(keys.input_image(requester, input_id))

    async def delete(self, requester: str, input_id: str) -> None:
        """Delete an input. Nothing there is fine. Raises InputInUse."""
        key = keys.input_image(requester, input_id)
        if (found := await self._bucket.head(key)) is None:
            return
        # From here on a claim holds only beside another one, and there is none, or we see it.
        await self._bucket.put(keys.claimed_of_key(key), b"")
        if await self._claims(keys.claims_on_key(key)):
            raise InputInUse.named(input_id)
        await self._delete(key, found.size_bytes)

    async def forget(self, requester: str) -> int:
        """Delete all that a requester put in and nobody claims, a page of it; how many are left as far as was seen."""
        seen = await self._bucket.page(keys.inputs_of(requester))
        left = 0
        for entry in seen:
            try:
                await self.delete(requester, entry.key.rpartition("/")[2])
            except InputInUse:
                left += 1
        return left + len(await self._bucket.page(keys.inputs_of(requester), after=seen[-1].key) if seen else ())

    async def expire(self, key: str) -> bool:
        """Delete an input if nobody claims it, and somebody did or its hour is over; says whether it is gone."""
        found = await self._bucket.head(key)
        if found is None:
            return True
        if await self._claims(keys.claims_on_key(key)):
            return False
        sign = keys.claimed_of_key(key)
        over = self._now() >= InputRecord.from_metadata(found.metadata).stored_at + KEPT + SLACK
        if not over and await self._bucket.head(sign) is None:
            return False
        await self._delete(key, found.size_bytes)
        return True

    async def _delete(self, key: str, size_bytes: int) -> None:
        await self._bucket.delete(key)
        await self._bucket.delete(keys.claimed_of_key(key))
        self.room.give_back(keys.requester_in(key), size_bytes)

    async def open(self, ticket: GetInputTicket) -> tuple[str, Content]:
        """Where the ticket's input is, and what."""
        key = keys.input_in(ticket.whose, ticket.input_id)
        found = await self._bucket.head(key)
        if found is None:
            raise ObjectNotFound
        record = InputRecord.from_metadata(found.metadata)
        if record.sent_sha256 != ticket.sha256:
            raise ObjectNotFound
        return key, record.content

    async def get(self, key: str, offset: int, length: int) -> bytes | None:
        """Bytes of an opened input."""
        return await self._bucket.get(key, offset, length)

    async def _find(self, requester: str, named: NamedInput) -> InputRecord:
        found = await self._bucket.head(keys.input_image(requester, named.input_id))
        if found is None:
            raise InputUnusable.named(named.input_id)
        record = InputRecord.from_metadata(found.metadata)
        if not _is_of(record, requester) or record.sent_sha256 != named.sha256:
            raise InputUnusable.named(named.input_id)
        return record

    async def _was_claimed(self, requester: str, input_id: str) -> bool:
        return await self._bucket.head(keys.claimed(requester, input_id)) is not None

    async def _claims(self, prefix: str) -> Sequence[Entry]:
        """The claims that hold. One is forgotten after 25 hours."""
        since = self._now() - CLAIM_HOLDS
        claims = await self._bucket.page(prefix, limit=MAX_CLAIMS)
        return [claim for claim in claims if claim.modified_at > since]


def _is_of(record: InputRecord, requester: str) -> bool:
    return hmac.compare_digest(record.requester_digest, digest_requester(requester))
