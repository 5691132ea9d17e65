"""Group commit for calls: many callers, one call for all who wait.

No timer: what has queued up while the last batch was away makes up the next one. So a lone item goes at once, and under
load batches grow by themselves until the work behind keeps up.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from types import TracebackType
from typing import Generic, Self, TypeVar

from horde.services.errors import Internal, ResourceExhausted, Unavailable
from horde.services.loops import Loops

T = TypeVar("T")
R = TypeVar("R")


class Batcher(Generic[T, R]):
    """Hands items to `run` in batches, in the order they came, and each caller its own result.

    `run` answers with one result per item, in order; a result that is an Exception is raised to that caller alone. If
    `run` itself raises, every caller of that batch gets that. With `max_inflight` above one, batches may overtake each
    other. At most `max_waiting` items wait; the next one is refused with ResourceExhausted. Leaving the block stops
    taking items and lets what waits finish, for `drain` at most.
    """

    def __init__(
        self,
        run: Callable[[Sequence[T]], Awaitable[Sequence[R | Exception]]],
        max_items: int = 256,
        max_waiting: int = 10_000,
        max_inflight: int = 1,
        drain: timedelta = timedelta(seconds=5),
    ) -> None:
        self._run = run
        self._max_items = max_items
        self._max_waiting = max_waiting
        self._max_inflight = max_inflight
        self._drain = drain.total_seconds()
        self._waiting: deque[tuple[T, asyncio.Future[R]]] = deque()
        self._arrived = asyncio.Event()
        self._loops = Loops()
        self._workers: list[asyncio.Task[None]] = []
        self._open = False

    def __len__(self) -> int:
        """How many items wait."""
        return len(self._waiting)

    async def submit(self, item: T) -> R:
        """Have one item done. To be cancelled while it waits takes it out; later, it only forgoes the result."""
        if not self._open:
            raise Unavailable("It is stopping.")
        if len(self._waiting) >= self._max_waiting:
            raise ResourceExhausted("Too many wait already.", retry_after=timedelta(milliseconds=100))
        future: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        self._arrived.set()
        return await future

    async def __aenter__(self) -> Self:
        self._open = True
        # Started here, not by a submit: a batch belongs to no single caller, so it inherits no caller's deadline.
        await self._loops.__aenter__()
        self._workers = [self._loops.start("batches", self._work()) for _ in range(self._max_inflight)]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._open = False
        self._arrived.set()
        self._loops.leave()
        if self._workers:
            await asyncio.wait(self._workers, timeout=self._drain)
        try:
            await self._loops.__aexit__(kind, error, tb)
        finally:
            while self._waiting:
                _give(self._waiting.popleft()[1], Unavailable("It is stopping."))

    async def _work(self) -> None:
        while self._open or self._waiting:
            if not self._waiting:
                self._arrived.clear()
                await self._arrived.wait()
                continue
            batch = self._take()
            if batch:
                await self._do(batch)

    def _take(self) -> list[tuple[T, asyncio.Future[R]]]:
        batch: list[tuple[T, asyncio.Future[R]]] = []
        while self._waiting and len(batch) < self._max_items:
            entry = self._waiting.popleft()
            if not entry[1].done():
                batch.append(entry)
        return batch

    async def _do(self, batch: list[tuple[T, asyncio.Future[R]]]) -> None:
        results: Sequence[R | Exception]
        try:
            results = await self._run([item for item, _ in batch])
            if len(results) != len(batch):
                results = [Internal(f"{len(batch)} items had {len(results)} results.")] * len(batch)
        except asyncio.CancelledError:
            for _, future in batch:
                _give(future, Unavailable("It is stopping."))
            raise
        except Exception as error:  # noqa: BLE001 - it is the callers' to handle
            results = [error] * len(batch)
        for (_, future), result in zip(batch, results, strict=True):
            _give(future, result)


def _give(future: asyncio.Future[R], result: R | Exception) -> None:
    if future.done():
        return
    if isinstance(result, Exception):
        future.set_exception(result)
    else:
        future.set_result(result)
