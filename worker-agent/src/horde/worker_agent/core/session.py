"""The worker's side of Attach as a machine: what happened goes in, what to do comes out, in order.

It outlives the streams: leases and unsettled outcomes stay while the stream is down, and are restated on the next one.
It does no I/O and knows no time. Whoever drives it carries the effects out in the order given; `Keep` comes before the
`Send` of the same outcome, so that an outcome that was ever sent is on disk.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum, auto

from horde.worker_agent.core.declining import Declines, paints_all
from horde.worker_agent.core.jobs import (
    Assignment,
    Cancelled,
    Capabilities,
    JobId,
    LeaseId,
    Outcome,
    Picture,
    RefusalReason,
    Refused,
    Result,
)
from horde.worker_agent.core.leases import LeaseBook, Stage
from horde.worker_agent.core.messages import (
    Demand,
    HeldLease,
    Hello,
    IdleQuestion,
    Message,
    Preview,
    Progress,
    Restatement,
)
from horde.worker_agent.core.settling import Disposition, RevocationReason, Settlement

MAX_UNSETTLED = 1_000
"""With so many outcomes unsettled, no further jobs are asked for."""
MAX_RESTATED = 200
"""Outcomes in one restatement; older ones follow it, each by itself."""
MAX_RESTATEMENT_BYTES = 200 * 1024
"""Of leases and outcomes together, in the same way. The mesh refuses what is much larger, and a worker for good that
says it."""
MAX_HELD_LEASE_BYTES = 160
SURPLUS = 8
"""Assignments beyond the demand that are still taken in: those that were on their way when the demand fell."""


@dataclass(frozen=True, slots=True)
class Send:
    """Say this on the stream that is open."""

    message: Message


@dataclass(frozen=True, slots=True)
class Begin:
    """Work on this: fetch, paint, upload."""

    assignment: Assignment


@dataclass(frozen=True, slots=True)
class Stop:
    """Stop the work on this within one step and delete what it left."""

    lease_id: LeaseId
    why: str


@dataclass(frozen=True, slots=True)
class Keep:
    """Write this outcome to disk, before anything that follows."""

    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Forget:
    """Delete this outcome from disk."""

    lease_id: LeaseId


@dataclass(frozen=True, slots=True)
class Settled:
    """For the owner to see: how an outcome was settled."""

    outcome: Outcome
    disposition: Disposition
    settlement: Settlement | None
    detail: str


Effect = Send | Begin | Stop | Keep | Forget | Settled


class Phase(Enum):
    """Where the stream is."""

    AWAY = auto()
    GREETING = auto()
    """Hello is said; nothing else may be said before Welcome."""
    OPEN = auto()


class Session:
    """One worker's work and word, over any number of streams."""

    def __init__(
        self,
        worker_name: str,
        agent: str,
        capabilities: Capabilities,
        slots: int,
        declined: Declines = paints_all,
    ) -> None:
        """`declined` says what the owner does not paint, and why."""
        self._declined = declined
        self.name = worker_name
        self._agent = agent
        self._capabilities = capabilities
        self._slots = slots
        self._paused = False
        self._said: Demand | None = None
        self._restated: tuple[Outcome, ...] = ()
        """The outcomes of the newest restatement, in its order."""
        self.draining = False
        self.phase = Phase.AWAY
        self.leases = LeaseBook()
        self.unsettled: dict[LeaseId, Outcome] = {}

    @property
    def demand(self) -> Demand:
        """What the worker wants to hold now."""
        wants_none = self.draining or self._paused or len(self.unsettled) >= MAX_UNSETTLED
        return Demand(0 if wants_none else self._slots, self.draining)

    @property
    def idle(self) -> bool:
        """Holds nothing that it works on."""
        return not self.leases

    @property
    def quit_of_all(self) -> bool:
        """Owes nothing: no lease, no outcome."""
        return not self.leases and not self.unsettled

    # What was found on disk at start.

    def restore(self, outcomes: Iterable[Outcome], uploads: Iterable[HeldLease]) -> list[Effect]:
        """Take up what an earlier run of this worker left."""
        for outcome in outcomes:
            self.unsettled[outcome.lease_id] = outcome
        for upload in uploads:
            if upload.lease_id not in self.unsettled:
                self.leases.restore(upload.lease_id, upload.job_id, upload.step)
        return []

    # The stream.

    def connected(self) -> list[Effect]:
        self.phase = Phase.GREETING
        return [Send(Hello(self.name, self._capabilities, self._agent))]

    def disconnected(self) -> list[Effect]:
        """The stream is gone; the work goes on."""
        self.phase = Phase.AWAY
        self._said = None
        for held in self.leases:
            # Whoever watched must say so again.
            held.preview_wanted = False
        return []

    def welcomed(self) -> list[Effect]:
        self.phase = Phase.OPEN
        return self._restate(0)

    def resync(self, epoch: int) -> list[Effect]:
        return self._restate(epoch) if self.phase is Phase.OPEN else []

    # What the mesh says.

    def assigned(self, assignment: Assignment) -> list[Effect]:
        lease = assignment.lease_id
        if lease in self.leases:
            return []
        if (outcome := self.unsettled.get(lease)) is not None:
            return self._say(outcome)
        if self.draining:
            return self._end(lease, assignment.job_id, Refused(RefusalReason.DRAINING, "the worker is leaving"))
        if len(self.leases) >= self._slots + SURPLUS:
            return self._end(lease, assignment.job_id, Refused(RefusalReason.OUT_OF_MEMORY, "more than was asked for"))
        if assignment.picture is None:
            newer = ", ".join(assignment.unheard)
            detail = f"newer than this agent: {newer}" if newer else "this agent paints images only"
            return self._end(lease, assignment.job_id, Refused(RefusalReason.SPEC_NOT_UNDERSTOOD, detail))
        if min(assignment.picture.width, assignment.picture.height, assignment.picture.steps) < 1:
            senseless = Refused(RefusalReason.SPEC_NOT_UNDERSTOOD, _senseless(assignment.picture))
            return self._end(lease, assignment.job_id, senseless)
        if why := self._declined(assignment.picture.prompt):
            return self._end(lease, assignment.job_id, Refused(RefusalReason.CONTENT_DECLINED, why))
        self.leases.add(assignment)
        return [Begin(assignment)]

    def revoked(self, lease_id: LeaseId, reason: RevocationReason) -> list[Effect]:
        """No outcome is owed any more; one that is on its way still waits for its Settled."""
        if self.leases.remove(lease_id) is None:
            return []
        return [Stop(lease_id, reason.name.lower())]

    def settled(
        self, lease_id: LeaseId, disposition: Disposition, settlement: Settlement | None, detail: str = ""
    ) -> list[Effect]:
        effects: list[Effect] = []
        if self.leases.remove(lease_id) is not None:
            # Closed over our head; whatever we would still say would be answered in the same way.
            effects.append(Stop(lease_id, "settled"))
        outcome = self.unsettled.pop(lease_id, None)
        if outcome is not None:
            effects += [Forget(lease_id), Settled(outcome, disposition, settlement, detail)]
        return effects + self._redemand()

    def rejected(self, index: int, why: str) -> list[Effect]:
        """The mesh does not read the outcome at this place of the newest restatement: it is never said again."""
        if not 0 <= index < len(self._restated):
            return []
        return self.settled(self._restated[index].lease_id, Disposition.UNSPECIFIED, None, why)

    def preview_wished(self, lease_id: LeaseId, wanted: bool) -> list[Effect]:
        if (held := self.leases.get(lease_id)) is not None:
            held.preview_wanted = wanted
        return []

    # What the work says.

    def advanced(self, lease_id: LeaseId, stage: Stage) -> list[Effect]:
        """A lease is further. That it is prepared or uploaded keeps it for a while, though no step is done."""
        held = self.leases.get(lease_id)
        if not self.leases.advance(lease_id, stage) or held is None or stage is Stage.PAINTING:
            return []
        return self._say(Progress(lease_id, held.step, stage))

    def stepped(self, lease_id: LeaseId, step: int) -> list[Effect]:
        return self._say(Progress(lease_id, step)) if self.leases.step(lease_id, step) else []

    def previewed(self, lease_id: LeaseId, step: int, image: bytes) -> list[Effect]:
        return self._say(Preview(lease_id, step, image)) if self.wants_preview(lease_id) else []

    def wants_preview(self, lease_id: LeaseId) -> bool:
        """Whether somebody watches this lease now."""
        held = self.leases.get(lease_id)
        return held is not None and held.preview_wanted and self.phase is Phase.OPEN

    def finished(self, lease_id: LeaseId, result: Result) -> list[Effect]:
        """The work on a lease ended. What was revoked meanwhile owes nothing."""
        held = self.leases.remove(lease_id)
        return [] if held is None else self._end(lease_id, held.job_id, result)

    def stopped(self, lease_id: LeaseId, job_id: JobId, step: int) -> list[Effect]:
        """The work on a revoked lease has stopped. Told once, as news; nobody is owed it."""
        if lease_id in self.leases or lease_id in self.unsettled:
            return []
        return self._say(Outcome(lease_id, job_id, Cancelled(step)))

    def abandoned(self, lease_id: LeaseId) -> list[Effect]:
        """There is nothing to say about this lease: let it lapse."""
        self.leases.remove(lease_id)
        return []

    # What the owner says.

    def offer(self, capabilities: Capabilities) -> list[Effect]:
        if capabilities is self._capabilities or capabilities == self._capabilities:
            return []
        self._capabilities = capabilities
        return self._say(capabilities)

    def ask_why_idle(self) -> list[Effect]:
        """Have the mesh say why there is nothing to do."""
        return self._say(IdleQuestion())

    def pause(self, paused: bool) -> list[Effect]:
        """Ask for no more jobs, or for jobs again; what is held goes on."""
        self._paused = paused
        return self._redemand()

    def drain(self) -> list[Effect]:
        """Leave when nothing is held: what waits is given back now, what is painted is finished."""
        self.draining = True
        effects = self._redemand()
        for held in self.leases:
            if held.stage is Stage.WAITING:
                effects += self._give_back(held.lease_id)
        return effects

    def give_up(self) -> list[Effect]:
        """The time to leave is over: give everything back that is still painted."""
        effects: list[Effect] = []
        for held in self.leases:
            effects += self._give_back(held.lease_id)
        return effects

    def _give_back(self, lease_id: LeaseId) -> list[Effect]:
        refused = Refused(RefusalReason.DRAINING, "the worker is leaving")
        return [Stop(lease_id, "draining"), *self.finished(lease_id, refused)]

    def _end(self, lease_id: LeaseId, job_id: JobId, result: Result) -> list[Effect]:
        outcome = Outcome(lease_id, job_id, result)
        self.unsettled[lease_id] = outcome
        return [Keep(outcome), *self._say(outcome), *self._redemand()]

    def _restate(self, epoch: int) -> list[Effect]:
        self._said = self.demand
        leases = tuple(HeldLease(held.lease_id, held.job_id, held.step, held.stage) for held in self.leases)
        outcomes = tuple(self.unsettled.values())
        # The newest, for the mesh takes back the leases that it holds open and does not find in here.
        older = len(outcomes) - _fitting(outcomes[::-1], MAX_RESTATEMENT_BYTES - MAX_HELD_LEASE_BYTES * len(leases))
        self._restated = outcomes[older:]
        restatement = Restatement(epoch, self.demand, leases, self._restated)
        return [Send(restatement), *map(Send, outcomes[:older])]

    def _redemand(self) -> list[Effect]:
        if self.phase is not Phase.OPEN or self._said == self.demand:
            return []
        self._said = self.demand
        return [Send(self.demand)]

    def _say(self, message: Message) -> list[Effect]:
        return [Send(message)] if self.phase is Phase.OPEN else []


def _senseless(picture: Picture) -> str:
    return f"{picture.width}x{picture.height} in {picture.steps} steps is no picture"


def _fitting(outcomes: Sequence[Outcome], room: int) -> int:
    """How many of these, from the first on, one restatement carries."""
    for count, outcome in enumerate(outcomes[:MAX_RESTATED]):
        room -= outcome.most_bytes
        if room < 0:
            return count
    return min(len(outcomes), MAX_RESTATED)
