"""What is known of pictures that are painted a second time: the cases that are open, and how much may go into them."""

from __future__ import annotations

import json
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

from horde.scheduler.core.job import AccountId, Generation, GenerationId, JobId, LeaseId, Terms, WorkerId
from horde.scheduler.core.leases import Lease
from horde.scheduler.core.likeness import Tolerances
from horde.scheduler.core.standing import CHECKER_FEATURE

MAX_OPEN = 256
"""Cases that are open at once."""
MAX_OPEN_OF_ONE = 4
"""... of one owner's pictures."""
CREDIT = 2_000.0
"""Megapixel-steps that may go into checks at once, saved up from what was painted: 150 pictures of 512x512 in 50."""
KEPT = CREDIT / 4
"""... and what is saved up beside it for owners of good record alone: else newcomers, and those in doubt, would use up
what shows that somebody has changed."""
KNOWN_OF_ONE = 8
"""Pictures of one model whose answer is known."""
MAX_KNOWN_MODELS = 64


@dataclass(frozen=True, slots=True)
class PictureRef:
    """Where a picture is: in quarantine under a lease, or (no lease) in place."""

    job_id: JobId
    lease_id: LeaseId | None = None
    object_name: str = ""
    placement: int = 0


@dataclass(frozen=True, slots=True)
class Opinion:
    """A picture of the same job, and who painted it."""

    picture: PictureRef
    owner: AccountId
    worker_id: WorkerId
    lease_id: LeaseId
    device: str = ""
    digest: str = ""
    """Of the model's weights, in hex; empty: not known."""


@dataclass(slots=True, eq=False)
class Case:
    """One picture that is looked at."""

    key: JobId
    """The job whose picture was the reason."""
    suspect: AccountId
    """Whose work is looked at."""
    subject: Opinion
    model: str
    work: float
    counts: bool
    """Somebody else paid for it: it speaks for its owner if it is right."""
    urgent: bool = True
    """What it costs is for newcomers and those in doubt. So is a further opinion, whoever it is about."""
    canary: bool = False
    """The subject's picture is known, and is painted again by the one who is looked at."""
    opinions: list[Opinion] = field(default_factory=list)
    """Of those who painted it again."""
    generations: list[Generation] = field(default_factory=list)
    """The check jobs', the first one first: which is written with the case."""
    over: bool = False

    def text(self) -> str:
        """As it is written."""
        opinions = [_opinion_values(opinion) for opinion in (self.subject, *self.opinions)]
        return json.dumps(
            [self.key, self.suspect, self.model, self.work, self.counts, self.canary, self.over, opinions]
        )


def _opinion_values(opinion: Opinion) -> list[Any]:
    ref = opinion.picture
    return [ref.job_id, ref.lease_id, ref.object_name, ref.placement,
            opinion.owner, opinion.worker_id, opinion.lease_id, opinion.device, opinion.digest]  # fmt: skip


def _opinion_of(values: list[Any]) -> Opinion:
    job_id, lease_id, object_name, placement, owner, worker_id, by_lease, *_, device, digest = (
        values  # Before: the worker's name, too.
    )
    ref = PictureRef(JobId(job_id), LeaseId(lease_id) if lease_id else None, object_name, placement)
    return Opinion(ref, AccountId(owner), WorkerId(worker_id), LeaseId(by_lease), device, digest)


def opinion_of(lease: Lease, ref: PictureRef) -> Opinion:
    """What a lease brought, which is there."""
    return Opinion(ref, lease.owner, lease.worker_id, lease.lease_id, lease.device, lease.digest.hex())


def case_of(text: str) -> Case:
    """A case as it was written."""
    key, suspect, model, work, counts, canary, over, opinions = json.loads(text)
    subject, *others = map(_opinion_of, opinions)
    return Case(JobId(key), AccountId(suspect), subject, model, work, counts, canary=canary, opinions=others, over=over)


@dataclass(slots=True, eq=False)
class Check:
    """What a generation is for that the mesh asks for itself."""

    case: Case
    allowed: frozenset[WorkerId]
    """Who may have it."""
    first: GenerationId | None = None
    """Of a further opinion: the generation that the case is written with."""

    def text(self) -> str:
        """As it is written: the workers that may have it, and the case or whose it is."""
        case = "" if self.first else self.case.text()
        return json.dumps({"allowed": sorted(self.allowed), "first": self.first, "case": case})


def check_of(text: str) -> Check:
    """A check as it was written; of a further opinion, its case is to be found by `first`."""
    values = json.loads(text)
    case = case_of(values["case"]) if values["case"] else None
    first = GenerationId(values["first"]) if values["first"] else None
    return Check(case, frozenset(map(WorkerId, values["allowed"])), first)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class Known:
    """A picture in the shared bucket that two trusted owners painted alike: whoever is asked for it can be judged."""

    subject: Opinion
    generation: Generation
    index: int


class Checks:
    """The board's part for checks."""

    def __init__(self, part: float) -> None:
        self.part = part
        """Of all work, that may go into checks; 0: there are none."""
        self.chance: Callable[[], float] = Random(0).random
        """Between 0 and 1, not to be foreseen by those who are looked at."""
        self.open: dict[JobId, Case] = {}
        """By their keys."""
        self.tolerances = Tolerances()
        self.known: OrderedDict[str, deque[Known]] = OrderedDict()
        self.credit = CREDIT
        self.kept = KEPT
        self.work = 0.0
        """Megapixel-steps painted for requesters, since this leader began."""
        self.checked = 0.0
        """... and for checks."""
        self.over: dict[str, int] = {}
        """Cases by how they ended."""

    def painted(self, work: float) -> None:
        """Work was done for a requester: a part of as much more may go into checks."""
        self.work += work
        self.credit = min(CREDIT, self.credit + self.part * work * 2 / 3)
        self.kept = min(KEPT, self.kept + self.part * work / 3)

    def afford(self, work: float, *, urgent: bool) -> bool:
        """Whether so much may go into a check now, of a newcomer or somebody in doubt (`urgent`) or of anybody else."""
        enough = work <= self.credit if urgent else work <= max(self.kept, self.credit - CREDIT / 2)
        return len(self.open) < MAX_OPEN and enough

    def spend(self, work: float, *, urgent: bool) -> None:
        self.checked += work
        if urgent or work > self.kept:
            self.credit -= work
        else:
            self.kept -= work

    def give_back(self, work: float) -> None:
        """It was not painted after all."""
        self.credit = min(CREDIT, self.credit + work)
        self.checked -= work

    @property
    def share(self) -> float:
        """Of all work, what went into checks."""
        return self.checked / (self.work + self.checked) if self.work else 0.0

    def learn(self, model: str, known: Known) -> None:
        """Keep a picture whose answer is known."""
        self.known.setdefault(model, deque(maxlen=KNOWN_OF_ONE)).append(known)
        self.known.move_to_end(model)
        while len(self.known) > MAX_KNOWN_MODELS:
            self.known.popitem(last=False)


def check_terms(terms: Terms, allowed: frozenset[WorkerId], *, canary: bool) -> Terms:
    """What a check job needs of a worker: to be one of these, and but for a canary somebody who is trusted."""
    features = terms.features & ~CHECKER_FEATURE if canary else terms.features | CHECKER_FEATURE
    return replace(terms, features=features, allowed=allowed, denied=frozenset(), fast_only=False)
