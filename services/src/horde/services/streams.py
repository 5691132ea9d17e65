"""Bidirectional streams: one task reads, one bounded outbox is written from, and both end together."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable
from enum import Enum, auto
from typing import Generic, TypeVar

from horde.services.errors import ResourceExhausted

T = TypeVar("T")
In = TypeVar("In")
Out = TypeVar("Out")


class Overflow(Enum):
    """What a full outbox does with one more item."""

    REFUSE = auto()
    """Raise ResourceExhausted."""
    DROP_OLDEST = auto()
    DROP_NEWEST = auto()


class OutboxClosed(Exception):
    """Nothing can be put any more."""


class Outbox(Generic[T]):
    """A bounded queue for what a stream will say. One reader; writers on the same loop."""

    def __init__(self, limit: int, overflow: Overflow = Overflow.REFUSE) -> None:
        self._limit = limit
        self._overflow = overflow
        self._items: deque[T] = deque()
        self._filled = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._error: Exception | None = None
        self.closed = False
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._items)

    def put_nowait(self, item: T) -> bool:
        """Put an item without waiting; False if something was dropped for it or instead."""
        if self.closed:
            raise OutboxClosed
        whole = True
        if len(self._items) >= self._limit:
            if self._overflow is Overflow.REFUSE:
                raise ResourceExhausted("The outbox is full.")
            self.dropped += 1
            whole = False
            if self._overflow is Overflow.DROP_NEWEST:
                return False
            self._items.popleft()
        self._items.append(item)
        self._filled.set()
        return whole

    async def send(self, item: T) -> None:
        """Put an item, waiting for room."""
        while len(self._items) >= self._limit and not self.closed:
            self._room.clear()
            await self._room.wait()
        if self.closed:
            raise OutboxClosed
        self._items.append(item)
        self._filled.set()

    def close(self, error: Exception | None = None) -> None:
        """Take no more. What is in it is still read; then the reader ends, or raises `error`. Again: no effect."""
        if self.closed:
            return
        self.closed = True
        self._error = error
        self._filled.set()
        self._room.set()

    async def drain(self, max_items: int = 1_000) -> list[T]:
        """Everything that is in it, waiting for the first item; an empty list means that it is closed."""
        while not self._items:
            if self.closed:
                if self._error is not None:
                    raise self._error
                return []
            self._filled.clear()
            await self._filled.wait()
        count = min(len(self._items), max_items)
        items = [self._items.popleft() for _ in range(count)]
        self._room.set()
        return items

    def __aiter__(self) -> AsyncIterator[T]:
        return self

    async def __anext__(self) -> T:
        items = await self.drain(1)
        if not items:
            raise StopAsyncIteration
        return items[0]


async def converse(
    requests: AsyncIterable[In],
    receive: Callable[[In], Awaitable[None]],
    outbox: Outbox[Out],
    ended: Callable[[], None] | None = None,
) -> AsyncIterator[Out]:
    """The body of a bidirectional handler: `receive` gets each message, the outbox's items are said.

    It ends when the outbox is closed. An error of `receive` closes it, and ends the call with that error. When the
    other side has closed its direction, `ended` is called; without one the outbox is closed. However it ends, the
    reader is cancelled and the outbox closed.
    """

    async def read() -> None:
        try:
            async for request in requests:
                await receive(request)
        except Exception as error:  # noqa: BLE001 - raised again by the outbox's reader
            outbox.close(error)
            return
        if ended is None:
            outbox.close()
        else:
            ended()

    reader = asyncio.create_task(read())
    try:
        async for item in outbox:
            yield item
    finally:
        outbox.close()
        reader.cancel()
        await asyncio.gather(reader, return_exceptions=True)
