"""A generation for as long as a block: leaving it early cancels what is not finished, so nobody paints in vain; or lets
it go on, for whoever follows it again.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from types import TracebackType
from typing import Final, Self

from horde.api.generation.v1.generation_pb2 import Generation, Image
from horde.api.job.v1.job_pb2 import JobEnding
from horde.clients.errors import ServiceError
from horde.clients.generations import Generations
from horde.clients.images import Images
from horde.clients.watching import Finished, ImageChanged, Snapshot, WatchEvent

CANCEL_SECONDS: Final = 5.0
"""How long leaving a session may take to say cancel."""


class GenerationSession:
    """Use with `async with client.generation(...) as session`, or `client.following(...)`."""

    def __init__(
        self,
        generations: Generations,
        images: Images,
        begin: Callable[[], Awaitable[Generation]],
        *,
        cancels: bool,
    ) -> None:
        self._generations = generations
        self._images = images
        self._begin = begin
        self._cancels = cancels
        self._generation: Generation | None = None

    @property
    def generation(self) -> Generation:
        """As it was last heard of."""
        if self._generation is None:
            raise RuntimeError("the session is not entered")
        return self._generation

    async def __aenter__(self) -> Self:
        # If this is cancelled after the request was accepted, repeating it is how its id becomes known again; the id is
        # ours, so nothing is lost but that the generation goes on.
        self._generation = await self._begin()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.generation.finished or not self._cancels:
            return
        cancelling = asyncio.ensure_future(self._cancel())
        try:
            await asyncio.shield(cancelling)
        except asyncio.CancelledError:
            # Cancelled while cancelling: still say it, within its bound.
            await asyncio.wait([cancelling])
            raise

    async def _cancel(self) -> None:
        # Whoever leaves in a hurry wants no second error; the time to live ends the generation in any case.
        with contextlib.suppress(ServiceError, TimeoutError):
            async with asyncio.timeout(CANCEL_SECONDS):
                self._generation = await self._generations.cancel(self.generation.generation_id)

    async def watch(self, *, previews: bool = False) -> AsyncGenerator[WatchEvent, None]:
        """What happens, until it is finished."""
        watching = self._generations.watch(self.generation.generation_id, previews=previews)
        async with contextlib.aclosing(watching):
            async for event in watching:
                self._remember(event)
                yield event

    def _remember(self, event: WatchEvent) -> None:
        match event:
            case Snapshot(generation) | Finished(generation):
                self._generation = generation
            case ImageChanged(image):
                for known in self.generation.images:
                    if known.job_id == image.job_id:
                        known.CopyFrom(image)
            case _:
                pass

    async def finish(self) -> Generation:
        """Wait until every image has ended."""
        async for _ in self.watch():
            pass
        return self.generation

    async def cancel(self) -> Generation:
        """End what has not ended; finished images stay."""
        self._generation = await self._generations.cancel(self.generation.generation_id)
        return self._generation

    async def fetch(self, image: Image) -> bytes:
        """The bytes of a finished image."""
        return await self._images.fetch_from(self.generation, image.job_id)

    async def pictures(self) -> AsyncIterator[tuple[Image, bytes]]:
        """Wait for the end, then every image that is done, with its bytes."""
        for image in (await self.finish()).images:
            if image.ending == JobEnding.JOB_ENDING_DONE:
                yield image, await self.fetch(image)
