"""Leases: a job lent to one worker for a while.

A lease's id is the leader's epoch and a counter, in the form of a UUID (version 8), so it is never used again, whatever
restarts. Only progress extends a lease. On one worker the leases that wait behind another are kept by that one's
progress, for they could not begin; since steps run out, so does this.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from horde.scheduler.core.job import AccountId, Job, LeaseId, WorkerId

MAX_ATTEMPTS = 3
"""Owners whose workers failed at one job; then it is faulted."""
MAX_LEASES = 48
"""Leases of one job, whatever ended them; then it is faulted, too. No owner gets there alone within a job's time to
live: who gave it back waits ever longer for it."""


class Fault(IntEnum):
    """Whose fault it was that a lease ended without an end for its job. Only WORKER counts: as an attempt of the job,
    by owner, and against the worker."""

    NONE = 0
    MESH = 1
    """A gateway or the scheduler was away: nobody's fault."""
    REFUSED = 2
    """Given back unpainted: the worker is offered this model less for a while."""
    WORKER = 3
    """It failed, fell silent, or brought what it did not say."""
    NETWORK = 4
    """Painted, and could not be brought."""
    DOUBT = 5
    """Withheld by a checker whose word is not enough alone."""


class LeaseState(IntEnum):
    """What has become of a lease."""

    OPEN = 1
    """The worker owes an outcome."""
    LAPSED = 2
    """Taken back for lack of progress, or lost with its session. A late outcome may still win."""
    RETURNED = 3
    """Given back by the worker, unpainted."""
    REVOKED = 4
    """Taken back because the job's end was decided otherwise."""
    WON = 5
    """Its outcome decided the job's end."""
    VOID = 6
    """Its outcome was not what it said."""


class Stage(IntEnum):
    """How far the work on a lease is, as its worker says; numbers of the contract's LeaseState."""

    UNSAID = 0
    WAITING = 1
    PREPARING = 2
    PAINTING = 3
    UPLOADING = 4
    """Painted, and on its way to storage."""


class Revoked(IntEnum):
    """Why a lease is taken back; numbers of the contract."""

    CANCELLED = 1
    SUPERSEDED = 2
    LAPSED = 3
    EXPIRED = 4
    UNKNOWN = 5
    RECALLED = 6


@dataclass(slots=True, eq=False)
class Lease:
    """One lease. Times are on the core's clock, in seconds."""

    lease_id: LeaseId
    job: Job
    worker_id: WorkerId
    owner: AccountId
    granted_at: float = 0.0
    touched_at: float = 0.0
    """The last progress, or what counts as such."""
    ttl: float = 60.0
    step: int = 0
    state: LeaseState = LeaseState.OPEN
    fault: Fault = Fault.NONE
    """Why it ended, if its job did not end with it."""
    behind_at: float = float("inf")
    """When it has taken so much longer than measured that an idle worker gets the job as well."""
    hedged: bool = False
    """It fell behind, and the job was lent to somebody else as well."""
    stage: Stage = Stage.UNSAID
    kept_until: float = 0.0
    """Whatever its progress: by the grace of its stage, from when that was said first."""
    began_at: float = 0.0
    painted_at: float = 0.0
    """While it is uploading: when it can have been begun at the earliest, and when that was said first."""

    device: str = ""
    """The class of what it was painted on, as the worker says; only until the job has ended, as the next three."""
    digest: bytes = b""
    """Of the model's weights."""
    deviated: bool = False
    """Something was not done as asked."""
    suspicious: bool = False
    """The picture, or its time, looks as if nothing had been painted."""

    @property
    def lapses_at(self) -> float:
        return max(self.touched_at + self.ttl, self.kept_until)


@dataclass(slots=True)
class Counter:
    """Makes ids of one kind within one epoch."""

    epoch: int
    kind: int
    count: int = 0

    def next(self) -> str:
        self.count += 1
        return make_id(self.epoch, self.kind, self.count)


LEASE = 0
SESSION = 1


def make_id(epoch: int, kind: int, count: int) -> str:
    """A UUID of version 8: 48 bits of epoch, the kind, 48 bits of counter."""
    high = f"{epoch:012x}"
    return f"{high[:8]}-{high[8:]}-8{kind:03x}-8000-{count:012x}"


def order_of(made_id: str) -> tuple[int, int]:
    """Epoch and counter of an id; (0, 0) for what is none of ours."""
    parts = made_id.split("-")
    if [len(part) for part in parts] != [8, 4, 4, 4, 12]:
        return (0, 0)
    try:
        return int(parts[0] + parts[1], 16), int(parts[4], 16)
    except ValueError:
        return (0, 0)
