"""How long jobs waited lately: near enough, of the last hour alone, at the same cost however many there are."""

from __future__ import annotations

import pytest
from tests.unit.scheduler.table import Table

from horde.scheduler.core.outcomes import Failed
from horde.scheduler.core.waits import MINUTES, Waits


def test_quantiles_are_within_an_eighth() -> None:
    waits = Waits()
    for wait in range(1, 1001):
        waits.begun(float(wait), 0.0)
    found = waits.quantiles((0.5, 0.9), 0.0)
    assert found is not None
    for seconds, exact in zip(found, (500, 900), strict=True):
        assert exact <= seconds <= exact * 1.13


def test_only_the_last_hour_counts_and_what_is_kept_is_bounded() -> None:
    waits = Waits()
    for minute in range(1_000):
        for seconds in (0.0, 10.0, 1e9):
            waits.begun(seconds, 60.0 * minute)
    assert len(waits._minutes) == MINUTES
    assert waits.quantiles((0.5,), 60.0 * 1_000) is not None
    assert waits.quantiles((0.5,), 60.0 * (1_000 + MINUTES)) is None
    assert Waits().quantiles((0.5,), 0.0) is None


def test_a_job_counts_once_when_it_is_lent_first() -> None:
    table = Table()
    (job,) = table.queued("r").jobs
    table.pass_time(30.0)
    worker = table.attach("w")
    table.report(worker, table.lease(job).lease_id, job.job_id, Failed("broken"))
    table.pass_time(40.0)
    assert len(job.leases) == 2
    found = table.board.waits.quantiles((0.5, 1.0), table.now)
    assert found == pytest.approx([31.0, 31.0], rel=0.13)
