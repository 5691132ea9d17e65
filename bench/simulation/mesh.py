"""The policy of this mesh: the scheduler's real core, in virtual time."""

from __future__ import annotations

from collections.abc import Callable

from tests.unit.scheduler.table import Table

from horde.scheduler.core import attaching, due, lending
from horde.scheduler.core import effects as fx
from horde.scheduler.core.estimates import Estimates
from horde.scheduler.core.fleet import Capabilities, Offer, Worker, worker_id_of
from horde.scheduler.core.job import AccountId, JobId
from horde.scheduler.core.leases import Lease
from horde.scheduler.core.outcomes import Painted
from horde.scheduler.core.shares import weight_of
from simulation.trace import ANONYMOUS, Ask, Painter, Trace

DAY = 86_400.0


class Core(Table):
    """A board whose neighbours answer at once and which keeps nothing that is over."""

    def __init__(self, lent: Callable[[Lease], None], revoked: Callable[[str], None]) -> None:
        self._lent, self._revoked = lent, revoked
        super().__init__(max_recent=16, max_generations=10**9, max_jobs=10**9)

    def save(self) -> None:
        board = self.board
        effects, board.effects_after_save = board.effects_after_save, []
        for dirty in (board.dirty_generations, board.dirty_jobs, board.deleted, board.dirty_workers):
            dirty.clear()
        for effect in effects:
            self._do(effect)
        self.work()
        self.said.clear()
        self.lent.clear()

    def _do(self, effect: fx.Effect) -> None:
        super()._do(effect)
        match effect:
            case fx.Assign(_, lease):
                self._lent(lease)
            case fx.Revoke(_, lease_id, _):
                self._revoked(lease_id)
            case _:
                pass


class Mesh:
    """The real core as a policy."""

    def __init__(self, trace: Trace, begin: Callable[[Painter, Ask], None], stop: Callable[[Painter], None]) -> None:
        self._begin, self._stop = begin, stop
        self._asks: dict[JobId, Ask] = {}
        self._painters: dict[str, Painter] = {painter.name: painter for painter in trace.painters}
        self._loaded: dict[str, str] = {}
        self._leases: dict[str, Lease] = {}
        self.core = Core(self._on_lent, self._on_revoked)
        self.estimates = Estimates(self.core.board)
        self.hedged = 0

    def _on_lent(self, lease: Lease) -> None:
        painter = self._painters[self.core.board.fleet.name_of(lease.worker_id)]
        self._leases[painter.name] = lease
        self.hedged += len(lease.job.leases) > 1
        self._begin(painter, self._asks[lease.job.job_id])

    def _on_revoked(self, lease_id: str) -> None:
        for name, lease in self._leases.items():
            if lease.lease_id == lease_id:
                del self._leases[name]
                self._stop(self._painters[name])
                return

    def _pass(self, now: float) -> None:
        self.core.pass_time(now - self.core.now)

    def asked(self, ask: Ask, now: float) -> None:
        self._pass(now)
        anonymous = ask.kind == ANONYMOUS
        generation = self.core.submit(
            f"r{ask.number}", ttl=DAY, model=ask.model, width=ask.side, height=ask.side, steps=ask.steps,
            account=AccountId("anonymous") if anonymous else AccountId(ask.who), flow=ask.who,
            weight=None if anonymous else weight_of(ask.kudos * 1000),
        )  # fmt: skip
        job = generation.jobs[0]
        self._asks[job.job_id] = ask
        estimate = self.estimates.for_terms(generation.terms, generation.account_id, now)
        self.core.run_errands()
        if job.signature is not None and ask.begun is None:
            estimate = self.estimates.for_job(job, now)
        ask.promised = (estimate.p50, estimate.p90) if estimate.eligible else None

    def came(self, painter: Painter, now: float, slots: int = 1) -> None:
        self._pass(now)
        self.core.attach(painter.name, slots, capabilities=self._capabilities(painter), owner=self._owner(painter))

    def wants(self, painter: Painter, slots: int, now: float) -> None:
        """A painter says how many pictures it wants to hold."""
        self._pass(now)
        worker = self._worker(painter)
        assert worker.session is not None
        attaching.demanded(self.core.board, worker.session, worker, slots, draining=False, now=now)
        self.core.work()
        self.core.run_errands()

    def oldest(self, painter: Painter, now: float) -> float | None:
        """How long what is due for this painter has waited here; None if nothing is for it."""
        found = self.core.board.queue.first(self._worker(painter), now, self.core.board.speeds)
        return None if found is None else now - found[1].queued_at

    def loads(self, painter: Painter, model: str, now: float) -> None:
        """A painter has loaded a model, perhaps one of another pool's, in place of what it had."""
        if self._loaded.get(painter.name, "") != model:
            self._loaded[painter.name] = model
            attaching.capable(self.core.board, self._worker(painter), lambda: self._capabilities(painter), now)

    def left(self, painter: Painter, now: float) -> None:
        self._pass(now)
        self._leases.pop(painter.name, None)
        self.core.vanish(self._worker(painter))
        self.core.run_errands()

    def painted(self, painter: Painter, ask: Ask, now: float) -> None:
        self._pass(now)
        worker, lease = self._worker(painter), self._leases.pop(painter.name)
        self.loads(painter, ask.model, now)
        painted = Painted(b"\1" * 32, 50_000, 3, worker.worker_id, worker.owner)
        self.core.report(worker, lease.lease_id, lease.job.job_id, painted)
        self.core.run_errands()

    def progressed(self, painter: Painter, part: float, now: float) -> None:
        """A painter says how far it is."""
        self._pass(now)
        lease = self._leases.get(painter.name)
        if lease is not None:
            step = max(1, int(part * lease.job.generation.terms.steps))
            lending.progressed(self.core.board, self._worker(painter), lease.lease_id, step, now)
            self.core.work()

    def until(self, now: float) -> float | None:
        return self.core.board.deadlines.next()

    def look(self, now: float) -> None:
        self.core.now = max(self.core.now, now)
        due.look(self.core.board, now)
        self.core.work()
        self.core.run_errands()

    @staticmethod
    def _owner(painter: Painter) -> AccountId:
        return AccountId(f"00000000-0000-4000-8000-{int(painter.name[1:]):012x}")

    def _worker(self, painter: Painter) -> Worker:
        return self.core.board.fleet.workers[worker_id_of(self._owner(painter), painter.name)]

    def _capabilities(self, painter: Painter) -> Capabilities:
        loaded = self._loaded.get(painter.name)
        return Capabilities({model: Offer(model == loaded, 1 << 22, (1 << 192) - 1) for model in painter.models})
