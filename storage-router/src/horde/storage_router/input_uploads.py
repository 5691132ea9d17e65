"""An input in, under a ticket: as whoever sent it sees it, and nothing else of the file.

A ticket's input is one stream. What is stored is not what was sent, but the picture that a viewer shows
(`normalising`). The digest of what was sent names it all the same: its sender knows that one, whatever we make of it.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator

from horde.services.clock import Clock
from horde.services.failpoints import declare, failpoint
from horde.storage_router.core.assembly import Assembly, check_whole
from horde.storage_router.core.failures import Failures
from horde.storage_router.core.formats import read_format
from horde.storage_router.core.pictures import Limits
from horde.storage_router.core.records import Content, InputRecord, digest_requester
from horde.storage_router.doors.permits import Permits, PutInputTicket
from horde.storage_router.inputs import Inputs
from horde.storage_router.normalising import Normaliser
from horde.storage_router.receiving import OneStream, Receiver, UploadMessage
from horde.storage_router.upload_shares import UploadShares

MAX_SMALL_INPUT = 2 * 1024 * 1024
"""Bytes of an input that may come in one message."""

AFTER_OPEN = declare("storage.input.after_open")
AFTER_PUT = declare("storage.input.after_put")


class InputUploads:
    """Takes inputs."""

    def __init__(
        self,
        permits: Permits,
        inputs: Inputs,
        normaliser: Normaliser,
        shares: UploadShares,
        failures: Failures,
        limits: Limits,
        receiver: Receiver,
        clock: Clock,
    ) -> None:
        self._permits = permits
        self._inputs = inputs
        self._normaliser = normaliser
        self._shares = shares
        self._failures = failures
        self._limits = limits
        self._receiver = receiver
        self._now = clock.now
        self._streams = OneStream(clock.monotonic)

    async def put_in_parts(self, messages: AsyncIterator[UploadMessage], address: str) -> tuple[str, InputRecord]:
        """Serve one stream of a requester; says under which id it was stored, and what. `address` is where from."""
        ticket = self._permits.put_input(await self._receiver.opening(messages))
        await failpoint(AFTER_OPEN)
        subject = (ticket.requester, ticket.input_id)
        limits = self._limits_of(ticket)
        with (
            self._failures.counted(subject, ticket.requester),
            self._streams.of(subject) as heard,
            self._shares.of_input(ticket, address) as tab,
        ):
            assembly = Assembly(limits.max_bytes)
            finish = await self._receiver.content(messages, assembly, tab, heard)
            data = assembly.finish(finish.sha256, finish.size_bytes)
            return await self._store(ticket, data, finish.sha256.hex(), limits, address)

    async def put(self, token: str, data: bytes, sha256: bytes, address: str) -> tuple[str, InputRecord]:
        """Take a small input that came in one message."""
        ticket = self._permits.put_input(token)
        await failpoint(AFTER_OPEN)
        limits = self._limits_of(ticket)
        with self._failures.counted((ticket.requester, ticket.input_id), ticket.requester):
            check_whole(data, sha256, limits.max_bytes, MAX_SMALL_INPUT)
            with self._shares.of_input(ticket, address) as tab:
                tab.take(len(data))
                return await self._store(ticket, data, sha256.hex(), limits, address)

    def _limits_of(self, ticket: PutInputTicket) -> Limits:
        return Limits(min(ticket.max_bytes, self._limits.max_bytes), self._limits.max_pixels)

    async def _store(
        self, ticket: PutInputTicket, data: bytes, sha256: str, limits: Limits, address: str
    ) -> tuple[str, InputRecord]:
        stored = await self._inputs.find(ticket.requester, ticket.input_id, sha256)
        if stored is None:
            format = read_format(data)
            seen = await self._normaliser.normalise(data, format, limits, ticket.requester)
            kept = sha256 if seen.data is data else hashlib.sha256(seen.data).hexdigest()
            content = Content.of(seen.picture, kept, len(seen.data))
            owner = digest_requester(ticket.requester)
            record = InputRecord(content, sha256, seen.changes, owner, self._now())
            stored = await self._inputs.store(ticket.requester, ticket.input_id, record, seen.data, address)
        await failpoint(AFTER_PUT)
        return ticket.input_id, stored
