"""Relays: one stream per gateway, which carries the sessions of all of its workers."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Sequence
from contextlib import aclosing
from datetime import timedelta
from functools import partial
from itertools import count

from horde.api.mesh.v1 import mesh_pb2
from horde.api.worker.v1 import worker_pb2, worker_service_pb2
from horde.internal.scheduler.v1 import scheduler_service_pb2 as pb
from horde.scheduler.core import attaching, idling, lending, reporting
from horde.scheduler.core.attaching import Restatement
from horde.scheduler.core.effects import Assign, EndSession, Revoke, SayIdle, SaySettled, SayTerms, Welcome
from horde.scheduler.core.errors import WORKER_ERRORS, ProtocolViolation
from horde.scheduler.core.job import AccountId, JobId, LeaseId
from horde.scheduler.core.outcomes import Result
from horde.scheduler.core.sessions import Route
from horde.scheduler.doors import wire_worker
from horde.scheduler.doors.grants import Grants, ids_of
from horde.scheduler.term import Term
from horde.services.errors import FieldViolation, ResourceExhausted, ServiceError
from horde.services.failpoints import declare, failpoint, failpoint_sync
from horde.services.rates import Counters, Draw, Rate
from horde.services.status import to_status
from horde.services.streams import Outbox, OutboxClosed, converse

AFTER_OUTCOME = declare("scheduler.after_outcome")
AFTER_ASSIGN = declare("scheduler.after_assign")
BEFORE_SETTLED = declare("scheduler.before_settled")
MAX_MESSAGES = 256
"""Of one response."""
MAX_WAITING = 50_000
"""Responses to one gateway; a gateway that reads so little is hung up on, and comes back."""
RETRY_SESSION = timedelta(seconds=30)
LOOK_UPS = Rate(4_096, 64)
"""Jobs that an owner's workers say outcomes of and that are not in memory: each costs a look into the database, and all
workers of the gateway wait for it. What is beyond it is not heard; its worker says it again when it attaches again."""


FEATURES = (
    worker_pb2.SESSION_FEATURE_PREVIEWS,
    worker_pb2.SESSION_FEATURE_LEASE_STATES,
    worker_pb2.SESSION_FEATURE_EXPECTED_PACE,
    worker_pb2.SESSION_FEATURE_IDLE_REPORTS,
    worker_pb2.SESSION_FEATURE_PROMPT_CANCEL,
)
"""Of a session, that this mesh does beyond what every mesh does."""


class Relay:
    """One gateway's stream."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.outbox: Outbox[pb.SessionResponse] = Outbox(MAX_WAITING)

    def put(self, message: pb.SessionResponse) -> None:
        """Have it said; a gateway that does not read is hung up on."""
        try:
            self.outbox.put_nowait(message)
        except OutboxClosed:
            return
        except ResourceExhausted:
            self.outbox.close(ResourceExhausted("This gateway does not read."), drop=True)

    async def responses(self, epoch: int) -> AsyncIterator[pb.RelayResponse]:
        """What to say: the welcome, then whatever comes."""
        yield pb.RelayResponse(relay_welcome=pb.RelayWelcome(epoch=epoch))
        while messages := await self.outbox.drain(MAX_MESSAGES, pb.SessionResponse.ByteSize):
            yield pb.RelayResponse(sessions=messages)
            if any(message.worker.WhichOneof("message") == "assignment" for message in messages):
                await failpoint(AFTER_ASSIGN)


class Relays:
    """All gateways' streams, and what is said on them."""

    def __init__(self, term: Term, grants: Grants) -> None:
        self._term = term
        self._grants = grants
        self._relays: dict[int, Relay] = {}
        self._numbers = count(1)
        self._looked_up = Counters()

    async def serve(self, requests: AsyncIterable[pb.RelayRequest]) -> AsyncIterator[pb.RelayResponse]:
        """One gateway's stream, from its hello to its end."""
        relay = Relay(next(self._numbers))
        self._relays[relay.number] = relay
        listen = partial(self._listen, relay, requests)
        responses = converse(listen, relay.outbox, relay.responses(self._term.board.epoch))
        try:
            async with aclosing(responses):
                async for response in responses:
                    yield response
        finally:
            self._lost(relay)

    def _lost(self, relay: Relay) -> None:
        """A gateway is gone, and with it the streams of its workers, for now."""
        self._relays.pop(relay.number, None)
        term = self._term
        now, now_ms = term.now(), term.now_ms()
        for route in [route for route in term.board.sessions if route.relay == relay.number]:
            attaching.closed(term.board, route, now, now_ms, by_mesh=True)
        term.flush()

    def close(self) -> None:
        """Let every gateway's stream end."""
        for relay in self._relays.values():
            relay.outbox.close()

    def put(self, route: Route, message: pb.SessionResponse) -> None:
        relay = self._relays.get(route.relay)
        if relay is not None:
            relay.put(message)

    def assign(self, effect: Assign) -> None:
        lease, term = effect.lease, self._term
        left = timedelta(seconds=max(0.0, lease.job.generation.deadline - term.now()))
        self.put(effect.route, self._grants.assignment(effect.route, lease, term.clock.now(), left))

    def settled(self, effect: SaySettled) -> None:
        failpoint_sync(BEFORE_SETTLED)
        self.put(effect.route, wire_worker.settled_message(effect))

    def welcome(self, effect: Welcome) -> None:
        message = pb.SessionResponse(relay_session_id=effect.route.number)
        welcome = message.worker.welcome
        welcome.session_id, welcome.worker_id = effect.session_id, effect.worker.worker_id
        welcome.revision = mesh_pb2.CONTRACT_REVISION_1
        welcome.features.extend(FEATURES)
        welcome.resume_grace.FromMilliseconds(int(self._term.board.limits.resume_grace * 1000))
        wire_worker.fill_terms(welcome.terms, effect.worker, self._term.board.limits)
        self.put(effect.route, message)

    def terms(self, effect: SayTerms) -> None:
        message = pb.SessionResponse(relay_session_id=effect.route.number)
        wire_worker.fill_terms(message.worker.terms, effect.worker, self._term.board.limits)
        self.put(effect.route, message)

    def idle(self, effect: SayIdle) -> None:
        message = pb.SessionResponse(relay_session_id=effect.route.number)
        message.worker.idle_report.CopyFrom(wire_worker.idle_message(effect.report))
        self.put(effect.route, message)

    def revoke(self, effect: Revoke) -> None:
        message = pb.SessionResponse(relay_session_id=effect.route.number)
        message.worker.revocation.lease_id = effect.lease_id
        message.worker.revocation.reason = int(effect.reason)  # type: ignore[assignment]
        self.put(effect.route, message)

    def end(self, effect: EndSession) -> None:
        status = to_status(_ending(effect))
        self.put(effect.route, pb.SessionResponse(relay_session_id=effect.route.number, end=status))

    async def _listen(self, relay: Relay, requests: AsyncIterable[pb.RelayRequest]) -> None:
        """Take in what a gateway says until it stops."""
        greeted = False
        async for request in requests:
            if not greeted and not request.HasField("relay_hello"):
                raise ProtocolViolation("A relay begins with relay_hello.", metadata={"got": "sessions"})
            greeted = True
            reported = {
                JobId(session.worker.outcome.job_id): Route(relay.number, session.relay_session_id)
                for session in request.sessions
                if session.worker.WhichOneof("message") == "outcome"
            }
            absent: frozenset[JobId] = frozenset()
            unheard: set[JobId] = set()
            if reported:
                await failpoint(AFTER_OUTCOME)
                # All at once: who comes back with many outcomes of jobs that are over must not cost a query for each.
                wanted = [job_id for job_id, route in reported.items() if self._may_look_up(route, [job_id])]
                unheard = reported.keys() - wanted
                absent = await self._term.recall(wanted)
            for session in request.sessions:
                if session.worker.WhichOneof("message") != "outcome" or session.worker.outcome.job_id not in unheard:
                    await self._session_said(Route(relay.number, session.relay_session_id), session, absent)
            self._term.flush()

    def _may_look_up(self, route: Route, job_ids: Sequence[JobId]) -> bool:
        """Whether it may be looked for those of these jobs that are not in memory."""
        board = self._term.board
        session = board.sessions.get(route)
        unknown = sum(job_id not in board.jobs for job_id in job_ids)
        if session is None or not unknown:
            return True
        owner = board.fleet.workers[session.worker_id].owner
        return self._looked_up.admit([Draw(owner, LOOK_UPS, unknown)], self._term.now()) is None

    def _read_outcome(self, outcome: worker_service_pb2.Outcome) -> Result:
        """An outcome, its receipt checked."""
        if outcome.HasField("painted"):
            return self._grants.read(outcome, self._term.clock.now())
        return wire_worker.result_of(outcome)

    async def _session_said(self, route: Route, message: pb.SessionRequest, absent: frozenset[JobId]) -> None:
        term = self._term
        match message.WhichOneof("message"):
            case "opened":
                hello = message.opened.hello
                attaching.opened(
                    term.board,
                    route,
                    AccountId(message.opened.owner_account_id),
                    wire_worker.text(hello.worker_name),
                    wire_worker.text(hello.agent),
                    wire_worker.capabilities_of(hello.capabilities),
                    message.opened.session_id,
                    term.now(),
                    term.now_ms(),
                    hears_idle=worker_pb2.SESSION_FEATURE_IDLE_REPORTS in hello.features,
                )
                if (session := term.board.sessions.get(route)) is not None:
                    # Nothing is lent before it restates.
                    term.board.fleet.workers[session.worker_id].pace = wire_worker.pace_of(hello)
            case "closed":
                attaching.closed(term.board, route, term.now(), term.now_ms())
            case "worker":
                await self._worker_said(route, message, absent)
            case "invalid_outcome":
                await self._broken(route, message.invalid_outcome)

    async def _broken(self, route: Route, invalid: pb.InvalidOutcome) -> None:
        board = self._term.board
        session = board.sessions.get(route)
        if session is None:
            return
        worker, job_id = board.fleet.workers[session.worker_id], JobId(invalid.job_id)
        if not self._may_look_up(route, [job_id]):
            return
        await self._term.recall([job_id])
        result = wire_worker.broken_of(invalid)
        reporting.outcome(board, worker, route, LeaseId(invalid.lease_id), job_id, result, self._term.now())

    async def _worker_said(self, route: Route, message: pb.SessionRequest, absent: frozenset[JobId]) -> None:
        term, board = self._term, self._term.board
        session = board.sessions.get(route)
        if session is None:
            return  # It was ended; what it says meanwhile it will say again.
        worker = board.fleet.workers[session.worker_id]
        word = message.worker
        kind = word.WhichOneof("message")
        match kind:
            case "progress":
                lease_id = LeaseId(word.progress.lease_id)
                stage = wire_worker.stage_of(word.progress.state)
                lending.progressed(board, worker, lease_id, word.progress.step, term.now(), stage)
            case "outcome":
                lease_id, job_id = ids_of(word.outcome)
                if job_id not in absent:
                    await term.recall([job_id])  # No query, unless it has left the memory since.
                result = self._read_outcome(word.outcome)
                reporting.outcome(board, worker, route, lease_id, job_id, result, term.now())
            case "demand":
                attaching.demanded(board, session, worker, word.demand.slots, word.demand.draining, term.now())
            case "capabilities":
                read = partial(wire_worker.capabilities_of, word.capabilities)
                attaching.capable(board, worker, read, term.now())
            case "restatement":
                stated = word.restatement
                outcomes = tuple((*ids_of(outcome), self._read_outcome(outcome)) for outcome in stated.outcomes)
                job_ids = [job_id for _, job_id, _ in outcomes]
                if self._may_look_up(route, job_ids):
                    await term.recall(job_ids)
                else:
                    # No lease is open for what is not in memory.
                    outcomes = tuple(outcome for outcome in outcomes if outcome[1] in board.jobs)
                restatement = Restatement(
                    stated.epoch,
                    stated.demand.slots,
                    stated.demand.draining,
                    tuple(wire_worker.held_of(lease) for lease in stated.leases),
                    outcomes,
                )
                attaching.restated(board, session, worker, restatement, term.now(), term.now_ms())
            case "idle_question":
                idling.asked(board, worker, term.now())
            case "preview" | None:
                pass  # Gateways pass previews among themselves; None is something newer than this contract.
            case _:
                board.emit(EndSession(route, "PROTOCOL_VIOLATION", str(kind)))
                attaching.closed(board, route, term.now(), term.now_ms())


def _ending(effect: EndSession) -> ServiceError:
    """Why a worker's stream ends."""
    error = WORKER_ERRORS[effect.reason]
    match effect.reason:
        case "TOO_MANY_SESSIONS":
            return error(metadata={"limit": effect.detail}, retry_after=RETRY_SESSION)
        case "SESSION_SUPERSEDED":
            return error(
                f"Another program is attached as {effect.detail}: two may not use one name. Give one of them another.",
                metadata={"worker_name": effect.detail},
            )
        case "API_KEY_UNKNOWN":
            return error()
        case "INVALID_FIELD":
            return error(violations=[FieldViolation("hello", effect.detail)])
        case _:
            return error(metadata={"got": effect.detail})
