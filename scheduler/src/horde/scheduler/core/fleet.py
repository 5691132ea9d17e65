"""Workers as the scheduler knows them, and which of them could take a job now."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from uuid import UUID, uuid5

from horde.scheduler.core.job import AccountId, LeaseId, WorkerId
from horde.scheduler.core.leases import Lease
from horde.scheduler.core.roster import Roster
from horde.scheduler.core.speeds import Speeds
from horde.scheduler.core.standing import CHECKER_FEATURE, PROVEN_FEATURE, Returned, Standing, rest_after

if TYPE_CHECKING:
    from horde.scheduler.core.sessions import Session

MAX_WORKERS = 50_000
"""Workers that are known at once: the bound of everything that is kept per worker."""
MAX_WORKERS_OF_ONE = 256
"""Of one owner: names are free, and nobody may fill the room of all."""
FORGOTTEN_AT_ONCE = 64
"""Of all owners, when the room is full, for looking through all is not cheap."""
MAX_STANDINGS = 100_000
"""Owners of whom something is remembered."""


@dataclass(frozen=True, slots=True)
class Offer:
    """A model that a worker can paint with."""

    loaded: bool = False
    max_pixels: int = 0
    """The largest picture."""
    features: int = 0
    """A mask, as Terms.features."""
    digest: bytes = b""
    """Of the weights; empty: not known."""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a worker can do now. `words` are the contract's bytes, to be shown."""

    offers: dict[str, Offer] = field(default_factory=dict)
    words: bytes = b""

    def limit(self, model: str) -> int:
        """The largest picture, in pixels, with this model."""
        return self.offers[model].max_pixels


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast a worker says it works that cannot say how far it is, in seconds."""

    megapixel_step: float
    each_job: float


@dataclass(slots=True, eq=False)
class Worker:
    """One volunteer's machine."""

    worker_id: WorkerId
    owner: AccountId
    name: str
    agent: str = ""
    capabilities: Capabilities = field(default_factory=Capabilities)
    paused: bool = False
    description: str = ""
    """Its owner's word about it."""
    pace: Pace | None = None
    """Of one that says no progress."""
    session: Session | None = None
    leases: dict[LeaseId, Lease] = field(default_factory=dict)
    """Assignments without an outcome."""
    images_done: int = 0
    jobs_failed: int = 0
    last_seen_ms: int = 0
    paid_images: int = 0
    """Images that somebody else than its owner paid for."""
    declared: Capabilities = field(default_factory=Capabilities)
    """What it says that it can do; `capabilities` are those less what it is not offered for now."""
    news: Callable[[], Capabilities] | None = None
    """What it has said since, and is to be read at `capable_from`."""
    capable_from: float = 0.0
    withheld: dict[str, float] = field(default_factory=dict)
    """Models that it is not offered for now, and until when."""
    gave: Returned = field(default_factory=Returned)
    """What it gave back; see `returned`."""
    standing: Standing = field(default_factory=lambda: Standing(AccountId(""), 0, 0))
    """Its owner's."""
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
    def returned(self) -> Returned:
        """Where what it gives back is counted: with a stranger's other names, for one more is nobody else."""
        return self.gave if self.standing.proven else self.standing.gave

    @property
    def ready(self) -> bool:
        """Here, restated, and neither paused nor leaving."""
        session = self.session
        return session is not None and session.ready and not session.draining and not self.paused

    @property
    def free(self) -> bool:
        """It could take a job now."""
        session = self.session  # Spelt out, for this is asked more often than anything.
        return (
            session is not None
            and session.ready
            and not session.draining
            and not self.paused
            and not self.rests_until
            and len(self.leases) < session.slots
            and not self.standing.full
        )

    @property
    def away(self) -> bool:
        """Not here, and nothing waits for it to come back."""
        return self.session is None and not self.leases

    @property
    def willing(self) -> bool:
        """It takes jobs, perhaps when it is done with others."""
        return self.ready and self.session is not None and self.session.slots > 0

    @property
    def names(self) -> list[Worker]:
        """Those of its owner that are held to what it does: itself, and of a stranger all, for one more name is nobody
        else."""
        return [self] if self.standing.proven else list(self.standing.workers.values())

    def failed(self, now: float) -> None:
        """Count a failure; after too many it rests, and a stranger with all his names."""
        self.jobs_failed += 1
        self.strikes += 1
        if rest := rest_after(self.strikes):
            self.rests_until = now + rest
        if not self.standing.proven:
            self.standing.failed(now)
            for name in self.names:
                name.rests_until = max(name.rests_until, self.standing.rests_until)

    def painted(self) -> None:
        """It has brought a picture: what failed before it is not one after the other any more."""
        self.strikes = self.standing.strikes = 0

    def forgive(self) -> None:
        """Take one failure back: it was the job's fault, not the worker's."""
        self.strikes = max(0, self.strikes - 1)
        self.standing.forgive()
        for name in self.names:
            if not rest_after(name.strikes):
                name.rests_until = self.standing.rests_until


def worker_id_of(owner: AccountId, name: str) -> WorkerId:
    """The worker's id; raises ValueError if the owner's is not a UUID."""
    return WorkerId(str(uuid5(UUID(owner), name)))


class Fleet:
    """All workers that are known, and those who are here and those who are idle by what they can do.

    A worker that could take a job is either hungry, to be looked at soon, or idle: then nothing that waits is for it.
    """

    def __init__(self, speeds: Speeds, first_slots: int, proven_images: int) -> None:
        self.workers: dict[WorkerId, Worker] = {}
        self.standings: dict[AccountId, Standing] = {}
        """Of every owner of whom a worker is known."""
        self.withholding: dict[Worker, None] = {}
        """Workers that are here and not offered some model for a while."""
        self._first_slots = first_slots
        self._proven_images = proven_images
        self.here = Roster()
        """Workers with a session."""
        self.hungry: dict[WorkerId, None] = {}
        """Workers that may have become free, or able to do more, and were not offered anything since."""
        self.idle = Roster(by_speed=True)
        """Free workers for which nothing waited when they were looked at last."""
        self._speeds = speeds

    def add(self, worker: Worker) -> None:
        standing = self.standing_of(worker.owner)
        self.workers[worker.worker_id] = worker
        standing.workers[worker.worker_id] = worker
        standing.paid_images += worker.paid_images
        worker.standing = standing

    def standing_of(self, owner: AccountId) -> Standing:
        """An owner's, which begins with the first look."""
        standing = self.standings.get(owner)
        if standing is None:
            standing = self.standings[owner] = Standing(owner, self._first_slots, self._proven_images)
            if len(self.standings) > MAX_STANDINGS:
                self._forget_standings()
        return standing

    def _forget_standings(self) -> None:
        """Make room: those of whom no worker is known go, and who was never caught goes first."""
        gone = [
            standing
            for standing in self.standings.values()
            if not (standing.workers or standing.open_checks or standing.verdicts)
        ]
        gone.sort(key=lambda standing: bool(standing.caught or standing.doubt))
        for standing in gone[: MAX_STANDINGS // 10]:
            del self.standings[standing.owner]

    def forget(self, worker: Worker) -> None:
        """Forget a worker that has been away for long, and what was measured of it."""
        if self.workers.pop(worker.worker_id, None) is not None:
            standing = worker.standing
            standing.workers.pop(worker.worker_id, None)
            if not standing.workers and not standing.recorded and not standing.open_checks:
                del self.standings[worker.owner]
        for model in self._speeds.forget(worker.worker_id):
            self.measured(model)

    def name_of(self, worker_id: WorkerId) -> str:
        """A worker's name; empty once it is known no more."""
        worker = self.workers.get(worker_id)
        return "" if worker is None else worker.name

    def owned(self, owner: AccountId) -> int:
        """How many workers of an owner are known."""
        standing = self.standings.get(owner)
        return 0 if standing is None else len(standing.workers)

    def refit(self, worker: Worker) -> None:
        """Work out what a worker can be offered: what it declares, less what it gave back lately."""
        declared, standing = worker.declared, worker.standing
        mark = PROVEN_FEATURE * standing.proven | CHECKER_FEATURE * standing.checker
        if worker.withheld and worker.session is not None:
            self.withholding[worker] = None
        else:
            self.withholding.pop(worker, None)
        if worker.withheld or mark:
            offers = {
                model: Offer(offer.loaded, offer.max_pixels, offer.features | mark, offer.digest)
                for model, offer in declared.offers.items()
                if model not in worker.withheld
            }
            worker.capabilities = Capabilities(offers, declared.words)
        else:
            worker.capabilities = declared
        self.present(worker)

    def took(self, worker: Worker, lease: Lease) -> None:
        """A worker holds one more lease."""
        worker.leases[lease.lease_id] = lease
        worker.standing.open_leases += 1
        self._counted(worker)

    def gave_back(self, worker: Worker, lease: Lease) -> bool:
        """A worker holds a lease no longer; whether it did."""
        if worker.leases.pop(lease.lease_id, None) is None:
            return False
        was_full = worker.standing.full
        worker.standing.open_leases -= 1
        self._counted(worker, was_full)
        return True

    def image_paid(self, worker: Worker) -> None:
        """Somebody else paid for an image: its owner may hold more, and perhaps is proven now."""
        standing, was_proven, was_full = worker.standing, worker.standing.proven, worker.standing.full
        worker.paid_images += 1
        standing.paid()
        if standing.proven != was_proven:
            self.rejudged(standing)
        else:
            self._counted(worker, was_full)

    def contradict(self, standing: Standing) -> None:
        """Others have shown that an owner's word was not so."""
        was_proven = standing.proven
        standing.contradicted += 1
        if standing.proven != was_proven:
            self.rejudged(standing)

    def rejudged(self, standing: Standing) -> None:
        """An owner is proven now, or no more."""
        for worker in standing.workers.values():
            if worker.session is not None:
                self.refit(worker)

    def _counted(self, worker: Worker, was_full: bool = False) -> None:
        """What an owner holds has changed: with it, where few are allowed, whether his other workers are free."""
        self.changed(worker)
        if worker.standing.full != was_full:
            for other in worker.standing.workers.values():
                if other is not worker and other.session is not None:
                    self.changed(other)

    def present(self, worker: Worker) -> None:
        """Its session or what it can do has changed."""
        if worker.session is None:
            self.withholding.pop(worker, None)
            self.here.remove(worker.worker_id)
        else:
            self.here.add(worker, self._speeds)
        self.changed(worker)

    def changed(self, worker: Worker) -> None:
        """What makes a worker free may have changed."""
        if worker.free:
            self.hungry[worker.worker_id] = None
        else:
            self.hungry.pop(worker.worker_id, None)
            self.idle.remove(worker.worker_id)

    def measured(self, model: str) -> None:
        """Speeds have changed: who is idle and fast now, or not any more, is looked at again."""
        for worker in self.idle.misjudged(model, self._speeds):
            self.changed(worker)

    def next_hungry(self) -> Worker:
        """A worker to be looked at; whoever looks says afterwards whether it is idle."""
        worker_id = next(iter(self.hungry))
        del self.hungry[worker_id]
        return self.workers[worker_id]

    def looked_at(self, worker: Worker) -> None:
        """Nothing that waits is for it, or it is not free any more."""
        self.hungry.pop(worker.worker_id, None)
        if worker.free:
            self.idle.add(worker, self._speeds)
        else:
            self.idle.remove(worker.worker_id)
