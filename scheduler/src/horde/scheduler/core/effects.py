"""What the core wants done. It does nothing itself: the engine carries these out.

The board keeps two lists of them: what happens at once, and what must not happen before everything that the core has
changed until then is durable.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from horde.scheduler.core.hindrances import Report
from horde.scheduler.core.job import AccountId, Generation, Job, JobId, LeaseId, WorkerId
from horde.scheduler.core.leases import Lease, Revoked
from horde.scheduler.core.sessions import Route

if TYPE_CHECKING:
    from horde.scheduler.core.fleet import Worker
    from horde.scheduler.core.standing import Standing

ACCEPTED = 1
DUPLICATE = 2
INVALID_RECEIPT = 3
UNKNOWN_JOB = 4
OUTCOME_INVALID = 5
REJECTED = 6
"""Dispositions; numbers of the contract."""


@dataclass(frozen=True, slots=True)
class Effect:
    """Something to be done."""


# To workers.


@dataclass(frozen=True, slots=True)
class Welcome(Effect):
    route: Route
    session_id: str
    worker: Worker


@dataclass(frozen=True, slots=True)
class SayTerms(Effect):
    """Tell a worker what it is granted now."""

    route: Route
    worker: Worker


@dataclass(frozen=True, slots=True)
class SayIdle(Effect):
    """Tell a worker why it is given nothing."""

    route: Route
    report: Report


@dataclass(frozen=True, slots=True)
class Assign(Effect):
    route: Route
    lease: Lease


@dataclass(frozen=True, slots=True)
class Revoke(Effect):
    route: Route
    lease_id: LeaseId
    reason: Revoked


@dataclass(frozen=True, slots=True)
class SaySettled(Effect):
    route: Route
    lease_id: LeaseId
    job_id: str
    disposition: int
    settlement: bytes = b""
    detail: str = ""
    invalid: bytes = b""
    """What is wrong with it, in the contract's bytes."""


@dataclass(frozen=True, slots=True)
class EndSession(Effect):
    """End a worker's stream; `reason` is one of the contract's worker errors."""

    route: Route
    reason: str
    detail: str = ""


# To the ledger.


@dataclass(frozen=True, slots=True)
class PlaceHolds(Effect):
    generation: Generation


@dataclass(frozen=True, slots=True)
class Settle(Effect):
    job: Job


@dataclass(frozen=True, slots=True)
class Release(Effect):
    job: Job


@dataclass(frozen=True, slots=True)
class RewardUptime(Effect):
    worker_id: WorkerId
    owner: AccountId
    bucket: int
    models: int
    offered_permille: int = 1000
    """Of the bucket."""
    sharers: int = 1
    """Owners that are rewarded for it, times this owner's workers."""


@dataclass(frozen=True, slots=True)
class TellVerdict(Effect):
    standing: Standing
    verdict: str
    """`verify` or `slash`."""
    job_id: JobId


# To storage.


@dataclass(frozen=True, slots=True)
class ClaimInputs(Effect):
    generation: Generation


@dataclass(frozen=True, slots=True)
class ReleaseInputs(Effect):
    generation: Generation


@dataclass(frozen=True, slots=True)
class CommitObject(Effect):
    job: Job


@dataclass(frozen=True, slots=True)
class WithdrawObject(Effect):
    job: Job


@dataclass(frozen=True, slots=True)
class ComparePictures(Effect):
    """Of a check job, whose generation says with what."""

    job: Job


@dataclass(frozen=True, slots=True)
class DiscardObject(Effect):
    job: Job
    lease_id: LeaseId


# To requesters.


@dataclass(frozen=True, slots=True)
class Answer(Effect):
    """The accepting is decided: tell whoever waits for it."""

    generation: Generation


@dataclass(frozen=True, slots=True)
class Forgotten(Effect):
    """The accepting came to nothing and left nothing: tell whoever waits, with these opaque words."""

    generation: Generation
    refusal: bytes


@dataclass(frozen=True, slots=True)
class Progressed(Effect):
    lease: Lease


@dataclass(frozen=True, slots=True)
class Closed(Effect):
    """Nothing is left to do for this generation: it may leave the memory."""

    generation: Generation
