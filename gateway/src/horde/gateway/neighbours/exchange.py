"""One stream to a neighbour, kept: opened again with jitter whenever it breaks."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Generic, Protocol, TypeVar

from horde.services.clock import Clock
from horde.services.errors import ServiceError, Unavailable
from horde.services.streams import Outbox
from horde.services.telemetry import get_logger

log = get_logger(__name__)

Message = TypeVar("Message")

MIN_BACKOFF, MAX_BACKOFF = 0.05, 1.0
"""Seconds between two openings: doubling, with jitter."""


class Stream(Protocol):
    """A stream in both directions."""

    def __aiter__(self) -> AsyncIterator[Any]: ...

    async def write(self, request: Any) -> None:
        """Say something; raises what ended the stream, if it has ended."""

    def cancel(self) -> bool:
        """Hang up."""


class Line(Generic[Message]):
    """What is said over one opening of the stream. A new opening gets a new line; what was unsaid is lost."""

    def __init__(self, limit: int) -> None:
        self.outbox: Outbox[Message] = Outbox(limit)
        self._hung_up = asyncio.Event()

    def hang_up(self) -> None:
        """Break this opening: it is opened anew, and all is stated again."""
        self.outbox.close()
        self._hung_up.set()

    async def carry(
        self,
        stream: Stream,
        write: Callable[[Stream, Outbox[Message]], Awaitable[None]],
        receive: Callable[[Any], None],
    ) -> None:
        """Say and hear until either direction ends; raises what ended it."""

        async def read() -> None:
            async for message in stream:
                receive(message)

        # Tasks of their own: a stream that is hung up from this side ends as if they had been cancelled.
        reader = asyncio.create_task(read())
        writer = asyncio.create_task(self._write(stream, write))
        watcher = asyncio.create_task(self._hung_up.wait())
        tasks = {reader, writer, watcher}
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                if not task.cancelled() and (error := task.exception()) is not None:
                    raise error
        finally:
            self.outbox.close()
            for task in tasks:
                task.cancel()
            stream.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _write(self, stream: Stream, write: Callable[[Stream, Outbox[Message]], Awaitable[None]]) -> None:
        try:
            await write(stream, self.outbox)
        except ServiceError:
            # The reader sees what ended the stream; it may still have things to read.
            await asyncio.sleep(1)
            raise


async def keep(
    name: str, once: Callable[[], Awaitable[None]], clock: Clock, chance: Callable[[], float] = random.random
) -> None:
    """Do `once` again and again, waiting longer while it fails at once. Runs until cancelled, or until a defect.

    `chance` draws from 0 to 1: so that many gateways do not come back in step.
    """
    failures = 0
    while True:
        began = clock.monotonic()
        try:
            await once()
        except Unavailable as error:
            log.debug("a stream to a neighbour broke", stream=name, error=str(error))
        except ServiceError as error:
            log.warning("a stream to a neighbour ended badly", stream=name, error=str(error))
        failures = 0 if clock.monotonic() - began > MAX_BACKOFF else failures + 1
        most = min(MAX_BACKOFF, MIN_BACKOFF * 2.0 ** min(failures, 10))
        await clock.sleep(MIN_BACKOFF + chance() * most)
