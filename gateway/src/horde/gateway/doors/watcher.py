"""One who watches: what is to be said to it next.

Its outbox holds the latest of each kind for each image, not a queue: a reader who is slow misses steps, never an end,
and costs a bounded amount of memory. What is soon out of date waits a moment for what comes after it: a message costs
more to send than all that was done to make it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from horde.api.generation.v1 import generation_service_pb2 as service_pb2
from horde.gateway.core.previews import Glimpse
from horde.services.clock import Clock, Timer
from horde.services.errors import ServiceError

Told = service_pb2.WatchGenerationResponse

SOON = 0.03
"""Seconds that a state may wait which another one follows."""
LATER = 0.1
"""Seconds that progress may wait: ten times a second is enough for people."""


class Watcher:
    """One who watches: what is to be said to it next."""

    def __init__(self, clock: Clock, *, previews: bool) -> None:
        self.previews = previews
        self._clock = clock
        self._pending: dict[tuple[str, str], Told] = {}
        self._filled = asyncio.Event()
        self._timer: Timer | None = None
        self._timer_due = 0.0
        self._ended = False
        self._error: ServiceError | None = None

    def tell(self, kind: str, job_id: str, news: Told, *, within: float = 0.0) -> None:
        """Say this within so many seconds, in place of what is unsaid of the same kind about the same image."""
        if self._ended:
            return
        if kind == "image":
            # What was unsaid about the image's former lease means nothing any more.
            for stale in ("progress", "preview", "wait"):
                self._pending.pop((stale, job_id), None)
        self._pending.pop((kind, job_id), None)
        self._pending[kind, job_id] = news
        self._wake(within)

    def show(self, glimpse: Glimpse) -> None:
        """Say this preview next, if there is nothing better to say about the image."""
        preview = service_pb2.Preview(
            job_id=glimpse.job_id, lease_id=glimpse.lease_id, step=glimpse.step, image=glimpse.image
        )
        self.tell("preview", glimpse.job_id, Told(preview=preview), within=SOON)

    def finish(self, news: Told) -> None:
        """Say this last. It holds everything, so what was unsaid need not be said, but for a first snapshot."""
        first = self._pending.get(("snapshot", ""))
        self._pending = {("finished", ""): news} if first is None else {("snapshot", ""): first, ("finished", ""): news}
        self._ended = True
        self._wake(0)

    def fail(self, error: ServiceError) -> None:
        """End with an error."""
        if not self._ended:
            self._ended = True
            self._error = error
            self._wake(0)

    def _wake(self, within: float) -> None:
        if within <= 0:
            self._filled.set()
        elif not self._filled.is_set():
            due = self._clock.monotonic() + within
            if self._timer is None or due < self._timer_due:
                self._forget_timer()
                self._timer = self._clock.call_later(within, self._filled.set)
                self._timer_due = due

    def _forget_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def heard(self) -> AsyncGenerator[Told, None]:
        """Everything that is said, until the end."""
        try:
            while True:
                await self._filled.wait()
                self._forget_timer()
                while self._pending:
                    yield self._pending.pop(next(iter(self._pending)))
                if self._ended:
                    if self._error is not None:
                        raise self._error
                    return
                self._filled.clear()
        finally:
            self._forget_timer()
