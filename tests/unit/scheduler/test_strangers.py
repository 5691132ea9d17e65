"""Ill will: strangers who refuse, fail, withhold or dawdle end nobody's job, earn nothing by it, and hold little."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid5

import pytest
from tests.unit.scheduler.table import ANNA, BERT, OWNER, PRICE, Table, state, terms

from horde.scheduler.core import effects as fx
from horde.scheduler.core import returning
from horde.scheduler.core.fitting import WhyNot
from horde.scheduler.core.fleet import MAX_WORKERS_OF_ONE, Worker
from horde.scheduler.core.job import NOTHING, AccountId, Ending, Job, JobState, WorkerId
from horde.scheduler.core.leases import MAX_LEASES, Fault, Lease, LeaseState, Revoked
from horde.scheduler.core.outcomes import Cancelled, Censored, Failed, Refused, Result
from horde.scheduler.core.standing import MAX_CONTRADICTED

PROVEN = 10


def stranger(number: int) -> AccountId:
    return AccountId(str(uuid5(UUID(int=0), f"stranger {number}")))


def strangers_table(**limits: float) -> Table:
    return Table(proven_images=PROVEN, **limits)


def proven(table: Table, name: str = "honest", owner: AccountId = OWNER, slots: int = 1) -> Worker:
    """A worker of an owner whose images others have paid for."""
    worker = table.attach(name, slots=slots, owner=owner)
    for _ in range(PROVEN):
        table.board.fleet.image_paid(worker)
    table.work()
    return worker


def report(table: Table, lease: Lease, result: Result) -> None:
    worker = table.board.fleet.workers[lease.worker_id]
    table.report(worker, lease.lease_id, lease.job.job_id, result)


def live(jobs: list[Job]) -> list[Lease]:
    return [lease for job in jobs for lease in job.leases if lease.state is LeaseState.OPEN]


WICKED: list[Callable[[], Result]] = [
    Refused,
    Cancelled,
    Failed,
    lambda: Failed(by_network=True),
    lambda: Censored("nsfw"),
]


@pytest.mark.parametrize("result", WICKED, ids=["refuses", "cancels", "fails", "cannot upload", "withholds"])
@pytest.mark.parametrize("owners", [1, 3, 12])
def test_strangers_who_bring_nothing_end_nobodys_job(result: Callable[[], Result], owners: int) -> None:
    table = strangers_table()
    honest = proven(table)
    for number in range(max(3, owners)):
        table.attach(f"w{number}", slots=64, owner=stranger(number % owners))
    jobs = [table.queued(f"r{number}").jobs[0] for number in range(40)]
    for _ in range(3_000):
        for lease in live(jobs):
            if lease.worker_id == honest.worker_id:
                table.paint(lease)
            else:
                report(table, lease, result())
        table.run_errands()
        if all(job.state is JobState.ENDED for job in jobs):
            break
        table.pass_time(0.5)
    assert [job.ending for job in jobs] == [Ending.DONE] * 40
    assert {job.winner.worker_id for job in jobs if job.winner is not None} == {honest.worker_id}
    assert max(len(job.leases) for job in jobs) < MAX_LEASES


def test_a_stranger_begins_with_one_job_and_is_lent_more_with_each_image_that_is_paid_for() -> None:
    table = strangers_table()
    workers = [table.attach(f"w{number}", slots=64, owner=BERT) for number in range(4)]
    jobs = table.queued(images=20).jobs
    for paid in range(4):
        leases = live(jobs)
        # Together, however many names he brings.
        assert len(leases) == sum(len(worker.leases) for worker in workers) == 1 + paid
        table.paint(leases[0])
        table.run_errands()
    table.board.fleet.standings[BERT].paid_images = PROVEN
    table.paint(live(jobs)[0])
    table.run_errands()
    assert not [job for job in jobs if job.state is JobState.QUEUED]


def test_what_an_owner_pays_himself_and_what_anonymous_asks_for_proves_nothing() -> None:
    table = strangers_table()
    table.attach("w", slots=64, owner=ANNA)
    for request, account in (("own", ANNA), ("anonymous", AccountId("anonymous"))):
        (job,) = table.queued(request, account=account).jobs
        table.paint(table.lease(job))
        table.run_errands()
        assert job.ending is Ending.DONE
    assert table.board.fleet.standings[ANNA].paid_images == 0
    (job,) = table.queued("another's", account=BERT).jobs
    table.paint(table.lease(job))
    table.run_errands()
    assert table.board.fleet.standings[ANNA].paid_images == 1


def test_a_refusal_costs_the_worker_its_offer_for_a_growing_while_and_the_job_no_attempt() -> None:
    table = strangers_table()
    worker = table.attach("w", owner=BERT)
    (job,) = table.queued().jobs
    waits = []
    for _ in range(4):
        report(table, table.lease(job), Refused())
        assert not job.failed_owners
        waits.append(worker.withheld["m"] - table.now)
        assert "m" not in worker.capabilities.offers
        while state(job) is JobState.QUEUED:
            table.pass_time(1.0)
    assert waits == [1.0, 2.0, 4.0, 8.0]
    table.paint(table.lease(job))
    table.run_errands()
    assert not worker.returned.refused
    assert "m" in worker.capabilities.offers
    assert worker.strikes == 0


def test_what_a_stranger_refuses_under_one_name_is_not_offered_to_his_other_names() -> None:
    table = strangers_table()
    names = [table.attach(name, owner=BERT) for name in ("one", "two")]
    (job,) = table.queued().jobs
    report(table, table.lease(job), Refused())
    late = table.attach("three", owner=BERT)
    for worker in (*names, late):
        assert "m" not in worker.capabilities.offers
    table.pass_time(1.0)
    for worker in (*names, late):
        assert "m" in worker.capabilities.offers
    while state(job) is JobState.QUEUED:
        table.pass_time(1.0)
    report(table, table.lease(job), Refused())
    for worker in (*names, late):
        assert worker.withheld["m"] - table.now == 2.0


def test_what_a_proven_owners_machine_refuses_is_offered_to_his_others() -> None:
    table = strangers_table()
    first = proven(table)
    second = table.attach("another", owner=first.owner)
    (job,) = table.queued().jobs
    lease = table.lease(job)
    report(table, lease, Refused())
    other = second if lease.worker_id == first.worker_id else first
    assert "m" in other.capabilities.offers


def test_who_leaves_gives_jobs_back_without_a_mark() -> None:
    table = strangers_table()
    worker = table.attach("w", owner=BERT)
    (job,) = table.queued().jobs
    report(table, table.lease(job), Refused("leaving", leaving=True))
    assert not worker.withheld
    assert "m" in worker.capabilities.offers


def test_what_the_network_broke_is_neither_a_strike_nor_an_attempt() -> None:
    table = strangers_table()
    worker = table.attach("w", owner=BERT)
    (job,) = table.queued().jobs
    report(table, table.lease(job), Failed("upload", by_network=True))
    assert (worker.strikes, len(job.failed_owners)) == (0, 0)
    assert worker.standing.faults == {Fault.NETWORK: 1}


def test_withholding_needs_a_second_word() -> None:
    table = strangers_table()
    table.attach("first", owner=stranger(1))
    (job,) = table.queued().jobs
    report(table, table.lease(job), Censored("nsfw"))
    assert state(job) is JobState.QUEUED
    table.attach("another name of his", owner=stranger(1))
    assert state(job) is JobState.QUEUED
    table.attach("second", owner=stranger(2))
    report(table, table.lease(job), Censored("nsfw"))
    table.run_errands()
    assert job.ending is Ending.CENSORED
    assert job.winner is not None
    assert job.winner.owner == stranger(2)
    # Two names may be one person's: it is withheld, and nobody is paid for saying so.
    assert table.books.ended[job.job_id] == (Ending.CENSORED, NOTHING, stranger(2))


def test_a_proven_owners_word_is_enough_and_paid() -> None:
    table = strangers_table()
    proven(table)
    (job,) = table.queued().jobs
    report(table, table.lease(job), Censored("nsfw"))
    table.run_errands()
    assert job.ending is Ending.CENSORED
    assert table.books.ended[job.job_id][1].earned == PRICE.price


def test_whoever_withholds_what_others_paint_is_proven_no_more() -> None:
    table = strangers_table()
    for number in range(MAX_CONTRADICTED):
        standing_worker = table.attach("prude", owner=BERT)
        (job,) = table.queued(f"r{number}").jobs
        report(table, table.lease(job), Censored("nsfw"))
        painter = table.attach(f"painter {number}", owner=stranger(number))
        table.paint(table.lease(job))
        table.run_errands()
        assert job.ending is Ending.DONE
        table.vanish(painter)
        table.pass_time(60.0)
    standing = standing_worker.standing
    assert standing.contradicted == MAX_CONTRADICTED
    standing.paid_images = PROVEN
    assert not standing.proven


def test_who_dawdles_keeps_nothing_from_an_idle_worker() -> None:
    table = strangers_table(lease_ttl=30.0, load_allowance=0.0)
    slow = table.attach("slow", slots=64, owner=BERT)
    (job,) = table.queued(steps=500, ttl=3600.0).jobs
    dawdling = table.lease(job)
    assert dawdling.worker_id == slow.worker_id
    honest = proven(table)
    for step in range(1, 60):
        table.pass_time(8.0)
        table.progress(dawdling, step)
        if table.lease(job).worker_id == honest.worker_id:
            break
    second = table.lease(job)
    assert second.worker_id == honest.worker_id
    assert dawdling.lease_id in slow.leases
    table.paint(second)
    assert table.told(fx.Revoke, slow)[-1].reason is Revoked.SUPERSEDED
    assert not slow.leases
    table.run_errands()
    assert (job.ending, job.winner) == (Ending.DONE, second)


def test_who_was_overtaken_may_still_win() -> None:
    table = strangers_table(lease_ttl=30.0, load_allowance=0.0)
    slow = table.attach("slow", owner=BERT)
    (job,) = table.queued(steps=500, ttl=3600.0).jobs
    first = table.lease(job)
    honest = proven(table)
    step = 0
    while table.lease(job) is first:
        step += 1
        table.pass_time(8.0)
        table.progress(first, step)
    table.paint(first)
    assert table.told(fx.Revoke, honest)[-1].reason is Revoked.SUPERSEDED
    table.run_errands()
    assert job.winner is first
    assert not honest.leases
    assert not slow.leases


def test_a_lease_that_keeps_pace_is_left_alone() -> None:
    table = strangers_table(lease_ttl=30.0, load_allowance=0.0)
    table.attach("steady", owner=BERT)
    (job,) = table.queued(steps=500, ttl=3600.0).jobs
    lease = table.lease(job)
    proven(table)
    pace = table.board.speeds.expected(lease.worker_id, "m", 0) * terms().pixels / 1e6
    for step in range(1, 501, 10):
        table.pass_time(10 * pace)
        table.progress(lease, step)
    assert table.lease(job) is lease


def test_a_job_that_strangers_gave_back_goes_to_a_proven_owner_first() -> None:
    table = strangers_table()
    (job,) = table.queued().jobs
    for number in range(4):
        worker = table.attach(f"w{number}", owner=stranger(number))
        report(table, table.lease(job), Refused())
        table.vanish(worker)
    busy = proven(table, "busy")
    (other,) = table.queued("other").jobs
    assert table.lease(job).worker_id == busy.worker_id
    assert state(other) is JobState.QUEUED
    report(table, table.lease(job), Refused("leaving", leaving=True))
    table.attach("yet another", owner=stranger(9))
    assert job.wary
    assert state(job) is JobState.QUEUED


def test_a_black_picture_is_not_preferred_for_its_speed() -> None:
    table = strangers_table()
    honest = proven(table)
    for number in range(20):
        (job,) = table.queued(f"r{number}").jobs
        table.pass_time(5.0)
        table.paint(table.lease(job))
        table.run_errands()
    table.vanish(honest)
    table.pass_time(60.0)
    quick = table.attach("quick", owner=BERT)
    (job,) = table.queued("quick").jobs
    table.pass_time(0.01)
    table.paint(table.lease(job))
    speeds = table.board.speeds
    assert speeds.expected(quick.worker_id, "m", 0) >= speeds.expected(honest.worker_id, "m", 0) * 0.99


def test_why_not_names_what_was_given_back() -> None:
    from horde.scheduler.core.estimates import Estimates

    table = strangers_table()
    table.attach("w", owner=BERT)
    (job,) = table.queued().jobs
    report(table, table.lease(job), Refused())
    assert Estimates(table.board).for_job(job, table.now).ineligible == ((WhyNot.REFUSED_MODEL, 1),)


@pytest.mark.parametrize("away", ["gateway", "scheduler"])
def test_what_was_lent_shortly_before_the_mesh_was_away_and_never_heard_of_is_nobodys_fault(away: str) -> None:
    table = strangers_table()
    worker = table.attach("w", owner=BERT)
    (job,) = table.queued().jobs
    table.run_errands()
    table.held.clear()
    if away == "gateway":
        table.vanish(worker, by_mesh=True)
    else:
        table.start()
        job = table.board.jobs[job.job_id]
    first = job.leases[-1]
    table.attach("w", owner=BERT)
    assert (first.state, first.fault) == (LeaseState.LAPSED, Fault.MESH)
    # The next one it knew of, and has forgotten.
    second = table.lease(job)
    table.held.clear()
    table.attach("w", owner=BERT)
    assert (second.state, second.fault) == (LeaseState.LAPSED, Fault.WORKER)


class Crowd(dict[WorkerId, Worker]):
    """So many that nobody may look through all of them for what one owner does."""

    def values(self) -> Any:
        raise AssertionError("it looks through all workers")


def test_new_names_of_one_owner_do_not_have_all_workers_looked_through() -> None:
    table = Table()
    for number in range(MAX_WORKERS_OF_ONE):
        table.vanish(table.attach(f"w{number}", owner=ANNA))
    table.board.fleet.workers = Crowd(table.board.fleet.workers)
    table.attach("one more", owner=ANNA)
    assert table.board.fleet.owned(ANNA) == MAX_WORKERS_OF_ONE


def test_a_refused_picture_does_not_have_all_workers_looked_through() -> None:
    table = Table()
    worker = table.attach("w1")
    (job,) = table.queued().jobs
    table.board.fleet.workers = Crowd(table.board.fleet.workers)
    lease = table.lease(job)
    table.report(worker, lease.lease_id, job.job_id, Failed("refused", refused_upload=True))
    assert worker.strikes == 1


def fail(table: Table, worker: Worker, request: str) -> None:
    (job,) = table.queued(request, allowed=frozenset({worker.worker_id})).jobs
    report(table, table.lease(job), Failed())
    table.cancel(job.generation)


def test_a_stranger_who_fails_under_one_name_after_the_other_rests_with_all_of_them() -> None:
    table = strangers_table()
    names = [table.attach(f"rig-{number}", owner=BERT) for number in range(5)]
    for worker in names[:3]:
        fail(table, worker, worker.name)
    late = table.attach("late", owner=BERT)
    assert [worker.free for worker in (*names, late)] == [False] * 6
    (job,) = table.queued("r").jobs
    table.pass_time(0.9)
    assert not job.leases
    table.pass_time(0.1)
    report(table, table.lease(job), Failed())
    # Twice as long each time, whichever name it was.
    assert {worker.rests_until - table.now for worker in (*names, late)} == {2.0}


def test_a_strangers_broken_machine_does_not_keep_a_sound_one_from_work_that_paints() -> None:
    table = strangers_table()
    sound, broken = (table.attach(name, owner=BERT) for name in ("sound", "broken"))
    for number in range(4):
        (job,) = table.queued(f"good {number}", allowed=frozenset({sound.worker_id})).jobs
        table.paint(table.lease(job))
        table.run_errands()
        fail(table, broken, f"bad {number}")
        assert sound.free
        table.pass_time(8.0)
    assert broken.strikes == 4


def test_a_proven_owners_broken_machine_rests_alone_however_many_there_are() -> None:
    table = strangers_table()
    names = [proven(table)] + [table.attach(f"another {number}") for number in range(3)]
    for worker in names[:3]:
        fail(table, worker, worker.name)
    assert all(worker.free for worker in names)
    for number in range(2):
        fail(table, names[0], f"again {number}")
    assert [worker.free for worker in names] == [False, True, True, True]


def test_an_amnesty_lets_a_stranger_work_again_with_all_his_names() -> None:
    table = strangers_table()
    names = [table.attach(f"rig-{number}", owner=BERT) for number in range(4)]
    for worker in names[:3]:
        fail(table, worker, worker.name)
    assert returning.pardon(table.board, 0.0, table.now + 1, "the router was away") == (3, 1)
    assert all(worker.free for worker in names)


def lent_again(table: Table, job: Job) -> Lease:
    for _ in range(100):
        if found := live([job]):
            return found[0]
        table.pass_time(1.0)
    raise AssertionError(f"nobody is lent it: {job.state!r}")


def test_three_strangers_end_no_job_that_a_proven_owner_who_has_come_could_paint() -> None:
    table = strangers_table()
    for number in range(3):
        table.attach(f"w{number}", owner=stranger(number))
    (job,) = table.queued().jobs
    for failure in range(3):
        lease = lent_again(table, job)
        if failure == 2:
            honest = proven(table)
        report(table, lease, Failed())
    assert len(job.failed_owners) == 3
    lease = lent_again(table, job)
    assert lease.worker_id == honest.worker_id
    table.paint(lease)
    table.run_errands()
    assert job.ending is Ending.DONE


def test_three_machines_of_one_owner_are_one_attempt_while_somebody_else_could_paint_it() -> None:
    table = strangers_table()
    first = proven(table)
    machines = [first] + [table.attach(f"another {number}", owner=first.owner) for number in range(2)]
    somebody = table.attach("somebody", owner=BERT)
    (other,) = table.queued("other", allowed=frozenset({somebody.worker_id})).jobs
    (job,) = table.queued().jobs
    for _ in machines:
        report(table, table.lease(job), Failed())
    assert {lease.owner for lease in job.leases} == {first.owner}
    assert job.state is JobState.QUEUED
    table.paint(table.lease(other))
    assert live([job])[0].worker_id == somebody.worker_id
