"""No job waits beside a worker that can paint it: on the real core, with any mixture of workers and jobs.

`HORDE_LIVENESS_STEPS` asks for more steps than the short form that runs with all other tests.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from tests.unit.scheduler.table import ANNA, BERT, CARL, OWNER, Table, painted

from horde.scheduler.core import attaching
from horde.scheduler.core.fitting import why_not
from horde.scheduler.core.fleet import Capabilities, Offer, Worker, worker_id_of
from horde.scheduler.core.job import ANONYMOUS, AccountId, Job, WorkerId
from horde.scheduler.core.leases import Lease
from horde.scheduler.core.matching import ModelQueue
from horde.scheduler.core.outcomes import Cancelled, Failed, Refused, Result

STEPS = int(os.environ.get("HORDE_LIVENESS_STEPS", "6000"))
STEPS_OF_ONE = 100
LONG = 50_000
"""Steps from which on it is no chance how much was lent and looked at."""
NAMES = tuple(f"w{number}" for number in range(7))
OWNERS = {name: (OWNER, BERT, CARL)[number % 3] for number, name in enumerate(NAMES)}
MODELS = ("m", "n", "o")
SIDES = (512, 576, 600, 640, 768, 1024)
FLOWS = tuple(AccountId(f"00000000-0000-4000-8000-0000000000{number:02}") for number in range(4))
names, models, sides = st.sampled_from(NAMES), st.sampled_from(MODELS), st.sampled_from(SIDES)
some_workers: st.SearchStrategy[set[str]] = st.one_of(st.just(set()), st.just(set()), st.sets(names, max_size=3))
needed = st.sampled_from((0, 0, 0, 1, 2, 6))
given = st.sampled_from((7, 7, 5, 3, 0))
slots_wanted = st.sampled_from((1, 2, 3, 1, 0))
offers = st.dictionaries(models, st.tuples(st.booleans(), st.sampled_from((0, 0, *SIDES))), min_size=1, max_size=3)


class Mixture(RuleBasedStateMachine):
    """Workers of all kinds come, go, change and fail; jobs of all kinds come and go."""

    steps = 0
    lent = 0
    looked = 0

    @initialize()
    def begin(self) -> None:
        self.table = Table(lease_ttl=60.0, checks_part=1.0)
        self.requests = 0
        # Something to begin with: chance alone seldom brings together what fits.
        for number, name in enumerate(NAMES):
            self.attach(name, {MODELS[number % 3]: (True, 0), MODELS[number % 2]: (False, 0)}, SIDES[number % 6], 7, 2)
        self.ask_for_something_usual(3, 512, "m")

    def _ids(self, chosen: set[str]) -> frozenset[WorkerId]:
        return frozenset(worker_id_of(OWNERS[name], name) for name in chosen)

    def _here(self, name: str) -> Worker | None:
        worker = self.table.board.fleet.workers.get(worker_id_of(OWNERS[name], name))
        return worker if worker is not None and worker.session is not None and worker.session.route else None

    def _leases(self) -> list[Lease]:
        return [lease for worker in self.table.board.fleet.workers.values() for lease in worker.leases.values()]

    @rule(
        model=models, width=sides, height=sides, features=needed, fast_only=st.booleans(),
        images=st.integers(1, 3), allowed=some_workers, denied=some_workers,
        flow=st.sampled_from(FLOWS), weight=st.sampled_from((1.0, 2.5, 6.0)), anonymous=st.booleans(),
        ttl=st.sampled_from((30.0, 1200.0)),
    )  # fmt: skip
    def ask(
        self, model: str, width: int, height: int, features: int, fast_only: bool, images: int, allowed: set[str],
        denied: set[str], flow: AccountId, weight: float, anonymous: bool, ttl: float,
    ) -> None:  # fmt: skip
        self.requests += 1
        self.table.queued(
            f"r{self.requests}", images, ttl=ttl, model=model, width=width, height=height, features=features,
            fast_only=fast_only, allowed=self._ids(allowed), denied=self._ids(denied),
            account=ANONYMOUS if anonymous else flow, flow=f"anonymous/{flow}" if anonymous else flow,
            weight=0.25 if anonymous else weight,
        )  # fmt: skip

    @rule(images=st.integers(1, 4), width=sides, model=models)
    def ask_for_something_usual(self, images: int, width: int, model: str) -> None:
        self.requests += 1
        self.table.queued(f"r{self.requests}", images, model=model, width=width, account=ANNA)

    @rule(name=names, offered=offers, side=sides, features=given, slots=slots_wanted)
    def attach(self, name: str, offered: dict[str, tuple[bool, int]], side: int, features: int, slots: int) -> None:
        capabilities = _capabilities(offered, side, features)
        self.table.attach(name, slots, capabilities=capabilities, owner=OWNERS[name])

    @rule(name=names, offered=offers, side=sides, features=given)
    def change(self, name: str, offered: dict[str, tuple[bool, int]], side: int, features: int) -> None:
        worker = self._here(name)
        if worker is not None:
            capabilities = _capabilities(offered, side, features)
            attaching.capable(self.table.board, worker, lambda: capabilities, self.table.now)
            self.table.work()

    @rule(name=names, slots=slots_wanted, draining=st.sampled_from((False, False, True)))
    def demand(self, name: str, slots: int, draining: bool) -> None:
        worker = self._here(name)
        if worker is not None and worker.session is not None and worker.session.ready:
            attaching.demanded(self.table.board, worker.session, worker, slots, draining, self.table.now)
            self.table.work()

    @rule(name=names, paused=st.sampled_from((False, False, True)))
    def pause(self, name: str, paused: bool) -> None:
        worker = self.table.board.fleet.workers.get(worker_id_of(OWNERS[name], name))
        if worker is not None:
            attaching.pause(self.table.board, worker, paused, self.table.now, self.table.now_ms)
            self.table.work()

    @rule(name=names, by_mesh=st.booleans())
    def vanish(self, name: str, by_mesh: bool) -> None:
        worker = self._here(name)
        if worker is not None:
            self.table.vanish(worker, by_mesh=by_mesh)

    @precondition(lambda self: self._leases())
    @rule(
        data=st.data(),
        seconds=st.sampled_from((0.5, 2.0, 20.0)),
        how=st.sampled_from(("paint", "paint", "fail", "refuse", "stop")),
    )
    def report(self, data: st.DataObject, seconds: float, how: str) -> None:
        self.table.pass_time(seconds)
        leases = self._leases()
        if not leases:
            return
        lease = data.draw(st.sampled_from(leases))
        worker = self.table.board.fleet.workers[lease.worker_id]
        # Now and then it is another picture than others would paint.
        self.table.pictures[lease.lease_id] = seconds == 20.0
        results: dict[str, Result] = {
            "paint": painted(worker),
            "fail": Failed(),
            "refuse": Refused(),
            "stop": Cancelled(),
        }
        self.table.report(worker, lease.lease_id, lease.job.job_id, results[how])
        self.table.run_errands()

    @precondition(lambda self: self.table.board.generations)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        generations = [generation for generation in self.table.board.generations.values() if not generation.closed]
        if generations:
            self.table.cancel(data.draw(st.sampled_from(generations)))
            self.table.run_errands()

    @rule(seconds=st.sampled_from((1.0, 11.0, 21.0, 61.0)))
    def wait(self, seconds: float) -> None:
        self.table.pass_time(seconds)
        self.table.run_errands()

    @precondition(lambda self: self.requests % 8 == 7)
    @rule()
    def crash(self) -> None:
        self.requests += 1
        self.table.start()
        self.table.run_errands()

    @invariant()
    def no_free_worker_could_paint_a_queued_job(self) -> None:
        board = self.table.board
        Mixture.steps += 1
        queued = list(_queued(board.jobs.values()))
        for worker in board.fleet.workers.values():
            if not worker.free:
                continue
            for job in queued:
                assert job.signature is not None
                reason = why_not(job.signature, worker, job.generation.terms.model, board.speeds)
                assert reason is not None, f"{job.signature} waits beside {worker.name}: {worker.capabilities}"
        assert board.missed == 0

    @invariant()
    def the_index_finds_what_a_walk_through_all_would_find(self) -> None:
        board = self.table.board
        for model, queue in board.queue.models.items():
            waiting = [job for job in _queued(board.jobs.values()) if job.generation.terms.model == model]
            for worker in board.fleet.workers.values():
                places = [
                    _place(queue, job)
                    for job in waiting
                    if job.signature and why_not(job.signature, worker, model, board.speeds) is None
                ]
                found = None
                if model in worker.capabilities.offers:
                    found = queue.first(worker, model, board.speeds)
                assert (found and found[2]) == (min(places)[-1] if places else None)

    @invariant()
    def nobody_waits_for_a_retry_for_ever(self) -> None:
        """Whoever is barred from a job that only it could paint has an end of it to wait for."""
        for job in _queued(self.table.board.jobs.values()):
            assert not job.barred or job.retry_at > self.table.now - 0.001

    @invariant()
    def shares_are_exact(self) -> None:
        for queue in self.table.board.queue.models.values():
            for shares in (queue.shares, queue.addresses):
                competing = [flow for flow in shares.flows.values() if flow.paintable]
                assert shares.weight == sum(flow.weight for flow in competing)
                assert all(flow.waiting or flow.end > shares.clock for flow in shares.flows.values())
                assert all(0 <= flow.paintable <= flow.waiting for flow in shares.flows.values())
            assert sum(flow.waiting for flow in queue.shares.flows.values()) == queue.count
            assert sum(flow.waiting for flow in queue.addresses.flows.values()) == queue.anonymous.count

    def teardown(self) -> None:
        if hasattr(self, "table"):
            Mixture.lent += len(self.table.lent)
            Mixture.looked += sum(self.table.board.checks.over.values())


def _queued(jobs: Iterable[Job]) -> Iterator[Job]:
    return (job for job in jobs if job.ticket)


def _place(queue: ModelQueue, job: Job) -> tuple[float, bool, float, int, int]:
    """What the order goes by; accounts pass the anonymous where they are equal."""
    generation = job.generation
    outer = queue.anonymous_start if generation.anonymous else job.tag
    return outer, generation.anonymous, job.tag, generation.accepted_at_ms, job.ticket


def _capabilities(offered: dict[str, tuple[bool, int]], side: int, features: int) -> Capabilities:
    return Capabilities(
        {model: Offer(loaded, min(limit or side, side) ** 2, features) for model, (loaded, limit) in offered.items()}
    )


@pytest.mark.timeout(60 + STEPS // 5)
def test_no_job_waits_beside_a_worker_that_can_paint_it() -> None:
    Mixture.steps = Mixture.lent = Mixture.looked = 0
    run_state_machine_as_test(
        Mixture,
        settings=settings(
            max_examples=max(1, STEPS // STEPS_OF_ONE),
            stateful_step_count=STEPS_OF_ONE,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
    sys.stdout.write(f"{Mixture.steps} steps, {Mixture.lent} leases, {Mixture.looked} looks\n")
    # In a short run from one look to some dozens are seen.
    lent, looked = (20, 1000) if STEPS >= LONG else (100, 2 * STEPS)
    assert Mixture.lent > Mixture.steps // lent, "too little was lent for this to say anything"
    assert Mixture.looked >= Mixture.steps // looked, "too little was looked at for this to say anything"
