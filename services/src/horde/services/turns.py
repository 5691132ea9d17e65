"""A few places that many want, one after another, by fair turns: whoever has had the least time is next.

Each turn is counted under a key. What it took is known when it ends and is put on its key's account, so that one who
brings long work gets fewer turns, and one who waits behind a thousand of somebody else's waits for one of them at most.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from horde.services.errors import ServiceError

REMEMBERED = 1_000
"""Keys whose time is remembered while they do not wait."""


class Turns:
    """`size` places. Use it on one loop."""

    def __init__(
        self,
        size: int,
        monotonic: Callable[[], float],
        refuse: Callable[[], ServiceError],
        *,
        max_waiting: int = 256,
        max_waiting_of_one: int = 64,
    ) -> None:
        """`refuse` makes the error of those for whom there is no place left to wait."""
        self._size = size
        self._monotonic = monotonic
        self._refuse = refuse
        self._max_waiting = max_waiting
        self._max_waiting_of_one = max_waiting_of_one
        self._running: dict[str, int] = {}
        self._waiting: dict[str, deque[_Waiter]] = {}
        self._had: dict[str, float] = {}
        """Seconds that each key has had, on a common account: nobody saves up turns by not waiting."""
        self._floor = 0.0
        """What the key that began last had had: those who come new begin here."""
        self.running = 0
        self.waiting = 0

    @asynccontextmanager
    async def turn(self, key: str, most: int | None = None) -> AsyncIterator[None]:
        """Hold a place for the block; at most `most` at once under this key (default: all). Raises as `refuse` says."""
        most = most or self._size
        if self._fits(key, most) and not self._waiting:
            self._begin(key)
        else:
            await self._wait(key, most)
        began = self._monotonic()
        try:
            yield
        finally:
            self._end(key, self._monotonic() - began)

    async def _wait(self, key: str, most: int) -> None:
        queue = self._waiting.get(key)
        if self.waiting >= self._max_waiting or (queue is not None and len(queue) >= self._max_waiting_of_one):
            raise self._refuse()
        waiter = _Waiter(most, asyncio.get_running_loop().create_future())
        self._waiting.setdefault(key, deque()).append(waiter)
        self.waiting += 1
        self._call_next()
        try:
            await waiter.called
        except asyncio.CancelledError:
            if waiter.called.cancelled():
                self._leave(key, waiter)
                self._call_next()
            else:
                self._end(key, 0.0)
            raise

    def _leave(self, key: str, waiter: _Waiter) -> None:
        queue = self._waiting[key]
        queue.remove(waiter)
        self.waiting -= 1
        if not queue:
            del self._waiting[key]

    def _call_next(self) -> None:
        """Give free places to those who wait and have had the least."""
        while ready := [key for key, queue in self._waiting.items() if self._fits(key, queue[0].most)]:
            key = min(ready, key=lambda candidate: self._had.get(candidate, self._floor))
            waiter = self._waiting[key][0]
            self._leave(key, waiter)
            self._begin(key)
            waiter.called.set_result(None)

    def _fits(self, key: str, most: int) -> bool:
        return self.running < self._size and self._running.get(key, 0) < most

    def _begin(self, key: str) -> None:
        self.running += 1
        self._running[key] = self._running.get(key, 0) + 1
        # Whoever comes new, or again after a while, begins where the others are: nobody saves up turns.
        self._floor = max(self._floor, min(self._had.get(key, self._floor), self._least_waiting()))
        self._had[key] = max(self._had.get(key, 0.0), self._floor)

    def _least_waiting(self) -> float:
        return min((self._had.get(key, self._floor) for key in self._waiting), default=float("inf"))

    def _end(self, key: str, seconds: float) -> None:
        self.running -= 1
        self._had[key] = self._had.get(key, self._floor) + seconds
        if self._running[key] == 1:
            del self._running[key]
        else:
            self._running[key] -= 1
        if len(self._had) > REMEMBERED:
            self._had = {key: had for key, had in self._had.items() if had > self._floor or key in self._running}
        self._call_next()


@dataclass(slots=True, eq=False)
class _Waiter:
    most: int
    """Places that its key may hold with it."""
    called: asyncio.Future[None]
