"""One who watches: what is to be said to it next.

Its outbox holds the latest of each kind for each image, not a queue: a reader who is slow misses steps, never an end,
and costs a bounded amount of memory.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from horde.api.generation.v1 import generation_service_pb2 as service_pb2
from horde.gateway.previews import Glimpse
from horde.services.errors import ServiceError

Told = service_pb2.WatchGenerationResponse


class Watcher:
    """One who watches: what is to be said to it next."""

    def __init__(self, *, previews: bool) -> None:
        self.previews = previews
        self._pending: dict[tuple[str, str], Told] = {}
        self._filled = asyncio.Event()
        self._ended = False
        self._error: ServiceError | None = None

    def tell(self, kind: str, job_id: str, told: Told) -> None:
        """Say this next; what was to be said of the same kind about the same image is replaced."""
        if self._ended:
            return
        if kind == "image":
            # What was unsaid about the image's former lease means nothing any more.
            for stale in ("progress", "preview", "wait"):
                self._pending.pop((stale, job_id), None)
        self._pending.pop((kind, job_id), None)
        self._pending[kind, job_id] = told
        self._filled.set()

    def show(self, glimpse: Glimpse) -> None:
        """Say this preview next, if there is nothing better to say about the image."""
        preview = service_pb2.Preview(
            job_id=glimpse.job_id, lease_id=glimpse.lease_id, step=glimpse.step, image=glimpse.image
        )
        self.tell("preview", glimpse.job_id, Told(preview=preview))

    def finish(self, told: Told) -> None:
        """Say this last. It holds everything, so what was unsaid need not be said, but for a first snapshot."""
        first = self._pending.get(("snapshot", ""))
        self._pending = {("finished", ""): told} if first is None else {("snapshot", ""): first, ("finished", ""): told}
        self._ended = True
        self._filled.set()

    def fail(self, error: ServiceError) -> None:
        """End with an error."""
        if not self._ended:
            self._ended = True
            self._error = error
            self._filled.set()

    async def heard(self) -> AsyncGenerator[Told, None]:
        """Everything that is said, until the end."""
        while True:
            while self._pending:
                yield self._pending.pop(next(iter(self._pending)))
            if self._ended:
                if self._error is not None:
                    raise self._error
                return
            self._filled.clear()
            await self._filled.wait()
