"""A mesh that says what it is told and remembers what it heard: for tests of this agent, and of others'.

Both doors on one loopback port, over real sockets, keeping to the contract's rules where a test does not say otherwise.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, ClassVar

from horde.api.generation.v1 import generation_pb2
from horde.api.job.v1 import job_pb2
from horde.api.ledger.v1 import ledger_pb2
from horde.api.storage.v1 import storage_service_pb2 as storage
from horde.api.storage.v1 import storage_service_pb2_grpc as storage_grpc
from horde.api.worker.v1 import worker_service_pb2 as pb
from horde.api.worker.v1 import worker_service_pb2_grpc as worker_grpc
from horde.services.errors import NotFound, ServiceError, Unavailable, Unimplemented
from horde.services.server import Registration
from horde.services.streams import Outbox
from horde.testkit.loopback import loopback
from horde.testkit.waiting import HANG_SECONDS

WORKERS = "horde.api.worker.v1.WorkerService"
STORAGE = "horde.api.storage.v1.StorageService"


class ObjectNotFound(NotFound):
    """Nothing, or nothing any more, is here for this ticket."""

    domain: ClassVar[str] = "horde.api.storage.v1"
    reason: ClassVar[str] = "OBJECT_NOT_FOUND"


class FakeGateway(worker_grpc.WorkerServiceServicer):
    """The workers' door."""

    def __init__(self) -> None:
        self.heard: list[pb.AttachRequest] = []
        self.credentials: list[str] = []
        self.sessions = 0
        self.refusals = 0
        self.refuse_with: ServiceError | None = None
        self.refuse_calls_with: ServiceError = Unimplemented()
        self.settles = True
        """Whether outcomes are settled as they come."""
        self._outbox: Outbox[pb.AttachResponse] | None = None
        self._news = asyncio.Event()

    async def Attach(self, request_iterator: AsyncIterator[pb.AttachRequest], context: Any) -> Any:
        if self.refuse_with is not None:
            self.refusals += 1
            raise self.refuse_with
        self.credentials += [str(value) for key, value in context.invocation_metadata() if key == "authorization"]
        outbox: Outbox[pb.AttachResponse] = Outbox(1_000)
        self._outbox = outbox
        reader = asyncio.create_task(self._read(request_iterator, outbox))
        try:
            async for response in outbox:
                yield response
        finally:
            reader.cancel()
            await asyncio.gather(reader, return_exceptions=True)
            if self._outbox is outbox:
                self._outbox = None
            self._tell()

    async def ListWorkers(self, request: pb.ListWorkersRequest, context: Any) -> pb.ListWorkersResponse:
        raise self.refuse_calls_with

    async def GetWorker(self, request: pb.GetWorkerRequest, context: Any) -> pb.GetWorkerResponse:
        raise Unimplemented

    async def SetWorkerPaused(self, request: pb.SetWorkerPausedRequest, context: Any) -> pb.SetWorkerPausedResponse:
        raise Unimplemented

    async def _read(self, requests: AsyncIterator[pb.AttachRequest], outbox: Outbox[pb.AttachResponse]) -> None:
        async for request in requests:
            self.heard.append(request)
            match request.WhichOneof("message"):
                case "hello":
                    self.sessions += 1
                    outbox.put_nowait(pb.AttachResponse(welcome=pb.Welcome(session_id="s", worker_id="w")))
                case "restatement":
                    for outcome in request.restatement.outcomes:
                        self._settle(outcome)
                case "outcome":
                    self._settle(request.outcome)
            self._tell()
        outbox.close()

    def _settle(self, outcome: pb.Outcome) -> None:
        if self.settles:
            self.settle(outcome.lease_id, outcome.job_id)

    def settle(
        self, lease_id: str, job_id: str, disposition: pb.Disposition.ValueType = pb.DISPOSITION_ACCEPTED
    ) -> None:
        """Say that an outcome is settled."""
        paid = ledger_pb2.WorkerSettlement(
            earned_mkudos=10_830, to_spend_mkudos=5_415, to_escrow_mkudos=5_415, tax_mkudos=3_000
        )
        settled = pb.Settled(lease_id=lease_id, job_id=job_id, disposition=disposition)
        if disposition == pb.DISPOSITION_ACCEPTED:
            settled.settlement.CopyFrom(paid)
        self.say(settled=settled)

    def say(self, **message: Any) -> None:
        """Say one thing on the stream that is open."""
        if self._outbox is None:
            raise AssertionError("no worker is attached")
        self._outbox.put_nowait(pb.AttachResponse(**message))

    def hang_up(self, error: ServiceError | None = None) -> None:
        """Break the stream."""
        if self._outbox is not None:
            self._outbox.close(error or Unavailable("the test broke the stream"))

    @property
    def attached(self) -> bool:
        return self._outbox is not None

    def outcomes(self) -> list[pb.Outcome]:
        """Every outcome that was heard, also those in restatements."""
        found: list[pb.Outcome] = []
        for request in self.heard:
            if request.HasField("outcome"):
                found.append(request.outcome)
            found += request.restatement.outcomes
        return found

    def restatements(self) -> list[pb.Restatement]:
        return [request.restatement for request in self.heard if request.HasField("restatement")]

    def progress(self, lease_id: str) -> list[int]:
        """The steps that were heard of a lease, as it was painted."""
        painting = generation_pb2.LEASE_STATE_PAINTING
        reports = [request.progress for request in self.heard if request.progress.lease_id == lease_id]
        return [progress.step for progress in reports if progress.state == painting]

    def states(self, lease_id: str) -> list[int]:
        """What was heard of a lease's state, each change once."""
        states = [request.progress.state for request in self.heard if request.progress.lease_id == lease_id]
        return [state for index, state in enumerate(states) if index == 0 or states[index - 1] != state]

    async def until(self, condition: Callable[[], Any]) -> None:
        """Wait until something was heard. Raises TimeoutError."""
        async with asyncio.timeout(HANG_SECONDS):
            while not condition():
                self._news.clear()
                await self._news.wait()

    def _tell(self) -> None:
        self._news.set()


class FakeRouter(storage_grpc.StorageServiceServicer):
    """The door for bytes. A grant is its lease's name; a receipt is `receipt:` + the grant + the digest."""

    def __init__(self) -> None:
        self.stored: dict[str, bytes] = {}
        self.offsets: list[int] = []
        """What `resume` said, upload by upload; those in one message are not in it."""
        self.break_after: int | None = None
        """Break the next upload when so many bytes have arrived."""
        self.breaks_every: int | None = None
        """Break each further one after so many bytes more."""
        self.refuse_with: ServiceError | None = None
        self.inputs: dict[str, bytes] = {}
        self.break_download_after: int | None = None
        self.download_offsets: list[int] = []
        self.opened = 0
        self.traces: list[str] = []
        self._partial: dict[str, bytearray] = {}

    async def PutImage(self, request: storage.PutImageRequest, context: Any) -> storage.PutImageResponse:
        self._open(context)
        if request.grant not in self.stored:
            assert 0 < len(request.data) <= 256 * 1024
            self._break_one(len(request.data))
            assert hashlib.sha256(request.data).digest() == request.sha256
            self.stored[request.grant] = request.data
        return storage.PutImageResponse(receipt=self._receipt(request.grant))

    async def UploadImage(self, request_iterator: AsyncIterator[storage.UploadImageRequest], context: Any) -> Any:
        first = await anext(aiter(request_iterator))
        grant = first.open.grant
        self._open(context)
        if grant in self.stored:
            yield storage.UploadImageResponse(receipt=storage.UploadReceipt(receipt=self._receipt(grant)))
            return
        content = self._partial.setdefault(grant, bytearray())
        self.offsets.append(len(content))
        yield storage.UploadImageResponse(resume=storage.UploadResume(offset=len(content)))
        async for request in request_iterator:
            if request.HasField("chunk"):
                self._take(content, request.chunk)
            else:
                assert hashlib.sha256(content).digest() == request.finish.sha256
                assert len(content) == request.finish.size_bytes
                self.stored[grant] = bytes(content)
                yield storage.UploadImageResponse(receipt=storage.UploadReceipt(receipt=self._receipt(grant)))
                return

    async def PutInput(self, request_iterator: Any, context: Any) -> storage.PutInputResponse:
        raise Unimplemented

    async def CreateLink(self, request: storage.CreateLinkRequest, context: Any) -> storage.CreateLinkResponse:
        raise Unimplemented

    def _take(self, content: bytearray, chunk: storage.Chunk) -> None:
        assert chunk.offset == len(content)
        assert 0 < len(chunk.data) <= 256 * 1024
        content += chunk.data
        self._break(len(content))

    def _open(self, context: Any) -> None:
        self.opened += 1
        self.traces += [str(value) for key, value in context.invocation_metadata() if key == "traceparent"]
        if self.refuse_with is not None:
            raise self.refuse_with

    def _break_one(self, size_bytes: int) -> None:
        """For an upload in one message: none of it stays."""
        try:
            self._break(size_bytes)
        except Unavailable:
            self.break_after = self.breaks_every
            raise

    def _break(self, arrived: int) -> None:
        if self.break_after is not None and arrived >= self.break_after:
            self.break_after = arrived + self.breaks_every if self.breaks_every else None
            raise Unavailable("the test broke the upload")

    def _receipt(self, grant: str) -> str:
        return f"receipt:{grant}:{hashlib.sha256(self.stored[grant]).hexdigest()}"

    async def Download(self, request: storage.DownloadRequest, context: Any) -> Any:
        self.download_offsets.append(request.offset)
        if request.ticket not in self.inputs:
            raise ObjectNotFound
        content = self.inputs[request.ticket]
        digest = hashlib.sha256(b"more than " * (request.ticket == "damaged") + content).digest()
        yield storage.DownloadResponse(header=storage.DownloadHeader(size_bytes=len(content), sha256=digest))
        for offset in range(request.offset, len(content), 1000):
            if self.break_download_after is not None and offset >= self.break_download_after:
                self.break_download_after = None
                raise Unavailable("the test broke the download")
            yield storage.DownloadResponse(chunk=storage.Chunk(offset=offset, data=content[offset : offset + 1000]))


class FakeMesh:
    """Both doors, and a hand that assigns."""

    def __init__(self, gateway: FakeGateway, router: FakeRouter, target: str) -> None:
        self.gateway = gateway
        self.router = router
        self.target = target
        self._numbers: Iterator[int] = iter(range(1, 1_000_000))

    def assign(
        self,
        prompt: str = "a cat",
        *,
        model: str = "paintbox",
        traceparent: str = "",
        tickets: Sequence[pb.InputTicket] = (),
        **fields: Any,
    ) -> pb.Assignment:
        """Lend a job to the worker; what was lent. `fields` are those of ImageSpec."""
        number = next(self._numbers)
        lease_id = f"1-{number}"
        image = job_pb2.ImageSpec(**{"prompt": prompt, "width": 64, "height": 64, "steps": 4, "seed": number, **fields})
        assignment = pb.Assignment(
            lease_id=lease_id,
            job_id=f"job-{number}",
            spec=job_pb2.JobSpec(model=model, image=image),
            grant=lease_id,
            storage_address=self.target,
            price_mkudos=10_830,
            traceparent=traceparent,
            inputs=tickets,
        )
        assignment.lease_ttl.FromSeconds(30)
        self.gateway.say(assignment=assignment)
        return assignment


@asynccontextmanager
async def fake_mesh() -> AsyncIterator[FakeMesh]:
    """A mesh on a free port of this machine."""
    gateway, router = FakeGateway(), FakeRouter()  # type: ignore[abstract]
    services = [
        Registration(worker_grpc.add_WorkerServiceServicer_to_server, gateway, WORKERS),
        Registration(storage_grpc.add_StorageServiceServicer_to_server, router, STORAGE),
    ]
    async with loopback(services, caller=None) as server:
        yield FakeMesh(gateway, router, server.target)
