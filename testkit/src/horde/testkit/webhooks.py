"""The kit for tests of the webhooks service: one at the end of a wire, the feeds that it hears, a receiver."""

from __future__ import annotations

import asyncio
import ipaddress
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from grpc import aio

from horde.api.generation.v1 import generation_pb2
from horde.api.job.v1 import job_pb2
from horde.api.ledger.v1 import ledger_pb2
from horde.api.webhook.v1.webhook_service_pb2_grpc import WebhookServiceStub
from horde.internal.curation.v1 import visitor_pb2
from horde.internal.ledger.v1 import ledger_service_pb2 as ledger_service
from horde.internal.ledger.v1.ledger_service_pb2_grpc import (
    LedgerServiceServicer,
    add_LedgerServiceServicer_to_server,
)
from horde.internal.scheduler.v1 import scheduler_service_pb2 as scheduler_pb2
from horde.internal.scheduler.v1.scheduler_service_pb2_grpc import (
    SchedulerServiceServicer,
    add_SchedulerServiceServicer_to_server,
)
from horde.internal.webhook.v1.news_service_pb2_grpc import NewsServiceStub
from horde.services.channel import dial
from horde.services.clock import Clock
from horde.services.errors import NotFound
from horde.services.identity import AllowList, Credentials, SharedKey, create_key_file
from horde.services.keepalive import LED
from horde.services.server import Registration, serving
from horde.services.status import to_status
from horde.testkit.certificates import Authority
from horde.testkit.loopback import ManualClock
from horde.webhooks.core.targets import Address
from horde.webhooks.doors.visitors import HEADER
from horde.webhooks.service import serve
from horde.webhooks.settings import WebhooksSettings

HOST: Final = "hooks.test"
"""The receiver's name; the kit's resolver alone knows it."""


def visitor(account_id: str = "anna", network: bytes = b"") -> list[tuple[str, bytes]]:
    """What the gateway says beside a call for somebody, from a network."""
    visiting = visitor_pb2.Visitor(requester=job_pb2.Requester(account_id=account_id), network_digest=network)
    return [(HEADER, visiting.SerializeToString())]


@dataclass(frozen=True)
class Call:
    """What a receiver was sent."""

    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Receiver:
    """Somebody's program: an HTTP server that remembers what it is told, and answers as a test says."""

    port: int = 0
    secure: bool = True
    calls: list[Call] = field(default_factory=list)
    answer: Callable[[Call], bytes | Awaitable[bytes]] = lambda _: b"HTTP/1.1 204 No Content\r\n\r\n"
    """What goes back, as it is; an empty answer hangs up."""
    open: int = 0
    """Connections that have sent their request and wait."""
    most_open: int = 0

    @property
    def url(self) -> str:
        return f"https://{HOST}:{self.port}/hook?a=1" if self.secure else f"http://127.0.0.1:{self.port}/hook?a=1"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            request, *lines = head.strip().split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
            body = await reader.readexactly(int(headers.get("content-length", "0")))
            call = Call(request.split(" ")[1], headers, body)
            self.calls.append(call)
            self.open += 1
            self.most_open = max(self.most_open, self.open)
            try:
                answer = self.answer(call)
                writer.write(answer if isinstance(answer, bytes) else await answer)
                await writer.drain()
            finally:
                self.open -= 1
        except (OSError, EOFError, ssl.SSLError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def receiver(authority: Authority | None, *names: str) -> AsyncIterator[Receiver]:
    """A receiver with a certificate for these names, HOST's where none is given; in plain without an authority."""
    context = None
    if authority is not None:
        files = authority.issue(*(names or (HOST,)))
        assert files.certificate is not None
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(files.certificate, files.key)
    made = Receiver(secure=authority is not None)
    connections: set[asyncio.Task[None]] = set()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(made._serve(reader, writer))
        connections.add(task)
        task.add_done_callback(connections.discard)

    server = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=context)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()
        for task in list(connections):
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)


@dataclass
class Names:
    """A resolver that a test writes."""

    addresses: dict[str, Sequence[str]] = field(default_factory=lambda: {HOST: ["127.0.0.1"]})
    asked: list[str] = field(default_factory=list)

    async def __call__(self, host: str, port: int) -> Sequence[Address]:
        self.asked.append(host)
        try:
            return [ipaddress.ip_address(host)]
        except ValueError:
            return [ipaddress.ip_address(address) for address in self.addresses.get(host, ())]


class Feed(LedgerServiceServicer):
    """A ledger of which only the feed is there."""

    def __init__(self) -> None:
        self.entries: list[ledger_pb2.Entry] = []
        self.followers = 0
        self.clock: Clock = ManualClock()
        """When entries are made."""
        self._grown = asyncio.Condition()

    async def enter(self, *entries: ledger_pb2.Entry) -> None:
        """Entries, in order; each gets its sequence."""
        async with self._grown:
            for entry in entries:
                entry.sequence = len(self.entries) + 1
                if not entry.HasField("created_at"):
                    entry.created_at.FromDatetime(self.clock.now())
                self.entries.append(entry)
            self._grown.notify_all()

    async def GetBalances(
        self, request: ledger_service.GetBalancesRequest, context: Any
    ) -> ledger_service.GetBalancesResponse:
        balance = ledger_pb2.Balance(account=request.accounts[0], sequence=len(self.entries))
        return ledger_service.GetBalancesResponse(balances=[balance])

    async def FollowEntries(
        self, request: ledger_service.FollowEntriesRequest, context: Any
    ) -> AsyncIterator[ledger_service.FollowEntriesResponse]:
        after = request.after_sequence
        self.followers += 1
        try:
            while True:
                async with self._grown:
                    while len(self.entries) <= after:
                        await self._grown.wait()
                yield ledger_service.FollowEntriesResponse(entries=self.entries[after:])
                after = len(self.entries)
        finally:
            self.followers -= 1


class Queue(SchedulerServiceServicer):
    """A scheduler of which only `Follow` is there."""

    def __init__(self) -> None:
        self.generations: dict[str, scheduler_pb2.SchedulerGeneration] = {}
        self.followed: list[scheduler_pb2.FollowRequest] = []
        self._streams: dict[asyncio.Queue[scheduler_pb2.FollowedEvent], set[str]] = {}

    def show(self, generation: generation_pb2.Generation, account_id: str = "anna") -> None:
        """A generation as it is now; whoever follows it is told."""
        kept = scheduler_pb2.SchedulerGeneration(generation=generation)
        kept.requester.account_id = account_id
        self.generations[generation.generation_id] = kept
        for queue, names in self._streams.items():
            if generation.generation_id in names:
                self._tell(queue, generation.generation_id)

    def _tell(self, queue: asyncio.Queue[scheduler_pb2.FollowedEvent], generation_id: str) -> None:
        event = scheduler_pb2.FollowedEvent(generation_id=generation_id)
        kept = self.generations.get(generation_id)
        if kept is None:
            event.error.CopyFrom(to_status(NotFound()))
        else:
            event.snapshot.CopyFrom(kept)
        queue.put_nowait(event)
        if kept is not None and kept.generation.finished:
            finished = scheduler_pb2.FollowedEvent(generation_id=generation_id)
            finished.finished.CopyFrom(kept)
            queue.put_nowait(finished)

    async def Follow(
        self, request_iterator: AsyncIterator[scheduler_pb2.FollowRequest], context: Any
    ) -> AsyncIterator[scheduler_pb2.FollowResponse]:
        queue: asyncio.Queue[scheduler_pb2.FollowedEvent] = asyncio.Queue()
        names = self._streams.setdefault(queue, set())

        async def listen() -> None:
            async for request in request_iterator:
                self.followed.append(request)
                names.add(request.follow.generation_id)
                self._tell(queue, request.follow.generation_id)

        listener = asyncio.create_task(listen())
        try:
            while True:
                yield scheduler_pb2.FollowResponse(events=[await queue.get()])
        finally:
            del self._streams[queue]
            listener.cancel()


def ended(generation_id: str, job_id: str, payer: str = "anna", owner: str = "olga") -> ledger_pb2.Entry:
    """The entry of a job that was done."""
    entry = ledger_pb2.Entry(
        event_id=job_id, kind=ledger_pb2.EVENT_KIND_SETTLE, job_id=job_id, generation_id=generation_id
    )
    settlement = entry.settlement
    settlement.payer_account_id, settlement.owner_account_id = payer, owner
    settlement.worker_id, settlement.ending = "worker-1", job_pb2.JOB_ENDING_DONE
    earned = entry.transfers.add(amount_mkudos=9_000, code=ledger_pb2.TRANSFER_CODE_EARNING)
    earned.debit.kind = ledger_pb2.LEDGER_ACCOUNT_KIND_HELD
    earned.credit.kind, earned.credit.account_id = ledger_pb2.LEDGER_ACCOUNT_KIND_SPEND, owner
    return entry


def generation_of(generation_id: str, *endings: int, request_id: str = "request-1") -> generation_pb2.Generation:
    """A generation with an image for each ending; 0: it is not over."""
    generation = generation_pb2.Generation(generation_id=generation_id, request_id=request_id, finished=all(endings))
    generation.spec.job.image.prompt = "a secret wish"
    for index, ending in enumerate(endings):
        state = job_pb2.JOB_STATE_ENDED if ending else job_pb2.JOB_STATE_QUEUED
        generation.images.add(job_id=f"{generation_id}-{index}", index=index, state=state, ending=ending)
    return generation


@dataclass
class WebhooksBench:
    """A webhooks service, stubs to it as the gateway, and all that it hears and calls."""

    settings: WebhooksSettings
    webhooks: Any
    news: Any
    clock: Any
    ledger: Feed
    scheduler: Queue
    names: Names
    channel: aio.Channel


@asynccontextmanager
async def webhooks(
    folder: Path,
    authority: Authority,
    *,
    clock: Clock | None = None,
    names: Names | None = None,
    feeds: tuple[Feed, Queue] | None = None,
    **fields: Any,
) -> AsyncIterator[WebhooksBench]:
    """The service over real sockets. `fields` are settings; unless they say otherwise this machine may be called."""
    key = folder / "run.key"
    if not key.exists():
        create_key_file(key)
    ledger, scheduler = feeds or (Feed(), Queue())  # type: ignore[abstract]
    clock, names = clock or ManualClock(), names or Names()
    ledger.clock = clock
    ledger_name, scheduler_name = (
        "horde.internal.ledger.v1.LedgerService",
        "horde.internal.scheduler.v1.SchedulerService",
    )
    async with AsyncExitStack() as stack:
        ports: dict[str, str] = {}
        for name, registration in (
            ("ledger", Registration(add_LedgerServiceServicer_to_server, ledger, ledger_name)),
            ("scheduler", Registration(add_SchedulerServiceServicer_to_server, scheduler, scheduler_name)),
        ):
            allow = AllowList({f"/{registration.name}/*": {"webhooks"}})
            served = serving(
                "127.0.0.1:0", [registration], name=name, allow=allow,
                identity=SharedKey.from_file(key), grace=timedelta(0), keepalive=LED,
            )  # fmt: skip
            ports[name] = f"127.0.0.1:{(await stack.enter_async_context(served)).port}"
        facts: dict[str, Any] = {
            "listen": "127.0.0.1:0",
            "key_file": key,
            "state_dir": folder / "webhooks",
            "own_networks": "127.0.0.0/8",
            "receivers_authorities": authority.file,
            "grace_seconds": 0.0,
            **ports,
        }
        settings = WebhooksSettings(**(facts | fields))
        caller = Credentials.from_key_file("gateway", key)
        server = await stack.enter_async_context(serve(settings, clock, resolve=names))
        channel = await stack.enter_async_context(
            dial(f"127.0.0.1:{server.port}", caller=caller, timeout=None, wait_for_ready=True)
        )
        yield WebhooksBench(
            settings, WebhookServiceStub(channel), NewsServiceStub(channel), clock, ledger, scheduler, names, channel
        )
