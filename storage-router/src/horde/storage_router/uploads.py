"""A lease's image in, under a grant.

What arrives is put together in memory, within its owner's share; what breaks off is kept for an hour, here, so that the
same lease can go on. Another replica has not kept it and says 0, which is always a legal answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

from horde.services.clock import Clock
from horde.services.failpoints import declare, failpoint
from horde.services.shares import Tab
from horde.storage_router.arrivals import Arrivals
from horde.storage_router.checks import Checks
from horde.storage_router.core.assembly import Assembly, check_whole
from horde.storage_router.core.errors import ContentConflict
from horde.storage_router.core.failures import Failures
from horde.storage_router.core.partials import Partials
from horde.storage_router.core.pictures import Limits
from horde.storage_router.core.placement import check_placement
from horde.storage_router.core.records import Quarantined
from horde.storage_router.doors.permits import Permits, Receipts, UploadGrant
from horde.storage_router.quarantine import Quarantine, Taken
from horde.storage_router.receiving import Receiver, UploadMessage
from horde.storage_router.upload_shares import UploadShares

AFTER_OPEN = declare("storage.after_open")
AFTER_CHECK = declare("storage.after_check")
AFTER_PUT = declare("storage.after_put")
BEFORE_RECEIPT = declare("storage.before_receipt")


@dataclass(frozen=True, slots=True)
class Resume:
    """Send from here on."""

    offset: int


@dataclass(frozen=True, slots=True)
class Receipt:
    """They arrived and passed."""

    token: str


class Uploads:
    """Takes images."""

    def __init__(
        self,
        permits: Permits,
        receipts: Receipts,
        quarantine: Quarantine,
        checks: Checks,
        partials: Partials,
        arrivals: Arrivals,
        shares: UploadShares,
        failures: Failures,
        limits: Limits,
        receiver: Receiver,
        clock: Clock,
    ) -> None:
        self._permits = permits
        self._receipts = receipts
        self._quarantine = quarantine
        self._checks = checks
        self._partials = partials
        self._arrivals = arrivals
        self._shares = shares
        self._failures = failures
        self._limits = limits
        self._receiver = receiver
        self._clock = clock
        self._keeping: set[asyncio.Task[Quarantined]] = set()

    async def put_image(self, token: str, data: bytes, sha256: bytes, address: str) -> Receipt:
        """Take a small image that came in one message. `address` is where from."""
        grant = await self._open(token)
        with self._failures.counted((grant.job_id, grant.lease_id), grant.owner):
            check_whole(data, sha256, min(grant.max_bytes, self._limits.max_bytes))
            stored = await self._stored(grant)
            if stored is None:
                with self._shares.of_image(grant, address) as tab:
                    tab.take(len(data))
                    record = await self._check_and_store(grant, data, sha256.hex())
            else:
                record = _same(stored, sha256.hex())
        return await self._receipt(grant, record)

    async def upload_image(
        self, messages: AsyncIterator[UploadMessage], address: str
    ) -> AsyncIterator[Resume | Receipt]:
        """Serve one stream of a worker. `address` is where from."""
        grant = await self._open(await self._receiver.opening(messages))
        with (
            self._failures.counted((grant.job_id, grant.lease_id), grant.owner),
            self._shares.of_image(grant, address) as tab,
        ):
            stored = await self._stored(grant)
            if stored is None:
                assembly = self._begin(grant, tab)
                yield Resume(len(assembly))
                record = await self._receive(grant, messages, assembly, tab)
            else:
                # Its finish says what it has; there is nothing to send, and what is sent all the same is not kept.
                size = stored.content.size_bytes
                yield Resume(size)
                record = _same(stored, (await self._receiver.finish(messages, size)).sha256.hex())
        yield await self._receipt(grant, record)

    async def _open(self, token: str) -> UploadGrant:
        grant = self._permits.upload(token)
        check_placement(grant.placement, grant.facts)
        await failpoint(AFTER_OPEN)
        return grant

    async def _stored(self, grant: UploadGrant) -> Quarantined | None:
        """What a lease has brought, if it was here before. Of others the bucket says so when it stores."""
        if self._arrivals.is_first((grant.job_id, grant.lease_id)):
            return None
        return await self._quarantine.look(grant.job_id, grant.lease_id)

    def _begin(self, grant: UploadGrant, tab: Tab) -> Assembly:
        kept = self._partials.pop((grant.job_id, grant.lease_id))
        tab.take(len(kept))
        return Assembly(min(grant.max_bytes, self._limits.max_bytes), kept)

    async def _receive(
        self, grant: UploadGrant, messages: AsyncIterator[UploadMessage], assembly: Assembly, tab: Tab
    ) -> Quarantined:
        whole = False
        try:
            finish = await self._receiver.content(messages, assembly, tab)
            whole = True
        finally:
            if not whole:
                self._partials.keep((grant.job_id, grant.lease_id), assembly.kept())
        data = assembly.finish(finish.sha256, finish.size_bytes)
        return await self._check_and_store(grant, data, finish.sha256.hex())

    async def _check_and_store(self, grant: UploadGrant, data: bytes, sha256: str) -> Quarantined:
        limits = Limits(self._limits.max_bytes, min(self._limits.max_pixels, grant.width * grant.height))
        known = self._failures.has_record(grant.owner)
        with self._failures.tried((grant.job_id, grant.lease_id)):
            content = await self._checks.check(
                data, sha256, limits, grant.placement, (grant.width, grant.height), grant.owner, known=known
            )
        self._failures.passed(grant.owner)
        await failpoint(AFTER_CHECK)
        record = Quarantined(content, grant.placement, self._clock.now().replace(microsecond=0))
        # A bucket finishes what it has begun, whoever hangs up.
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
        kept = _same(stored, record.content.sha256)
        if stored is record:
            self._arrivals.keep((grant.job_id, grant.lease_id), Taken(record, data))
        return kept

    async def _receipt(self, grant: UploadGrant, stored: Quarantined) -> Receipt:
        await failpoint(BEFORE_RECEIPT)
        return Receipt(self._receipts.sign(grant, stored.content, stored.completed_at))


def _same(stored: Quarantined, sha256: str) -> Quarantined:
    """What is stored, if this is it. Raises ContentConflict."""
    if stored.content.sha256 != sha256:
        raise ContentConflict.of_digest()
    return stored
