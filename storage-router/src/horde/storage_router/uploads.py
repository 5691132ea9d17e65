"""Bytes in: a lease's image under a grant, an input under a ticket.

What arrives is put together in memory, within a budget; what breaks off is kept for an hour, here, so that the same
lease can go on. Another replica has not kept it and says 0, which is always a legal answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

from horde.services.clock import Clock
from horde.services.failpoints import declare, failpoint
from horde.storage_router.budget import ByteBudget, Tab
from horde.storage_router.checks import Checks
from horde.storage_router.core.assembly import Assembly, MinimumRate, check_whole
from horde.storage_router.core.errors import ContentConflict, ProtocolViolation
from horde.storage_router.core.partials import Partials
from horde.storage_router.core.pictures import Limits
from horde.storage_router.core.placement import Placement, check_placement
from horde.storage_router.core.records import Content, Quarantined
from horde.storage_router.doors.permits import Permits, Receipts, UploadGrant
from horde.storage_router.inputs import Inputs
from horde.storage_router.pace import Pace
from horde.storage_router.quarantine import Quarantine

AFTER_OPEN = declare("storage.after_open")
MID_UPLOAD = declare("storage.mid_upload")
AFTER_CHECK = declare("storage.after_check")
AFTER_PUT = declare("storage.after_put")
BEFORE_RECEIPT = declare("storage.before_receipt")
INPUT_AFTER_PUT = declare("storage.input.after_put")


@dataclass(frozen=True, slots=True)
class Open:
    """Begin, with a token."""

    token: str


@dataclass(frozen=True, slots=True)
class Part:
    """Some bytes."""

    offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Finish:
    """All bytes were sent."""

    sha256: bytes
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Resume:
    """Send from here on."""

    offset: int


@dataclass(frozen=True, slots=True)
class Receipt:
    """They arrived and passed."""

    token: str


Said = Open | Part | Finish | None
"""What a client sends; None is a message that is not known."""


class Uploads:
    """Takes uploads. At most `budget` bytes at once, each at least at `rate`."""

    def __init__(
        self,
        permits: Permits,
        receipts: Receipts,
        quarantine: Quarantine,
        inputs: Inputs,
        checks: Checks,
        partials: Partials,
        budget: ByteBudget,
        limits: Limits,
        rate: MinimumRate,
        clock: Clock,
    ) -> None:
        self._permits = permits
        self._receipts = receipts
        self._quarantine = quarantine
        self._inputs = inputs
        self._checks = checks
        self._partials = partials
        self._budget = budget
        self._limits = limits
        self._rate = rate
        self._clock = clock
        self._keeping: set[asyncio.Task[Quarantined]] = set()

    async def put_image(self, token: str, data: bytes, sha256: bytes) -> Receipt:
        """Take a small image that came in one message."""
        grant, stored = await self._open(token)
        if stored is None:
            check_whole(data, sha256, min(grant.max_bytes, self._limits.max_bytes))
            with self._budget.tab() as tab:
                tab.take(len(data))
                stored = await self._check_and_store(grant, data, sha256.hex())
        await failpoint(BEFORE_RECEIPT)
        return self._receipt(grant, stored)

    async def upload_image(self, said: AsyncIterator[Said]) -> AsyncIterator[Resume | Receipt]:
        """Serve one stream of a worker."""
        grant, stored = await self._open(await self._opening(said))
        if stored is not None:
            yield self._receipt(grant, stored)
            return
        lease = (grant.job_id, grant.lease_id)
        assembly = Assembly(min(grant.max_bytes, self._limits.max_bytes), self._partials.pop(lease))
        whole = False
        with self._budget.tab() as tab:
            try:
                yield Resume(len(assembly))
                tab.take(len(assembly))
                finish = await self._receive(said, assembly, tab)
                whole = True
            finally:
                if not whole:
                    self._partials.keep(lease, assembly.kept())
            stored = await self._check_and_store(
                grant, assembly.finish(finish.sha256, finish.size_bytes), finish.sha256.hex()
            )
        await failpoint(BEFORE_RECEIPT)
        yield self._receipt(grant, stored)

    async def put_input(self, said: AsyncIterator[Said]) -> tuple[str, Content]:
        """Serve one upload of a requester; says what was stored, and under which id."""
        ticket = self._permits.put_input(await self._opening(said))
        await failpoint(AFTER_OPEN)
        limits = Limits(min(ticket.max_bytes, self._limits.max_bytes), self._limits.max_pixels)
        assembly = Assembly(limits.max_bytes)
        with self._budget.tab() as tab:
            finish = await self._receive(said, assembly, tab)
            data = assembly.finish(finish.sha256, finish.size_bytes)
            content = await self._checks.check(data, finish.sha256.hex(), limits, Placement.PRIVATE)
            stored = await self._inputs.store(ticket.input_id, ticket.requester, content, data)
        await failpoint(INPUT_AFTER_PUT)
        return ticket.input_id, stored

    async def _open(self, token: str) -> tuple[UploadGrant, Quarantined | None]:
        """What a worker may bring, and what its lease has brought already."""
        grant = self._permits.upload(token)
        check_placement(grant.placement, grant.facts)
        await failpoint(AFTER_OPEN)
        return grant, await self._quarantine.find(grant.job_id, grant.lease_id)

    async def _opening(self, said: AsyncIterator[Said]) -> str:
        async with Pace(self._clock, self._rate):
            first = await anext(said, None)
        if not isinstance(first, Open):
            raise ProtocolViolation.expected("the opening", _name(first))
        return first.token

    async def _receive(self, said: AsyncIterator[Said], assembly: Assembly, tab: Tab) -> Finish:
        async with Pace(self._clock, self._rate) as pace:
            async for each in said:
                if isinstance(each, Finish):
                    return each
                if not isinstance(each, Part):
                    raise ProtocolViolation.expected("a chunk or the finish", _name(each))
                tab.take(len(each.data))
                assembly.add(each.offset, each.data)
                pace.received = assembly.received
                await failpoint(MID_UPLOAD)
        raise ProtocolViolation.expected("a chunk or the finish", "the end of the stream")

    async def _check_and_store(self, grant: UploadGrant, data: bytes, sha256: str) -> Quarantined:
        limits = Limits(self._limits.max_bytes, min(self._limits.max_pixels, grant.width * grant.height))
        content = await self._checks.check(data, sha256, limits, grant.placement, (grant.width, grant.height))
        await failpoint(AFTER_CHECK)
        record = Quarantined(content, grant.placement, self._clock.now().replace(microsecond=0))
        # A bucket finishes what it has begun, whoever hangs up. Then somebody must still look whether it is wanted.
        keeping = asyncio.create_task(self._keep(grant, data, record))
        self._keeping.add(keeping)
        keeping.add_done_callback(self._kept)
        return await asyncio.shield(keeping)

    def _kept(self, keeping: asyncio.Task[Quarantined]) -> None:
        self._keeping.discard(keeping)
        if not keeping.cancelled():
            keeping.exception()  # It was told to whoever was still there.

    async def _keep(self, grant: UploadGrant, data: bytes, record: Quarantined) -> Quarantined:
        stored = await self._quarantine.store(grant.job_id, grant.lease_id, data, record)
        await failpoint(AFTER_PUT)
        if stored.content.sha256 != record.content.sha256:
            raise ContentConflict.of_digest()
        if await self._quarantine.is_discarded(grant.job_id, grant.lease_id):
            await self._quarantine.forget(grant.job_id, grant.lease_id)
            raise ContentConflict.of_digest()
        return stored

    def _receipt(self, grant: UploadGrant, stored: Quarantined) -> Receipt:
        return Receipt(self._receipts.sign(grant, stored.content, stored.completed_at))


def _name(said: Said) -> str:
    return "the end of the stream or an unknown message" if said is None else f"another {type(said).__name__.lower()}"
