"""Leases: only progress keeps them, three attempts, to the same worker again only where nobody else can."""

from __future__ import annotations

from tests.unit.scheduler.table import ANNA, BERT, OWNER, Table, endings, painted, state, states

from horde.scheduler.core import attaching
from horde.scheduler.core import effects as fx
from horde.scheduler.core.attaching import HeldLease, Restatement
from horde.scheduler.core.job import Ending, JobState
from horde.scheduler.core.leases import LeaseState, Revoked, Stage
from horde.scheduler.core.outcomes import Failed, Refused


def test_a_lease_without_progress_lapses_and_the_job_goes_to_another() -> None:
    table = Table(lease_ttl=30.0)
    first = table.attach("w1")
    (job,) = table.queued().jobs
    lease = table.lease(job)
    second = table.attach("w2")
    table.pass_time(60.0)
    assert state(lease) is LeaseState.LAPSED
    assert table.told(fx.Revoke, first)[0].reason is Revoked.LAPSED
    assert table.lease(job).worker_id == second.worker_id
    assert job.version > lease.job.generation.jobs[0].index


def test_progress_extends_a_lease_and_a_repeated_step_does_not() -> None:
    table = Table(lease_ttl=30.0)
    table.attach("w1")
    (job,) = table.queued().jobs
    lease = table.lease(job)
    ttl = lease.ttl
    for step in (1, 2, 3):
        table.pass_time(ttl - 1)
        table.progress(lease, step)
    assert state(lease) is LeaseState.OPEN
    for _ in range(2):
        table.pass_time(ttl - 1)
        table.progress(lease, 3)
    assert state(lease) is LeaseState.LAPSED


def test_a_lease_that_waits_behind_another_is_kept_by_its_progress() -> None:
    table = Table(lease_ttl=30.0)
    table.attach("w1", slots=2)
    generation = table.queued(images=2)
    running, waiting = (table.lease(job) for job in generation.jobs)
    for step in range(1, 5):
        table.pass_time(25.0)
        table.progress(running, step)
    assert state(waiting) is LeaseState.OPEN
    table.paint(running)
    table.pass_time(25.0)
    assert state(waiting) is LeaseState.OPEN
    table.pass_time(30.0)
    assert state(waiting) is LeaseState.LAPSED


def test_a_finished_picture_that_cannot_be_brought_keeps_its_lease_within_a_bound() -> None:
    table = Table(lease_ttl=30.0, upload_grace=600.0)
    worker = table.attach("w1", slots=3)
    generation = table.queued(images=3)
    leases = [table.lease(job) for job in generation.jobs]
    for lease in leases:
        table.pass_time(5.0)
        table.progress(lease, 20)
        table.progress(lease, 20, Stage.UPLOADING)
    table.pass_time(300.0)
    assert {state(lease) for lease in leases} == {LeaseState.OPEN}
    # Said again it keeps it no longer.
    for lease in leases:
        table.progress(lease, 20, Stage.UPLOADING)
    table.paint(leases[0])
    table.pass_time(310.0)
    assert {state(lease) for lease in leases[1:]} == {LeaseState.LAPSED}
    # It was painted: that it could not be brought is no failure, and the picture may still win.
    assert (worker.jobs_failed, worker.strikes) == (0, 0)
    table.paint(leases[1])
    table.run_errands()
    assert [job.ending for job in generation.jobs[:2]] == [Ending.DONE, Ending.DONE]


def test_an_absence_of_storage_says_nothing_of_a_workers_speed() -> None:
    table = Table()
    worker = table.attach("w1", slots=2)
    first, second = (table.lease(job) for job in table.queued(images=2).jobs)
    table.pass_time(10.0)
    table.progress(first, 20, Stage.UPLOADING)
    table.pass_time(10.0)
    table.progress(second, 20, Stage.UPLOADING)
    table.pass_time(290.0)
    table.paint(first)
    assert table.board.speeds.of(worker.worker_id) == {}
    third = table.lease(table.queued("r2").jobs[0])
    table.pass_time(8.0)
    table.progress(third, 20, Stage.UPLOADING)
    table.pass_time(2.0)
    table.paint(third)
    work = third.job.generation.terms.work
    assert set(table.board.speeds.of(worker.worker_id).values()) == {10.0 / work}


def test_a_picture_that_waits_for_storage_does_not_hide_that_the_next_was_begun() -> None:
    table = Table()
    worker = table.attach("w1", slots=2)
    first, second = (table.lease(job) for job in table.queued(images=2).jobs)
    table.pass_time(10.0)
    table.progress(first, 20, Stage.UPLOADING)
    table.pass_time(10.0)
    table.paint(first)
    table.pass_time(2.0)
    table.paint(second)
    work = second.job.generation.terms.work
    # Twelve seconds since the first was painted, not two since it was brought; the two are averaged.
    assert min(table.board.speeds.of(worker.worker_id).values()) > 10.0 / work


def test_preparing_keeps_a_lease_from_its_assignment_on_and_once() -> None:
    table = Table(lease_ttl=30.0, prepare_grace=200.0)
    table.attach("w1")
    lease = table.lease(table.queued().jobs[0])
    table.pass_time(20.0)
    table.progress(lease, 0, Stage.PREPARING)
    table.pass_time(170.0)
    assert state(lease) is LeaseState.OPEN
    table.progress(lease, 0, Stage.PREPARING)
    table.pass_time(20.0)
    assert state(lease) is LeaseState.LAPSED


def test_a_restated_picture_is_known_to_be_painted_after_a_restart_of_the_scheduler() -> None:
    table = Table(lease_ttl=30.0, upload_grace=600.0)
    worker = table.attach("w1")
    lease = table.lease(table.queued().jobs[0])
    table.save()
    table.start()
    worker = table.attach("w1", restate=False)
    held = HeldLease(lease.lease_id, lease.job.job_id, 20, Stage.UPLOADING)
    assert worker.session is not None
    stated = Restatement(0, 1, draining=False, held=(held,))
    attaching.restated(table.board, worker.session, worker, stated, table.now, table.now_ms)
    table.work()
    table.pass_time(500.0)
    (again,) = worker.leases.values()
    assert (again.lease_id, again.state) == (lease.lease_id, LeaseState.OPEN)


def test_attempts_of_three_owners_then_faulted_and_released() -> None:
    table = Table()
    workers = [table.attach(f"w{index}", owner=owner) for index, owner in enumerate((OWNER, ANNA, BERT))]
    generation = table.queued()
    (job,) = generation.jobs
    for _ in range(3):
        lease = table.lease(job)
        table.report(table.board.fleet.workers[lease.worker_id], lease.lease_id, job.job_id, Failed("out of paint"))
    table.run_errands()
    assert endings(generation) == [Ending.FAULTED]
    assert job.detail == "out of paint"
    assert len({lease.worker_id for lease in job.leases}) == 3
    assert not table.books.held
    assert sum(worker.jobs_failed for worker in workers) == 3


def test_a_job_goes_to_another_worker_first() -> None:
    table = Table()
    worker = table.attach("w1", slots=4)
    (job,) = table.queued().jobs
    lease = table.lease(job)
    table.report(worker, lease.lease_id, job.job_id, Refused())
    assert state(job) is JobState.QUEUED
    table.restate(worker, 4)
    assert state(job) is JobState.QUEUED
    table.attach("w2")
    assert state(job) is JobState.LEASED


def test_no_more_is_lent_than_is_asked_for() -> None:
    table = Table()
    worker = table.attach("w1", slots=2)
    generation = table.queued(images=5)
    assert states(generation).count(JobState.LEASED) == 2
    table.paint(table.lease(generation.jobs[0]))
    # The outcome frees the slot; the ledger need not have answered.
    assert states(generation).count(JobState.LEASED) == 2
    table.restate(worker, 0)
    table.paint(table.lease(generation.jobs[1]))
    assert states(generation).count(JobState.LEASED) == 1


def test_a_late_outcome_wins_while_the_job_is_open() -> None:
    table = Table(lease_ttl=30.0)
    first = table.attach("w1")
    (job,) = table.queued().jobs
    lapsed = table.lease(job)
    table.pass_time(35.0)
    assert state(lapsed) is LeaseState.LAPSED
    second = table.attach("w2")
    other = table.lease(job)
    table.report(first, lapsed.lease_id, job.job_id, painted(first))
    assert (job.state, job.winner) == (JobState.SETTLING, lapsed)
    assert table.told(fx.Revoke, second)[0].reason is Revoked.SUPERSEDED
    table.run_errands()
    assert table.committed == {job.job_id: lapsed.lease_id}
    assert table.told(fx.SaySettled, first)[-1].disposition == fx.ACCEPTED
    table.report(second, other.lease_id, job.job_id, painted(second))
    assert table.told(fx.SaySettled, second)[-1].disposition == fx.DUPLICATE


def test_a_worker_that_only_fails_rests_longer_and_longer() -> None:
    table = Table()
    worker = table.attach("bad")
    for index in range(3):
        (job,) = table.queued(f"r{index}").jobs
        lease = table.lease(job)
        table.report(worker, lease.lease_id, job.job_id, Failed())
    (job,) = table.queued("next").jobs
    assert state(job) is JobState.QUEUED
    table.pass_time(1.1)
    assert state(job) is JobState.LEASED
    table.report(worker, table.lease(job).lease_id, job.job_id, Failed())
    (job,) = table.queued("next but one").jobs
    table.pass_time(1.1)
    assert state(job) is JobState.QUEUED
    table.pass_time(1.0)
    table.paint(table.lease(job))
    (job,) = table.queued("at last").jobs
    assert state(job) is JobState.LEASED


def test_nobody_rests_for_jobs_that_fail_everywhere() -> None:
    table = Table()
    owners = {"w1": OWNER, "w2": ANNA, "w3": BERT}
    workers = {name: table.attach(name, owner=owner) for name, owner in owners.items()}
    for index in range(6):
        (job,) = table.queued(f"poison {index}").jobs
        for _ in range(3):
            lease = table.lease(job)
            table.report(workers[table.painter(job)], lease.lease_id, job.job_id, Failed())
        assert job.ending is Ending.FAULTED
        table.run_errands()
    assert all(worker.free and worker.strikes == 0 for worker in workers.values())


def test_an_expired_generation_ends_at_its_deadline_whatever_it_does() -> None:
    table = Table()
    worker = table.attach("w1")
    generation = table.queued(images=2, ttl=50.0)
    lease = table.lease(generation.jobs[0])
    table.pass_time(49.0)
    table.progress(lease, 5)
    table.pass_time(2.0)
    assert table.told(fx.Revoke, worker)[0].reason is Revoked.EXPIRED
    table.run_errands()
    assert endings(generation) == [Ending.EXPIRED] * 2
    assert not table.books.held
    assert generation.closed
