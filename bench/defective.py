"""A service with a defect, for `make alerts`: `defective.py MODULE`, and BENCH_DEFECT says which."""

from __future__ import annotations

import os
import runpy
import sys
from datetime import UTC, datetime, timedelta

from horde.services.clock import SystemClock

BEHIND = timedelta(seconds=20)


def clock_behind() -> None:
    """The machine's clock is behind those of the others."""

    def now(self: SystemClock) -> datetime:
        return datetime.now(UTC) - BEHIND

    SystemClock.now = now  # type: ignore[method-assign]


def looks_for_no_worker() -> None:
    """A job that is new is shown to nobody; who is idle meanwhile is found by the scheduler's look at itself."""
    from horde.scheduler.core import lending

    lending._seek = lambda board, job, now: False


DEFECTS = {"clock behind": clock_behind, "looks for no worker": looks_for_no_worker}

if __name__ == "__main__":
    DEFECTS[os.environ["BENCH_DEFECT"]]()
    sys.argv = sys.argv[1:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
