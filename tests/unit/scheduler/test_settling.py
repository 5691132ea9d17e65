"""How jobs end: cancelled at every stage, void outcomes, leavings, inputs, refusals."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.scheduler.table import ANNA, BERT, PRICE, Table, endings, painted, states

from horde.scheduler.core import effects as fx
from horde.scheduler.core.errors import QueueFull, TooManyGenerations
from horde.scheduler.core.job import NOTHING, Amounts, Ending, Job, JobState, Mkudos, Phase
from horde.scheduler.core.leases import LeaseState, Revoked
from horde.scheduler.core.outcomes import Cancelled, Censored, Invalid


def test_nothing_is_asked_of_the_ledger_before_it_is_written() -> None:
    table = Table()
    generation = table.submit()
    assert not table.errands
    table.save()
    assert table.errands == [fx.PlaceHolds(generation)]


def test_no_decision_is_carried_out_before_it_is_written() -> None:
    table = Table()
    table.attach("w1", slots=2)
    painted_one, cancelled_one = table.queued("a"), table.queued("b")
    table.paint(table.lease(painted_one.jobs[0]))
    table.cancel(cancelled_one)
    assert not table.errands
    table.save()
    assert fx.CommitObject(painted_one.jobs[0]) in table.errands
    assert fx.Release(cancelled_one.jobs[0]) in table.errands
    assert fx.Settle(painted_one.jobs[0]) not in table.errands


def test_a_cancel_while_kudos_are_being_held_waits_for_the_answer() -> None:
    table = Table()
    generation = table.submit()
    table.save()
    table.cancel(generation)
    assert states(generation) == [JobState.ACCEPTING]
    table.run_errands()
    assert endings(generation) == [Ending.CANCELLED]
    assert table.books.ended[generation.jobs[0].job_id][1] == NOTHING
    assert not table.books.held


def test_a_deadline_while_kudos_are_being_held_waits_for_the_answer() -> None:
    table = Table()
    generation = table.submit(ttl=5.0)
    table.save()
    table.pass_time(10.0)
    table.run_errands()
    assert endings(generation) == [Ending.EXPIRED]
    assert not table.books.held


def test_a_cancel_in_the_queue_gives_everything_back() -> None:
    table = Table()
    generation = table.queued(images=2)
    table.cancel(generation)
    table.cancel(generation)
    table.run_errands()
    assert endings(generation) == [Ending.CANCELLED] * 2
    assert [each[1] for each in table.books.ended.values()] == [NOTHING] * 2
    assert not table.board.queue.models


def a_second_for_a_step(table: Table, **of: Any) -> None:
    """Somebody else has painted, a step in a second."""
    other = table.attach("measured", owner=BERT, **of)
    (job,) = table.queued("measured").jobs
    table.pass_time(20.0)
    table.paint(table.lease(job))
    table.vanish(other)


def earned_by_cancelling(table: Table, job: Job) -> int:
    table.cancel(job.generation)
    table.run_errands()
    return table.books.ended[job.job_id][1].earned


def test_a_cancel_pays_the_steps_that_were_painted() -> None:
    table = Table()
    a_second_for_a_step(table)
    worker = table.attach("w1")
    generation = table.queued()
    lease = table.lease(generation.jobs[0])
    table.pass_time(1000.0 / 60)
    table.progress(lease, 7)
    table.cancel(generation)
    assert table.told(fx.Revoke, worker)[0].reason is Revoked.CANCELLED
    table.run_errands()
    _, divided, owner = table.books.ended[generation.jobs[0].job_id]
    assert (divided, owner) == (Amounts(Mkudos(3_790), Mkudos(0), Mkudos(758)), worker.owner)
    table.report(worker, lease.lease_id, lease.job.job_id, Cancelled(7))
    said = table.told(fx.SaySettled, worker)[-1]
    assert (said.disposition, said.settlement) == (fx.ACCEPTED, b"s")


def test_a_cancel_does_not_believe_a_worker_beyond_the_fleets_speed() -> None:
    table = Table()
    a_second_for_a_step(table)
    table.attach("w1")
    (job,) = table.queued("second").jobs
    table.pass_time(1.5)
    table.progress(table.lease(job), 19)
    assert earned_by_cancelling(table, job) == PRICE.price * 2 // 20


def test_what_somebody_measured_on_his_own_workers_does_not_decide_what_a_cancel_pays() -> None:
    table = Table()
    for name in ("w1", "w2"):
        worker = table.attach(name)
        (job,) = table.queued(f"fast {name}").jobs
        table.pass_time(0.01)
        table.paint(table.lease(job))
        if name == "w1":
            table.vanish(worker)
    (job,) = table.queued("second").jobs
    table.pass_time(10.0)
    table.progress(table.lease(job), 20)
    # With a model that nobody else has, next to nothing.
    assert earned_by_cancelling(table, job) == PRICE.price // 20


def test_a_fresh_model_and_all_steps_at_once_earn_next_to_nothing() -> None:
    table = Table()
    a_second_for_a_step(table)
    table.attach("w1", models=("invented",))
    (job,) = table.queued("puppet", model="invented").jobs
    table.pass_time(0.3)
    table.progress(table.lease(job), 20)
    assert earned_by_cancelling(table, job) == PRICE.price // 20


def test_the_time_of_a_worker_is_divided_among_all_that_it_says_it_paints() -> None:
    table = Table()
    a_second_for_a_step(table)
    worker = table.attach("w1", slots=4)
    jobs = [table.queued(f"many {number}").jobs[0] for number in range(4)]
    assert len(worker.leases) == 4
    table.pass_time(3.6)
    for job in jobs:
        table.progress(table.lease(job), 20)
    first, *rest = [earned_by_cancelling(table, job) for job in jobs]
    assert first == PRICE.price // 20
    # What was begun before the last one ended has had no time of its own since.
    assert rest == [0, 0, 0]


def test_a_cancel_of_many_pays_the_one_that_was_being_painted() -> None:
    table = Table()
    a_second_for_a_step(table)
    table.attach("w1", slots=2)
    generation = table.queued("two", images=2)
    table.pass_time(5.0)
    table.progress(table.lease(generation.jobs[1]), 5)
    table.cancel(generation)
    table.run_errands()
    assert [table.books.ended[job.job_id][1].earned for job in generation.jobs] == [0, PRICE.price * 5 // 20]


def test_an_outcome_that_came_before_the_cancel_wins() -> None:
    table = Table()
    table.attach("w1")
    generation = table.queued()
    table.paint(table.lease(generation.jobs[0]))
    table.cancel(generation)
    table.run_errands()
    assert endings(generation) == [Ending.DONE]


def test_an_outcome_that_came_after_the_cancel_does_not() -> None:
    table = Table()
    worker = table.attach("w1")
    generation = table.queued()
    lease = table.lease(generation.jobs[0])
    table.cancel(generation)
    table.report(worker, lease.lease_id, lease.job.job_id, painted(worker))
    table.run_errands()
    assert endings(generation) == [Ending.CANCELLED]
    assert table.told(fx.SaySettled, worker)[-1].disposition == fx.DUPLICATE
    assert not table.committed


def test_a_censored_picture_is_paid_and_leaves_nothing() -> None:
    table = Table()
    worker = table.attach("w1")
    generation = table.queued()
    lease = table.lease(generation.jobs[0])
    table.report(worker, lease.lease_id, lease.job.job_id, Censored("nsfw"))
    table.run_errands()
    assert endings(generation) == [Ending.CENSORED]
    assert generation.jobs[0].detail == "nsfw"
    assert table.books.ended[lease.job.job_id][1] == Amounts(earned=PRICE.price)
    assert not lease.job.leavings
    assert generation.closed


def test_an_outcome_without_an_object_is_void() -> None:
    table = Table()
    worker = table.attach("w1")
    generation = table.queued()
    lease = table.lease(generation.jobs[0])
    table.paint(lease)
    table.save()
    table.run_errand(0, lose=True)
    assert lease.state is LeaseState.VOID
    assert states(generation) == [JobState.QUEUED]
    assert table.told(fx.SaySettled, worker)[-1].disposition == fx.INVALID_RECEIPT
    table.attach("w2")
    table.paint(table.lease(generation.jobs[0]))
    table.run_errands()
    assert endings(generation) == [Ending.DONE]


@pytest.mark.parametrize("late", ["cancel", "deadline"])
def test_a_void_outcome_lets_a_cancel_or_the_deadline_have_its_way(late: str) -> None:
    table = Table()
    table.attach("w1")
    generation = table.queued(ttl=100.0)
    table.paint(table.lease(generation.jobs[0]))
    table.save()
    if late == "cancel":
        table.cancel(generation)
    else:
        table.pass_time(200.0)
    table.run_errand(0, lose=True)
    table.run_errands()
    assert endings(generation) == [Ending.CANCELLED if late == "cancel" else Ending.EXPIRED]
    assert not table.books.held


def test_a_forged_receipt_is_an_attempt() -> None:
    table = Table()
    worker = table.attach("w1")
    (job,) = table.queued().jobs
    table.report(worker, table.lease(job).lease_id, job.job_id, Invalid("forged"))
    assert job.state is JobState.QUEUED
    assert table.told(fx.SaySettled, worker)[-1].disposition == fx.INVALID_RECEIPT
    assert worker.jobs_failed == 1


def test_another_workers_lease_cannot_be_reported() -> None:
    table = Table()
    table.attach("w1")
    (job,) = table.queued().jobs
    lease = table.lease(job)
    thief = table.attach("w2")
    table.report(thief, lease.lease_id, job.job_id, painted(thief))
    assert job.state is JobState.LEASED
    assert table.told(fx.SaySettled, thief)[-1].disposition == fx.INVALID_RECEIPT


def test_a_refusal_leaves_nothing_but_itself() -> None:
    table = Table()
    generation = table.submit(images=2)
    table.save()
    table.run_errand(0, refuse=True)
    table.run_errands()
    assert (generation.phase, generation.refusal, generation.jobs) == (Phase.REFUSED, b"no", [])
    assert not table.memory.jobs
    assert table.memory.generations[generation.generation_id]["closed"]
    assert not table.board.live_jobs
    assert not table.board.live_by_requester


def test_unusable_inputs_leave_nothing_at_all() -> None:
    table = Table()
    generation = table.submit(input_ids=("i",))
    table.save()
    assert table.errands == [fx.ClaimInputs(generation)]
    table.run_errand(0, refuse=True)
    table.run_errands()
    assert not table.memory.generations
    assert not table.memory.jobs
    assert not table.books.held


def test_inputs_that_became_unusable_over_a_restart_end_what_may_be_held() -> None:
    table = Table()
    generation = table.submit(input_ids=("i",))
    table.save()
    table.run_errand(0)
    table.run_errand(0)
    table.start()  # The holds are placed, but nobody wrote so.
    table.save()
    table.run_errand(0, refuse=True)
    table.run_errands()
    again = table.board.generations[generation.generation_id]
    assert endings(again) == [Ending.FAULTED]
    assert not table.books.held


def test_inputs_are_let_go_at_the_end() -> None:
    table = Table()
    table.attach("w1")
    generation = table.queued(input_ids=("i",))
    table.paint(table.lease(generation.jobs[0]))
    table.run_errands()
    assert (generation.claimed, generation.closed) == (False, True)


def test_the_queue_is_bounded_and_so_is_each_requester() -> None:
    table = Table(max_jobs=3, max_generations=2)
    table.submit("a", 2)
    with pytest.raises(QueueFull):
        table.submit("b", 2)
    table.submit("c", 1)
    with pytest.raises(TooManyGenerations):
        Table(max_generations=0).submit("d")
    assert table.board.live_jobs == 3
    assert table.board.live_by_requester[ANNA, b""] == 2


def test_what_is_over_leaves_the_memory() -> None:
    table = Table(max_recent=3)
    table.attach("w1")
    for index in range(10):
        (job,) = table.queued(f"r{index}").jobs
        table.paint(table.lease(job))
        table.run_errands()
    assert len(table.board.generations) == len(table.board.jobs) == 3
    assert not table.board.live_by_requester


def test_a_commit_is_written_before_it_is_paid_and_never_asked_again() -> None:
    table = Table()
    worker = table.attach("w1")
    generation = table.queued()
    table.paint(table.lease(generation.jobs[0]))
    table.save()
    table.run_errand(0)  # Committed; nothing is paid before that is durable.
    assert fx.Settle(generation.jobs[0]) not in table.errands
    table.save()
    assert fx.Settle(generation.jobs[0]) in table.errands
    table.run_errand(0)
    # The crash takes what the ledger said, and meanwhile the private object expires.
    table.committed.clear()
    table.start()
    (job,) = table.board.generations[generation.generation_id].jobs
    table.run_errands(lose=True)
    assert job.ending is Ending.DONE
    assert table.books.ended[job.job_id][2] == worker.owner
