"""Bidirectional streams: one task reads, one bounded outbox is written from, and both end together."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Callable
from enum import Enum, auto
from typing import Generic, TypeVar

from horde.services.errors import ResourceExhausted

T = TypeVar("T")
Out = TypeVar("Out")


MAX_BYTES = 1 << 20
"""Of one message that many items are put into: a quarter of the smallest limit that a peer may have."""


class Overflow(Enum):
    """What a full outbox does with one more item."""

    REFUSE = auto()
    """Raise ResourceExhausted."""
    DROP_OLDEST = auto()
    DROP_NEWEST = auto()


class OutboxClosed(Exception):
    """Nothing can be put any more."""


def take(
    waiting: deque[T], max_items: int, size: Callable[[T], int] | None = None, max_bytes: int = MAX_BYTES
) -> list[T]:
    """Take the next message's items out of what waits, at least one if there is one; a large one travels alone."""
    if size is None:
        return [waiting.popleft() for _ in range(min(len(waiting), max_items))]
    taken: list[T] = []
    room = max_bytes
    while waiting and len(taken) < max_items:
        room -= size(waiting[0])
        if room < 0 and taken:
            break
        taken.append(waiting.popleft())
    return taken


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

    def close(self, error: Exception | None = None, *, drop: bool = False) -> None:
        """Take no more. What is in it is still read, unless it is dropped; then the reader ends, or raises `error`.
        Again: no effect."""
        if self.closed:
            return
        if drop:
            self._items.clear()
        self.closed = True
        self._error = error
        self._filled.set()
        self._room.set()

    async def drain(
        self, max_items: int = 1_000, size: Callable[[T], int] | None = None, max_bytes: int = MAX_BYTES
    ) -> list[T]:
        """Everything that is in it, waiting for the first item; an empty list means that it is closed.

        With a `size` in bytes no more than `max_bytes`, but one item at least.
        """
        while not self._items:
            if self.closed:
                if self._error is not None:
                    raise self._error
                return []
            self._filled.clear()
            await self._filled.wait()
        items = take(self._items, max_items, size, max_bytes)
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
    listen: Callable[[], Awaitable[None]], outbox: Outbox[T], answers: AsyncIterable[Out]
) -> AsyncGenerator[Out, None]:
    """The body of a bidirectional handler: `listen` takes in what the other side says, `answers` is what is said.

    `answers` are made of what is in the outbox: itself, or batches of it. They end when it is closed, and that is the
    end of the call. When `listen` returns, the outbox is closed; an error of it, whatever it is, is what the call ends
    with. However it ends, the listener is cancelled and the outbox closed.
    """

    async def heard() -> None:
        try:
            await listen()
        except Exception as error:  # noqa: BLE001 - raised again by the outbox's reader
            outbox.close(error)
        else:
            outbox.close()

    listener = asyncio.create_task(heard())
    try:
        async for answer in answers:
            yield answer
    finally:
        outbox.close()
        listener.cancel()
        await asyncio.gather(listener, return_exceptions=True)
