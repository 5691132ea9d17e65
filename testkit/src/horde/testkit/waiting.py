"""How long a test waits for what should come: longer than it takes on any machine, however busy it is.

What passes on an idle machine passes on a busy one: nothing in a test is quick enough or too slow by the clock on the
wall. What never comes is told from what comes late by one bound for all, far beyond either.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from typing import Final

HANG_SECONDS: Final = 240.0
"""What has not come by then never will. Less than pytest's own bound, so that the test can say what it waited for."""
POLL_SECONDS: Final = 0.005


def ticks() -> Iterator[None]:
    """Turns of a loop that looks whether something has come: as many as there is time for."""
    ends = time.monotonic() + HANG_SECONDS
    while time.monotonic() < ends:
        yield


async def until(holds: Callable[[], object], what: str = "") -> None:
    """Look again and again whether something holds that other tasks or processes bring about."""
    for _ in ticks():
        if holds():
            return
        await asyncio.sleep(POLL_SECONDS)
    raise AssertionError(f"it never came: {what}" if what else "it never came")
