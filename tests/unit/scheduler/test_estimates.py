"""Can this run, when, and why not: from those that could do it alone."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.scheduler.table import ANNA, BERT, Table, terms

from horde.scheduler.core import attaching, estimates
from horde.scheduler.core.deadlines import SLACK
from horde.scheduler.core.estimates import MAX_LOOK, MAX_LOOKS, Estimates, Supply
from horde.scheduler.core.fitting import WhyNot
from horde.scheduler.core.job import ANONYMOUS
from horde.scheduler.core.outcomes import Failed


def test_a_free_worker_means_now() -> None:
    table = Table()
    table.attach("w")
    estimate = Estimates(table.board).for_terms(terms(), ANNA, 0.0)
    assert (estimate.jobs_ahead, estimate.p50, estimate.eligible) == (0, 0.0, 1)


def test_why_nobody_can() -> None:
    table = Table()
    table.attach("a", models=("n",))
    table.attach("b", models=("n",))
    table.attach("c", max_pixels=100)
    table.attach("d", features=0)
    paused = table.attach("e")
    attaching.pause(table.board, paused, True, table.now, 0)
    estimate = Estimates(table.board).for_terms(terms(features=2), ANNA, 0.0)
    assert estimate.eligible == 0
    assert estimate.ineligible[0] == (WhyNot.MODEL, 2)
    assert set(estimate.ineligible[1:]) == {(WhyNot.SIZE, 1), (WhyNot.FEATURE, 1), (WhyNot.PAUSED, 1)}


def test_who_had_it_before_does_not_count() -> None:
    table = Table()
    worker = table.attach("w")
    (job,) = table.queued().jobs
    table.report(worker, table.lease(job).lease_id, job.job_id, Failed())
    estimate = Estimates(table.board).for_job(job, 0.0)
    assert (estimate.eligible, estimate.ineligible) == (0, ((WhyNot.TRIED_BEFORE, 1),))


def test_work_ahead_over_the_rate_of_those_who_can() -> None:
    table = Table()
    for name in ("a", "b"):
        worker = table.attach(name)
        table.board.speeds.measure(worker.worker_id, "m", 1, 10.0, 5.0)  # Two seconds for a megapixel-step.
    for index in range(12):
        table.queued(f"r{index}")
    work = terms().work
    estimate = Estimates(table.board).for_terms(terms(), BERT, 0.0)
    assert estimate.jobs_ahead == 10
    assert abs(estimate.p50 - 12 * work) < 0.01
    assert estimate.p90 > 2 * estimate.p50
    last = next(job for job in table.board.jobs.values() if job.ticket and job.generation.request_id == "r11")
    assert Estimates(table.board).for_job(last, 0.0).jobs_ahead == 9


def test_accounts_pass_the_anonymous() -> None:
    table = Table()
    table.attach("w")
    for index in range(5):
        table.queued(f"r{index}", account=ANONYMOUS, digest=b"\1" * 32, flow="anonymous/x")
    assert Estimates(table.board).for_terms(terms(), ANNA, 0.0).jobs_ahead == 0
    assert Estimates(table.board).for_terms(terms(), ANONYMOUS, 0.0).jobs_ahead == 4


def test_a_long_queue_is_sampled() -> None:
    table = Table()
    table.attach("w")
    for index in range(MAX_LOOK // 4):
        table.queued(f"r{index}", 20)
    estimate = Estimates(table.board).for_terms(terms(), BERT, 0.0)
    assert abs(estimate.jobs_ahead - 5 * MAX_LOOK) < 0.02 * 5 * MAX_LOOK


def test_what_is_over_does_not_stay_in_the_heap_of_deadlines() -> None:
    table = Table()
    table.attach("w")
    for index in range(3 * SLACK):
        (job,) = table.queued(f"r{index}", ttl=86_400.0).jobs
        table.paint(table.lease(job))
        table.run_errands()
    assert len(table.board.deadlines) <= SLACK + 4


def test_however_many_kinds_of_jobs_are_asked_about_workers_are_looked_through_a_few_times_a_second(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    table = Table()
    table.attach("w")
    found, looked = Estimates(table.board), 0
    look = estimates._look

    def counted(*of: Any) -> Supply:
        nonlocal looked
        looked += 1
        return look(*of)

    monkeypatch.setattr(estimates, "_look", counted)
    for side in range(1, 1_001):
        assert found.for_terms(terms(width=side), ANNA, 0.5).eligible == 1
    assert looked == MAX_LOOKS
    # A model of which nothing is known yet is looked at all the same.
    assert found.for_terms(terms(model="n"), ANNA, 0.5).eligible == 0
    for _ in range(3):
        found.for_terms(terms(width=1), ANNA, 2.0)
    assert looked == MAX_LOOKS + 2
