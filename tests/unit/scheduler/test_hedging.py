"""Leases that fall behind: their jobs are lent to somebody else as well, and the first outcome wins."""

from __future__ import annotations

from tests.unit.scheduler.table import BERT, CARL, Table, state
from tests.unit.scheduler.test_strangers import proven, report, stranger, strangers_table

from horde.scheduler.core.fleet import Worker
from horde.scheduler.core.job import Ending, Job, JobState
from horde.scheduler.core.leases import Lease, LeaseState
from horde.scheduler.core.outcomes import Cancelled, Refused


def overtaken(table: Table, slots: int = 1) -> tuple[Job, Lease, Worker]:
    """A job, the lease that fell behind, and the worker that has the job as well."""
    table.attach("slow", slots=slots, owner=BERT)
    (job,) = table.queued(steps=500, ttl=7200.0).jobs
    first = table.lease(job)
    honest = proven(table)
    dawdle_until_overtaken(table, job, first)
    return job, first, honest


def dawdle_until_overtaken(table: Table, job: Job, first: Lease) -> None:
    for step in range(first.step + 1, 490):
        if job.state is not JobState.LEASED or table.lease(job) is not first:
            return
        table.pass_time(8.0)
        table.progress(first, step)
    raise AssertionError("it was never lent to anybody else")


def dawdlers_table() -> Table:
    return strangers_table(lease_ttl=30.0, load_allowance=0.0)


def test_who_was_overtaken_and_won_is_not_taken_for_silent_later() -> None:
    table = dawdlers_table()
    job, first, _ = overtaken(table)
    table.paint(first)
    table.pass_time(600.0)
    assert table.board.fleet.workers[first.worker_id].strikes == 0
    table.run_errands()
    assert (job.ending, job.winner, state(first)) == (Ending.DONE, first, LeaseState.WON)


def test_who_was_overtaken_and_brought_nothing_wins_no_second_time() -> None:
    table = dawdlers_table()
    _, first, _ = overtaken(table)
    table.paint(first)
    table.save()
    table.run_errand(0, lose=True)
    table.pass_time(600.0)
    assert state(first) is LeaseState.VOID


def test_who_was_overtaken_is_not_lent_the_job_a_second_time_beside() -> None:
    table = dawdlers_table()
    job, first, honest = overtaken(table, slots=4)
    slow = table.board.fleet.workers[first.worker_id]
    slow.standing.paid_images = 5
    table.board.fleet.changed(slow)
    report(table, table.lease(job), Refused("leaving", leaving=True))
    table.vanish(honest)
    for step in range(first.step + 1, first.step + 60):
        table.pass_time(8.0)
        table.progress(first, step)
    assert [lease.job for lease in slow.leases.values()] == [job]
    # Once it has given it back, it may have it again.
    report(table, first, Refused("leaving", leaving=True))
    table.pass_time(20.0)
    assert table.lease(job).worker_id == slow.worker_id


def test_no_lease_is_overtaken_for_an_idle_worker_that_may_not_have_the_job() -> None:
    table = dawdlers_table()
    other = table.attach("other", owner=CARL)
    (job,) = table.queued(steps=500, ttl=7200.0).jobs
    report(table, table.lease(job), Refused("leaving", leaving=True))
    assert state(job) is JobState.QUEUED
    table.attach("slow", owner=BERT)
    lease = table.lease(job)
    for step in range(1, 60):
        table.pass_time(8.0)
        table.progress(lease, step)
        assert state(lease) is LeaseState.OPEN
    assert table.lease(job) is lease
    assert not other.leases


def test_who_dawdles_is_overtaken_after_a_restart_too() -> None:
    table = dawdlers_table()
    slow = table.attach("slow", owner=BERT)
    (job,) = table.queued(steps=500, ttl=7200.0).jobs
    table.lease(job)
    table.run_errands()
    table.start()
    slow = table.attach("slow", owner=BERT)
    job = table.board.jobs[job.job_id]
    honest = proven(table)
    dawdle_until_overtaken(table, job, table.lease(job))
    assert table.lease(job).worker_id == honest.worker_id
    assert slow.standing.open_leases == 1


def test_the_answer_to_a_revocation_costs_no_offer() -> None:
    table = dawdlers_table()
    worker = table.attach("w", owner=BERT)
    (job,) = table.queued(ttl=7200.0).jobs
    lease = table.lease(job)
    while lease.state is LeaseState.OPEN:
        table.pass_time(5.0)
    fault = lease.fault
    report(table, lease, Cancelled())
    assert not worker.withheld
    assert lease.fault is fault


def test_nobody_idle_waits_for_a_worker_that_has_fallen_behind() -> None:
    table = dawdlers_table()
    table.attach("slow", owner=BERT)
    jobs = table.queued(images=2, steps=500, ttl=7200.0).jobs
    first = table.lease(jobs[0])
    other = table.attach("other", owner=CARL)
    report(table, table.lease(jobs[1]), Refused("leaving", leaving=True))
    honest = proven(table, slots=2)
    dawdle_until_overtaken(table, jobs[0], first)
    report(table, table.lease(jobs[0]), Refused("leaving", leaving=True))
    if jobs[1].state is JobState.LEASED:
        report(table, table.lease(jobs[1]), Refused("leaving", leaving=True))
    table.vanish(honest)
    for step in range(first.step + 1, first.step + 12):
        table.pass_time(8.0)
        table.progress(first, step)
    assert other.leases


def test_one_owner_who_dawdles_leaves_others_places_to_be_hedged() -> None:
    table = dawdlers_table()
    for number in range(40):
        table.attach(f"w{number}", owner=CARL, slots=0)
    slow = proven(table, "slow", owner=BERT, slots=20)
    jobs = [table.queued(f"r{number}", steps=500, ttl=36_000.0).jobs[0] for number in range(20)]
    first = [table.lease(job) for job in jobs]
    assert {lease.worker_id for lease in first} == {slow.worker_id}
    proven(table, "honest", slots=20)
    for step in range(1, 490):
        table.pass_time(8.0)
        for lease in first:
            table.progress(lease, step)
        if step > 100 and len(table.board.hedged) == 3:
            break
    assert len(table.board.hedged) == 3  # Of 5 that there are.


def test_strangers_who_dawdle_leave_half_of_the_places_to_proven_owners() -> None:
    table = dawdlers_table()
    for number in range(40):
        table.attach(f"w{number}", owner=CARL, slots=0)
    strangers = [table.attach(f"s{number}", owner=stranger(number)) for number in range(6)]
    jobs = [table.queued(f"r{number}", steps=500, ttl=36_000.0).jobs[0] for number in range(6)]
    first = [table.lease(job) for job in jobs]
    assert {lease.worker_id for lease in first} == {worker.worker_id for worker in strangers}
    proven(table, "honest", slots=20)
    most = 0
    for step in range(1, 120):
        table.pass_time(8.0)
        for lease in first:
            table.progress(lease, step)
        most = max(most, len(table.board.hedged))
    assert most == 3


def test_who_was_overtaken_is_not_offered_the_model_for_a_while() -> None:
    table = dawdlers_table()
    job, first, honest = overtaken(table)
    slow = table.board.fleet.workers[first.worker_id]
    table.paint(table.lease(job))
    assert "m" in slow.withheld
    assert "m" not in slow.capabilities.offers
    assert "m" in honest.capabilities.offers


def test_a_stranger_who_says_nothing_keeps_a_job_from_an_idle_worker_for_seconds_not_for_its_whole_lease() -> None:
    table = dawdlers_table()
    honest = proven(table)
    for number in range(3):  # So that it is known how long it takes here.
        lease = table.lease(table.queued(f"known {number}", ttl=7200.0).jobs[0])
        table.pass_time(0.5)
        table.paint(lease)
        table.run_errands()
    silent = table.attach("silent", owner=BERT)
    jobs = [table.queued(name, ttl=7200.0).jobs[0] for name in ("one", "another")]
    lost, kept = sorted((table.lease(job) for job in jobs), key=lambda lease: lease.worker_id == honest.worker_id)
    assert (lost.worker_id, kept.worker_id) == (silent.worker_id, honest.worker_id)
    table.paint(kept)
    table.run_errands()
    table.pass_time(8.0)
    assert lost.hedged
    assert table.lease(lost.job).worker_id == honest.worker_id
