"""A gateway and a storage router that do what they are told: fail, repeat themselves, break off, lie."""

from __future__ import annotations

import asyncio
import hashlib
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from google.protobuf.duration_pb2 import Duration
from grpc import aio

from horde.api.account.v1 import account_service_pb2 as account_pb
from horde.api.account.v1 import account_service_pb2_grpc as account_grpc
from horde.api.generation.v1 import generation_pb2
from horde.api.generation.v1 import generation_service_pb2 as pb
from horde.api.generation.v1 import generation_service_pb2_grpc as generation_grpc
from horde.api.job.v1.job_pb2 import JobEnding, JobState, Placement
from horde.api.storage.v1 import storage_service_pb2 as storage_pb
from horde.api.storage.v1 import storage_service_pb2_grpc as storage_grpc
from horde.clients.errors import GenerationNotFound, RequestConflict, TokenExpired
from horde.services.errors import ServiceError
from horde.services.server import Registration

GENERATIONS = "horde.api.generation.v1.GenerationService"
ACCOUNTS = "horde.api.account.v1.AccountService"
STORAGE = "horde.api.storage.v1.StorageService"


@dataclass
class FakeMesh(
    generation_grpc.GenerationServiceServicer,
    account_grpc.AccountServiceServicer,
    storage_grpc.StorageServiceServicer,
):
    """What happened is written down; what should happen is said before."""

    address: str = ""
    mute_address: str = ""
    """Takes connections, and says nothing."""
    failures: dict[str, deque[ServiceError]] = field(default_factory=dict)
    """By method: raised first, one for each call."""
    calls: list[tuple[str, Any, str]] = field(default_factory=list)
    """Method, request, authorization."""
    generations: dict[str, generation_pb2.Generation] = field(default_factory=dict)
    requests: dict[str, bytes] = field(default_factory=dict)
    watches: deque[list[pb.WatchGenerationResponse | ServiceError]] = field(default_factory=deque)
    """What each watch says; one that has nothing more to say ends, or waits for ever after `None`."""
    picture: bytes = b"picture" * 100_000
    sent_before_break: int | None = None
    """How many chunks a download sends before it breaks, the first time."""
    tickets_until_good: int = 0
    """How many tickets are expired before one is good."""
    put: dict[str, bytes] = field(default_factory=dict)
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)

    def begin_anew(self) -> None:
        """Forget what happened, and what should."""
        for kept in (self.failures, self.calls, self.generations, self.requests, self.watches, self.put):
            kept.clear()
        self.sent_before_break = None
        self.tickets_until_good = 0
        self.cancelled.clear()

    def heard(self, method: str) -> list[Any]:
        """The requests of a method."""
        return [request for name, request, _ in self.calls if name == method]

    def fail(self, method: str, *errors: ServiceError) -> None:
        """Fail the next calls of a method."""
        self.failures.setdefault(method, deque()).extend(errors)

    def registrations(self) -> list[Registration]:
        return [
            Registration(generation_grpc.add_GenerationServiceServicer_to_server, self, GENERATIONS),
            Registration(account_grpc.add_AccountServiceServicer_to_server, self, ACCOUNTS),
            Registration(storage_grpc.add_StorageServiceServicer_to_server, self, STORAGE),
        ]

    def _enter(self, method: str, request: Any, context: aio.ServicerContext[Any, Any]) -> None:
        headers = dict(context.invocation_metadata() or ())
        self.calls.append((method, request, str(headers.get("authorization", ""))))
        waiting = self.failures.get(method)
        if waiting:
            raise waiting.popleft()

    async def QuoteGeneration(
        self, request: pb.QuoteGenerationRequest, context: aio.ServicerContext[Any, Any]
    ) -> pb.QuoteGenerationResponse:
        self._enter("Quote", request, context)
        quote = generation_pb2.Quote(total_mkudos=4801, placement=Placement.PLACEMENT_PRIVATE)
        return pb.QuoteGenerationResponse(quote=quote)

    async def CreateGeneration(
        self, request: pb.CreateGenerationRequest, context: aio.ServicerContext[Any, Any]
    ) -> pb.CreateGenerationResponse:
        self._enter("Create", request, context)
        content = request.spec.SerializeToString(deterministic=True)
        if self.requests.setdefault(request.request_id, content) != content:
            raise RequestConflict(metadata={"field": "spec"})
        known = self.generations.get(request.request_id)
        generation = known or generation_pb2.Generation(
            generation_id=request.request_id, request_id=request.request_id, spec=request.spec, version=1
        )
        self.generations[generation.generation_id] = generation
        return pb.CreateGenerationResponse(generation=generation)

    async def GetGeneration(
        self, request: pb.GetGenerationRequest, context: aio.ServicerContext[Any, Any]
    ) -> pb.GetGenerationResponse:
        self._enter("Get", request, context)
        if request.generation_id not in self.generations:
            raise GenerationNotFound(metadata={"generation_id": request.generation_id})
        return pb.GetGenerationResponse(generation=self.generations[request.generation_id])

    async def ListGenerations(
        self, request: pb.ListGenerationsRequest, context: aio.ServicerContext[Any, Any]
    ) -> pb.ListGenerationsResponse:
        self._enter("List", request, context)
        start = int(request.page_token or 0)
        some = list(self.generations.values())[start : start + 2]
        more = str(start + 2) if start + 2 < len(self.generations) else ""
        return pb.ListGenerationsResponse(generations=some, next_page_token=more)

    async def WatchGeneration(
        self, request: pb.WatchGenerationRequest, context: aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[pb.WatchGenerationResponse]:
        self._enter("Watch", request, context)
        if not self.watches:
            await asyncio.Event().wait()
        for response in self.watches.popleft():
            if isinstance(response, ServiceError):
                raise response
            yield response

    async def CancelGeneration(
        self, request: pb.CancelGenerationRequest, context: aio.ServicerContext[Any, Any]
    ) -> pb.CancelGenerationResponse:
        self._enter("Cancel", request, context)
        self.cancelled.set()
        return pb.CancelGenerationResponse(generation=self.generations[request.generation_id])

    async def CreateInputTicket(
        self, request: pb.CreateInputTicketRequest, context: aio.ServicerContext[Any, Any]
    ) -> pb.CreateInputTicketResponse:
        self._enter("InputTicket", request, context)
        return pb.CreateInputTicketResponse(
            address=self.address, ticket=request.input_id, max_bytes=10_000_000, expires_in=Duration(seconds=60)
        )

    async def GetAccount(
        self, request: account_pb.GetAccountRequest, context: aio.ServicerContext[Any, Any]
    ) -> account_pb.GetAccountResponse:
        self._enter("GetAccount", request, context)
        return account_pb.GetAccountResponse(account=account_pb.Account(account_id="me"))

    async def PutInput(
        self, request_iterator: AsyncIterator[storage_pb.PutInputRequest], context: aio.ServicerContext[Any, Any]
    ) -> storage_pb.PutInputResponse:
        ticket, content = "", b""
        async for part in request_iterator:
            if part.WhichOneof("message") == "open":
                ticket = part.open.ticket
                self._enter("PutInput", part, context)
            content += part.chunk.data
        assert hashlib.sha256(content).digest() == part.finish.sha256
        assert len(content) == part.finish.size_bytes
        self.put[ticket] = content
        stored = storage_pb.StoredInput(input_id=ticket, sha256=part.finish.sha256, size_bytes=len(content))
        return storage_pb.PutInputResponse(input=stored)

    async def Download(
        self, request: storage_pb.DownloadRequest, context: aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[storage_pb.DownloadResponse]:
        self._enter("Download", request, context)
        if self.tickets_until_good:
            self.tickets_until_good -= 1
            raise TokenExpired
        digest = hashlib.sha256(self.picture).digest()
        header = storage_pb.DownloadHeader(size_bytes=len(self.picture), sha256=digest)
        yield storage_pb.DownloadResponse(header=header)
        size = 65_536
        for number, offset in enumerate(range(request.offset, len(self.picture), size)):
            if number == self.sent_before_break:
                self.sent_before_break = None
                return
            chunk = storage_pb.Chunk(offset=offset, data=self.picture[offset : offset + size])
            yield storage_pb.DownloadResponse(chunk=chunk)

    def done_generation(self, generation_id: str, *, promised: bytes | None = None) -> generation_pb2.Generation:
        """A generation with one finished image, whose bytes are said to be `promised`."""
        content = self.picture if promised is None else promised
        image = generation_pb2.Image(
            job_id="job",
            state=JobState.JOB_STATE_ENDED,
            ending=JobEnding.JOB_ENDING_DONE,
            version=3,
            sha256=hashlib.sha256(content).digest(),
            size_bytes=len(content),
            download=generation_pb2.ImageDownload(address=self.address, ticket="ticket"),
        )
        made = generation_pb2.Generation(generation_id=generation_id, version=3, finished=True, images=[image])
        self.generations[generation_id] = made
        return made
