"""Relays: one stream per gateway, which carries the sessions of all of its workers."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator
from datetime import timedelta
from itertools import count
from typing import TYPE_CHECKING

from horde.internal.scheduler.v1 import scheduler_service_pb2 as pb
from horde.scheduler.core import attaching, lending, reporting
from horde.scheduler.core.attaching import Restatement
from horde.scheduler.core.effects import EndSession, Revoke, Welcome
from horde.scheduler.core.errors import WORKER_ERRORS, ProtocolViolation
from horde.scheduler.core.job import AccountId, JobId, LeaseId
from horde.scheduler.core.sessions import Route
from horde.scheduler.doors import wire_worker
from horde.scheduler.doors.batches import take
from horde.scheduler.doors.grants import ids_of
from horde.services.errors import ResourceExhausted
from horde.services.failpoints import declare, failpoint
from horde.services.status import to_status

if TYPE_CHECKING:
    from horde.scheduler.engine import Engine

AFTER_OUTCOME = declare("scheduler.after_outcome")
AFTER_ASSIGN = declare("scheduler.after_assign")
MAX_MESSAGES = 256
"""Of one response."""
MAX_WAITING = 50_000
"""Responses to one gateway; a gateway that reads so little is hung up on, and comes back."""
RETRY_SESSION = timedelta(seconds=30)


class Relay:
    """One gateway's stream."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.closed = False
        self._messages: deque[pb.SessionResponse] = deque()
        self._filled = asyncio.Event()

    def put(self, message: pb.SessionResponse) -> None:
        if len(self._messages) >= MAX_WAITING:
            self.closed = True
        else:
            self._messages.append(message)
        self._filled.set()

    def close(self) -> None:
        self.closed = True
        self._filled.set()

    async def batches(self) -> AsyncIterator[pb.RelayResponse]:
        """What to say, as it comes."""
        while True:
            while not self._messages:
                if self.closed:
                    return
                self._filled.clear()
                await self._filled.wait()
            if len(self._messages) >= MAX_WAITING:
                raise ResourceExhausted("This gateway does not read.")
            messages = take(self._messages, MAX_MESSAGES, pb.SessionResponse.ByteSize)
            yield pb.RelayResponse(sessions=messages)
            if any(each.worker.WhichOneof("message") == "assignment" for each in messages):
                await failpoint(AFTER_ASSIGN)


class Relays:
    """All gateways' streams, and what is said on them."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._relays: dict[int, Relay] = {}
        self._numbers = count(1)

    def open(self) -> Relay:
        relay = Relay(next(self._numbers))
        self._relays[relay.number] = relay
        return relay

    def lost(self, relay: Relay) -> None:
        """A gateway is gone, and with it the streams of its workers, for now."""
        relay.close()
        self._relays.pop(relay.number, None)
        engine = self._engine
        now, now_ms = engine.now(), engine.now_ms()
        for route in [route for route in engine.board.sessions if route.relay == relay.number]:
            attaching.closed(engine.board, route, now, now_ms, by_mesh=True)
        engine.flush()

    def close(self) -> None:
        for relay in self._relays.values():
            relay.close()

    def put(self, route: Route, message: pb.SessionResponse) -> None:
        relay = self._relays.get(route.relay)
        if relay is not None:
            relay.put(message)

    def welcome(self, effect: Welcome) -> None:
        message = pb.SessionResponse(relay_session_id=effect.route.number)
        welcome = message.worker.welcome
        welcome.session_id, welcome.worker_id = effect.session_id, effect.worker_id
        welcome.resume_grace.FromMilliseconds(int(self._engine.board.limits.resume_grace * 1000))
        self.put(effect.route, message)

    def revoke(self, effect: Revoke) -> None:
        message = pb.SessionResponse(relay_session_id=effect.route.number)
        message.worker.revocation.lease_id = effect.lease_id
        message.worker.revocation.reason = int(effect.reason)  # type: ignore[assignment]
        self.put(effect.route, message)

    def end(self, effect: EndSession) -> None:
        error = WORKER_ERRORS[effect.reason]
        metadata = {"limit": effect.detail} if effect.reason == "TOO_MANY_SESSIONS" else {}
        retry = RETRY_SESSION if effect.reason == "TOO_MANY_SESSIONS" else None
        status = to_status(error(effect.detail or None, metadata=metadata, retry_after=retry))
        self.put(effect.route, pb.SessionResponse(relay_session_id=effect.route.number, end=status))

    async def listen(self, relay: Relay, requests: AsyncIterable[pb.RelayRequest]) -> None:
        """Take in what a gateway says until it stops."""
        greeted = False
        async for request in requests:
            if not greeted and not request.HasField("relay_hello"):
                raise ProtocolViolation("A relay begins with relay_hello.", metadata={"got": "sessions"})
            greeted = True
            reported = [
                JobId(each.worker.outcome.job_id)
                for each in request.sessions
                if each.worker.WhichOneof("message") == "outcome"
            ]
            absent: frozenset[JobId] = frozenset()
            if reported:
                await failpoint(AFTER_OUTCOME)
                # All at once: who comes back with many outcomes of jobs that are over must not cost a query for each.
                absent = await self._engine.recall(reported)
            for each in request.sessions:
                await self._said(Route(relay.number, each.relay_session_id), each, absent)
            self._engine.flush()

    async def _said(self, route: Route, message: pb.SessionRequest, absent: frozenset[JobId]) -> None:
        engine = self._engine
        match message.WhichOneof("message"):
            case "opened":
                hello = message.opened.hello
                attaching.opened(
                    engine.board,
                    route,
                    AccountId(message.opened.owner_account_id),
                    wire_worker.text(hello.worker_name),
                    wire_worker.text(hello.agent),
                    wire_worker.capabilities_of(hello.capabilities),
                    message.opened.session_id,
                    engine.now(),
                    engine.now_ms(),
                )
            case "closed":
                attaching.closed(engine.board, route, engine.now(), engine.now_ms())
            case "worker":
                await self._worker_said(route, message, absent)

    async def _worker_said(self, route: Route, message: pb.SessionRequest, absent: frozenset[JobId]) -> None:
        engine, board = self._engine, self._engine.board
        session = board.sessions.get(route)
        if session is None:
            return  # It was ended; what it says meanwhile it will say again.
        worker = board.fleet.workers[session.worker_id]
        said = message.worker
        kind = said.WhichOneof("message")
        match kind:
            case "progress":
                lease_id = LeaseId(said.progress.lease_id)
                lending.progressed(board, worker, lease_id, said.progress.step, engine.now())
            case "outcome":
                lease_id, job_id = ids_of(said.outcome)
                if job_id not in absent:
                    await engine.recall([job_id])  # No query, unless it has left the memory since.
                result = engine.read_outcome(said.outcome)
                reporting.outcome(board, worker, route, lease_id, job_id, result, engine.now())
            case "demand":
                attaching.demanded(board, session, worker, said.demand.slots, said.demand.draining)
            case "capabilities":
                attaching.capable(board, worker, wire_worker.capabilities_of(said.capabilities))
            case "restatement":
                stated = said.restatement
                outcomes = tuple((*ids_of(each), engine.read_outcome(each)) for each in stated.outcomes)
                await engine.recall([job_id for _, job_id, _ in outcomes])
                restatement = Restatement(
                    stated.epoch,
                    stated.demand.slots,
                    stated.demand.draining,
                    tuple(wire_worker.held_of(each) for each in stated.leases),
                    outcomes,
                )
                attaching.restated(board, session, worker, restatement, engine.now(), engine.now_ms())
            case "preview" | None:
                pass  # Gateways pass previews among themselves; None is something newer than this contract.
            case _:
                board.emit(EndSession(route, "PROTOCOL_VIOLATION", str(kind)))
                attaching.closed(board, route, engine.now(), engine.now_ms())
