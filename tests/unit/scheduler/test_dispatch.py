"""Whoever can paint a job gets it: however many cannot, however long what nobody can paint has waited."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import pytest
from tests.unit.scheduler.table import ANNA, BERT, OWNER, Table, state, terms

from horde.scheduler.core import attaching, lending
from horde.scheduler.core import effects as fx
from horde.scheduler.core.estimates import Estimates
from horde.scheduler.core.fitting import WhyNot
from horde.scheduler.core.fleet import Worker, worker_id_of
from horde.scheduler.core.job import ANONYMOUS, AccountId, Ending, Job, JobState, WorkerId
from horde.scheduler.core.leases import MAX_ATTEMPTS, LeaseState
from horde.scheduler.core.outcomes import Failed, Refused

CROWD = 200
ABLE = worker_id_of(OWNER, "able")
HINDRANCES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    # What the crowd lacks, and what the job needs.
    "size": ({"max_pixels": 512 * 512}, {"width": 768, "height": 768}),
    "a little size": ({"max_pixels": 600 * 600}, {"width": 640, "height": 640}),
    "feature": ({"features": 1}, {"features": 2}),
    "allow list": ({}, {"allowed": frozenset({ABLE})}),
    "deny list": ({}, {"denied": frozenset(worker_id_of(OWNER, f"w{number}") for number in range(CROWD))}),
}


@pytest.mark.parametrize("hindrance", HINDRANCES)
def test_a_job_is_lent_at_once_however_many_idle_workers_cannot_paint_it(hindrance: str) -> None:
    theirs, needs = HINDRANCES[hindrance]
    table = Table()
    for number in range(CROWD):
        table.attach(f"w{number}", **theirs)
    table.attach("able")
    (job,) = table.queued(**needs).jobs
    assert table.lease(job).worker_id == ABLE


def test_a_small_job_is_lent_however_many_large_ones_of_its_class_are_ahead() -> None:
    table = Table()
    for index in range(200):
        table.queued(f"large{index}", width=768, height=768)
    (small,) = table.queued("small", width=576, height=576).jobs
    table.attach("w", max_pixels=600 * 600)
    assert state(small) is JobState.LEASED


def test_a_size_that_is_new_among_those_near_a_limit_is_lent_too() -> None:
    table = Table()
    worker = table.attach("w", max_pixels=600 * 600)
    table.queued("too large", width=640, height=640)
    (job,) = table.queued("near the limit", width=600, height=592).jobs
    table.paint(table.lease(job))
    (job,) = table.queued("a little smaller", width=600, height=584).jobs
    assert table.lease(job).worker_id == worker.worker_id


def test_what_comes_back_is_first_again_among_its_like() -> None:
    table = Table()
    worker = table.attach("w")
    first = table.queued("first").jobs[0]
    table.pass_time(0.1)
    for index in range(3):
        table.queued(f"r{index}")
    table.vanish(worker, by_mesh=True)
    table.pass_time(table.limits.resume_grace + 1.0)
    table.attach("w2")
    assert state(first) is JobState.LEASED


def test_a_job_for_one_worker_is_lent_however_many_lists_are_ahead() -> None:
    table = Table()
    for index in range(200):
        table.queued(f"r{index}", allowed=frozenset({WorkerId(f"nobody{index}")}))
    table.attach("able")
    (job,) = table.queued("mine", allowed=frozenset({ABLE})).jobs
    assert table.lease(job).worker_id == ABLE


def test_a_worker_that_many_lists_name_gets_what_it_may_have() -> None:
    table = Table()
    (open_to_all,) = table.queued("open").jobs
    for index in range(100):
        table.queued(f"denied{index}", denied=frozenset({ABLE, WorkerId(f"other{index}")}))
    (allowed,) = table.queued("allowed", allowed=frozenset({ABLE})).jobs
    worker = table.attach("able", slots=50)
    assert {lease.job for lease in worker.leases.values()} == {open_to_all, allowed}


def served(table: Table, worker: Worker, seconds: float) -> Job:
    """The job that a worker has, painted."""
    (lease,) = worker.leases.values()
    table.pass_time(seconds)
    table.paint(lease)
    table.run_errands()
    return lease.job


def test_what_nobody_can_paint_makes_its_model_no_more_urgent() -> None:
    table = Table()
    table.queued(
        "huge", account=ANONYMOUS, digest=b"\1" * 32, flow="anonymous/x", width=4096, height=4096, ttl=86_400.0
    )
    worker = table.attach("w", models=("m", "n"))
    table.pass_time(600.0)
    for index in range(60):
        for model in ("m", "n"):
            table.queued(f"{model}{index}", model=model, account=ANNA)
    turns = [served(table, worker, 10.0).generation.terms.model for _ in range(60)]
    assert 20 <= turns.count("n") <= 40


def test_what_nobody_can_paint_keeps_nothing_that_was_served() -> None:
    table = Table(max_recent=10)
    table.queued(
        "huge", account=ANONYMOUS, digest=b"\1" * 32, flow="anonymous/x", width=4096, height=4096, ttl=86_400.0
    )
    worker = table.attach("w")
    mine = set()
    for index in range(4_000):
        table.queued(f"r{index}", account=ANNA)
        mine.add(served(table, worker, 0.1).job_id)
        table.said.clear()
    gc.collect()
    # `type`, for `isinstance` asks lazy modules of other tests what they are.
    assert sum(type(thing) is Job and thing.job_id in mine for thing in gc.get_objects()) < 2_000


def test_an_estimate_counts_who_is_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attaching, "MAX_WORKERS_OF_ONE", 10_000)
    table = Table(max_sessions=10_000)
    for number in range(2_100):
        table.vanish(table.attach(f"away{number}"))
    for number in range(50):
        table.attach(f"here{number}")
    estimate = Estimates(table.board).for_terms(terms(), ANNA, table.now)
    assert (estimate.eligible, estimate.p50, estimate.ineligible) == (50, 0.0, ())


def test_who_asks_for_nothing_is_a_reason_to_wait() -> None:
    table = Table()
    table.attach("w", slots=0)
    estimate = Estimates(table.board).for_terms(terms(), ANNA, table.now)
    assert (estimate.eligible, estimate.ineligible) == (0, ((WhyNot.NO_SLOTS, 1),))


def test_who_rests_is_a_reason_to_wait() -> None:
    table = Table()
    worker = table.attach("w")
    for index in range(3):
        (lease,) = (table.lease(job) for job in table.queued(f"r{index}").jobs)
        table.report(worker, lease.lease_id, lease.job.job_id, Failed())
    estimate = Estimates(table.board).for_terms(terms(), ANNA, table.now)
    assert (estimate.eligible, estimate.ineligible) == (0, ((WhyNot.RESTING, 1),))


def crash(table: Table, worker: Worker) -> None:
    table.held.clear()
    table.attach(worker.name)


def lose_the_network(table: Table, worker: Worker) -> None:
    table.vanish(worker)
    table.pass_time(table.limits.resume_grace + 1.0)
    table.held.clear()
    table.attach(worker.name)


def fail(table: Table, worker: Worker) -> None:
    (lease,) = worker.leases.values()
    table.report(worker, lease.lease_id, lease.job.job_id, Failed())


def refuse(table: Table, worker: Worker) -> None:
    (lease,) = worker.leases.values()
    table.report(worker, lease.lease_id, lease.job.job_id, Refused())


def fall_silent(table: Table, worker: Worker) -> None:
    (lease,) = worker.leases.values()
    table.pass_time(lease.ttl)


MISHAPS = [crash, lose_the_network, fail, refuse, fall_silent]


@pytest.mark.parametrize("mishap", MISHAPS)
def test_the_only_worker_gets_its_job_again_after_a_while(mishap: Callable[[Table, Worker], None]) -> None:
    table = Table()
    worker = table.attach("w")
    (job,) = table.queued().jobs
    first = table.lease(job)
    mishap(table, worker)
    assert state(job) is JobState.QUEUED
    why = WhyNot.REFUSED_MODEL if mishap is refuse else WhyNot.TRIED_BEFORE
    assert Estimates(table.board).for_job(job, table.now).ineligible == ((why, 1),)
    table.pass_time(10.0)
    assert table.lease(job) is not first
    table.paint(table.lease(job))
    table.run_errands()
    assert job.ending is Ending.DONE


@pytest.mark.parametrize("mishap", MISHAPS[:-1])
def test_another_worker_is_preferred_even_if_it_is_busy(mishap: Callable[[Table, Worker], None]) -> None:
    table = Table()
    worker = table.attach("w")
    (job,) = table.queued("wanted").jobs
    assert table.lease(job).worker_id == worker.worker_id
    other = table.attach("other")
    table.queued("something else", denied=frozenset({worker.worker_id}))
    mishap(table, worker)
    for _ in range(12):
        for lease in list(other.leases.values()):
            table.progress(lease, lease.step + 1)
        table.pass_time(5.0)
    assert state(job) is JobState.QUEUED
    (lease,) = other.leases.values()
    table.paint(lease)
    assert table.lease(job).worker_id == other.worker_id


def test_who_was_preferred_and_has_left_is_waited_for_no_longer() -> None:
    table = Table()
    worker = table.attach("w")
    (job,) = table.queued().jobs
    other = table.attach("other", slots=1)
    table.queued("something else", denied=frozenset({worker.worker_id}))
    fail(table, worker)
    table.pass_time(15.0)
    assert state(job) is JobState.QUEUED
    table.vanish(other)
    table.pass_time(table.limits.resume_grace + 10.0)
    assert table.lease(job).worker_id == worker.worker_id


def test_an_owner_who_fails_again_and_again_alone_ends_the_job_and_is_not_forgiven() -> None:
    table = Table()
    worker = table.attach("w")
    (job,) = table.queued().jobs
    for _ in range(MAX_ATTEMPTS):
        fail(table, worker)
        table.pass_time(40.0)
    table.run_errands()
    assert job.ending is Ending.FAULTED
    assert worker.strikes == MAX_ATTEMPTS


def test_an_owner_who_fails_again_and_again_is_one_attempt_while_others_are_here() -> None:
    table = Table()
    worker = table.attach("w")
    busy = table.attach("busy", owner=BERT)
    table.queued("keeps the other busy", denied=frozenset({worker.worker_id}), ttl=3600.0)
    (job,) = table.queued(denied=frozenset()).jobs
    (held,) = busy.leases.values()
    for step in range(1, 12):
        if worker.leases:
            fail(table, worker)
        table.progress(held, step)
        table.pass_time(20.0)
    assert state(job) is JobState.QUEUED
    table.paint(held)
    assert table.lease(job).owner == BERT


def test_a_gateway_that_is_away_strikes_nobody_and_costs_no_attempt() -> None:
    table = Table()
    worker = table.attach("w", slots=8)
    generation = table.queued(images=8)
    for _ in range(4):
        table.vanish(worker, by_mesh=True)
        table.pass_time(table.limits.resume_grace + 11.0)
        assert [len(job.failed_owners) for job in generation.jobs] == [0] * 8
        table.held.clear()
        table.attach("w", slots=8)
        assert len(worker.leases) == 8
    assert (worker.strikes, worker.jobs_failed, worker.rests_until) == (0, 0, 0.0)


def test_a_gateway_that_is_back_within_the_longest_pause_of_agents_costs_nothing() -> None:
    table = Table()
    worker = table.attach("w")
    (job,) = table.queued().jobs
    lease = table.lease(job)
    table.vanish(worker, by_mesh=True)
    table.pass_time(15.0)
    table.attach("w")
    assert state(lease) is LeaseState.OPEN
    assert table.lease(job) is lease


def test_a_scheduler_that_was_away_strikes_nobody() -> None:
    table = Table()
    table.attach("w", slots=4)
    table.queued(images=4)
    table.save()
    table.start()
    table.pass_time(table.limits.resume_grace + 1.0)
    worker = table.board.fleet.workers[worker_id_of(OWNER, "w")]
    assert (len(worker.leases), worker.strikes) == (0, 0)


def test_the_lost_lease_of_a_mesh_is_remembered_as_such() -> None:
    table = Table()
    worker = table.attach("w")
    generation = table.queued()
    table.vanish(worker, by_mesh=True)
    table.pass_time(table.limits.resume_grace + 1.0)
    table.save()
    table.start()
    (job,) = table.board.generations[generation.generation_id].jobs
    assert (len(job.leases), len(job.failed_owners)) == (1, 0)


def test_a_slice_of_matching_looks_at_no_more_than_it_may() -> None:
    table = Table(max_generations=1_000)
    workers = [table.attach(f"w{number}", slots=0) for number in range(50)]
    for index in range(5):
        table.queued(f"r{index}", 20)
    for worker in workers:
        assert worker.session is not None
        worker.session.slots = 1
        table.board.fleet.changed(worker)
    slices = 0
    while table.board.fleet.hungry:
        before = len(table.board.effects)
        lending.match(table.board, table.now, looks=8)
        assert len(table.board.effects) - before <= 8
        slices += 1
    assert slices == 7
    assert sum(isinstance(effect, fx.Assign) for effect in table.board.effects) == 50


def test_the_second_look_finds_what_matching_has_missed() -> None:
    table = Table()
    worker = table.attach("w", slots=0)
    (job,) = table.queued().jobs
    # A defect: it became free, and nobody said so.
    assert worker.session is not None
    worker.session.slots = 1
    table.board.fleet.looked_at(worker)
    table.work()
    assert state(job) is JobState.QUEUED
    table.queued("elsewhere", model="n")
    table.pass_time(lending.RELOOK_PAUSE)
    assert state(job) is JobState.LEASED
    assert table.board.missed == 1


def test_who_has_become_fast_gets_what_waits_for_it() -> None:
    table = Table()

    def paints_in(worker: Worker, seconds: float) -> None:
        (lease,) = worker.leases.values()
        table.pass_time(seconds)
        table.paint(lease)
        table.run_errands()

    quick = table.attach("quick")
    table.queued("r0")
    paints_in(quick, 10.0)
    table.restate(quick, 0)
    usual = table.attach("usual")
    table.queued("r1")
    paints_in(usual, 20.0)
    (job,) = table.queued("fast only", fast_only=True).jobs
    assert state(job) is JobState.QUEUED
    table.attach("slow")
    table.queued("r2", denied=frozenset({usual.worker_id}))
    paints_in(table.board.fleet.workers[worker_id_of(OWNER, "slow")], 50.0)
    # Half of them are slower now than the usual one.
    assert table.lease(job).worker_id == usual.worker_id


def test_who_is_alone_is_fast() -> None:
    table = Table()
    gone, slow = table.attach("gone", slots=0), table.attach("slow")
    table.board.speeds.measure(gone.worker_id, "m", 1, 10.0, 5.0)
    table.board.fleet.measured("m")
    (job,) = table.queued(fast_only=True).jobs
    assert state(job) is JobState.QUEUED
    table.vanish(gone)
    table.board.fleet.forget(gone)
    table.work()
    assert table.lease(job).worker_id == slow.worker_id


def test_a_flow_that_only_waits_for_what_nobody_can_paint_slows_nobody_down() -> None:
    """Newcomers starve nobody, also beside a thousand flows whose jobs wait for ever."""
    table = Table(max_generations=10_000)
    for index in range(1_000):
        table.queued(f"huge{index}", flow=f"stuck{index}", width=1088, height=1088, steps=1, ttl=86_400.0, weight=2.0)
    backlog = [table.queued(f"r{index}", account=ANNA).jobs[0] for index in range(3)]
    worker = table.attach("w")
    arrivals = 0
    while any(job.ticket for job in backlog):
        table.queued(f"new{arrivals}", account=AccountId(f"00000000-0000-4000-8000-{arrivals:012}"))
        served(table, worker, 0.1)
        arrivals += 1
        assert arrivals < 20


def test_what_a_list_names_workers_for_makes_no_classes_of_all_others() -> None:
    table = Table()
    workers = [table.attach(f"w{number}", slots=0, features=number) for number in range(4)]
    named = table.attach("named", slots=0, features=4)
    for number in range(40):
        table.queued(f"r{number}", width=512 + 64 * (number % 3))
    listed = table.queued("listed", features=4, fast_only=True, allowed=frozenset({named.worker_id}), width=777)
    lane = table.board.queue.models["m"].named
    for worker in [*workers, named]:
        table.restate(worker, 1)
    assert len(lane._open) == 1
    assert len(lane._sizes) == 3
    assert table.board.queue.first(named, table.now, table.board.speeds) is not None
    # It gets what names it all the same.
    for _ in range(50):
        (lease,) = named.leases.values()
        if lease.job is listed.jobs[0]:
            break
        table.paint(lease)
    assert table.painter(listed.jobs[0]) == "named"
