"""How long the saver waits for company."""

from __future__ import annotations

import pytest

from horde.scheduler.store.saver import BUSY, pause_after


@pytest.mark.parametrize(("company", "times"), [(0, 1), (1, 1), (2, 2), (BUSY, BUSY), (BUSY + 1, BUSY), (10_000, BUSY)])
def test_whoever_is_alone_does_not_wait_for_company_and_nobody_waits_long(company: int, times: int) -> None:
    assert pause_after(company, 0.008) == pytest.approx(times * 0.008)
