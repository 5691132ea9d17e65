"""When to try again, and after how long.

Every call that the SDK makes bears repetition: it reads, or it carries an id that was made before the first attempt.
So a call that failed in a way that says "not now" is repeated with the same ids, until it is answered or patience ends.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

from horde.clients.errors import (
    BudgetSpent,
    Cancelled,
    DeadlineExceeded,
    Internal,
    ServiceError,
    TooSlow,
    Unavailable,
)

T = TypeVar("T")

MAX_INTERNAL_RETRIES = 1
"""A defect of a service is asked about once more, then reported."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to go on trying, and how fast."""

    total: timedelta = timedelta(seconds=30)
    """After the first failure of one call, or since a watch last heard something."""
    first_pause: timedelta = timedelta(milliseconds=100)
    longest_pause: timedelta = timedelta(seconds=3)
    attempt: timedelta = timedelta(seconds=10)
    """What one attempt of a call with one answer may take: a mesh that accepts connections and is mute ends it."""

    def pause_seconds(self, attempt: int, drawn: float) -> float:
        """How long to wait after the `attempt`-th failure (from 0): exponential, with jitter by `drawn` in [0, 1)."""
        grown = self.first_pause.total_seconds() * 2.0 ** min(attempt, 16)
        return min(grown, self.longest_pause.total_seconds()) * (0.5 + drawn / 2)


IMPATIENT = Patience(total=timedelta(0))
"""One attempt."""


def worth_retrying(error: ServiceError) -> bool:
    """Whether the same call may be answered otherwise soon."""
    if isinstance(error, BudgetSpent):
        return False
    if error.retry_after is not None:
        return True
    # Whoever is cancelled himself never sees Cancelled: the other side gave the call up, a gateway at its end, say.
    return isinstance(error, Unavailable | DeadlineExceeded | TooSlow | Internal | Cancelled)


@dataclass(slots=True)
class Attempts:
    """The attempts of one call, or of one watch: pauses between them, and gives up when patience is out."""

    patience: Patience
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    draw: Callable[[], float] = random.random
    failures: int = 0
    internal_failures: int = 0
    began: float | None = None

    def succeeded(self) -> None:
        """Something was heard: patience is whole again."""
        self.failures = self.internal_failures = 0
        self.began = None

    async def pause_after(self, error: ServiceError) -> None:
        """Wait until the next attempt may be made; raises `error` if there should be none."""
        now = self.clock()
        if self.began is None:
            self.began = now
        self.internal_failures += isinstance(error, Internal)
        if not worth_retrying(error) or self.internal_failures > MAX_INTERNAL_RETRIES:
            raise error
        pause = self.patience.pause_seconds(self.failures, self.draw())
        if error.retry_after is not None:
            # Never before the time that the service named; a little later, so that not all come back at once.
            pause = error.retry_after.total_seconds() + pause / 4
        if now - self.began + pause > self.patience.total.total_seconds():
            raise error
        self.failures += 1
        await self.sleep(pause)


async def patiently(call: Callable[[], Awaitable[T]], attempts: Attempts) -> T:
    """Make a call, again while that may help. Raises the last error."""
    while True:
        try:
            return await call()
        except ServiceError as error:
            await attempts.pause_after(error)
