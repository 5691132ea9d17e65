"""Who is rewarded for being there: those whose work somebody paid for, for what was in demand, for the time that they
were there."""

from __future__ import annotations

from typing import Any

from tests.unit.scheduler.table import ANNA, BERT, CARL, OWNER, Table

from horde.scheduler.core import effects as fx
from horde.scheduler.core import uptime
from horde.scheduler.core.fleet import Worker, worker_id_of
from horde.scheduler.core.job import ANONYMOUS


class Hours(Table):
    """A table whose clock is looked at as the engine does."""

    def __init__(self) -> None:
        super().__init__()
        self.rewards: list[fx.RewardUptime] = []
        self.number = 0

    def _do(self, effect: fx.Effect) -> None:
        if isinstance(effect, fx.RewardUptime):
            self.rewards.append(effect)
        else:
            super()._do(effect)

    def minutes(self, count: int) -> None:
        for _ in range(count):
            self.pass_time(uptime.until_next(self.now_ms))
            uptime.look(self.board, self.now_ms)
            self.work()

    def proves(self, worker: Worker, **of: Any) -> None:
        """It paints a picture that somebody pays for."""
        self.number += 1
        (job,) = self.queued(f"proof {self.number}", **of).jobs
        lease = self.lease(job)
        assert lease.worker_id == worker.worker_id
        self.paint(lease)
        self.run_errands()

    def bucket(self) -> list[tuple[str, int, int, int]]:
        """The rewards of the bucket that ends next, and of it alone."""
        self.minutes(1)
        while self.now_ms % uptime.BUCKET_MS >= 60_000:
            self.minutes(1)
        found, self.rewards = self.rewards, []
        return [(self.board.fleet.workers[r.worker_id].name, r.models, r.offered_permille, r.sharers) for r in found]


def started() -> Hours:
    table = Hours()
    table.bucket()
    table.pass_time(1.0)
    return table


def test_who_has_painted_nothing_that_somebody_paid_for_earns_nothing() -> None:
    table = started()
    table.proves(table.attach("painter"))
    # Idle sessions of the same account, and of another.
    for number in range(40):
        table.attach(f"idle {number}")
        table.attach(f"idle {number}", owner=CARL)
    assert table.bucket() == []  # It was not there when that bucket began.
    assert table.bucket() == [("painter", 1, 1000, 1)]


def test_what_one_pays_oneself_or_nobody_pays_proves_nothing() -> None:
    table = started()
    worker = table.attach("w")
    table.proves(worker, account=OWNER)
    table.proves(worker, account=ANONYMOUS, digest=b"\1" * 32)
    table.bucket()
    assert table.bucket() == []
    table.proves(worker, account=ANNA)
    # Since the first of ten looks.
    assert table.bucket() == [("w", 1, 900, 1)]


def test_models_that_nobody_wants_pay_nothing() -> None:
    table = started()
    worker = table.attach("w", models=("m", *(f"invented {number}" for number in range(30))))
    table.proves(worker)
    # Its owner wants one, too, but that is himself.
    table.proves(worker, model="invented 3", account=OWNER)
    table.bucket()
    assert table.bucket() == [("w", 1, 1000, 1)]
    table.proves(worker, model="invented 4", account=BERT)
    assert table.bucket() == [("w", 2, 1000, 1)]
    # Nobody has asked for an hour.
    for _ in range(6):
        table.bucket()
    assert table.bucket() == []


def test_what_an_owner_wants_himself_is_no_demand_for_him_whoever_paints_it() -> None:
    table = started()
    table.proves(table.attach("carls", owner=CARL, models=("n",)), model="n", account=OWNER)
    worker = table.attach("w", models=("m", "n"))
    table.proves(worker)
    table.bucket()
    assert sorted(table.bucket()) == [("carls", 1, 1000, 2), ("w", 1, 1000, 2)]
    # Somebody else wanted it before: so it is wanted, though its owner was the last who did.
    carls = table.board.fleet.workers[worker_id_of(CARL, "carls")]
    table.restate(worker, 0)
    table.proves(carls, model="n", account=ANNA)
    for _ in range(3):
        table.proves(carls, model="n", account=OWNER)
    table.restate(worker, 1)
    table.bucket()
    assert sorted(table.bucket()) == [("carls", 1, 1000, 2), ("w", 2, 1000, 2)]


def test_no_slots_no_pay_and_some_of_the_time_some_of_it() -> None:
    table = started()
    worker = table.attach("w")
    table.proves(worker)
    table.bucket()
    table.minutes(3)
    table.restate(worker, 0)
    assert table.bucket() == [("w", 1, 400, 1)]
    assert table.bucket() == []
    table.restate(worker, 1)
    table.bucket()
    table.vanish(worker)
    assert table.bucket() == []


def test_a_bucket_is_shared_among_owners_first_and_then_among_their_workers() -> None:
    table = started()
    for name in ("a", "b", "c"):
        worker = table.attach(name)
        table.proves(worker)
        table.vanish(worker)
    table.proves(table.attach("one", owner=CARL))
    for name in ("a", "b", "c"):
        table.attach(name)
    table.bucket()
    assert sorted(table.bucket()) == [("a", 1, 1000, 6), ("b", 1, 1000, 6), ("c", 1, 1000, 6), ("one", 1, 1000, 2)]


def test_what_proves_a_worker_is_forgotten_after_a_day() -> None:
    table = started()
    worker = table.attach("w")
    table.proves(worker)
    table.bucket()
    for _ in range(6 * 24 - 1):
        table.bucket()
    table.proves(table.attach("other", owner=CARL, models=("m", "n")), model="n")
    assert table.board.record.verified(table.now_ms) != []
    table.bucket()
    assert [name for name, *_ in table.bucket()] == ["other"]
    table.pass_time(48 * 3600.0)
    table.bucket()
    assert not table.board.record._proven
    assert not table.board.record._demand


def test_a_jump_of_the_clock_rewards_nobody() -> None:
    table = started()
    table.proves(table.attach("w"))
    table.bucket()
    table.minutes(5)
    table.now += 3600.0
    uptime.look(table.board, table.now_ms)
    table.now -= 7200.0
    uptime.look(table.board, table.now_ms)
    table.work()
    assert table.rewards == []
