"""A bound on how many bytes of pictures are in memory at once."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta

from horde.services.errors import ResourceExhausted


class ByteBudget:
    """So many bytes, lent and given back. Strangers are refused when it is used up, neighbours wait their turn."""

    def __init__(self, name: str, limit: int) -> None:
        self._name = name
        self._limit = limit
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()
        self.used = 0

    def take(self, count: int) -> None:
        """Take some, or raise ResourceExhausted."""
        if self._waiting or self.used + count > self._limit:
            raise ResourceExhausted(
                f"Too many bytes are on their way: {self._name} is reached.", retry_after=timedelta(seconds=1)
            )
        self.used += count

    def give_back(self, count: int) -> None:
        """Give some back."""
        self.used -= count
        while self._waiting and self._fits(self._waiting[0][0]):
            size, turn = self._waiting.popleft()
            if not turn.done():
                self.used += size
                turn.set_result(None)

    @contextmanager
    def tab(self) -> Iterator[Tab]:
        """A tab to take on; all that is on it is given back at the end of the block."""
        tab = Tab(self)
        try:
            yield tab
        finally:
            self.give_back(tab.taken)

    @asynccontextmanager
    async def hold(self, count: int) -> AsyncIterator[None]:
        """Hold some for the block, waiting for them. More than there are at all is let in alone."""
        if self._waiting or not self._fits(count):
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append((count, turn))
            try:
                await turn
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled():
                    self.give_back(count)
                raise
        else:
            self.used += count
        try:
            yield
        finally:
            self.give_back(count)

    def _fits(self, count: int) -> bool:
        return self.used + count <= self._limit or self.used == 0


class Tab:
    """What one upload has taken so far."""

    __slots__ = ("_budget", "taken")

    def __init__(self, budget: ByteBudget) -> None:
        self._budget = budget
        self.taken = 0

    def take(self, count: int) -> None:
        """Take some more, or raise ResourceExhausted."""
        self._budget.take(count)
        self.taken += count
