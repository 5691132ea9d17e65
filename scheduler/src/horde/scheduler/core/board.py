"""Everything that the core knows, in one place, with the lists of what has changed and what is to be done.

The board decides nothing. `accepting`, `lending`, `attaching` and `settling` are the rules; they change the board, mark
what must be written, and leave effects for the engine.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from dataclasses import dataclass

from horde.scheduler.core.checks import Checks
from horde.scheduler.core.deadlines import Deadlines, Relook
from horde.scheduler.core.effects import Effect
from horde.scheduler.core.endings import Paces
from horde.scheduler.core.fitting import Signature, signature_of_terms
from horde.scheduler.core.fleet import Fleet, Worker
from horde.scheduler.core.job import AccountId, Generation, GenerationId, Job, JobId, LeaseId, Terms, WorkerId
from horde.scheduler.core.leases import LEASE, SESSION, Lease
from horde.scheduler.core.leases import Counter as IdCounter
from horde.scheduler.core.matching import Queue
from horde.scheduler.core.outcomes import Result
from horde.scheduler.core.places import Places
from horde.scheduler.core.promises import Promises
from horde.scheduler.core.sessions import Route, Session
from horde.scheduler.core.speeds import Speeds
from horde.scheduler.core.standing import Standing
from horde.scheduler.core.strikes import Strike, Strikes
from horde.scheduler.core.uptime import Record
from horde.scheduler.core.waits import Waits

MAX_LEFT = 100_000
"""Those that left longest ago are forgotten: no gateway believes a key for longer than seconds."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The named bounds and times of the core; seconds."""

    max_jobs: int = 200_000
    """Jobs that have not ended; more are refused with QUEUE_FULL."""
    max_unpaintable: int = 10_000
    """Of them, those that nobody here could paint when they came."""
    max_unpaintable_mkudos: int = 1_000_000
    """What those of anonymous may hold of the day's budget together."""
    max_generations: int = 10_000
    """Generations of one requester that have not ended."""
    max_sessions: int = 20_000
    max_slots: int = 64
    """Slots of one worker that are believed."""
    max_recent: int = 2_000
    """Ended generations that stay in memory, for repeats and readers."""
    max_parked: int = 8
    """Outcomes of one generation that wait for its accepting to be repeated."""
    first_slots: int = 1
    """Jobs that a new owner's workers may hold together; one more with each image that somebody else paid for."""
    checks_part: float = 0.03
    """Of all work, that may go into looking at pictures a second time; 0: none is looked at."""
    proven_images: int = 10
    """Such images after which an owner is proven: bounded by his own wishes alone, and his word counts."""
    resume_grace: float = 20.0
    """How long a session may be away before its leases are lent to others. Welcome says it to agents, which wait no
    longer than three quarters of it, and never more than 15 s, between two attempts to come back."""
    lease_ttl: float = 60.0
    """Without progress; three expected steps are added."""
    load_allowance: float = 180.0
    """Added while the worker must load the model first."""
    max_lease_ttl: float = 900.0
    prepare_grace: float = 300.0
    """How long fetching inputs and loading a model keep a lease, from its assignment."""
    upload_grace: float = 600.0
    """How long a finished picture that cannot be brought keeps its lease, from when that was said first. Longer than
    storage may be away for; its job's deadline holds all the same, and somebody idle may paint it meanwhile."""


class Board:
    """The state of the scheduler."""

    def __init__(self, epoch: int, limits: Limits | None = None) -> None:
        self.epoch = epoch
        self.limits = limits or Limits()
        self.generations: dict[GenerationId, Generation] = {}
        self.jobs: dict[JobId, Job] = {}
        self.recent: OrderedDict[GenerationId, Generation] = OrderedDict()
        self.places = Places(self.limits.max_jobs, self.limits.max_unpaintable, self.limits.max_unpaintable_mkudos)
        self.live_by_requester: Counter[tuple[AccountId, bytes]] = Counter()
        self.parked: dict[GenerationId, list[tuple[Route, LeaseId, JobId, Result]]] = {}
        self.fresh: deque[Job] = deque()
        """Jobs queued since idle workers were last looked at for them."""
        self.missed = 0
        """Jobs found waiting beside an idle worker that could paint them: 0, or matching has a defect."""
        self.speeds = Speeds()
        self.paces = Paces()
        self.promises = Promises()
        self.waits = Waits()
        self.record = Record()
        self.checks = Checks(self.limits.checks_part)
        self.strikes = Strikes()
        self.refused_uploads: list[tuple[Lease, float]] = []
        """Since a picture passed last, and when."""
        self.fleet = Fleet(self.speeds, self.limits.first_slots, self.limits.proven_images)
        self.queue = Queue(self._paintable)
        self.hedged: set[Lease] = set()
        """Leases that fell behind and whose jobs were lent to somebody else as well."""
        self.sessions: dict[Route, Session] = {}
        self.deadlines = Deadlines()
        self.relook = Relook()
        self.lease_ids = IdCounter(epoch, LEASE)
        self.session_ids = IdCounter(epoch, SESSION)

        self.effects: list[Effect] = []
        self.effects_after_save: list[Effect] = []
        self.dirty_generations: dict[Generation, None] = {}
        self.dirty_jobs: dict[Job, None] = {}
        self.dirty_workers: dict[Worker, None] = {}
        self.dirty_owners: dict[Standing, None] = {}
        self.dirty_strikes: dict[Strike, None] = {}
        self.deleted: dict[Generation, None] = {}
        """Generations whose jobs are to be deleted; those of Phase.CLAIMING with everything."""
        self.gone_workers: dict[WorkerId, None] = {}
        self.gone_owners: dict[AccountId, None] = {}
        self.left: OrderedDict[AccountId, None] = OrderedDict()
        """Owners that have left since this leader began: nothing is written of them any more, whatever comes late."""

    def emit(self, effect: Effect) -> None:
        """Have something done at once."""
        self.effects.append(effect)

    def emit_after_save(self, effect: Effect) -> None:
        """Have something done once all that was changed is durable."""
        self.effects_after_save.append(effect)

    def has_left(self, owner: AccountId) -> None:
        """An owner is nobody any more."""
        self.left[owner] = None
        if len(self.left) > MAX_LEFT:
            self.left.popitem(last=False)

    def add(self, generation: Generation) -> None:
        """Take in a generation that is not over."""
        self.generations[generation.generation_id] = generation
        for job in generation.jobs:
            self.jobs[job.job_id] = job
        self.places.count(generation, sum(job.live for job in generation.jobs))
        self.live_by_requester[generation.account_id, generation.digest] += 1

    def remember(self, generation: Generation) -> None:
        """Keep a generation that is over, for a while."""
        self.generations[generation.generation_id] = generation
        for job in generation.jobs:
            self.jobs[job.job_id] = job
        self.recent[generation.generation_id] = generation
        self.recent.move_to_end(generation.generation_id)
        while len(self.recent) > self.limits.max_recent:
            self.drop(self.recent.popitem(last=False)[1])

    def close(self, generation: Generation) -> None:
        """Nothing is left to do for it; what is written says so too."""
        if generation.closed:
            return
        generation.closed = True
        self.dirty_generations[generation] = None
        self._uncount(generation)
        self.remember(generation)

    def reopen(self, generation: Generation) -> None:
        """Something is to be done for it again."""
        generation.closed = False
        self.recent.pop(generation.generation_id, None)
        self.generations[generation.generation_id] = generation
        self.live_by_requester[generation.account_id, generation.digest] += 1

    def disown(self, generation: Generation) -> None:
        """It has no jobs any more."""
        self.places.count(generation, -sum(job.live for job in generation.jobs))
        for job in generation.jobs:
            self.jobs.pop(job.job_id, None)
        generation.jobs = []

    def forget(self, generation: Generation) -> None:
        """It came to nothing."""
        self.places.count(generation, -sum(job.live for job in generation.jobs))
        self._uncount(generation)
        self.drop(generation)

    @property
    def live_jobs(self) -> int:
        """Jobs that have not ended."""
        return self.places.jobs.used

    def paintable(self, terms: Terms) -> bool:
        """Whether somebody who is here could paint it, now or later."""
        return self._paintable(terms.model, signature_of_terms(terms, terms.denied))

    def _paintable(self, model: str, signature: Signature) -> bool:
        return next(self.fleet.here.fitting(model, signature, self.speeds), None) is not None

    def route_of(self, worker: Worker | None) -> Route | None:
        """Where a worker can be reached now."""
        return worker.session.route if worker is not None and worker.session is not None else None

    def _uncount(self, generation: Generation) -> None:
        key = (generation.account_id, generation.digest)
        self.live_by_requester[key] -= 1
        if self.live_by_requester[key] <= 0:
            del self.live_by_requester[key]

    def drop(self, generation: Generation) -> None:
        """Keep it in memory no longer."""
        self.generations.pop(generation.generation_id, None)
        self.recent.pop(generation.generation_id, None)
        self.parked.pop(generation.generation_id, None)
        for job in generation.jobs:
            self.jobs.pop(job.job_id, None)
