"""Workers as the scheduler knows them, and which of them could take a job now."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING
from uuid import UUID, uuid5

from horde.scheduler.core.job import AccountId, LeaseId, WorkerId
from horde.scheduler.core.leases import Lease

if TYPE_CHECKING:
    from horde.scheduler.core.sessions import Session

MAX_WORKERS = 50_000
"""Workers that are known at once: the bound of everything that is kept per worker."""
MAX_WORKERS_OF_ONE = 256
"""Of one owner: names are free, and nobody may fill the room of all."""
FORGOTTEN_AT_ONCE = 64
"""Of all owners, when the room is full, for looking through all is not cheap."""
MAX_STRIKES = 3
"""Failures in a row after which a worker rests: a second, then twice as long with each further one."""
LONGEST_REST = 60.0
SAMPLE = 8
"""Free workers that are looked at for one job; those who have waited longest come first."""


@dataclass(frozen=True, slots=True)
class Offer:
    """A model that a worker can paint with."""

    loaded: bool = False
    max_pixels: int = 0
    """The largest picture."""
    features: int = 0
    """A mask, as Terms.features."""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a worker can do now. `words` are the contract's bytes, to be shown."""

    offers: dict[str, Offer] = field(default_factory=dict)
    words: bytes = b""

    def limit(self, model: str) -> int:
        """The largest picture, in pixels, with this model."""
        return self.offers[model].max_pixels


@dataclass(slots=True, eq=False)
class Worker:
    """One volunteer's machine."""

    worker_id: WorkerId
    owner: AccountId
    name: str
    agent: str = ""
    capabilities: Capabilities = field(default_factory=Capabilities)
    paused: bool = False
    session: Session | None = None
    leases: dict[LeaseId, Lease] = field(default_factory=dict)
    """Assignments without an outcome."""
    images_done: int = 0
    jobs_failed: int = 0
    last_seen_ms: int = 0
    strikes: int = 0
    """Failures one after the other."""
    rests_until: float = 0.0
    """After too many strikes it is given nothing for a while, for a broken worker fails faster than others paint."""
    freed_at: float = 0.0
    """When it last ended a lease: before that it cannot have begun the next."""
    model: str = ""
    """What it was last given, and since when without a change; for limited stickiness."""
    model_since: float = 0.0

    @property
    def ready(self) -> bool:
        """Here, restated, and neither paused nor leaving."""
        session = self.session
        return session is not None and session.ready and not session.draining and not self.paused

    @property
    def free(self) -> bool:
        """It could take a job now."""
        session = self.session
        return (
            session is not None
            and session.ready
            and not session.draining
            and not self.paused
            and not self.rests_until
            and len(self.leases) < session.slots
        )

    def failed(self, now: float) -> bool:
        """Count a failure; whether the worker rests from now on."""
        self.jobs_failed += 1
        self.strikes += 1
        if self.strikes < MAX_STRIKES:
            return False
        self.rests_until = now + min(LONGEST_REST, 2.0 ** (self.strikes - MAX_STRIKES))
        return True

    def forgive(self) -> None:
        """Take one failure back: it was the job's fault, not the worker's."""
        self.strikes = max(0, self.strikes - 1)
        if self.strikes < MAX_STRIKES:
            self.rests_until = 0.0


def worker_id_of(owner: AccountId, name: str) -> WorkerId:
    """The worker's id; raises ValueError if the owner's is not a UUID."""
    return WorkerId(str(uuid5(UUID(owner), name)))


class Fleet:
    """All workers of the last day, and an index of the free ones by model."""

    def __init__(self) -> None:
        self.workers: dict[WorkerId, Worker] = {}
        self.owned: Counter[AccountId] = Counter()
        """How many workers of each owner are known."""
        self.hungry: dict[WorkerId, None] = {}
        """Workers that may have become free and were not offered anything yet."""
        self._free: defaultdict[str, dict[WorkerId, None]] = defaultdict(dict)
        self._listed: dict[WorkerId, Capabilities] = {}

    def add(self, worker: Worker) -> None:
        if worker.worker_id not in self.workers:
            self.owned[worker.owner] += 1
        self.workers[worker.worker_id] = worker

    def drop(self, worker: Worker) -> None:
        """Forget a worker that has been away for long."""
        self._unlist(worker)
        if self.workers.pop(worker.worker_id, None) is not None:
            self.owned[worker.owner] -= 1
            if not self.owned[worker.owner]:
                del self.owned[worker.owner]
        self.hungry.pop(worker.worker_id, None)

    def changed(self, worker: Worker) -> None:
        """Bring the index up to date; to be called whenever what makes a worker free may have changed."""
        if not worker.free:
            self._unlist(worker)
            self.hungry.pop(worker.worker_id, None)
            return
        self.hungry[worker.worker_id] = None
        listed = self._listed.get(worker.worker_id)
        if listed is worker.capabilities:
            return
        self._unlist(worker)
        self._listed[worker.worker_id] = worker.capabilities
        for model in worker.capabilities.offers:
            self._free[model][worker.worker_id] = None

    def _unlist(self, worker: Worker) -> None:
        listed = self._listed.pop(worker.worker_id, None)
        if listed is None:
            return
        for model in listed.offers:
            free = self._free[model]
            free.pop(worker.worker_id, None)
            if not free:
                del self._free[model]

    def free_for(self, model: str) -> list[Worker]:
        """Some free workers that offer the model, longest waiting first; at most SAMPLE."""
        free = self._free.get(model)
        return [self.workers[each] for each in islice(free, SAMPLE)] if free else []

    def offering(self, model: str) -> Iterator[Worker]:
        """Every worker with a session that offers the model."""
        for worker in self.workers.values():
            if worker.session is not None and model in worker.capabilities.offers:
                yield worker
