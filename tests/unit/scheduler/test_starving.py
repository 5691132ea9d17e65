"""Ill will, at length: strangers cannot keep a job waiting beside somebody idle who would paint it."""

from __future__ import annotations

import pytest
from tests.unit.scheduler.table import ANNA, BERT, CARL, Table, state
from tests.unit.scheduler.test_strangers import proven, report, stranger, strangers_table

from horde.scheduler.core import returning
from horde.scheduler.core.fleet import Worker
from horde.scheduler.core.job import Ending, Job, JobState
from horde.scheduler.core.outcomes import Censored, Failed, Refused
from horde.scheduler.core.returning import DECLINED_IN_A_ROW, FIRST_WITHHOLDING


def wary(table: Table) -> tuple[Job, Worker]:
    """A job that goes to proven owners first, and the one proven worker, who is busy with another."""
    busy = proven(table, "busy")
    table.queued("other", ttl=7200.0)
    for number in range(4):
        table.attach(f"w{number}", owner=stranger(number))
    (job,) = table.queued("wary", ttl=7200.0).jobs
    for _ in range(4):
        report(table, table.lease(job), Refused("leaving", leaving=True))
    assert job.wary
    assert state(job) is JobState.QUEUED
    return job, busy


@pytest.mark.parametrize("how", ["leaves", "pauses"])
def test_a_job_for_proven_owners_is_for_all_again_when_the_last_of_them_is_gone(how: str) -> None:
    table = strangers_table()
    job, busy = wary(table)
    idle = table.attach("idle", owner=stranger(9))
    table.pass_time(30.0)
    assert state(job) is JobState.QUEUED
    if how == "leaves":
        table.vanish(busy)
        table.pass_time(40.0)
    else:
        from horde.scheduler.core import attaching

        attaching.pause(table.board, busy, True, table.now, table.now_ms)
        table.work()
        table.pass_time(15.0)
    assert table.lease(job).worker_id == idle.worker_id


def test_new_names_of_a_barred_owner_take_nothing_from_the_requesters_share() -> None:
    table = strangers_table()
    worker = table.attach("first", owner=BERT)
    jobs = table.queued(images=2, ttl=7200.0).jobs
    for job in jobs:
        report(table, table.lease(job), Refused("leaving", leaving=True))
    shares = table.board.queue.models["m"].shares
    before = shares.flows[ANNA].served, shares.flows[ANNA].end, shares.clock
    for number in range(20):
        table.attach(f"name {number}", owner=BERT)
    assert [state(job) for job in jobs] == [JobState.QUEUED] * 2
    assert (shares.flows[ANNA].served, shares.flows[ANNA].end, shares.clock) == before
    assert not worker.leases


def test_new_names_of_a_barred_owner_are_nobody_else_to_wait_for() -> None:
    table = strangers_table()
    honest = table.attach("honest", owner=CARL)
    (job,) = table.queued("r", ttl=7200.0).jobs
    report(table, table.lease(job), Failed(by_network=True))
    bad = table.attach("bad", owner=BERT)
    report(table, table.lease(job), Refused("leaving", leaving=True))
    # He holds as much as he may, so that nobody looks whether his other names may have the job.
    table.vanish(honest)
    table.queued("another", steps=500, ttl=7200.0)
    assert bad.standing.full
    honest = table.attach("honest", owner=CARL)
    for number in range(40):
        table.attach(f"name {number}", owner=BERT)
        table.pass_time(1.0)
    assert table.lease(job).worker_id == honest.worker_id


def test_a_second_word_counts_after_a_restart() -> None:
    table = strangers_table()
    table.attach("first", owner=stranger(1))
    (job,) = table.queued(ttl=7200.0).jobs
    report(table, table.lease(job), Censored("nsfw"))
    table.run_errands()
    table.start()
    job = table.board.jobs[job.job_id]
    table.attach("second", owner=stranger(2))
    report(table, table.lease(job), Censored("nsfw"))
    table.run_errands()
    assert job.ending is Ending.CENSORED


def test_who_lost_a_lease_comes_back_for_no_more_than_it_may_hold() -> None:
    table = strangers_table(resume_grace=10.0)
    worker = table.attach("w", slots=4, owner=BERT)
    (job,) = table.queued("one", ttl=7200.0).jobs
    lost = table.lease(job)
    table.vanish(worker)
    table.pass_time(11.0)
    (other,) = table.queued("two", ttl=7200.0).jobs
    second = table.attach("v", slots=4, owner=BERT)
    assert table.lease(other).worker_id == second.worker_id
    table.held[lost.lease_id] = (worker.worker_id, job.job_id)
    table.attach("w", slots=4, owner=BERT)
    assert second.standing.open_leases == 1


def test_who_declines_what_a_job_asks_for_is_offered_all_others_of_its_model() -> None:
    table = Table(proven_images=1)
    other, worker = table.attach("other", slots=0, owner=BERT), table.attach("choosy")
    assert not other.standing.proven
    declined = []
    for number in range(3 * DECLINED_IN_A_ROW):
        (job,) = table.queued(f"declined {number}").jobs
        table.report(worker, table.lease(job).lease_id, job.job_id, Refused("not that", of_job=True))
        declined.append(job)
        assert "m" in worker.capabilities.offers
        (job,) = table.queued(f"liked {number}").jobs
        table.paint(table.lease(job))
    table.restate(other, 1)
    for _ in declined:
        (lease,) = other.leases.values()
        assert lease.job in declined
        table.paint(lease)


def test_who_declines_everything_is_offered_nothing_for_a_while() -> None:
    table = Table()
    table.attach("other", slots=0, owner=BERT)
    worker = table.attach("no")
    table.queued("r", images=100)
    for _ in range(DECLINED_IN_A_ROW):
        (lease,) = worker.leases.values()
        table.report(worker, lease.lease_id, lease.job.job_id, Refused("not that", of_job=True))
    (lease,) = worker.leases.values()
    table.report(worker, lease.lease_id, lease.job.job_id, Refused("not that", of_job=True))
    assert not worker.leases
    assert worker.withheld
    table.pass_time(FIRST_WITHHOLDING + 1.0)
    assert worker.leases


def test_who_invents_models_and_gives_them_back_is_not_remembered_for_each() -> None:
    table = strangers_table()
    eve = stranger(1)
    worker = table.attach("w", owner=eve, models=("another",))
    for number in range(50):
        returning.withhold(table.board, worker, f"model {number}", table.now)
        table.pass_time(1.0)
    gave = worker.returned
    assert len(gave.refused) == len(gave.withheld) == 50, "it grows with each time, so it is remembered for a while"
    table.pass_time(1_000.0)
    returning.withhold(table.board, worker, "another", table.now)
    assert (set(gave.refused), set(gave.withheld)) == ({"another"}, {"another"})
