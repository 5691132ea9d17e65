"""Any history: every accepted job ends exactly once, nobody is paid twice."""

from __future__ import annotations

from typing import Any

import hypothesis.strategies as st
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tests.unit.scheduler.table import BERT, CARL, OWNER, Table, painted

from horde.scheduler.core.endings import amounts
from horde.scheduler.core.fleet import Worker, worker_id_of
from horde.scheduler.core.job import Ending, JobState, Phase
from horde.scheduler.core.leases import MAX_LEASES, LeaseState
from horde.scheduler.core.outcomes import Cancelled, Censored, Failed, Invalid, Refused

NAMES = st.sampled_from(["a", "b", "c", "d"])
OWNERS = {"a": OWNER, "b": BERT, "c": BERT, "d": CARL}


class Histories(RuleBasedStateMachine):
    """Requesters, workers, neighbours and crashes, in any order."""

    @initialize()
    def begin(self) -> None:
        self.table = Table(resume_grace=10.0, lease_ttl=30.0, proven_images=2, checks_part=1.0)
        self.requests = 0
        self.calm = 0
        # Something to begin with: chance alone seldom gets as far as a painted picture.
        self.attach("a", 2, restate=True)
        self.attach("b", 2, restate=True)
        self.accept(3, 1200.0, inputs=False)

    def _worker(self, name: str) -> Worker | None:
        worker = self.table.board.fleet.workers.get(worker_id_of(OWNERS[name], name))
        return worker if worker is not None and worker.session is not None else None

    @rule(images=st.integers(1, 3), ttl=st.sampled_from([5.0, 60.0, 1200.0]), inputs=st.booleans())
    def submit(self, images: int, ttl: float, inputs: bool) -> None:
        self.requests += 1
        self.table.submit(f"r{self.requests}", images, ttl=ttl, input_ids=("i",) if inputs else ())

    @rule(images=st.integers(1, 3), ttl=st.sampled_from([60.0, 1200.0]), inputs=st.booleans())
    def accept(self, images: int, ttl: float, inputs: bool) -> None:
        self.submit(images, ttl, inputs)
        self.table.run_errands()

    @rule()
    def all_goes_well(self) -> None:
        """Everything that was asked of neighbours is done."""
        self.table.run_errands()

    @rule(data=st.data())
    def paint(self, data: st.DataObject) -> None:
        leases = [lease for worker in self.table.board.fleet.workers.values() for lease in worker.leases.values()]
        here = [lease for lease in leases if self.table.reachable(lease)]
        if here:
            self.table.paint(data.draw(st.sampled_from(here)), data.draw(st.sampled_from(["it", "it", "junk"])))

    @rule(name=NAMES, slots=st.integers(0, 3), restate=st.booleans())
    def attach(self, name: str, slots: int, restate: bool) -> None:
        self.table.attach(name, slots, restate=restate, owner=OWNERS[name])

    @rule(name=NAMES, slots=st.integers(0, 3))
    def restate(self, name: str, slots: int) -> None:
        worker = self._worker(name)
        if worker is not None and worker.session is not None and worker.session.route is not None:
            self.table.restate(worker, slots)

    @rule(name=NAMES)
    def vanish(self, name: str) -> None:
        worker = self._worker(name)
        if worker is not None:
            self.table.vanish(worker)

    @rule(name=NAMES)
    def forget_all(self, name: str) -> None:
        """A worker loses its memory: it holds nothing any more."""
        worker_id = worker_id_of(OWNERS[name], name)
        for lease_id in [key for key, (whose, _) in self.table.held.items() if whose == worker_id]:
            del self.table.held[lease_id]

    @rule(data=st.data(), kind=st.sampled_from(["painted", "failed", "refused", "censored", "invalid", "cancelled"]))
    def report(self, data: st.DataObject, kind: str) -> None:
        """An outcome of any lease that there ever was, in time or late."""
        if not self.table.lent:
            return
        job_id, worker_id, lease_id = data.draw(st.sampled_from(self.table.lent))
        worker = self.table.board.fleet.workers.get(worker_id)
        if worker is None or worker.session is None:
            return
        results: dict[str, Any] = {
            "painted": painted(worker),
            "failed": Failed(),
            "refused": Refused(),
            "censored": Censored("x"),
            "invalid": Invalid("x"),
            "cancelled": Cancelled(1),
        }
        self.table.report(worker, lease_id, job_id, results[kind])

    @rule(data=st.data(), step=st.integers(1, 20))
    def progress(self, data: st.DataObject, step: int) -> None:
        leases = [lease for worker in self.table.board.fleet.workers.values() for lease in worker.leases.values()]
        if leases:
            self.table.progress(data.draw(st.sampled_from(leases)), step)

    @rule(data=st.data())
    def dawdle(self, data: st.DataObject) -> None:
        """A worker is slow, and says enough to keep its lease."""
        leases = [lease for worker in self.table.board.fleet.workers.values() for lease in worker.leases.values()]
        if not leases:
            return
        lease = data.draw(st.sampled_from(leases))
        for _ in range(9):
            self.table.pass_time(11.0)
            self.table.progress(lease, lease.step + 1)

    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        generations = list(self.table.board.generations.values())
        if generations:
            self.table.cancel(data.draw(st.sampled_from(generations)))

    @rule()
    def save(self) -> None:
        self.table.save()

    @precondition(lambda self: self.table.errands)
    @rule(data=st.data(), how=st.sampled_from(["well", "well", "refused", "lost", "unheard", "unheard"]))
    def errand(self, data: st.DataObject, how: str) -> None:
        index = data.draw(st.integers(0, len(self.table.errands) - 1))
        self.table.run_errand(index, refuse=how == "refused", lose=how == "lost", answer=how != "unheard")

    @rule(seconds=st.sampled_from([0.1, 1.0, 11.0, 31.0, 61.0]))
    def pass_time(self, seconds: float) -> None:
        self.table.pass_time(seconds)

    @precondition(lambda self: self.calm >= 5)
    @rule()
    def crash(self) -> None:
        """All that is not durable is gone."""
        self.calm = 0
        self.table.start()

    @invariant()
    def slots_are_respected(self) -> None:
        self.calm += 1
        for worker in self.table.board.fleet.workers.values():
            for lease in worker.leases.values():
                assert lease.state is LeaseState.OPEN or (lease.hedged and lease.state is LeaseState.LAPSED)
                assert lease.worker_id == worker.worker_id
                assert lease.job.open, "a job that is decided keeps a lease"
            held = [lease.job.job_id for lease in worker.leases.values()]
            assert len(held) == len(set(held)), "lent twice at once to the same worker"

    @invariant()
    def what_owners_hold_is_counted(self) -> None:
        board = self.table.board
        for standing in board.fleet.standings.values():
            assert standing.open_leases == sum(len(worker.leases) for worker in standing.workers.values())
        for job in board.jobs.values():
            for lease in job.leases:
                if lease.state is LeaseState.OPEN or lease.hedged:
                    assert board.fleet.workers[lease.worker_id].leases[lease.lease_id] is lease

    @invariant()
    def nothing_waits_for_somebody_free(self) -> None:
        board = self.table.board
        assert not board.missed
        for worker in board.fleet.workers.values():
            assert worker.free is (worker.worker_id in board.fleet.idle)
            if worker.free:
                assert board.queue.first(worker, self.table.now, board.speeds) is None

    @invariant()
    def books_agree(self) -> None:
        board = self.table.board
        for generation in board.generations.values():
            if generation.phase is not Phase.ACCEPTED:
                continue
            assert len({job.version for job in generation.jobs}) == len(generation.jobs)
            for job in generation.jobs:
                assert len(job.failed_owners) <= 3
                assert len(job.leases) <= MAX_LEASES
                lent_to = [lease.worker_id for lease in job.leases if lease.state is LeaseState.OPEN]
                assert len(lent_to) == len(set(lent_to)), "lent twice at once to the same worker"
                if job.state is JobState.ENDED:
                    ending, divided, _ = self.table.books.ended[job.job_id]
                    assert ending is job.ending
                    if ending is Ending.DONE and generation.check is not None:
                        assert job.job_id not in self.table.committed, "a check's picture is kept"
                    elif ending is Ending.DONE:
                        assert job.job_id in self.table.committed
                        assert divided == amounts(Ending.DONE, generation.terms.price)
                    else:
                        assert job.job_id not in self.table.committed
                else:
                    assert job.job_id in self.table.books.held or job.state is JobState.SETTLING

    @invariant()
    def cases_are_counted(self) -> None:
        board = self.table.board
        cases = list(board.checks.open.values())
        assert not any(case.over for case in cases)
        for standing in board.fleet.standings.values():
            assert standing.open_checks == sum(case.suspect == standing.owner for case in cases)
        for generation in board.generations.values():
            if generation.check is not None:
                case = generation.check.case
                assert case.over or board.checks.open[case.key] is case
                assert case.over or not generation.closed
                painters = [case.subject.owner, *(opinion.owner for opinion in case.opinions)]
                assert len(painters) == len(set(painters)), "somebody looks at his own picture"

    @invariant()
    def the_queue_holds_what_is_queued(self) -> None:
        board = self.table.board
        queued = [job for job in board.jobs.values() if job.state is JobState.QUEUED]
        assert sorted(job.job_id for job in queued) == sorted(job.job_id for job in queued if job.ticket)
        assert len(board.queue) == len(queued)
        live = sum(
            job.live for generation in board.generations.values() if not generation.closed for job in generation.jobs
        )
        assert board.live_jobs == live

    def teardown(self) -> None:
        if not hasattr(self, "table"):
            return
        table = self.table
        table.settle_down()
        table.start()
        table.settle_down()
        assert table.board.live_jobs == 0, "a job does not end"
        assert not table.books.held, "kudos are held for ever"
        assert not table.errands
        assert not table.board.checks.open, "a case does not end"
        for row in table.memory.generations.values():
            assert row["closed"]
        ended = {key for key, row in table.memory.jobs.items() if row["state"] == JobState.ENDED}
        assert ended == set(table.memory.jobs) == set(table.books.ended)


Histories.TestCase.settings = settings(
    max_examples=200, stateful_step_count=50, deadline=None, suppress_health_check=list(HealthCheck)
)
TestHistories = Histories.TestCase
