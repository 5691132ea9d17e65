"""The stream of one upload: what a client says, read within its pace and put on its tab."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from horde.services.clock import Clock
from horde.services.failpoints import declare, failpoint
from horde.services.shares import Tab
from horde.storage_router.core.assembly import MAX_CHUNKS, Assembly, MinimumRate
from horde.storage_router.core.errors import ProtocolViolation
from horde.storage_router.pace import Pace

T = TypeVar("T")

MID_UPLOAD = declare("storage.mid_upload")


@dataclass(frozen=True, slots=True)
class Open:
    """Begin, with a token."""

    token: str


@dataclass(frozen=True, slots=True)
class Part:
    """Some bytes."""

    offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Finish:
    """All bytes were sent."""

    sha256: bytes
    size_bytes: int


Said = Open | Part | Finish | None
"""What a client sends; None is a message that is not known."""


class Receiver:
    """Reads uploads, each at least at `rate`."""

    def __init__(self, clock: Clock, rate: MinimumRate) -> None:
        self._clock = clock
        self._rate = rate

    async def opening(self, said: AsyncIterator[Said]) -> str:
        """The token that a stream begins with."""
        async with Pace(self._clock, self._rate):
            first = await anext(said, None)
        if not isinstance(first, Open):
            raise ProtocolViolation.expected("the opening", _name(first))
        return first.token

    async def content(self, said: AsyncIterator[Said], assembly: Assembly, tab: Tab) -> Finish:
        """Put what comes together, until the finish."""
        async with Pace(self._clock, self._rate) as pace:
            async for each in said:
                if isinstance(each, Finish):
                    return each
                if not isinstance(each, Part):
                    raise ProtocolViolation.expected("a chunk or the finish", _name(each))
                tab.take(len(each.data))
                assembly.add(each.offset, each.data)
                pace.hear(assembly.received)
                await failpoint(MID_UPLOAD)
        raise ProtocolViolation.expected("a chunk or the finish", "the end of the stream")

    async def finish(self, said: AsyncIterator[Said]) -> Finish:
        """The finish of an upload whose content is known already. What comes before it is dropped."""
        parts = received = 0
        async with Pace(self._clock, self._rate) as pace:
            async for each in said:
                if isinstance(each, Finish):
                    return each
                parts += 1
                if not isinstance(each, Part) or parts > MAX_CHUNKS:
                    raise ProtocolViolation.expected("the finish", _name(each))
                received += len(each.data)
                pace.hear(received)
        raise ProtocolViolation.expected("the finish", "the end of the stream")


class OneStream:
    """At most one stream for each subject: a new one ends the one before, whose client may have gone unnoticed."""

    def __init__(self) -> None:
        self._tasks: dict[tuple[str, str], asyncio.Task[object]] = {}
        self._superseded: set[asyncio.Task[object]] = set()

    @contextmanager
    def of(self, subject: tuple[str, str]) -> Iterator[None]:
        """Around a stream. Leaves the block with ProtocolViolation if another one has taken its place."""
        task = asyncio.current_task()
        assert task is not None
        if (before := self._tasks.get(subject)) is not None:
            self._superseded.add(before)
            before.cancel()
        self._tasks[subject] = task
        try:
            yield
        except asyncio.CancelledError:
            if task in self._superseded and task.uncancel() <= 0:
                raise ProtocolViolation.expected("one stream at a time", "another one") from None
            raise
        finally:
            self._superseded.discard(task)
            if self._tasks.get(subject) is task:
                del self._tasks[subject]


def _name(said: Said) -> str:
    return "the end of the stream or an unknown message" if said is None else f"another {type(said).__name__.lower()}"
