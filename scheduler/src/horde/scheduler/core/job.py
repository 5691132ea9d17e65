"""Jobs and generations, and the table of how a job may move.

Everything that decides where a job *is* lives here; what makes it move lives in the modules that are named after the
part of its life: accepting, lending, settling. Values are plain numbers equal to the contract's, so that no conversion
is needed on the way out; a test compares the two.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, NewType
from uuid import UUID, uuid5

if TYPE_CHECKING:
    from horde.scheduler.core.checks import Check
    from horde.scheduler.core.fitting import Signature
    from horde.scheduler.core.leases import Lease
    from horde.scheduler.core.promises import Promise

GenerationId = NewType("GenerationId", str)
JobId = NewType("JobId", str)
LeaseId = NewType("LeaseId", str)
WorkerId = NewType("WorkerId", str)
AccountId = NewType("AccountId", str)
Mkudos = NewType("Mkudos", int)
"""Milli-kudos."""

NAMESPACE = UUID("6f1a3a1e-2d0c-5c6e-9b57-0b6c8f6d4a11")
ANONYMOUS = AccountId("anonymous")
MESH = AccountId("mesh")
"""Who asks for pictures only to compare them with others; see checking.py."""
SEED_SPACE = 2**63
WORKER_FAULT = 3
DOUBT_FAULT = 5
"""`leases.Fault.WORKER` and `.DOUBT`, which cannot be imported here."""


class JobState(IntEnum):
    """Where a job is."""

    ACCEPTING = 1
    QUEUED = 2
    LEASED = 3
    SETTLING = 4
    ENDED = 5


class Ending(IntEnum):
    """How a job ended."""

    NONE = 0
    DONE = 1
    CANCELLED = 2
    FAULTED = 3
    EXPIRED = 4
    CENSORED = 5


MOVES: dict[JobState, frozenset[JobState]] = {
    JobState.ACCEPTING: frozenset({JobState.QUEUED, JobState.SETTLING}),
    JobState.QUEUED: frozenset({JobState.LEASED, JobState.SETTLING}),
    JobState.LEASED: frozenset({JobState.QUEUED, JobState.SETTLING}),
    # Back to the queue only if storage has nothing under the winning lease: the outcome was void.
    JobState.SETTLING: frozenset({JobState.QUEUED, JobState.ENDED}),
    JobState.ENDED: frozenset(),
}


class Phase(IntEnum):
    """How far the accepting of a generation is."""

    CLAIMING = 1
    """Written; its inputs are being claimed."""
    HOLDING = 2
    """Its kudos are being held; the ledger may have done so already."""
    ACCEPTED = 3
    REFUSED = 4
    """For lack of kudos. Remembered."""


class Deletion(IntEnum):
    """Whether somebody wished that a generation be forgotten."""

    NONE = 0
    PRIVATE = 1
    """With its private images; shared ones stay."""
    ALL = 2


class IllegalMove(Exception):
    """A defect of this service: a job was moved where it cannot go."""


@dataclass(frozen=True, slots=True)
class Price:
    """What one image costs, part by part, frozen at accept."""

    price: Mkudos
    surcharge: Mkudos
    tax: Mkudos


@dataclass(frozen=True, slots=True)
class Amounts:
    """How one job's hold is divided; what is not named goes back to the requester."""

    earned: Mkudos = Mkudos(0)
    tax: Mkudos = Mkudos(0)
    surcharge: Mkudos = Mkudos(0)


NOTHING = Amounts()


@dataclass(frozen=True, slots=True)
class Terms:
    """What the core must know of a spec to queue, match and pay its jobs; the same for all of a generation."""

    model: str
    width: int
    height: int
    steps: int
    features: int
    """A mask: what a worker must be able to do; see matching.py."""
    price: Price
    fast_only: bool = False
    allowed: frozenset[WorkerId] = frozenset()
    denied: frozenset[WorkerId] = frozenset()
    input_ids: tuple[str, ...] = ()
    placement: int = 0
    """A number of the contract."""

    @property
    def pixels(self) -> int:
        return self.width * self.height

    @property
    def work(self) -> float:
        """Megapixel-steps of one image."""
        return self.width * self.height * self.steps / 1e6


@dataclass(slots=True, eq=False)
class Generation:
    """What a requester asked for. `spec` and `quote` are opaque here: the contract's bytes."""

    generation_id: GenerationId
    request_id: str
    account_id: AccountId
    digest: bytes
    spec: bytes
    quote: bytes
    terms: Terms
    seed: int
    flow: str
    """Whose share of the queue it uses: an account, or an address of the anonymous."""
    weight: float
    accepted_at_ms: int
    ttl_ms: int
    deadline: float
    """On the core's clock, seconds."""
    traceparent: str = ""
    phase: Phase = Phase.CLAIMING
    refusal: bytes = b""
    """The ledger's refusal, as it came."""
    claimed: bool = False
    """Its inputs are claimed, perhaps, and must be released when it has ended."""
    unusable: bytes = b""
    """Its inputs turned out unusable after a restart, when holds may be there already."""
    cancelled: bool = False
    """A cancel came; whatever has not ended must end."""
    expired: bool = False
    reloaded: bool = False
    """Read back after a restart: what was shown of it may be ahead of what is written."""
    written: bool = False
    """It has a row already."""
    closed: bool = False
    """Nothing is left to do for it."""
    unpaintable: bool = False
    """Nobody here could paint it when it came: it has places of another kind. Forgotten with the process."""
    address_bucket: str = ""
    """Where it was asked from, for shares of a day's budgets. Never written."""
    deletion: Deletion = Deletion.NONE
    check: Check | None = None
    """What the mesh asks for it for; None: somebody asks for it."""
    version: int = 0
    jobs: list[Job] = field(default_factory=list)

    @property
    def anonymous(self) -> bool:
        return self.account_id == ANONYMOUS

    @property
    def finished(self) -> bool:
        """Every job has ended."""
        return self.phase is Phase.ACCEPTED and all(job.state is JobState.ENDED for job in self.jobs)


@dataclass(slots=True, eq=False)
class Job:
    """One image of a generation."""

    job_id: JobId
    index: int
    generation: Generation
    object_name: str
    state: JobState = JobState.ACCEPTING
    ending: Ending = Ending.NONE
    """Decided on entering SETTLING; told when ENDED."""
    version: int = 0
    shown: int = 0
    """The version that followers were told last."""
    leases: list[Lease] = field(default_factory=list)
    """Every lease ever granted for it, oldest first."""
    tag: float = 0.0
    """Its place in the order of its model, kept over requeues."""
    ticket: int = 0
    """The queue entry that is valid now; 0 while it is not queued."""
    queued_at: float = 0.0
    """Since when it waits, on the core's clock; kept over requeues."""
    promise: Promise | None = None
    """The first wait that was told of it since it was last lent, to see whether it holds."""
    signature: Signature | None = None
    """What it needs of a worker: the bucket that it is queued in."""
    wary: bool = False
    """It was given back so often that proven owners come first."""
    barred: frozenset[WorkerId] = frozenset()
    """Workers that may not have it for now, since they had it and did not paint it."""
    retry_at: float = 0.0
    """When those who are barred may have it again, unless somebody else here can paint it."""
    look_at: float = 0.0
    """When it is looked at again who may have it."""
    winner: Lease | None = None
    amounts: Amounts = NOTHING
    sha256: bytes = b""
    size_bytes: int = 0
    format: int = 0
    expires_at_ms: int = 0
    deviations: bytes = b""
    """Opaque: what the worker could not do as asked, and what it made the picture with."""
    committed: bool = False
    settlement: bytes = b""
    """Opaque: the ledger's words."""
    detail: str = ""
    withdrawn: bool = False
    ended_at_ms: int = 0
    leavings: set[LeaseId] = field(default_factory=set)
    """Leases whose quarantined bytes, if any, must still be discarded."""

    def move(self, state: JobState) -> None:
        """Change the state by the table, as the next version of the generation."""
        if state not in MOVES[self.state]:
            raise IllegalMove(f"{self.job_id}: {self.state.name} to {state.name}")
        self.state = state
        self.touch()

    def touch(self) -> None:
        """Number a durable transition."""
        self.generation.version += 1
        self.version = self.generation.version

    @property
    def live(self) -> bool:
        return self.state is not JobState.ENDED

    @property
    def open(self) -> bool:
        """Nothing is decided yet: an outcome may win."""
        return self.state in (JobState.QUEUED, JobState.LEASED)

    @property
    def failed_owners(self) -> dict[AccountId, None]:
        """Owners whose workers failed at it, in order: an owner counts once, however many workers he brings."""
        return {lease.owner: None for lease in self.leases if lease.fault == WORKER_FAULT}

    @property
    def doubters(self) -> dict[AccountId, None]:
        """Unproven owners who say that its picture must be withheld."""
        return {lease.owner: None for lease in self.leases if lease.fault == DOUBT_FAULT}

    def lease(self, lease_id: LeaseId) -> Lease | None:
        return next((lease for lease in self.leases if lease.lease_id == lease_id), None)


def requester_text(account_id: AccountId, digest: bytes) -> str:
    """The text form of a requester identity."""
    return f"{ANONYMOUS}:{digest.hex()}" if account_id == ANONYMOUS else account_id


def generation_id_of(requester: str, request_id: str) -> GenerationId:
    return GenerationId(str(uuid5(NAMESPACE, f"{requester}/{request_id}")))


def job_id_of(generation_id: GenerationId, index: int) -> JobId:
    return JobId(str(uuid5(UUID(generation_id), str(index))))


def make_jobs(generation: Generation, object_names: Iterable[str]) -> None:
    """Give a generation its jobs, ACCEPTING, each with the name that its object will have."""
    generation.jobs = [
        Job(job_id_of(generation.generation_id, index), index, generation, name)
        for index, name in enumerate(object_names)
    ]
    for job in generation.jobs:
        job.touch()
