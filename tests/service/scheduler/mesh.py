"""A scheduler with everything around it: neighbours over real gRPC, a scripted gateway, a clock that stands."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Self
from uuid import UUID, uuid5

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from grpc import aio
from tests.service.scheduler.neighbours import Ledger, Storage

from horde.api.generation.v1 import generation_pb2
from horde.api.job.v1 import job_pb2
from horde.api.worker.v1 import worker_pb2, worker_service_pb2
from horde.internal.ledger.v1.ledger_service_pb2_grpc import add_LedgerServiceServicer_to_server
from horde.internal.scheduler.v1 import scheduler_service_pb2 as pb
from horde.internal.scheduler.v1.scheduler_service_pb2_grpc import SchedulerServiceStub
from horde.internal.storage.v1.object_service_pb2_grpc import add_ObjectServiceServicer_to_server
from horde.scheduler.core.board import Limits
from horde.scheduler.core.job import NAMESPACE
from horde.scheduler.doors.grants import Grants
from horde.scheduler.doors.owners import owner_registration
from horde.scheduler.doors.servicer import scheduler_registration
from horde.scheduler.engine import Engine, leading
from horde.scheduler.neighbours.ledger import GrpcLedger
from horde.scheduler.neighbours.storage import GrpcStorage
from horde.scheduler.store.memory import Memory, MemoryStore
from horde.scheduler.store.port import Store
from horde.services.server import Registration
from horde.services.tokens import Signer, Verifier
from horde.testkit.loopback import Loopback, ManualClock, SequentialIds, loopback
from horde.testkit.waiting import HANG_SECONDS

ANNA = "00000000-0000-4000-8000-00000000aaaa"
BERT = "00000000-0000-4000-8000-00000000bbbb"
OWNER = "00000000-0000-4000-8000-00000000eeee"
MODEL = "paintbox"
PRICE, TAX, SURCHARGE = 10_830, 3_000, 2_166


def requester(account: str = ANNA, digest: bytes = b"") -> job_pb2.Requester:
    return job_pb2.Requester(account_id=account, anonymous_digest=digest)


def identity(who: job_pb2.Requester) -> str:
    return f"anonymous:{who.anonymous_digest.hex()}" if who.account_id == "anonymous" else who.account_id


def submission(
    request_id: str = "r1", count: int = 1, who: job_pb2.Requester | None = None, **image: Any
) -> pb.SubmitGeneration:
    """A submission as a gateway makes it."""
    who = who or requester()
    spec = generation_pb2.GenerationSpec(count=count)
    spec.job.model = image.pop("model", MODEL)
    spec.share = image.pop("share", False)
    spec.denied_worker_ids.extend(image.pop("denied", ()))
    ttl = image.pop("ttl", None)
    if ttl is not None:
        spec.time_to_live.FromTimedelta(timedelta(seconds=ttl))
    spec.job.image.MergeFrom(
        job_pb2.ImageSpec(**{"prompt": "a fox", "width": 512, "height": 512, "steps": 20, **image})
    )
    message = pb.SubmitGeneration(
        generation_id=str(uuid5(NAMESPACE, f"{identity(who)}/{request_id}")),
        request_id=request_id,
        requester=who,
        spec=spec,
        balance_mkudos=1_000_000,
    )
    parts = message.quote.per_image
    parts.price_mkudos, parts.tax_mkudos = PRICE, TAX
    parts.surcharges.add(reason=job_pb2.SURCHARGE_REASON_FAST_WORKERS_ONLY, amount_mkudos=SURCHARGE)
    parts.total_mkudos = PRICE + TAX + SURCHARGE
    message.quote.placement = job_pb2.PLACEMENT_PRIVATE
    return message


@dataclass
class World:
    """What outlives a scheduler."""

    clock: Any = field(default_factory=ManualClock)
    memory: Memory = field(default_factory=Memory)
    ledger: Ledger = field(default_factory=Ledger)
    storage: Storage = field(default_factory=Storage)
    router: Signer = field(default_factory=lambda: Signer("r", Ed25519PrivateKey.generate(), "storage-router"))
    signer: Signer = field(default_factory=lambda: Signer("s", Ed25519PrivateKey.generate(), "scheduler"))
    ids: Any = field(default_factory=SequentialIds)
    limits: Limits = field(default_factory=lambda: Limits(proven_images=0, checks_part=0.0))
    store: Callable[[], Store] | None = None
    commit_pause: float = 0.0
    write_behind: float = 0.0

    @property
    def grants(self) -> Grants:
        keys = {"r": self.router.public_key(), "s": self.signer.public_key()}
        return Grants(self.signer, Verifier(keys), "storage:7701")

    def receipt(self, job_id: str, lease_id: str, worker_id: str, owner: str = OWNER, sha256: bytes = b"") -> str:
        """The router's word for an upload, which it has then."""
        digest = sha256 or bytes(32)
        self.storage.upload(job_id, lease_id, digest)
        claims = {
            "act": "receipt",
            "job_id": job_id,
            "lease_id": lease_id,
            "worker_id": worker_id,
            "owner": owner,
            "sha256": digest.hex(),
            "size_bytes": 50_000,
            "format": "WEBP",
            "width": 512,
            "height": 512,
        }
        return self.router.sign("scheduler", claims, timedelta(days=8), self.clock.now())


@asynccontextmanager
async def neighbours(world: World) -> AsyncIterator[tuple[aio.Channel, aio.Channel]]:
    """The world's ledger and storage, served."""
    ledger = Registration(add_LedgerServiceServicer_to_server, world.ledger, "horde.internal.ledger.v1.LedgerService")
    storage = Registration(
        add_ObjectServiceServicer_to_server, world.storage, "horde.internal.storage.v1.ObjectService"
    )
    async with (
        loopback([ledger], caller="scheduler") as one,
        loopback([storage], caller="scheduler") as two,
        one.dial("scheduler", retry=False) as a,
        two.dial("scheduler", retry=False) as b,
    ):
        yield a, b


@dataclass
class Running:
    """A scheduler that runs, and a gateway's stub for it."""

    world: World
    engine: Engine
    loopback: Loopback
    stub: Any

    async def submit(
        self, *submissions: pb.SubmitGeneration, timeout: float = HANG_SECONDS
    ) -> list[pb.GenerationOutcome]:
        request = pb.SubmitGenerationsRequest(submissions=submissions)
        response = await self.stub.SubmitGenerations(request, timeout=timeout)
        return list(response.outcomes)

    async def get(self, generation_id: str, who: job_pb2.Requester | None = None) -> pb.GenerationOutcome:
        ref = pb.GenerationRef(generation_id=generation_id, requester=who or requester())
        response = await self.stub.GetGenerations(pb.GetGenerationsRequest(refs=[ref]))
        outcome: pb.GenerationOutcome = response.outcomes[0]
        return outcome

    async def cancel(self, generation_id: str, who: job_pb2.Requester | None = None) -> pb.GenerationOutcome:
        ref = pb.GenerationRef(generation_id=generation_id, requester=who or requester())
        response = await self.stub.CancelGenerations(pb.CancelGenerationsRequest(refs=[ref]))
        outcome: pb.GenerationOutcome = response.outcomes[0]
        return outcome


@asynccontextmanager
async def running(world: World, channels: tuple[aio.Channel, aio.Channel]) -> AsyncIterator[Running]:
    """One leader's term."""
    store = world.store() if world.store is not None else MemoryStore(world.memory)
    async with AsyncExitStack() as stack:
        engine = await stack.enter_async_context(
            leading(
                store, GrpcLedger(channels[0]), GrpcStorage(channels[1]), world.grants, world.clock, world.ids,
                limits=world.limits, commit_pause=world.commit_pause, write_behind=world.write_behind,
            )
        )  # fmt: skip
        served = await stack.enter_async_context(
            loopback(
                [
                    scheduler_registration(engine),
                    owner_registration(engine.owners),
                    engine.scaler.registration,
                ],
                caller="gateway",
                farewell=engine.farewell,
            )
        )
        yield Running(world, engine, served, SchedulerServiceStub(served.channel))


@asynccontextmanager
async def scheduler(world: World | None = None) -> AsyncIterator[Running]:
    """A whole one, in a world of its own."""
    world = world or World()
    async with neighbours(world) as channels, running(world, channels) as it:
        yield it


class Gateway:
    """A relay, scripted."""

    def __init__(self, running: Running, name: str = "gateway-1") -> None:
        self._running = running
        self._name = name
        self._call: Any = None
        self._reader: asyncio.Task[None] | None = None
        self.epoch = 0
        self._inboxes: dict[int, asyncio.Queue[pb.SessionResponse]] = {}
        self._numbers = 0

    async def __aenter__(self) -> Self:
        self._call = self._running.stub.Relay()
        await self._call.write(pb.RelayRequest(relay_hello=pb.RelayHello(gateway_id=self._name)))
        first = await self._call.read()
        self.epoch = first.relay_welcome.epoch
        self._reader = asyncio.create_task(self._read())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._call.cancel()
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.gather(self._reader, return_exceptions=True)

    async def _read(self) -> None:
        while True:
            batch = await self._call.read()
            if batch is aio.EOF:
                return
            for session in batch.sessions:
                self.inbox(session.relay_session_id).put_nowait(session)

    def inbox(self, number: int) -> asyncio.Queue[pb.SessionResponse]:
        return self._inboxes.setdefault(number, asyncio.Queue())

    async def send(self, *sessions: pb.SessionRequest) -> None:
        await self._call.write(pb.RelayRequest(sessions=sessions))

    async def attach(self, name: str = "w1", owner: str = OWNER, **options: Any) -> Painter:
        """A worker that says hello, is welcomed and restates."""
        painter = Painter(self, self.number(), name, owner)
        await painter.open(**options)
        return painter

    def number(self) -> int:
        self._numbers += 1
        return self._numbers


class Painter:
    """A worker behind a gateway, scripted."""

    def __init__(self, gateway: Gateway, number: int, name: str, owner: str = OWNER) -> None:
        self.gateway, self.number, self.name, self.owner = gateway, number, name, owner
        self.worker_id = str(uuid5(UUID(owner), name))
        self.session_id = ""
        self.terms = worker_service_pb2.Terms()

    async def open(
        self,
        *,
        slots: int = 1,
        models: tuple[str, ...] = (MODEL,),
        max_pixels: int = 1024 * 1024,
        features: tuple[int, ...] = (),
        samplers: tuple[int, ...] = (),
        schedules: tuple[int, ...] = (),
        pace: worker_service_pb2.ExpectedPace | None = None,
        session_id: str = "",
        restate: bool = True,
        session_features: tuple[int, ...] = (),
    ) -> None:
        hello = worker_service_pb2.Hello(worker_name=self.name, agent="test/1", expected_pace=pace)
        hello.features.extend(session_features)  # type: ignore[arg-type]
        offer = worker_pb2.ImageOffer(
            max_pixels=max_pixels,
            features=features,  # type: ignore[arg-type]
            samplers=samplers,  # type: ignore[arg-type]
            schedules=schedules,  # type: ignore[arg-type]
        )
        for model in models:
            hello.capabilities.models.append(worker_pb2.ModelOffer(name=model, loaded=True, image=offer))
        await self._send(opened=pb.SessionOpened(owner_account_id=self.owner, hello=hello, session_id=session_id))
        if not session_id:
            welcome = await self.next("welcome")
            self.session_id, self.terms = welcome.session_id, welcome.terms
        if restate:
            await self.restate(slots=slots, epoch=self.gateway.epoch if session_id else 0)

    async def restate(
        self,
        *,
        slots: int = 1,
        epoch: int = 0,
        held: tuple[worker_service_pb2.HeldLease, ...] = (),
        outcomes: tuple[worker_service_pb2.Outcome, ...] = (),
    ) -> None:
        restatement = worker_service_pb2.Restatement(epoch=epoch, leases=held, outcomes=outcomes)
        restatement.demand.slots = slots
        await self.say(restatement=restatement)

    async def say(self, **message: Any) -> None:
        await self._send(worker=worker_service_pb2.AttachRequest(**message))

    async def demand(self, slots: int, *, draining: bool = False) -> None:
        await self.say(demand=worker_service_pb2.Demand(slots=slots, draining=draining))

    async def progress(self, lease_id: str, step: int) -> None:
        await self.say(progress=worker_service_pb2.LeaseProgress(lease_id=lease_id, step=step))

    def painted(self, assignment: Any, **receipt: Any) -> worker_service_pb2.Outcome:
        """The outcome of a picture that storage has."""
        world = self.gateway._running.world
        signed = world.receipt(assignment.job_id, assignment.lease_id, self.worker_id, self.owner, **receipt)
        return worker_service_pb2.Outcome(
            lease_id=assignment.lease_id,
            job_id=assignment.job_id,
            painted=worker_service_pb2.Painted(receipt=signed, making=job_pb2.Making(device_class="test")),
        )

    async def paint(self, assignment: Any, **receipt: Any) -> None:
        await self.say(outcome=self.painted(assignment, **receipt))

    async def fail(self, assignment: Any) -> None:
        failed = worker_service_pb2.Failed(reason=worker_service_pb2.FAILURE_REASON_BACKEND)
        outcome = worker_service_pb2.Outcome(lease_id=assignment.lease_id, job_id=assignment.job_id, failed=failed)
        await self.say(outcome=outcome)

    async def close(self, *, clean: bool = False) -> None:
        await self._send(closed=pb.SessionClosed(clean=clean))

    async def next(self, kind: str, timeout: float = HANG_SECONDS) -> Any:
        """The next message, which must be of this kind (`end` for the end of the stream). Terms may come between."""
        inbox = self.gateway.inbox(self.number)
        message = await asyncio.wait_for(inbox.get(), timeout)
        while message.worker.HasField("terms") and kind != "terms":
            message = await asyncio.wait_for(inbox.get(), timeout)
        if message.WhichOneof("message") == "end":
            assert kind == "end", message
            return message.end
        assert message.worker.WhichOneof("message") == kind, message
        return getattr(message.worker, kind)

    async def nothing(self) -> None:
        """Nothing was said to it; true once everything that was sent before has been taken in."""
        await self.gateway._running.stub.ListModels(pb.ListModelsRequest())
        inbox = self.gateway.inbox(self.number)
        while not inbox.empty():
            message = inbox.get_nowait()
            assert message.worker.HasField("terms"), message

    async def _send(self, **message: Any) -> None:
        await self.gateway.send(pb.SessionRequest(relay_session_id=self.number, **message))
