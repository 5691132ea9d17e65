"""What is held against a worker is written down with why, lasts over a restart, and can be taken back."""

from __future__ import annotations

from tests.unit.scheduler.table import Table

from horde.scheduler.core import returning
from horde.scheduler.core.outcomes import Failed
from horde.scheduler.core.strikes import COUNTS_FOR, StrikeReason


def failed_three_times() -> Table:
    table = Table()
    worker = table.attach("w1", slots=3)
    for index in range(3):
        (job,) = table.queued(f"r{index}").jobs
        lease = table.lease(job)
        table.report(worker, lease.lease_id, job.job_id, Failed("the card fell off the bus"))
    assert worker.rests_until
    return table


def test_each_failure_is_a_strike_that_says_why() -> None:
    table = failed_three_times()
    (worker,) = table.board.fleet.workers.values()
    strikes = table.board.strikes.of(worker.owner)
    assert [(strike.reason, strike.detail) for strike in strikes] == [
        (StrikeReason.FAILURES, "the card fell off the bus")
    ] * 3
    assert table.board.strikes.counting(worker.owner, table.now) == 3
    assert table.board.strikes.counting(worker.owner, table.now + COUNTS_FOR) == 0


def test_a_worker_that_falls_silent_is_struck_for_that() -> None:
    table = Table()
    worker = table.attach("w1")
    table.queued()
    table.pass_time(400.0)
    assert {strike.reason for strike in table.board.strikes.of(worker.owner)} == {StrikeReason.STALLED}


def test_strikes_outlive_a_restart() -> None:
    table = failed_three_times()
    (worker,) = table.board.fleet.workers.values()
    before = [strike.strike_id for strike in table.board.strikes.of(worker.owner)]
    table.save()
    table.start()
    assert [strike.strike_id for strike in table.board.strikes.of(worker.owner)] == before


def test_an_amnesty_takes_strikes_back_with_what_followed_from_them() -> None:
    table = failed_three_times()
    (worker,) = table.board.fleet.workers.values()
    assert returning.pardon(table.board, table.now + 1, table.now + 2, "another time") == (0, 0)
    assert returning.pardon(table.board, 0.0, table.now + 1, "the router was away") == (3, 1)
    assert returning.pardon(table.board, 0.0, table.now + 1, "again") == (0, 0)
    assert table.board.strikes.counting(worker.owner, table.now) == 0
    assert {strike.forgiven for strike in table.board.strikes.of(worker.owner)} == {"the router was away"}
    assert (worker.strikes, worker.rests_until, worker.jobs_failed) == (0, 0.0, 0)
    assert worker.free


REFUSED = Failed("the router would not have it", refused_upload=True)


def owners_of(table: Table, count: int) -> None:
    for number in range(count):
        table.attach(f"w{number}", owner=f"00000000-0000-4000-8000-0000000000{number:02x}")


def refuse_what_is_lent(table: Table) -> None:
    """The router refuses every picture that is brought now."""
    for worker in list(table.board.fleet.workers.values()):
        for lease in list(worker.leases.values()):
            table.report(worker, lease.lease_id, lease.job.job_id, REFUSED)


def test_a_router_that_refuses_everybody_leaves_nobodys_record_worse_and_ends_no_job() -> None:
    table = Table()
    owners_of(table, 4)
    generation = table.queued(images=8)
    for _ in range(12):
        refuse_what_is_lent(table)
        table.pass_time(30.0)
    workers = list(table.board.fleet.workers.values())
    assert {worker.strikes for worker in workers} == {0}
    assert {worker.jobs_failed for worker in workers} == {0}
    assert not any(table.board.strikes.counting(worker.owner, table.now) for worker in workers)
    assert all(job.open for job in generation.jobs)
    assert not any(job.failed_owners for job in generation.jobs)


def test_who_alone_is_refused_while_others_pass_is_struck() -> None:
    table = Table()
    owners_of(table, 3)
    bad = table.board.fleet.workers[next(iter(table.board.fleet.workers))]
    for index in range(4):
        table.queued(f"r{index}", 3)
        for worker in list(table.board.fleet.workers.values()):
            for lease in list(worker.leases.values()):
                if worker is bad:
                    table.report(worker, lease.lease_id, lease.job.job_id, REFUSED)
                else:
                    table.paint(lease)
        table.pass_time(120.0)
    assert table.board.strikes.counting(bad.owner, table.now) >= 3


def test_strangers_alone_are_no_witnesses_of_an_incident() -> None:
    table = Table(proven_images=10)
    owners_of(table, 4)
    table.queued(images=8)
    refuse_what_is_lent(table)
    workers = list(table.board.fleet.workers.values())
    assert sum(table.board.strikes.counting(worker.owner, table.now) for worker in workers) >= 3


def test_all_gateways_away_for_five_minutes_leave_nobodys_record_worse() -> None:
    table = Table()
    owners_of(table, 4)
    generation = table.queued(images=6)
    assert any(worker.leases for worker in table.board.fleet.workers.values())
    for worker in list(table.board.fleet.workers.values()):
        table.vanish(worker, by_mesh=True)
    table.pass_time(300.0)
    owners_of(table, 4)
    for _ in range(6):
        for worker in list(table.board.fleet.workers.values()):
            for lease in list(worker.leases.values()):
                table.paint(lease)
        table.pass_time(30.0)
    workers = list(table.board.fleet.workers.values())
    assert {(worker.strikes, worker.jobs_failed, worker.rests_until) for worker in workers} == {(0, 0, 0.0)}
    assert not any(table.board.strikes.of(worker.owner) for worker in workers)
    assert not any(job.open for job in generation.jobs)
