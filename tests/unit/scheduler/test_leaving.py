"""Who has left is written no more, whatever comes late about him."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.unit.scheduler.table import ANNA, BERT, CARL, FAR, OWNER, Table, capable, painted
from tests.unit.scheduler.test_checking import all_checked, ask, look, table_of
from tests.unit.scheduler.test_checking import painted as has_painted

from horde.scheduler.core import attaching, judging, leaving, reporting, returning
from horde.scheduler.core import effects as fx
from horde.scheduler.core.fleet import Worker
from horde.scheduler.core.job import JobState
from horde.scheduler.core.leases import Lease
from horde.scheduler.core.outcomes import Censored, Failed, Invalid, Refused, Result
from horde.scheduler.core.sessions import Route
from horde.scheduler.core.strikes import StrikeReason


def leave(table: Table, worker: Worker) -> int:
    """One step; durable after it."""
    left = leaving.owner_leaves(table.board, worker.owner, table.now, table.now_ms)
    table.work()
    table.save()
    return left


def written_of(table: Table, owner: str) -> list[str]:
    """The tables with rows of an owner."""
    memory = table.memory
    return [
        name
        for name, rows in (("owner", memory.owners), ("worker", memory.workers), ("strike", memory.strikes))
        if any(row["owner"] == owner for row in rows.values())
    ]


def known(table: Table) -> tuple[Worker, Lease]:
    """A worker with a strike, a record and a lease that lapsed, all of it written; its job waits for somebody else."""
    table.attach("other", owner=CARL, slots=0)
    worker = table.attach("hers", owner=BERT, slots=2)
    (job,) = table.queued("failed").jobs
    table.report(worker, table.lease(job).lease_id, job.job_id, Failed("broken"))
    (job,) = table.queued("lapsed").jobs
    lease = table.lease(job)
    table.vanish(worker)
    table.pass_time(21.0)
    assert job.state is JobState.QUEUED
    table.save()
    assert written_of(table, BERT) == ["owner", "worker", "strike"]
    return worker, lease


def come_back(table: Table, worker: Worker, lease: Lease) -> None:
    """A gateway that has not heard yet lets it in again."""
    with pytest.raises(KeyError):
        table.attach(worker.name, owner=worker.owner)
    (ended,) = [effect for _, effect in table.said if isinstance(effect, fx.EndSession)]
    assert ended.reason == "API_KEY_UNKNOWN"


def late(result: Callable[[Worker], Result]) -> Callable[[Table, Worker, Lease], None]:
    def happen(table: Table, worker: Worker, lease: Lease) -> None:
        # As if it had come with a session that was there still.
        job_id, word = lease.job.job_id, result(worker)
        reporting.outcome(table.board, worker, Route(1, 0), lease.lease_id, job_id, word, table.now)
        table.work()

    return happen


def amnesty(table: Table, worker: Worker, lease: Lease) -> None:
    returning.pardon(table.board, 0.0, table.now + 1, "the router was away")


def stale_object(table: Table, worker: Worker, lease: Lease) -> None:
    """Something that was under way holds the old record, and marks it."""
    judging.told(table.board, worker.standing, "verify", lease.job.job_id)
    worker.standing.verdicts["verify", lease.job.job_id] = None
    judging.told(table.board, worker.standing, "verify", lease.job.job_id)
    table.board.dirty_workers[worker] = None
    returning.strike(table.board, worker, lease, StrikeReason.STALLED, table.now)


def painted_by_another(table: Table, worker: Worker, lease: Lease) -> None:
    other = next(worker for worker in table.board.fleet.workers.values() if worker.owner == CARL)
    table.restate(other, 2)
    table.paint(table.lease(lease.job))
    table.run_errands()


LATE: dict[str, Callable[[Table, Worker, Lease], None]] = {
    "a session": come_back,
    "a picture": late(painted),
    "a failure": late(lambda _: Failed("broken")),
    "a refusal": late(lambda _: Refused("no")),
    "a censor's word": late(lambda _: Censored("it is too much")),
    "a bad receipt": late(lambda _: Invalid("forged")),
    "an amnesty": amnesty,
    "what was under way": stale_object,
    "its job's end": painted_by_another,
    "time": lambda table, worker, lease: table.pass_time(4000.0),
}


NEEDS_NO_SESSION = ("an amnesty", "its job's end", "time")
"""What may come after a restart, too: no gateway believes a key for longer than seconds."""


@pytest.mark.parametrize(
    ("name", "restarted"), [*((name, False) for name in LATE), *((name, True) for name in NEEDS_NO_SESSION)]
)
def test_nothing_that_comes_late_writes_of_an_owner_that_has_left(name: str, restarted: bool) -> None:
    table = Table()
    worker, lease = known(table)
    assert leave(table, worker) == 0
    assert written_of(table, BERT) == []
    if restarted:
        table.start()
        lease = table.board.jobs[lease.job.job_id].leases[0]
        table.attach("other", owner=CARL, slots=0)
    LATE[name](table, worker, lease)
    for _ in range(3):
        table.save()
        table.run_errands()
    assert written_of(table, BERT) == []
    assert BERT not in table.board.fleet.standings


def test_jobs_of_others_do_not_say_what_a_worker_was_called() -> None:
    table = Table()
    known(table)
    assert "hers" not in str(table.memory.jobs)


def test_sessions_of_an_owner_that_leaves_end_and_what_they_held_goes_to_others() -> None:
    table = Table(resume_grace=20.0)
    other, worker = table.attach("other", owner=CARL, slots=0), table.attach("hers", owner=BERT)
    idle = table.attach("idle", owner=BERT, slots=0)
    (job,) = table.queued("r").jobs
    assert table.painter(job) == "hers"
    table.save()
    # The lease has its grace; the other worker is gone at once.
    assert leave(table, worker) == 1
    ended = [effect for _, effect in table.said if isinstance(effect, fx.EndSession)]
    assert [effect.reason for effect in ended] == ["API_KEY_UNKNOWN"] * 2
    assert idle.worker_id not in table.memory.workers
    table.restate(other, 1)
    table.pass_time(21.0)
    assert table.painter(job) == "other"
    assert leave(table, worker) == 0
    assert written_of(table, BERT) == []


def test_a_worker_that_is_deleted_is_not_written_again_for_what_it_said_last() -> None:
    table = Table()
    worker = table.attach("hers", owner=BERT, slots=0)
    for _ in range(2):
        attaching.capable(table.board, worker, capable, table.now)
    assert worker.news is not None
    table.vanish(worker)
    leaving.worker_leaves(table.board, worker)
    table.save()
    table.pass_time(2 * attaching.CAPABLE_PAUSE)
    table.save()
    assert worker.worker_id not in table.memory.workers


def test_a_worker_that_was_forgotten_to_make_room_goes_with_its_owner() -> None:
    table = Table()
    worker = table.attach("hers", owner=BERT, slots=0)
    table.save()
    table.vanish(worker)
    table.board.fleet.forget(worker)
    assert leave(table, worker) == 0
    assert written_of(table, BERT) == []


def test_a_checker_that_has_left_is_not_blamed_and_the_first_picture_is_right() -> None:
    table = table_of(checkers=4)
    suspect = table.attach("new", owner=OWNER)
    has_painted(table, ask(table, suspect, "r"))
    (lease,) = look(table, "something else")
    checker = table.board.fleet.workers[lease.worker_id]
    table.vanish(checker)
    assert leave(table, checker) == 0
    all_checked(table)
    table.save()
    assert written_of(table, checker.owner) == []
    assert suspect.standing.verified == 1
    assert not table.board.checks.open


def test_who_is_looked_at_has_left_only_when_that_is_over() -> None:
    table = table_of()
    suspect = table.attach("new", owner=ANNA)
    has_painted(table, ask(table, suspect, "r", account=BERT))
    table.vanish(suspect)
    assert leave(table, suspect) == 1
    table.distance = lambda one, other: FAR
    all_checked(table)
    table.run_errands()
    assert leave(table, suspect) == 0
    assert written_of(table, ANNA) == []
