"""What is read back under a clock that is wrong."""

from __future__ import annotations

import pytest
from tests.unit.scheduler.table import Table

from horde.scheduler.core.job import Ending


class WrongClock(Table):
    """A table whose time of day is off."""

    off_ms = 0

    @property
    def now_ms(self) -> int:
        return super().now_ms + self.off_ms


@pytest.mark.parametrize("hours", [-1, -24, 0, 1])
def test_a_generation_read_back_lives_no_longer_than_it_may_whatever_the_clock_says(hours: int) -> None:
    table = WrongClock()
    (job,) = table.queued(ttl=60.0).jobs
    table.off_ms = hours * 3_600_000
    table.start()
    table.off_ms = 0
    table.run_errands()
    table.pass_time(61.0)
    table.run_errands()
    assert table.books.ended[job.job_id][0] is Ending.EXPIRED
    assert not table.books.held


def test_a_lease_read_back_was_not_granted_in_the_future() -> None:
    table = WrongClock()
    table.attach("w")
    (job,) = table.queued().jobs
    table.save()
    table.off_ms = -3_600_000
    table.start()
    (lease,) = table.board.jobs[job.job_id].leases
    assert lease.granted_at <= table.now
