"""Keeps an upload from dawdling: whoever reads within a pace is interrupted when too little has arrived."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self

from horde.services.clock import Clock, Timer
from horde.storage_router.core.assembly import MinimumRate
from horde.storage_router.core.errors import TooSlow


class Pace:
    """One timer for each upload, moved on when it rings and enough is there; nothing is done for each chunk.

    Leaves the block with TooSlow if the task inside was interrupted by it.
    """

    def __init__(self, clock: Clock, rate: MinimumRate) -> None:
        self._clock = clock
        self._rate = rate
        self._began = clock.monotonic()
        self._timer: Timer | None = None
        self._task: asyncio.Task[object] | None = None
        self._expired = False
        self._received = 0
        self._heard = self._began

    def hear(self, received: int) -> None:
        """Something came; `received` is how many bytes it has been so far."""
        self._received = received
        self._heard = self._clock.monotonic()

    async def __aenter__(self) -> Self:
        self._task = asyncio.current_task()
        self._ring()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        task, self._task = self._task, None
        if self._timer is not None:
            self._timer.cancel()
        if self._expired and task is not None and task.uncancel() <= 0 and kind is asyncio.CancelledError:
            raise TooSlow from error

    def _ring(self) -> None:
        if self._task is None:
            return
        now = self._clock.monotonic()
        left = min(self._began + self._rate.latest(self._received), self._heard + self._rate.silence_seconds) - now
        if left > 0:
            self._timer = self._clock.call_later(left, self._ring)
        else:
            self._expired = True
            self._task.cancel()
