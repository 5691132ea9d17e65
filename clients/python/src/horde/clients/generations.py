"""Generations: what they would cost, asking for them, watching, cancelling, taking images back."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import Final

from google.rpc.status_pb2 import Status

from horde.api.generation.v1 import generation_service_pb2 as pb
from horde.api.generation.v1.generation_pb2 import Generation, GenerationSpec, Quote, SharedImage
from horde.api.generation.v1.generation_service_pb2_grpc import GenerationServiceStub
from horde.clients.doors import Doors
from horde.clients.errors import ALL, ServiceError, Unavailable
from horde.clients.specs import new_request_id
from horde.clients.watching import Finished, Order, WatchEvent
from horde.services.status import from_status

PAGE_SIZE: Final = 100
MAX_WITHDRAWALS: Final = 100
"""Images in one WithdrawImages."""


class Generations:
    """The caller's generations."""

    def __init__(self, doors: Doors) -> None:
        self._doors = doors
        self._stub = GenerationServiceStub(doors.gateway)

    async def quote(self, spec: GenerationSpec) -> Quote:
        """What it would cost, where its images would go and how long it might wait. Changes nothing."""
        answer = await self._doors.ask(self._stub.QuoteGeneration, pb.QuoteGenerationRequest(spec=spec))
        return answer.quote

    async def create(
        self, spec: GenerationSpec, *, request_id: str | None = None, max_total_mkudos: int | None = None
    ) -> Generation:
        """Ask for images; returns once the request and its kudos are durable, long before the images are painted.

        The request_id is made here, once, and kept over every retry. Give your own if the whole process may be
        repeated: the same id with the same spec is the same generation. Raises InvalidField, InsufficientKudos,
        BudgetSpent, PriceAboveMaximum, InputUnusable, RequestConflict, TooManyGenerations.
        """
        request = pb.CreateGenerationRequest(request_id=request_id or new_request_id(), spec=spec)
        if max_total_mkudos is not None:
            request.max_total_mkudos = max_total_mkudos
        return (await self._doors.ask(self._stub.CreateGeneration, request)).generation

    async def get(self, generation_id: str) -> Generation:
        """It, as it is now. Raises GenerationNotFound, also for what is somebody else's."""
        request = pb.GetGenerationRequest(generation_id=generation_id)
        return (await self._doors.ask(self._stub.GetGeneration, request)).generation

    async def list(self, *, page_size: int = PAGE_SIZE) -> AsyncIterator[Generation]:
        """All of them, newest first, page by page as they are read."""
        request = pb.ListGenerationsRequest(page_size=page_size)
        while True:
            page = await self._doors.ask(self._stub.ListGenerations, request)
            for generation in page.generations:
                yield generation
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    async def watch(self, generation_id: str, *, previews: bool = False) -> AsyncGenerator[WatchEvent, None]:
        """What happens to it, until it is finished.

        Begins with a Snapshot and ends with Finished. A broken stream is opened again by itself and goes on with a new
        Snapshot; what is older than something already told is left out. Raises GenerationNotFound, or Unavailable when
        nothing was heard for as long as the client's patience lasts.
        """
        order = Order()
        attempts = self._doors.attempts()
        request = pb.WatchGenerationRequest(generation_id=generation_id, previews=previews)
        while True:
            stream = self._doors.stream(self._stub.WatchGeneration, request)
            failure: ServiceError = Unavailable("The stream ended before the generation did.")
            try:
                async for response in stream:
                    attempts.succeeded()
                    event = order.accept(response)
                    if event is not None:
                        yield event
                    if isinstance(event, Finished):
                        return
            except ServiceError as error:
                failure = error
            finally:
                stream.cancel()
            await attempts.pause_after(failure)

    async def finish(self, generation_id: str) -> Generation:
        """Wait until every image has ended."""
        async for event in self.watch(generation_id):
            if isinstance(event, Finished):
                return event.generation
        raise AssertionError("a watch ends with Finished or raises")

    async def cancel(self, generation_id: str) -> Generation:
        """End what has not ended. Finished images stay; steps already painted are paid for. May be repeated."""
        request = pb.CancelGenerationRequest(generation_id=generation_id)
        return (await self._doors.ask(self._stub.CancelGeneration, request)).generation

    async def delete(self, generation_id: str) -> None:
        """Have a finished one forgotten: prompt, parameters, images; shared ones are withdrawn. May be repeated.

        Raises GenerationNotFinished. One that is not there is as good as deleted.
        """
        request = pb.DeleteGenerationRequest(generation_id=generation_id)
        await self._doors.ask(self._stub.DeleteGeneration, request)

    async def withdraw(self, generation_id: str, job_ids: Sequence[str]) -> dict[str, ServiceError | None]:
        """Take finished images back: None for each that is withdrawn, else why it is not. May be repeated."""
        outcomes: dict[str, ServiceError | None] = {}
        for start in range(0, len(job_ids), MAX_WITHDRAWALS):
            some = list(job_ids[start : start + MAX_WITHDRAWALS])
            request = pb.WithdrawImagesRequest(generation_id=generation_id, job_ids=some)
            answer = await self._doors.ask(self._stub.WithdrawImages, request)
            outcomes |= {job_id: _error(status) for job_id, status in zip(some, answer.outcomes, strict=True)}
        return outcomes

    async def shared(self, generation_id: str = "", *, page_size: int = PAGE_SIZE) -> AsyncIterator[SharedImage]:
        """All images that the caller ever shared, or those of one generation, newest first, page by page.

        Each with the text that was agreed to, and the data releases that carry it. They become known some seconds after
        they are done.
        """
        request = pb.ListSharedImagesRequest(page_size=page_size, generation_id=generation_id)
        while True:
            page = await self._doors.ask(self._stub.ListSharedImages, request)
            for image in page.images:
                yield image
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    async def withdraw_all_shared(self, expected_images: int = 0) -> tuple[int, int]:
        """Take back all that the caller ever shared: how many, and how many of those data releases carry.

        Raises InvalidField, and takes nothing back, if it is not as many as expected; 0: whatever.
        """
        request = pb.WithdrawAllSharedRequest(expected_images=expected_images)
        answer = await self._doors.ask(self._stub.WithdrawAllShared, request)
        return answer.images, answer.released_images


def _error(status: Status) -> ServiceError | None:
    return from_status(status, ALL) if status.code else None
