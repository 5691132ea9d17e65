"""The services, each as a process on its durable store: the same parts that its own start puts together."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any
from uuid import UUID

from google.protobuf.message import Message

from faults.injecting import Faults
from faults.network import Collected, Network, stub_channel
from faults.stores import Bucket, LedgerMemory, LedgerStore, SchedulerStore
from faults.truth import Truth
from faults.virtual import START, Process, VirtualLoop
from horde.api.generation.v1 import generation_service_pb2 as service_pb2
from horde.api.worker.v1 import worker_service_pb2
from horde.gateway.core.previews import Previews
from horde.gateway.core.requesters import Principal, Requester
from horde.gateway.core.seats import owner as owner_seat
from horde.gateway.doors.generations import Generations
from horde.gateway.doors.relay import Relay
from horde.gateway.doors.tickets import Tickets
from horde.gateway.neighbours.ledger import Balances, LedgerClient
from horde.gateway.neighbours.scheduler import SchedulerClient
from horde.gateway.neighbours.storage import StorageClient
from horde.ledger.core.economy import Economy
from horde.ledger.doors.service import LedgerService
from horde.ledger.doors.servicer import ledger_registration
from horde.ledger.writer import Writer
from horde.scheduler.core.board import Limits
from horde.scheduler.doors.grants import Grants
from horde.scheduler.doors.servicer import scheduler_registration
from horde.scheduler.engine import Engine, leading
from horde.scheduler.janitor import sweep
from horde.scheduler.neighbours.ledger import GrpcLedger
from horde.scheduler.neighbours.storage import GrpcStorage
from horde.scheduler.store.memory import Memory
from horde.services.loops import Loops
from horde.services.server import Registration
from horde.services.tokens import Signer, Verifier
from horde.storage_router.doors.permits import ISSUER
from horde.storage_router.router import Buckets, Decoders, build
from horde.storage_router.settings import StorageRouterSettings
from horde.testkit.storage_router import AsSent, NoDecoder, make_signer

MODELS = ("m0", "m1")
GATEWAYS = ("gateway 1", "gateway 2")
ROUTERS = ("router-1", "router-2")


@cache
def signers() -> dict[str, Signer]:
    """One key of each who signs."""
    return {name: make_signer(name) for name in ("gateway", "scheduler", ISSUER)}


@cache
def verifier() -> Verifier:
    return Verifier({signer.key_id: signer.public_key() for signer in signers().values()})


@cache
def router_settings(endpoint: str) -> StorageRouterSettings:
    """With an endpoint: as on S3, where what came a moment ago is kept in memory for its commit."""
    return StorageRouterSettings(state_dir=Path("unused")).model_copy(update={"s3_endpoint": endpoint})


class DrawnIds:
    """Ids that follow from the seed."""

    def __init__(self, seed: str) -> None:
        self._chance = Random(seed)

    def new(self) -> UUID:
        return UUID(int=self._chance.getrandbits(128), version=4)


class Durable:
    """What outlives every process."""

    def __init__(self, loop: VirtualLoop, faults: Faults, truth: Truth) -> None:
        self.scheduler = Memory()
        self.ledger = LedgerMemory(truth)

        def now() -> datetime:
            return START + timedelta(seconds=loop.time())

        self.private = Bucket("private", now, faults, truth)
        self.shared = Bucket("shared", now, faults, truth)
        truth.memory = self.scheduler
        truth.buckets = {"private": self.private, "shared": self.shared}


class Mesh:
    """Starts services; `kind` is the word before the number in a process's name."""

    def __init__(self, loop: VirtualLoop, seed: str, faults: Faults, truth: Truth, limits: Limits) -> None:
        self.loop = loop
        self.seed = seed
        self.faults = faults
        self.truth = truth
        self.limits = limits
        self.network = Network(loop, faults)
        self.durable = Durable(loop, faults, truth)
        self.endpoint = faults.chance.choice(("", "http://s3"))
        self.economy = Economy(floor_age_s=0)
        self.engine: Engine | None = None
        """The newest leader's."""
        self.leader: Process | None = None
        """Who that is."""
        self._starts = itertools.count(1)

    def channel(self, process: Process, name: str) -> Any:
        return stub_channel(self.network, process, name)

    async def scheduler(self, process: Process) -> None:
        """Lead until something ends it."""
        store = SchedulerStore(self.durable.scheduler, self.faults, self.truth)
        grants = Grants(signers()["scheduler"], verifier(), "router")
        start = next(self._starts)
        async with leading(
            store, GrpcLedger(self.channel(process, "ledger")), GrpcStorage(self.channel(process, "router-")), grants,
            process.clock, DrawnIds(f"{self.seed}/ids/{start}"), limits=self.limits, commit_pause=0.004,
        ) as engine:  # fmt: skip
            engine.board.checks.chance = Random(f"{self.seed}/checks/{start}").random
            async with Loops() as loops:
                loops.start("janitor", sweep(engine.term, 7))
                served = Collected()
                _register(scheduler_registration(engine), served)
                self.engine, self.leader = engine, process
                self.network.listen("scheduler", process, served.handlers)
                await asyncio.Event().wait()

    async def ledger(self, process: Process) -> None:
        """Write until something ends it."""
        store: Any = LedgerStore(self.durable.ledger, self.faults)
        async with Writer(store, self.economy, process.clock) as writer:
            service = LedgerService(writer, store, self.economy, process.clock, None)  # type: ignore[arg-type]
            served = Collected()
            _register(ledger_registration(service), served)
            self.network.listen("ledger", process, served.handlers)
            await asyncio.Event().wait()

    async def router(self, process: Process) -> None:
        """Take and keep bytes."""
        router = build(
            router_settings(self.endpoint),
            Buckets(self.durable.private, self.durable.shared),
            Decoders(NoDecoder(), AsSent()),
            verifier(),
            signers()[ISSUER],
            process.clock,
        )
        served = Collected()
        for registration in router.registrations:
            _register(registration, served)
        self.network.listen(process.name, process, served.handlers)
        await router.sweeper.run(timedelta(seconds=600))

    async def gateway(self, process: Process) -> None:
        """Let requesters and workers in."""
        scheduler_channel = self.channel(process, "scheduler")
        client = SchedulerClient(scheduler_channel, scheduler_channel)
        ledger = LedgerClient(self.channel(process, "ledger"))
        async with client.running(), ledger.running(), Loops() as loops:
            relay = Relay(
                client, Previews(process.clock), lambda *_: None, process.clock,
                gateway_id=f"{process.name}/{next(self._starts)}", max_sessions=1_000,
            )  # fmt: skip
            no_check: Any = SimpleNamespace(check=lambda spec: None)
            known_models: Any = SimpleNamespace(check=_nothing)
            tickets = Tickets(
                signers()["gateway"], process.clock, address="router", image_lifetime=timedelta(hours=1),
                input_lifetime=timedelta(minutes=10), max_input_bytes=1 << 20,
            )  # fmt: skip
            generations = Generations(
                client, StorageClient(self.channel(process, "router-")), Balances(ledger, process.clock), tickets,
                known_models, no_check, consent_text_version="2026-11", max_input_pixels=1 << 20,
            )  # fmt: skip
            loops.start("relay", relay.run())
            self.network.listen(process.name, process, doors(relay, generations))
            await asyncio.Event().wait()


def _register(registration: Registration, served: Collected) -> None:
    registration.add(registration.servicer, served)


async def _nothing(model: str) -> None:
    """Every model is known."""


def envelope(principal: Principal, message: Message) -> bytes:
    """A request with who makes it: in place of the key that a real door reads."""
    requester = principal.requester
    return f"{requester.account_id} {requester.anonymous_digest.hex()}\n".encode() + message.SerializeToString()


def doors(relay: Relay, generations: Generations) -> dict[str, Any]:
    """A gateway's doors for requesters and workers, behind those that ask who it is."""

    def unary(kind: type[Message], act: Callable[[Principal, Any], Awaitable[Message]]) -> Any:
        def read(data: bytes) -> tuple[Principal, Message]:
            who, _, body = data.partition(b"\n")
            account_id, _, digest = who.decode().partition(" ")
            return Principal(Requester(account_id, bytes.fromhex(digest))), kind.FromString(body)

        async def handle(request: tuple[Principal, Message], context: object) -> Message:
            return await act(*request)

        return SimpleNamespace(
            unary_unary=handle,
            request_deserializer=read,
            response_serializer=lambda message: message.SerializeToString(),
        )

    async def create(principal: Principal, request: service_pb2.CreateGenerationRequest) -> Message:
        appraised = generations.appraise_creation(principal, request)
        return await generations.create(principal, appraised, request, "address")

    async def cancel(principal: Principal, request: service_pb2.GetGenerationRequest) -> Message:
        return await generations.cancel(principal, request.generation_id)

    async def withdraw(principal: Principal, request: service_pb2.WithdrawImagesRequest) -> Message:
        return service_pb2.WithdrawImagesResponse(outcomes=await generations.withdraw(principal, request))

    async def delete(principal: Principal, request: service_pb2.GetGenerationRequest) -> Message:
        await generations.delete(principal, request.generation_id)
        return service_pb2.DeleteGenerationResponse()

    def attach(owner: str) -> Any:
        async def still() -> float:
            return float("inf")

        def serve(requests: AsyncIterator[Any], context: object) -> Any:
            seat = owner_seat(owner, "", known=True)
            return relay.attach(Principal(Requester(owner)), requests, still, seat)

        return SimpleNamespace(
            stream_stream=serve,
            request_deserializer=worker_service_pb2.AttachRequest.FromString,
            response_serializer=lambda message: message.SerializeToString(),
        )

    return {
        "create": unary(service_pb2.CreateGenerationRequest, create),
        "get": unary(service_pb2.GetGenerationRequest, generations.get),
        "cancel": unary(service_pb2.GetGenerationRequest, cancel),
        "delete": unary(service_pb2.GetGenerationRequest, delete),
        "withdraw": unary(service_pb2.WithdrawImagesRequest, withdraw),
        "attach": attach,
    }
