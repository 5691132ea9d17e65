"""Matching: who is served, in which order, by whom."""

from __future__ import annotations

import time
from collections import Counter

from tests.unit.scheduler.table import ANNA, Table, capable

from horde.scheduler.core.job import ANONYMOUS, AccountId, Generation, JobState
from horde.scheduler.core.lending import best_worker

WHALE = AccountId("00000000-0000-4000-8000-00000000ffff")


def served(table: Table, count: int) -> list[Generation]:
    """Whose jobs one worker is given, one after the other."""
    worker = table.attach("painter", slots=1, models=("m", "n"))
    order = []
    for _ in range(count):
        (lease,) = worker.leases.values()
        order.append(lease.job.generation)
        table.paint(lease)
    table.restate(worker, 0)
    return order


def queue(table: Table, account: AccountId, count: int, **of: object) -> None:
    for index in range(count):
        table.queued(f"{account}-{index}-{of.get('flow', '')}", account=account, **of)  # type: ignore[arg-type]


def test_a_newcomer_does_not_wait_for_a_whole_backlog() -> None:
    table = Table()
    queue(table, WHALE, 50)
    queue(table, ANNA, 3)
    order = [account.account_id for account in served(table, 8)]
    assert order.count(ANNA) == 3


def test_shares_follow_weights() -> None:
    table = Table()
    queue(table, WHALE, 60, weight=3.0)
    queue(table, ANNA, 60, weight=1.0)
    shares = Counter(account.account_id for account in served(table, 40))
    assert 28 <= shares[WHALE] <= 32


def test_the_anonymous_are_one_flow_of_low_weight_split_by_address() -> None:
    table = Table()
    for index in range(5):
        queue(table, ANONYMOUS, 20, digest=bytes([index]) * 32, flow=f"anonymous/{min(index, 1)}", weight=0.25)
    queue(table, ANNA, 60)
    order = served(table, 50)
    anonymous = [served_one for served_one in order if served_one.account_id == ANONYMOUS]
    assert 8 <= len(anonymous) <= 12
    addresses = Counter(each.flow for each in anonymous)
    assert abs(addresses["anonymous/0"] - addresses["anonymous/1"]) <= 1


def test_everybody_who_waits_is_served_in_the_end() -> None:
    table = Table()
    queue(table, ANONYMOUS, 2, digest=b"\1" * 32, flow="anonymous/x", weight=0.25)
    queue(table, ANNA, 2)
    worker = table.attach("w", slots=1)
    arrivals = 0
    while any(job.generation.account_id == ANONYMOUS for job in table.board.jobs.values() if job.ticket):
        queue(table, WHALE, 1, flow=f"whale{arrivals}", weight=5.0)
        (lease,) = worker.leases.values()
        table.paint(lease)
        arrivals += 1
        assert arrivals < 400


def test_a_flow_that_was_away_has_saved_nothing_up() -> None:
    table = Table()
    queue(table, WHALE, 40)
    served(table, 20)
    queue(table, ANNA, 20)
    shares = Counter(account.account_id for account in served(table, 10))
    assert 4 <= shares[ANNA] <= 6


def test_a_requeued_job_keeps_its_place() -> None:
    table = Table()
    worker = table.attach("w1", slots=1)
    first = table.queued("first").jobs[0]
    table.pass_time(0.1)
    queue(table, ANNA, 5)
    table.vanish(worker)
    table.pass_time(21.0)
    assert first.ticket
    table.attach("w2", slots=1)
    assert first.state is JobState.LEASED


def test_only_those_who_can_are_asked() -> None:
    table = Table()
    table.attach("small", max_pixels=256 * 256)
    table.attach("plain", features=0)
    table.attach("other", models=("n",))
    table.attach("denied")
    denied = table.board.fleet.workers
    named = {worker.name: worker.worker_id for worker in denied.values()}
    (job,) = table.queued(features=2, denied=frozenset({named["denied"]})).jobs
    assert job.state is JobState.QUEUED
    table.attach("able")
    assert table.painter(job) == "able"
    (chosen,) = table.queued("allowed", allowed=frozenset({named["denied"]})).jobs
    assert table.painter(chosen) == "denied"


def test_within_a_size_class_the_exact_limit_counts() -> None:
    table = Table()
    worker = table.attach("w", max_pixels=600 * 600, slots=50)
    for index in range(40):
        table.queued(f"large{index}", width=640, height=640)
    (small,) = table.queued("small", width=576, height=576).jobs
    assert small.state is JobState.LEASED
    assert len(worker.leases) == 1


def test_fast_workers_only_means_not_slower_than_the_median() -> None:
    table = Table()
    for name, seconds in (("quick", 5.0), ("usual", 10.0), ("slow", 30.0)):
        worker = table.attach(name)
        table.board.speeds.measure(worker.worker_id, "m", 1, seconds, 5.0)
        table.restate(worker, 0)
    (job,) = table.queued(fast_only=True).jobs
    workers = {worker.name: worker for worker in table.board.fleet.workers.values()}
    table.restate(workers["slow"], 1)
    assert job.state is JobState.QUEUED
    table.restate(workers["usual"], 1)
    assert table.painter(job) == "usual"


def test_the_worker_that_will_be_done_first_gets_the_job() -> None:
    table = Table()
    for name, seconds, loaded in (("slow", 20.0, True), ("quick", 5.0, True), ("quicker, not loaded", 4.0, False)):
        worker = table.attach(name, slots=2, loaded=loaded)
        table.board.speeds.measure(worker.worker_id, "m", 1, seconds, 5.0)
    jobs = table.queued(images=3).jobs
    assert [table.painter(job) for job in jobs] == ["quick", "quick", "quicker, not loaded"]


def test_a_loaded_model_is_preferred_for_a_while() -> None:
    table = Table()
    worker = table.attach("w", models=("m", "n"), loaded=False)
    (job,) = table.queued("m0").jobs
    for index in range(3):
        table.queued(f"n{index}", model="n")
    table.pass_time(10.0)
    table.queued("m1")
    table.paint(table.lease(job))
    # Although n waits longer, m is in memory.
    (lease,) = worker.leases.values()
    assert lease.job.generation.terms.model == "m"
    table.pass_time(120.0)
    table.queued("m2")
    table.paint(lease)
    (lease,) = worker.leases.values()
    assert lease.job.generation.terms.model == "n"


def test_the_cost_of_a_match_is_flat_in_the_queues_length() -> None:
    def cost(length: int) -> float:
        table = Table(max_jobs=100_000, max_generations=100_000)
        for index in range(length // 20):
            table.queued(f"r{index}", 20, flow=f"flow{index}")
        worker = table.attach("w", slots=1)
        began = time.process_time()
        for _ in range(200):
            (lease,) = worker.leases.values()
            table.paint(lease)
        return time.process_time() - began

    short, long = cost(400), cost(8_000)
    assert long < 4 * short + 0.05


def test_no_free_worker_is_no_work_at_all() -> None:
    table = Table()
    generation = table.queued()
    assert best_worker(table.board, generation.jobs[0], table.now) is None
    assert capable().limit("m") == 1 << 20


def test_an_unmeasured_worker_is_not_fast_where_others_were_measured() -> None:
    table = Table()
    first = table.attach("first")
    (job,) = table.queued("nobody was measured", fast_only=True).jobs
    assert table.painter(job) == "first"
    table.paint(table.lease(job))
    table.board.speeds.measure(first.worker_id, "m", 1, 10.0, 5.0)
    table.restate(first, 0)
    table.attach("new")
    (job,) = table.queued("others were", fast_only=True).jobs
    assert job.state is JobState.QUEUED
    table.restate(first, 1)
    assert table.painter(job) == "first"
