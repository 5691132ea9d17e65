"""The stream of one upload: what a client says, read within its pace and put on its tab."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from horde.services.clock import Clock
from horde.services.failpoints import declare, failpoint
from horde.services.shares import Tab
from horde.storage_router.core.assembly import MAX_CHUNKS, Assembly, MinimumRate
from horde.storage_router.core.errors import ContentConflict, ProtocolViolation, ShareExceeded
from horde.storage_router.pace import Pace

T = TypeVar("T")

GONE_SECONDS = 5.0
"""One that has said nothing for so long may have gone."""

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


UploadMessage = Open | Part | Finish | None
"""What a client sends; None is a message that is not known."""


class Receiver:
    """Reads uploads, each at least at `rate`."""

    def __init__(self, clock: Clock, rate: MinimumRate) -> None:
        self._clock = clock
        self._rate = rate

    async def opening(self, messages: AsyncIterator[UploadMessage]) -> str:
        """The token that a stream begins with."""
        async with Pace(self._clock, self._rate):
            first = await anext(messages, None)
        if not isinstance(first, Open):
            raise ProtocolViolation.expected("the opening", _name(first))
        return first.token

    async def content(
        self, messages: AsyncIterator[UploadMessage], assembly: Assembly, tab: Tab, heard: Heard | None = None
    ) -> Finish:
        """Put what comes together, until the finish."""
        async with Pace(self._clock, self._rate) as pace:
            async for message in messages:
                if isinstance(message, Finish):
                    return message
                if not isinstance(message, Part):
                    raise ProtocolViolation.expected("a chunk or the finish", _name(message))
                if heard is not None:
                    heard.at = self._clock.monotonic()
                tab.take(len(message.data))
                assembly.add(message.offset, message.data)
                pace.hear(assembly.received)
                await failpoint(MID_UPLOAD)
        raise ProtocolViolation.expected("a chunk or the finish", "the end of the stream")

    async def finish(self, messages: AsyncIterator[UploadMessage], size_bytes: int) -> Finish:
        """The finish of an upload whose content is known already, and has this size. What comes before it is dropped.

        Raises ContentConflict at once if more comes than there is.
        """
        parts = received = 0
        async with Pace(self._clock, self._rate) as pace:
            async for message in messages:
                if isinstance(message, Finish):
                    return message
                parts += 1
                if not isinstance(message, Part) or parts > MAX_CHUNKS:
                    raise ProtocolViolation.expected("the finish", _name(message))
                received += len(message.data)
                if received > size_bytes:
                    raise ContentConflict.of_digest()
                pace.hear(received)
        raise ProtocolViolation.expected("the finish", "the end of the stream")


class OneStream:
    """At most one stream for each subject.

    While it is heard from, another one is refused: that costs next to nothing. Once it has been silent for a while, the
    new one takes its place: its client has gone unnoticed, and has come back.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._streams: dict[tuple[str, str], Heard] = {}

    @contextmanager
    def of(self, subject: tuple[str, str]) -> Iterator[Heard]:
        """Around a stream. Raises ShareExceeded; leaves the block with ProtocolViolation if another took its place."""
        task = asyncio.current_task()
        assert task is not None
        before, now = self._streams.get(subject), self._monotonic()
        if before is not None:
            if now - before.at < GONE_SECONDS:
                raise ShareExceeded.of_kind("input")
            before.replaced = True
            before.task.cancel()
        stream = self._streams[subject] = Heard(task, now)
        try:
            yield stream
        except asyncio.CancelledError:
            if stream.replaced and task.uncancel() <= 0:
                raise ProtocolViolation.expected("one stream at a time", "another one") from None
            raise
        finally:
            if self._streams.get(subject) is stream:
                del self._streams[subject]


@dataclass(slots=True, eq=False)
class Heard:
    """A stream, and when it was last heard from, in monotonic seconds."""

    task: asyncio.Task[object]
    at: float
    replaced: bool = False


def _name(message: UploadMessage) -> str:
    return (
        "the end of the stream or an unknown message"
        if message is None
        else f"another {type(message).__name__.lower()}"
    )
