"""How long a test waits for what should come: longer than it takes on any machine, however busy it is.

What passes on an idle machine passes on a busy one: nothing in a test is quick enough or too slow by the clock on the
wall. What never comes is told from what comes late by one bound for all, far beyond either.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from datetime import timedelta
from typing import Final

HANG_SECONDS: Final = 240.0
"""What has not come by then never will. Less than pytest's own bound, so that the test can say what it waited for."""
HANG: Final = timedelta(seconds=HANG_SECONDS)
"""The same, as a call takes it."""
POLL_SECONDS: Final = 0.005


def ticks(what: str | Callable[[], object] = "") -> Iterator[None]:
    """Turns of a loop that looks whether something has come: as many as there is time for, then AssertionError.

    So nobody leaves such a loop by its end, and takes for come what never came. `what` is waited for, in words, or says
    how things stand when it has not come. What stands behind the loop for a type checker is never reached.
    """
    ends = time.monotonic() + HANG_SECONDS
    while time.monotonic() < ends:
        yield
    found = what() if callable(what) else what
    raise AssertionError(f"it never came: {found}" if found else "it never came")


async def until(holds: Callable[[], object], what: str = "") -> None:
    """Look again and again whether something holds that other tasks or processes bring about."""
    for _ in ticks(what):
        if holds():
            return
        await asyncio.sleep(POLL_SECONDS)


async def until_told(holds: Callable[[], Awaitable[object]], what: str = "") -> None:
    """The same of something that has to be asked for."""
    for _ in ticks(what):
        if await holds():
            return
        await asyncio.sleep(POLL_SECONDS)
