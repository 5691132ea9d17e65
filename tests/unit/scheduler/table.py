"""The core with everything around it played by hand: a store, a ledger and storage that do what they are told, when
they are told. No loop, no I/O: what is durable, what is in flight and what is lost in a crash are plain lists."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from itertools import count
from typing import Any, TypeVar

from horde.scheduler.core import (
    accepting,
    asking,
    attaching,
    checking,
    due,
    judging,
    lending,
    reload,
    reporting,
    returning,
    rows,
    settling,
)
from horde.scheduler.core import effects as fx
from horde.scheduler.core.attaching import HeldLease, Restatement
from horde.scheduler.core.board import Board, Limits
from horde.scheduler.core.checks import PictureRef
from horde.scheduler.core.fleet import Capabilities, Offer, Worker, worker_id_of
from horde.scheduler.core.job import (
    AccountId,
    Amounts,
    Ending,
    Generation,
    GenerationId,
    Job,
    JobId,
    JobState,
    LeaseId,
    Mkudos,
    Phase,
    Price,
    Terms,
    WorkerId,
    generation_id_of,
    make_jobs,
    requester_text,
)
from horde.scheduler.core.leases import Lease, Stage
from horde.scheduler.core.likeness import Distance
from horde.scheduler.core.outcomes import Painted, Result
from horde.scheduler.core.owner_rows import strike_from, take_changed
from horde.scheduler.core.rows import Changes, Moment
from horde.scheduler.core.sessions import Route
from horde.scheduler.core.shares import ANONYMOUS_WEIGHT, weight_of
from horde.scheduler.store.memory import Memory, MemoryStore

T = TypeVar("T")
OWNER = AccountId("00000000-0000-4000-8000-00000000eeee")
ANNA = AccountId("00000000-0000-4000-8000-00000000aaaa")
BERT = AccountId("00000000-0000-4000-8000-00000000bbbb")
CARL = AccountId("00000000-0000-4000-8000-00000000cccc")
DORA = AccountId("00000000-0000-4000-8000-00000000dddd")
PRICE = Price(Mkudos(10_830), Mkudos(2_166), Mkudos(3_000))
ALL = (1 << 192) - 1
NEAR, FAR = Distance(1, 8, 700, 500, 50_000, 50_000), Distance(31, 120, 60_000, 30_000, 50_000, 40_000)
START_MS = 1_767_225_600_000


def terms(**changes: Any) -> Terms:
    return Terms(**{"model": "m", "width": 512, "height": 512, "steps": 20, "features": 0, "price": PRICE, **changes})


def at_once(coroutine: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that waits for nothing."""
    try:
        coroutine.send(None)
    except StopIteration as stopped:
        result: T = stopped.value
        return result
    raise AssertionError("it waits")


@dataclass
class Books:
    """A ledger: every job is held at most once and ends at most once."""

    held: set[JobId] = field(default_factory=set)
    refused: set[GenerationId] = field(default_factory=set)
    ended: dict[JobId, tuple[Ending, Amounts, AccountId | None]] = field(default_factory=dict)

    def place(self, generation: Generation, refuse: bool) -> bytes | None:
        if generation.generation_id in self.refused:
            return b"no"
        ids = {job.job_id for job in generation.jobs}
        known = ids & (self.held | self.ended.keys())
        if not known and refuse:
            self.refused.add(generation.generation_id)
            return b"no"
        if not known:
            self.held |= ids
        return None

    def end(self, job: Job) -> None:
        owner = job.winner.owner if job.winner is not None else None
        content = (job.ending, job.amounts, owner)
        if job.job_id in self.ended:
            assert self.ended[job.job_id] == content, "paid or released in two ways"
            return
        assert job.job_id in self.held, "ended without a hold"
        self.held.remove(job.job_id)
        self.ended[job.job_id] = content


class Table:
    """A scheduler on a table."""

    def __init__(self, **limits: Any) -> None:
        # Everybody is proven, unless a test is about strangers, and has room for what nobody can paint; and nobody
        # looks at pictures, unless a test is about that.
        roomy = {"proven_images": 0, "checks_part": 0.0, "max_unpaintable": 10**9, "max_unpaintable_mkudos": 10**12}
        self.limits = Limits(**{**roomy, **limits})
        self.memory = Memory()
        self.books = Books()
        self.committed: dict[JobId, LeaseId] = {}
        self.pictures: dict[LeaseId, Any] = {}
        """What leases brought, where it matters: equal is the same picture."""
        self.verdicts: dict[tuple[str, JobId], AccountId] = {}
        self.distance: Callable[[Any, Any], Distance] = lambda one, other: NEAR if one == other else FAR
        self.terms: dict[str, Terms] = {}
        self.now = 0.0
        self.said: list[tuple[Route, fx.Effect]] = []
        self.errands: list[fx.Effect] = []
        self.held: dict[LeaseId, tuple[WorkerId, JobId]] = {}
        self.numbers = count(1)
        self.answered: set[GenerationId] = set()
        self.lent: list[tuple[JobId, WorkerId, LeaseId]] = []
        self.start()

    @property
    def now_ms(self) -> int:
        return START_MS + int(self.now * 1000)

    def start(self) -> None:
        """A new leader on what is durable."""
        self.store = MemoryStore(self.memory)
        epoch = at_once(self.store.lead())
        self.board = Board(epoch, self.limits)
        self.errands = []
        reload.owners(self.board, at_once(self.store.owners(0)))
        list(reload.workers(self.board, at_once(self.store.workers(0)), lambda _: Capabilities()))
        moment = Moment(self.now, self.now_ms)
        self.board.strikes.restore(strike_from(row, moment) for row in at_once(self.store.strikes(0)))
        stored = at_once(self.store.live())
        generations = [
            rows.generation_from(each, self.terms[each.generation["generation_id"]], moment) for each in stored
        ]
        list(reload.generations(self.board, generations, self.now))
        self.work()

    def work(self) -> None:
        """What the engine does after every event."""
        board = self.board
        while board.effects or board.fresh or board.fleet.hungry:
            effects, board.effects = board.effects, []
            for effect in effects:
                self._do(effect)
            lending.match(board, self.now)

    def save(self) -> None:
        """A group commit, and what waited for it."""
        board, changes, moment = self.board, Changes(), Moment(self.now, self.now_ms)
        for generation in board.dirty_generations:
            if generation.written:
                changes.generations.append(rows.changing(generation))
            else:
                changes.new_generations.append(rows.generation_row(generation))
                changes.new_jobs += [rows.job_row(job, moment) for job in generation.jobs]
                generation.written = True
                self.terms.setdefault(generation.generation_id, generation.terms)
        for generation in board.deleted:
            among = changes.refused if generation.phase is Phase.REFUSED else changes.forgotten
            among.append(generation.generation_id)
        changes.jobs = [rows.job_row(job, moment) for job in board.dirty_jobs]
        take_changed(board, changes, moment)
        effects, board.effects_after_save = board.effects_after_save, []
        for dirty in (board.dirty_generations, board.dirty_jobs, board.deleted):
            dirty.clear()
        at_once(self.store.write(changes))
        for effect in effects:
            self._do(effect)
        self.work()

    def _do(self, effect: fx.Effect) -> None:
        match effect:
            case fx.Assign(route, lease):
                worker = self.board.fleet.workers[lease.worker_id]
                assert worker.session is not None
                assert worker.session.route == route
                assert len(worker.leases) <= worker.session.slots, "more assignments than slots"
                self.lent.append((lease.job.job_id, lease.worker_id, lease.lease_id))
                self.held[lease.lease_id] = (lease.worker_id, lease.job.job_id)
                self.said.append((route, effect))
            case fx.Revoke(route, lease_id, _):
                self.held.pop(lease_id, None)
                self.said.append((route, effect))
            case (
                fx.SaySettled(route) | fx.Welcome(route) | fx.EndSession(route) | fx.SayTerms(route) | fx.SayIdle(route)
            ):
                self.said.append((route, effect))
            case fx.Answer(generation):
                self.answered.add(generation.generation_id)
            case fx.Progressed() | fx.Forgotten():
                pass
            case _:
                self.errands.append(effect)

    # What requesters do.

    def submit(self, request: str = "r1", images: int = 1, ttl: float = 1200.0, **of: Any) -> Generation:
        account, digest = of.pop("account", ANNA), of.pop("digest", b"")
        flow, weight = of.pop("flow", account), of.pop("weight", None)
        its = terms(**of)
        anonymous = account == "anonymous"
        generation = Generation(
            generation_id_of(requester_text(account, digest), request),
            request,
            account,
            digest,
            b"",
            b"",
            its,
            7,
            flow,
            weight or (ANONYMOUS_WEIGHT if anonymous else weight_of(0)),
            self.now_ms,
            int(ttl * 1000),
            self.now + ttl,
        )
        make_jobs(generation, (f"{index:032x}" for index in range(images)))
        self.terms[generation.generation_id] = its
        accepting.submit(self.board, generation)
        self.work()
        return generation

    def queued(self, request: str = "r1", images: int = 1, **of: Any) -> Generation:
        """Submitted, written, held."""
        generation = self.submit(request, images, **of)
        self.save()
        self.run_errands()
        return generation

    def cancel(self, generation: Generation) -> None:
        settling.cancel(self.board, generation, self.now)
        self.work()

    # What workers do.

    def attach(
        self,
        name: str = "w1",
        slots: int = 1,
        *,
        restate: bool = True,
        capabilities: Capabilities | None = None,
        **of: Any,
    ) -> Worker:
        route, owner = Route(1, next(self.numbers)), of.pop("owner", OWNER)
        hears_idle = of.pop("hears_idle", False)
        capabilities = capabilities or capable(**of)
        attaching.opened(
            self.board, route, owner, name, "test", capabilities, "", self.now, self.now_ms, hears_idle=hears_idle
        )
        self.work()
        worker = self.board.fleet.workers[worker_id_of(owner, name)]
        if restate:
            self.restate(worker, slots)
        return worker

    def restate(self, worker: Worker, slots: int = 1, *outcomes: tuple[LeaseId, JobId, Result]) -> None:
        """Say everything that the worker holds."""
        assert worker.session is not None
        reported = {outcome[0] for outcome in outcomes}
        held = tuple(
            HeldLease(lease_id, job_id, 0)
            for lease_id, (worker_id, job_id) in self.held.items()
            if worker_id == worker.worker_id and lease_id not in reported
        )
        stated = Restatement(0, slots, draining=False, held=held, outcomes=outcomes)
        attaching.restated(self.board, worker.session, worker, stated, self.now, self.now_ms)
        self.work()

    def report(self, worker: Worker, lease_id: LeaseId, job_id: JobId, result: Result) -> None:
        """Say an outcome."""
        if worker.session is None or worker.session.route is None:
            return
        self.held.pop(lease_id, None)
        reporting.outcome(self.board, worker, worker.session.route, lease_id, job_id, result, self.now)
        self.work()

    def paint(self, lease: Lease, picture: Any = None) -> None:
        worker = self.board.fleet.workers[lease.worker_id]
        self.pictures[lease.lease_id] = picture
        self.report(worker, lease.lease_id, lease.job.job_id, painted(worker))

    def progress(self, lease: Lease, step: int, stage: Stage = Stage.UNSAID) -> None:
        worker = self.board.fleet.workers[lease.worker_id]
        lending.progressed(self.board, worker, lease.lease_id, step, self.now, stage)
        self.work()

    def vanish(self, worker: Worker, *, by_mesh: bool = False) -> None:
        if worker.session is not None and worker.session.route is not None:
            attaching.closed(self.board, worker.session.route, self.now, self.now_ms, by_mesh=by_mesh)
            self.work()

    # What the world does.

    def pass_time(self, seconds: float) -> None:
        """Time passes; what falls due, falls due at its time."""
        end = self.now + seconds
        while (at := self.board.deadlines.next()) is not None and at <= end:
            self.now = max(self.now, at)
            due.look(self.board, self.now)
            self.work()
        self.now = end

    def run_errands(self, **how: Any) -> None:
        """Everything that neighbours were asked is done and answered, and what follows from it."""
        for _ in range(10_000):
            if not self.errands:
                self.save()
            if not self.errands:
                return
            self.run_errand(0, **how)
        raise AssertionError("it goes on and on")

    def run_errand(self, index: int, *, refuse: bool = False, lose: bool = False, answer: bool = True) -> None:
        """One thing is done; without `answer` nobody hears of it, and it is asked again."""
        effect = self.errands.pop(index)
        if not answer:
            self.errands.append(effect)
        match effect:
            case fx.PlaceHolds(generation):
                refusal = self.books.place(generation, refuse)
                if answer:
                    accepting.held(self.board, generation, self.now, refusal)
                    if refusal is not None:
                        judging.refused(self.board, generation)
            case fx.Settle(job) | fx.Release(job):
                self.books.end(job)
                if answer and settling.paid(self.board, job, self.now_ms, b"s"):
                    checking.paid(self.board, job, self.now, self.now_ms)
            case fx.TellVerdict(standing, verdict, about):
                self.verdicts.setdefault((verdict, about), standing.owner)
                if answer:
                    judging.told(self.board, standing, verdict, about)
            case fx.ComparePictures(job):
                if answer:
                    pairs = asking.pairs(job)
                    far = tuple(self.distance(self.picture(one), self.picture(other)) for one, other in pairs)
                    judging.compared(self.board, job, () if lose else far, self.now, self.now_ms)
            case fx.CommitObject(job):
                assert job.winner is not None
                known = self.committed.get(job.job_id)
                if known is None and lose:
                    if answer:
                        returning.void(self.board, job, self.now, "gone")
                else:
                    assert known in (None, job.winner.lease_id), "two objects of one job"
                    self.committed[job.job_id] = job.winner.lease_id
                    if answer:
                        settling.committed(self.board, job, 50_000, 3, 0)
            case fx.DiscardObject(job, lease_id):
                assert self.committed.get(job.job_id) != lease_id, "a winner's object is discarded"
                if answer:
                    settling.discarded(self.board, job, lease_id)
            case fx.ClaimInputs(generation):
                if answer:
                    accepting.claimed(self.board, generation, b"no" if refuse else None)
            case fx.ReleaseInputs(generation):
                if answer:
                    settling.inputs_released(self.board, generation)
        self.work()

    # What can be seen.

    def picture(self, ref: PictureRef) -> Any:
        """What is in quarantine, or in place."""
        return self.pictures.get(ref.lease_id or self.committed[ref.job_id])

    def lease(self, job: Job) -> Lease:
        """The lease that a job is lent under."""
        found = settling.current(job)
        assert found is not None, job.state
        return found

    def painter(self, job: Job) -> str:
        """The name of the worker that a job is lent to."""
        return self.board.fleet.name_of(self.lease(job).worker_id)

    def reachable(self, lease: Lease) -> bool:
        """Whether its worker has a stream now."""
        return self.board.route_of(self.board.fleet.workers.get(lease.worker_id)) is not None

    def told(self, kind: type[fx.Effect], worker: Worker) -> list[Any]:
        """What a worker was told, of one kind, by any of its sessions of this table."""
        assert worker.session is not None
        return [effect for route, effect in self.said if route == worker.session.route and isinstance(effect, kind)]

    def settle_down(self) -> None:
        """Everything that can happen by itself happens, until nothing is left."""
        for _ in range(2_000):
            self.run_errands()
            at = self.board.deadlines.next()
            if at is None or not self.board.live_jobs:
                break
            self.pass_time(max(0.0, at - self.now))
        self.run_errands()


def capable(
    models: tuple[str, ...] = ("m",), max_pixels: int = 1 << 20, features: int = ALL, loaded: bool = True
) -> Capabilities:
    return Capabilities({model: Offer(loaded, max_pixels, features) for model in models})


def painted(worker: Worker) -> Painted:
    return Painted(b"\1" * 32, 50_000, 3, worker.worker_id, worker.owner)


def state(thing: Any) -> Any:
    """The state of a job or a lease, as something that may have changed since one looked."""
    return thing.state


def states(generation: Generation) -> list[JobState]:
    return [job.state for job in generation.jobs]


def endings(generation: Generation) -> list[Ending]:
    return [job.ending for job in generation.jobs]
