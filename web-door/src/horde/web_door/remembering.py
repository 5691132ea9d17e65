"""Answers that are remembered for a moment: many who poll ask the mesh once."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from horde.services.clock import Clock

T = TypeVar("T")


class Remembered(Generic[T]):
    """The last answer for each key, for so many seconds. Whoever asks meanwhile waits for the one who asked first."""

    def __init__(self, clock: Clock, seconds: float, most: int = 10_000) -> None:
        self._clock = clock
        self._seconds = seconds
        self._most = most
        self._known: OrderedDict[str, tuple[T, float]] = OrderedDict()
        self._asking: dict[str, asyncio.Task[T]] = {}

    async def get(self, key: str, ask: Callable[[], Awaitable[T]]) -> T:
        """The answer that is remembered, or a new one. An error is told to all who wait, and not remembered."""
        known = self._known.get(key)
        if known is not None and known[1] > self._clock.monotonic():
            return known[0]
        asking = self._asking.get(key)
        if asking is None:
            asking = self._asking[key] = asyncio.create_task(self._ask(key, ask))
            asking.add_done_callback(lambda task: self._asked(key, task))
        return await asyncio.shield(asking)

    def forget(self, key: str) -> None:
        """Ask anew next time."""
        self._known.pop(key, None)

    async def _ask(self, key: str, ask: Callable[[], Awaitable[T]]) -> T:
        answer = await ask()
        self._known[key] = (answer, self._clock.monotonic() + self._seconds)
        self._known.move_to_end(key)
        while len(self._known) > self._most:
            self._known.popitem(last=False)
        return answer

    def _asked(self, key: str, task: asyncio.Task[T]) -> None:
        self._asking.pop(key, None)
        if not task.cancelled():
            task.exception()  # Seen, also where everybody who waited has gone.
