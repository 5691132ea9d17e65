"""Carries out what the session machine decides: one place where the machine, the work, the disk and the stream meet.

Everything here runs on the event loop without waiting, so what happens in one order has its effects in that order.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import assert_never

from horde.api.worker.v1 import worker_service_pb2 as pb
from horde.services.errors import FieldViolation, ResourceExhausted
from horde.services.failpoints import declare, failpoint_sync
from horde.services.streams import Outbox
from horde.services.telemetry import get_logger
from horde.worker_agent import wire
from horde.worker_agent.assignments import assignment
from horde.worker_agent.core.earnings import Tally, kudos, sentence
from horde.worker_agent.core.jobs import Capabilities, Failed, JobId, LeaseId, Outcome, Painted, Refused, Result
from horde.worker_agent.core.leases import Stage
from horde.worker_agent.core.messages import HeldLease, Message, Preview, Progress
from horde.worker_agent.core.session import Begin, Effect, Forget, Keep, Phase, Send, Session, Settled, Stop
from horde.worker_agent.core.settling import Disposition
from horde.worker_agent.core.status import JobStatus
from horde.worker_agent.outcomes import OutcomeFolder
from horde.worker_agent.spool import Spool
from horde.worker_agent.workshop import Listener, Workshop

log = get_logger(__name__)

_OUTCOME = re.compile(r"(?:restatement\.outcomes\[(?P<index>\d+)\]|outcome)(?:\.|$)")

AFTER_KEEPING = declare("worker.after_keeping")

OUTBOX_LIMIT = 2_048
"""Messages that wait for a slow stream; all unsettled outcomes, said one by one, are fewer. Past it progress and
previews are dropped; anything else ends the stream, and the next one begins with a restatement that says it all."""


class Agent:
    """One worker."""

    def __init__(
        self,
        session: Session,
        outcomes: OutcomeFolder,
        spool: Spool,
        make_workshop: Callable[[Listener], Workshop],
    ) -> None:
        self._session = session
        self._outcomes = outcomes
        self._spool = spool
        self._workshop = make_workshop(self)
        self._outbox: Outbox[pb.AttachRequest] | None = None
        self._changed = asyncio.Event()
        self._suspected = False
        self.why_idle: list[str] | None = None
        """Why there is nothing to do, as the mesh said last; None: it has never said."""
        self.tally = Tally()
        self.faults: Counter[str] = Counter()
        """Jobs that ended here without a picture, by what was the matter."""
        self._began: dict[LeaseId, float] = {}
        self.last_busy = 0.0
        """When something was last begun or ended; monotonic seconds."""

    def restore(self) -> None:
        """Take up what an earlier run left on disk."""
        outcomes = self._outcomes.load()
        done = {outcome.lease_id for outcome in outcomes}
        uploads = []
        for spooled in self._spool.load():
            if spooled.lease_id in done:
                self._spool.remove(spooled.lease_id)
            else:
                uploads.append(spooled)
        held = [HeldLease(upload.lease_id, upload.job_id, upload.steps) for upload in uploads]
        self._do(self._session.restore(outcomes, held))
        for spooled in uploads:
            self._workshop.resume(spooled)
        if outcomes or uploads:
            log.info("taking up what an earlier run left", outcomes=len(outcomes), uploads=len(uploads))

    # The stream.

    def connected(self, outbox: Outbox[pb.AttachRequest]) -> None:
        self._outbox = outbox
        self._do(self._session.connected())

    def disconnected(self) -> None:
        self._outbox = None
        self._do(self._session.disconnected())

    def heard(self, response: pb.AttachResponse) -> None:
        """One thing that the mesh says. What this agent does not know it lets pass."""
        session = self._session
        match response.WhichOneof("message"):
            case "assignment":
                self._do(session.assigned(assignment(response.assignment)))
            case "settled":
                self._do(session.settled(*wire.settled(response.settled)))
            case "revocation":
                revocation = response.revocation
                reason = wire.revocation_reason(revocation.reason)
                self._do(session.revoked(LeaseId(revocation.lease_id), reason))
            case "welcome":
                self._do(session.welcomed())
            case "resync":
                self._do(session.resync(response.resync.epoch))
            case "preview_wish":
                wish = response.preview_wish
                self._do(session.preview_wished(LeaseId(wish.lease_id), wish.wanted))
            case "idle_report":
                self._hear_why_idle(wire.why_idle(response.idle_report))

    def drop_rejected(self, violations: Sequence[FieldViolation]) -> bool:
        """Forget each outcome that the mesh says it cannot read; whether attaching again may go better for it.

        A current mesh settles such an outcome by itself. One that ends the stream instead would end every stream.
        """
        before = len(self._session.unsettled)
        for violation in violations:
            if (named := _OUTCOME.match(violation.field)) and named["index"] is not None:
                self._do(self._session.rejected(int(named["index"]), f"{violation.field} {violation.description}"))
        if len(self._session.unsettled) < before:
            self._suspected = False
            return True
        # One that was said by itself: the next restatement has it in it, and is told its place.
        suspected, self._suspected = self._suspected, any(_OUTCOME.match(violation.field) for violation in violations)
        return self._suspected and not suspected

    def ask_why_idle(self) -> None:
        """Have the mesh say why there is nothing to do; its answer is logged."""
        self._do(self._session.ask_why_idle())

    def _hear_why_idle(self, causes: list[str]) -> None:
        self.why_idle = causes
        log.info("idle", why="; ".join(causes) or "nobody asks for anything")

    # The work.

    def advanced(self, lease_id: LeaseId, stage: Stage) -> None:
        self._do(self._session.advanced(lease_id, stage))

    def stepped(self, lease_id: LeaseId, step: int) -> None:
        self._do(self._session.stepped(lease_id, step))

    def wants_preview(self, lease_id: LeaseId) -> bool:
        return self._session.wants_preview(lease_id)

    def previewed(self, lease_id: LeaseId, step: int, image: bytes) -> None:
        self._do(self._session.previewed(lease_id, step, image))

    def finished(self, lease_id: LeaseId, result: Result) -> None:
        if isinstance(result, Refused | Failed):
            self.faults[f"{type(result).__name__.lower()} ({result.reason.name.lower().replace('_', ' ')})"] += 1
        if not isinstance(result, Painted):
            log.warning("a job ended without an image", lease=lease_id, how=str(result))
        self._do(self._session.finished(lease_id, result))

    def stopped(self, lease_id: LeaseId, job_id: JobId, step: int) -> None:
        self._do(self._session.stopped(lease_id, job_id, step))

    def abandoned(self, lease_id: LeaseId) -> None:
        self._do(self._session.abandoned(lease_id))

    # The owner.

    def offer(self, capabilities: Capabilities) -> None:
        self._do(self._session.offer(capabilities))

    def pause(self, *, paused: bool) -> None:
        """Ask for no more jobs, or for jobs again; what is begun goes on."""
        self._do(self._session.pause(paused))

    @property
    def name(self) -> str:
        """Of this worker, among those of its owner."""
        return self._session.name

    @property
    def idle(self) -> bool:
        """Works on nothing."""
        return self._session.idle

    @property
    def jobs_at_work(self) -> int:
        """Tasks that are not through yet, also of leases that were revoked."""
        return len(self._workshop)

    @property
    def owed(self) -> int:
        """Outcomes that are not settled."""
        return len(self._session.unsettled)

    def jobs(self) -> tuple[JobStatus, ...]:
        """What is held, for the owner to see."""
        now = time.monotonic()
        held = tuple(self._session.leases)
        self._began = {lease.lease_id: self._began.get(lease.lease_id, now) for lease in held}
        return tuple(
            JobStatus(
                lease.picture.model if lease.picture else "",
                lease.picture.width if lease.picture else 0,
                lease.picture.height if lease.picture else 0,
                lease.stage.name.lower(),
                lease.step,
                lease.picture.steps if lease.picture else lease.step,
                now - self._began[lease.lease_id],
            )
            for lease in held
        )

    @property
    def attached(self) -> bool:
        """The mesh has welcomed this worker on the stream that is open."""
        return self._session.phase is Phase.OPEN

    async def drain(self) -> None:
        """Ask for no more, and wait until nothing is held and nothing is owed. Bound it from outside."""
        self._do(self._session.drain())
        await self._quit_of_all()

    async def give_up(self) -> None:
        """Give back what is still worked on, and wait until that is settled. Bound it from outside."""
        self._do(self._session.give_up())
        await self._quit_of_all()

    async def _quit_of_all(self) -> None:
        while not self._session.quit_of_all:
            self._changed.clear()
            await self._changed.wait()

    def _do(self, effects: Sequence[Effect]) -> None:
        for effect in effects:
            match effect:
                case Send(message):
                    self._send(message)
                case Begin(assignment):
                    # Whoever never asks for the status must not pay for what is over.
                    self._began = {lease: at for lease, at in self._began.items() if lease in self._session.leases}
                    self._began[assignment.lease_id] = time.monotonic()
                    self._workshop.begin(assignment)
                case Keep(outcome):
                    self._keep(outcome)
                case Forget(lease_id):
                    self._outcomes.forget(lease_id)
                case Settled():
                    self._tell(effect)
                case Stop(lease_id, why):
                    log.info("stopping a job", lease=lease_id, why=why)
                    self._workshop.stop(lease_id)
                case _:
                    assert_never(effect)
        if effects:
            self.last_busy = time.monotonic()
        self._changed.set()

    def _keep(self, outcome: Outcome) -> None:
        try:
            self._outcomes.keep(outcome)
        except OSError as error:
            # A full disk loses it only if this process also dies before it is settled.
            log.warning("the disk does not take an outcome: a restart would lose it", why=str(error))
        failpoint_sync(AFTER_KEEPING)

    def _send(self, message: Message) -> None:
        if self._outbox is None or self._outbox.closed:
            return
        try:
            self._outbox.put_nowait(wire.request(message))
        except ResourceExhausted:
            if not isinstance(message, Progress | Preview):
                log.warning("the gateway reads too slowly: attaching again")
                self._outbox.close()

    def _tell(self, settled: Settled) -> None:
        self.tally.count(settled.disposition, settled.settlement)
        job = settled.outcome.job_id
        if settled.settlement is not None and settled.disposition is Disposition.ACCEPTED:
            log.info("earned", kudos=sentence(settled.settlement), total=kudos(self.tally.earned), job=job)
        elif settled.disposition is not Disposition.ACCEPTED:
            log.info("not paid", job=job, why=settled.disposition.name.lower(), detail=settled.detail)
