"""The volunteers' streams, and the one stream that carries them all to the scheduler.

A worker's stream outlives an absence of the scheduler: it stays open, what the worker says meanwhile is dropped, and
when the relay is back every session is stated anew under its number and each worker is asked to restate what it holds.
Numbers are never used again in this process, and each process is another gateway to the scheduler.

What waits is bounded everywhere: a worker that does not read is hung up, a scheduler that does not read holds the
workers' readers back. Progress is the first to be dropped, for the next one says more.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable
from contextlib import aclosing
from functools import partial
from typing import Protocol

from google.protobuf.message import DecodeError

from horde.api.worker.v1 import worker_service_pb2 as service_pb2
from horde.gateway.core.errors import (
    ApiKeyUnknown,
    HelloExpected,
    NeighbourUnavailable,
    ProtocolViolation,
)
from horde.gateway.core.previews import Previews
from horde.gateway.core.requesters import Principal
from horde.gateway.core.restrictions import Restriction
from horde.gateway.doors.attach import Paced, check_said, checked_hello, names_a_lease, sort_out
from horde.gateway.doors.authentication import Still
from horde.gateway.doors.sessions import Hears, Says, Session, Sessions, is_progress, only_last_progress
from horde.gateway.neighbours.exchange import Line, Stream, keep
from horde.gateway.neighbours.refusals import outward
from horde.gateway.neighbours.scheduler import split
from horde.internal.scheduler.v1 import scheduler_service_pb2 as scheduler_pb2
from horde.services.clock import Clock
from horde.services.errors import ResourceExhausted
from horde.services.failpoints import declare, failpoint
from horde.services.shares import Taker
from horde.services.status import from_status
from horde.services.streams import Outbox, OutboxClosed, converse
from horde.services.telemetry import get_logger

log = get_logger(__name__)

RELAY_OPENED = declare("gateway.relay.opened")
RELAY_SENDING = declare("gateway.relay.sending")
ATTACHED = declare("gateway.relay.attached")

MAX_BATCH = 256
MAX_LINE = 20_000
"""Messages of workers that wait for the scheduler; then their readers wait."""
SOFT_LINE = 5_000
"""From here on progress is dropped."""
LINGER_SECONDS = 0.02
"""How long progress waits for other messages to go with."""
GOODBYE_SECONDS = 0.1
"""How long a worker that half-closed may still turn out to have vanished."""
FIRST_MESSAGE_SECONDS = 15.0
UNREADABLE = "bytes that are no message"


class Source(Protocol):
    """What is needed of the scheduler."""

    def relay(self) -> Stream:
        """Open the stream."""


class Relay:
    """All workers that are attached here."""

    def __init__(
        self,
        scheduler: Source,
        previews: Previews,
        show: Callable[[str, str, int, bytes], None],
        clock: Clock,
        *,
        gateway_id: str,
        max_sessions: int,
        on_worker: Callable[[Session], Restriction | None] = lambda session: None,
    ) -> None:
        """`show` takes a worker's preview: whose, of which lease, at which step, the bytes. `on_worker` says what
        restricts a worker.
        """
        self._on_worker = on_worker
        self._scheduler = scheduler
        self._previews = previews
        self._show = show
        self._clock = clock
        self._gateway_id = gateway_id
        self._sessions = Sessions(max_sessions)
        self._line: Line[Says] | None = None
        self._welcome_heard = False
        self._stopped = False
        self._urgent = asyncio.Event()
        self.dropped = 0
        """Messages that were dropped because the relay was away or slow."""

    def __len__(self) -> int:
        return len(self._sessions)

    @property
    def up(self) -> bool:
        """Whether the scheduler has welcomed the present opening of the relay."""
        return self._welcome_heard

    async def attach(
        self,
        principal: Principal,
        requests: AsyncIterable[service_pb2.AttachRequest],
        still: Still,
        taker: Taker,
        peer: str = "",
    ) -> AsyncGenerator[Hears, None]:
        """Hold one worker's stream until either side hangs up, or its key is good no more. `taker` takes the seat."""
        reader = aiter(requests)
        try:
            async with asyncio.timeout(FIRST_MESSAGE_SECONDS):
                first = await anext(reader)
        except TimeoutError:
            # A slow link, or a busy machine, and no defect of the worker's program: it must not stay away for it.
            raise NeighbourUnavailable("No hello has come; attach again.") from None
        except StopAsyncIteration:
            raise HelloExpected(metadata={"got": "nothing"}) from None
        except DecodeError as error:
            raise HelloExpected(metadata={"got": UNREADABLE}) from error
        session = self._open(principal, checked_hello(first), taker, peer)
        listen = partial(self._listen, session, Paced(reader, self._clock), still)
        ended = False
        try:
            await failpoint(ATTACHED)
            async with aclosing(converse(listen, session.outbox, session.outbox)) as messages:
                async for message in messages:
                    yield message
            ended = True
        finally:
            self._close(session, clean=ended and session.said_goodbye)

    async def run(self) -> None:
        """Keep the relay to the scheduler. Runs until cancelled."""
        await keep("relay", self._relay, self._clock)

    async def farewell(self) -> None:
        """Send every worker away, politely: it attaches elsewhere, and goes on painting."""
        self._stopped = True
        message = Hears(farewell=service_pb2.Farewell(detail="This gateway is stopping; attach again."))
        for session in tuple(self._sessions):
            session.say(message)
            session.end()

    def revoke(self, api_key_id: str) -> None:
        """End the streams that were opened with a key that was revoked."""
        for session in tuple(self._sessions):
            if session.api_key_id == api_key_id:
                session.end(ApiKeyUnknown())

    def look_at_restrictions(self) -> None:
        """What restricts workers has changed: some are sent away, some get no new jobs, some get jobs again."""
        for session in tuple(self._sessions):
            self._look_at(session)

    def _look_at(self, session: Session) -> None:
        restriction = self._on_worker(session)
        if restriction is not None and restriction.ban:
            session.end(restriction.refusal())
            return
        paused = restriction is not None
        if session.paused != paused:
            session.paused = paused
            demand = service_pb2.AttachRequest(demand=session.demand)
            session.withhold(demand)
            if session.session_id:
                self._put(Says(relay_session_id=session.number, worker=demand))

    def _open(self, principal: Principal, hello: service_pb2.Hello, taker: Taker, peer: str = "") -> Session:
        if self._stopped:
            raise NeighbourUnavailable("This gateway is stopping; attach again.")
        session = self._sessions.open(principal, hello, taker, peer)
        self._look_at(session)
        self._put(session.opened())
        return session

    def _close(self, session: Session, *, clean: bool) -> None:
        session.end()
        self._sessions.close(session)
        closed = scheduler_pb2.SessionClosed(clean=clean)
        self._put(Says(relay_session_id=session.number, closed=closed))

    async def _listen(self, session: Session, requests: AsyncIterator[service_pb2.AttachRequest], still: Still) -> None:
        """Pass on what a worker says, until it half-closes or says something that it must not, which is raised."""
        good_until = 0.0
        try:
            async for request in requests:
                # A key may be revoked at another door, which cannot end this stream.
                if self._clock.monotonic() >= good_until:
                    good_until = await still()
                await self._said(session, request)
        except DecodeError as error:
            raise ProtocolViolation(metadata={"got": UNREADABLE}) from error
        # A call that was cut looks half-closed at first; if it was, this task is cancelled in a moment.
        await self._clock.sleep(GOODBYE_SECONDS)
        # One that was sent away comes back elsewhere: that is no goodbye.
        session.said_goodbye = not self._stopped

    async def _said(self, session: Session, request: service_pb2.AttachRequest) -> None:
        kind = check_said(request)
        if not kind:
            return
        invalid = sort_out(request) if kind in ("outcome", "restatement") else []
        if kind == "preview":
            preview = request.preview
            self._show(session.worker, preview.lease_id, preview.step, preview.image)
            return
        if kind == "restatement":
            if session.restating and request.restatement.epoch == session.restating:
                session.restating = 0
            for lease in request.restatement.leases:
                self._previews.resumed(session.worker, lease.lease_id, session.wish)
        elif kind == "outcome":
            lease_id = invalid[0].lease_id if invalid else request.outcome.lease_id
            self._previews.ended_by(session.worker, lease_id)
        line = self._line
        if line is None or not self._welcome_heard or session.restating:
            self.dropped += 1
            return
        if kind == "progress" and len(line.outbox) >= SOFT_LINE:
            self.dropped += 1
            return
        session.withhold(request)
        request.DiscardUnknownFields()
        if kind != "progress":
            self._urgent.set()
        try:
            if request.WhichOneof("message"):
                await line.outbox.send(Says(relay_session_id=session.number, worker=request))
            for outcome in invalid:
                await self._refuse(session, line, outcome)
        except OutboxClosed:
            self.dropped += 1

    @staticmethod
    async def _refuse(session: Session, line: Line[Says], outcome: scheduler_pb2.InvalidOutcome) -> None:
        """Have an outcome that breaks a limit closed; the scheduler says so, if it can know whose it is."""
        if names_a_lease(outcome):
            await line.outbox.send(Says(relay_session_id=session.number, invalid_outcome=outcome))
            return
        settled = service_pb2.Settled(
            lease_id=outcome.lease_id,
            job_id=outcome.job_id,
            disposition=service_pb2.DISPOSITION_OUTCOME_INVALID,
            invalid=outcome.invalid,
        )
        session.say(Hears(settled=settled))

    def _put(self, message: Says) -> None:
        """Say that a session began or ended. While the relay is away there is no need: all is stated on its return."""
        if self._line is None:
            return
        self._urgent.set()
        try:
            self._line.outbox.put_nowait(message)
        except OutboxClosed:
            return
        except ResourceExhausted:
            self._line.hang_up()

    async def _relay(self) -> None:
        line = Line[Says](MAX_LINE)
        for session in self._sessions:
            line.outbox.put_nowait(session.opened())
        self._line = line
        try:
            await line.carry(self._scheduler.relay(), self._write, self._heard)
        finally:
            self._line = None
            self._welcome_heard = False

    async def _write(self, stream: Stream, outbox: Outbox[Says]) -> None:
        hello = scheduler_pb2.RelayHello(gateway_id=self._gateway_id)
        await stream.write(scheduler_pb2.RelayRequest(relay_hello=hello))
        await failpoint(RELAY_OPENED)
        while True:
            self._urgent.clear()
            batch = await outbox.drain(MAX_BATCH)
            if not batch:
                return
            if not self._urgent.is_set() and all(is_progress(says) for says in batch):
                await self._linger()
                if len(outbox):
                    batch += await outbox.drain(MAX_BATCH)
            # Cut by bytes as well: a batch that is more than a message holds would be made again at every opening.
            for part in split(only_last_progress(batch)):
                await failpoint(RELAY_SENDING)
                await stream.write(scheduler_pb2.RelayRequest(sessions=part))

    async def _linger(self) -> None:
        """Wait a moment for company: progress alone is not worth a message, and much of it comes at once."""
        try:
            async with asyncio.timeout(LINGER_SECONDS):
                await self._urgent.wait()
        except TimeoutError:
            return

    def _heard(self, response: scheduler_pb2.RelayResponse) -> None:
        if response.HasField("relay_welcome"):
            self._welcomed(response.relay_welcome.epoch)
        for open_session in response.sessions:
            session = self._sessions.get(open_session.relay_session_id)
            if session is None:
                continue
            if open_session.WhichOneof("message") == "end":
                session.end(outward(from_status(open_session.end)) if open_session.end.code else None)
            else:
                self._told(session, open_session.worker)

    def _welcomed(self, epoch: int) -> None:
        """The relay is open: whoever had a session before must restate what it holds."""
        self._welcome_heard = True
        log.info("workers can attach: the scheduler takes what they say", epoch=epoch, sessions=len(self._sessions))
        for session in tuple(self._sessions):
            if session.session_id:
                session.restating = epoch
                session.say(Hears(resync=service_pb2.Resync(epoch=epoch)))

    def _told(self, session: Session, message: Hears) -> None:
        kind = message.WhichOneof("message")
        if kind == "welcome":
            known, session.session_id = session.session_id, message.welcome.session_id
            if known:
                # A session that was stated anew: the worker was welcomed long ago.
                return
        session.say(message)
        if kind == "assignment":
            lent = message.assignment
            self._previews.lent(session.worker, lent.lease_id, lent.job_id, lent.generation_id, session.wish)
        elif kind == "revocation":
            self._previews.ended(message.revocation.lease_id)
        elif kind == "settled":
            self._previews.ended(message.settled.lease_id)
