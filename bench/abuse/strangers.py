"""Attacks on a whole mesh by strangers with free accounts: each a function that goes on until it is cancelled.

Run by `bench/abuse/whole_mesh.py`, each in a process of its own; the router's own attacks are in `storage_router.py`.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from grpc import aio
from storage_router import CHUNK, _wrong_adler

from horde.api.account.v1 import account_service_pb2 as account
from horde.api.account.v1.account_service_pb2_grpc import AccountServiceStub
from horde.api.generation.v1 import generation_service_pb2 as generation
from horde.api.generation.v1.generation_service_pb2_grpc import GenerationServiceStub
from horde.api.mesh.v1 import mesh_service_pb2 as mesh
from horde.api.mesh.v1.mesh_service_pb2_grpc import MeshServiceStub
from horde.api.model.v1 import model_service_pb2 as models
from horde.api.model.v1.model_service_pb2_grpc import ModelServiceStub
from horde.api.storage.v1 import storage_service_pb2 as storage
from horde.api.storage.v1.storage_service_pb2_grpc import StorageServiceStub
from horde.api.worker.v1 import worker_pb2, worker_service_pb2
from horde.api.worker.v1.worker_service_pb2_grpc import WorkerServiceStub
from horde.clients.credentials import new_api_key
from horde.clients.specs import generation_spec
from horde.testkit.storage_router import cut, finish

Metadata = list[tuple[str, str]]
NOBODY_HAS = "a-model-that-nobody-has"


def new_stubs(target: str) -> tuple[aio.Channel, Any, Any, Any, Any]:
    """A channel of its own, and what is called on it."""
    channel = aio.insecure_channel(target, options=[("grpc.use_local_subchannel_pool", 1)])
    return (
        channel,
        AccountServiceStub(channel),
        GenerationServiceStub(channel),
        WorkerServiceStub(channel),
        MeshServiceStub(channel),
    )


@dataclass
class Attacker:
    """Somebody with a channel and accounts, who counts how he is answered."""

    target: str
    answers: Counter[str] = field(default_factory=Counter)
    keys: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.channel, self.accounts, self.generations, self.workers, self.meshes = new_stubs(self.target)
        self.models: Any = ModelServiceStub(self.channel)

    async def register(self) -> Metadata:
        """A free account."""
        key = new_api_key()
        request = account.CreateAccountRequest(request_id=str(uuid.uuid4()), display_name="mallory", api_key=key)
        await self.accounts.CreateAccount(request)
        self.keys.append(key)
        return [("authorization", f"Bearer {key}")]

    async def offer(self) -> str:
        """A model that honest workers paint with."""
        answer = await self.models.ListModels(models.ListModelsRequest(), metadata=anonymous())
        return str(next(model.name for model in answer.models if model.workers))

    def noted(self, error: BaseException) -> None:
        """Count an answer."""
        if isinstance(error, aio.AioRpcError):
            self.answers[str(error.code().name)] += 1
        else:
            self.answers[type(error).__name__] += 1


def anonymous() -> Metadata:
    """A fresh token."""
    return [("authorization", f"Anonymous {secrets.token_hex(16)}")]


Answering = Callable[[Any, Any], Awaitable[None]]
"""What a bad worker does with an assignment, on its stream."""


async def bad_workers(attacker: Attacker, answering: Answering, *, sessions: int = 3, slots: int = 1) -> None:
    """Sessions of one account that do this with every job."""
    who, model = await attacker.register(), await attacker.offer()
    offer = worker_pb2.ModelOffer(name=model, loaded=True)
    offer.image.max_pixels = 2048 * 2048
    hello = worker_service_pb2.Hello(worker_name="x", agent="mallory/1")
    hello.capabilities.models.append(offer)

    async def one(number: int) -> None:
        while True:
            stream = attacker.workers.Attach(metadata=who)
            hello.worker_name = f"rig-{number}"
            try:
                await stream.write(worker_service_pb2.AttachRequest(hello=hello))
                demand = worker_service_pb2.Demand(slots=slots)
                while (told := await stream.read()) is not aio.EOF:
                    kind = told.WhichOneof("message")
                    if kind in ("welcome", "resync"):
                        epoch = told.resync.epoch if kind == "resync" else 0
                        restatement = worker_service_pb2.Restatement(epoch=epoch, demand=demand)
                        await stream.write(worker_service_pb2.AttachRequest(restatement=restatement))
                    elif kind == "assignment":
                        attacker.answers["assignment"] += 1
                        await answering(stream, told.assignment)
                        await stream.write(worker_service_pb2.AttachRequest(demand=demand))
            except aio.AioRpcError as error:
                attacker.noted(error)
            await asyncio.sleep(0.2)

    await asyncio.gather(*(one(number) for number in range(sessions)))


def outcome(lent: Any, **result: Any) -> worker_service_pb2.AttachRequest:
    """An outcome of a lease."""
    said = worker_service_pb2.Outcome(lease_id=lent.lease_id, job_id=lent.job_id, **result)
    return worker_service_pb2.AttachRequest(outcome=said)


async def refusing_strangers(attacker: Attacker) -> None:
    """Three sessions of one account that give every job back, refused."""

    async def refuse(stream: Any, lent: Any) -> None:
        reason = worker_service_pb2.REFUSAL_REASON_OUT_OF_MEMORY
        await stream.write(outcome(lent, refused=worker_service_pb2.Refused(reason=reason)))

    await bad_workers(attacker, refuse)


async def cancelling_strangers(attacker: Attacker) -> None:
    """... cancelled, which nobody asked for."""

    async def cancel(stream: Any, lent: Any) -> None:
        await stream.write(outcome(lent, cancelled=worker_service_pb2.Cancelled()))

    await bad_workers(attacker, cancel)


async def failing_strangers(attacker: Attacker) -> None:
    """... failed."""

    async def fail(stream: Any, lent: Any) -> None:
        reason = worker_service_pb2.FAILURE_REASON_BACKEND
        await stream.write(outcome(lent, failed=worker_service_pb2.Failed(reason=reason)))

    await bad_workers(attacker, fail)


async def censoring_strangers(attacker: Attacker) -> None:
    """... withheld as unsafe, for which a subsidy pays."""

    async def censor(stream: Any, lent: Any) -> None:
        await stream.write(outcome(lent, censored=worker_service_pb2.Censored(category="x")))

    await bad_workers(attacker, censor)


async def black_pictures(attacker: Attacker) -> None:
    """A black picture, uploaded at once."""
    from PIL import Image

    doors: dict[str, Any] = {}

    async def blacken(stream: Any, lent: Any) -> None:
        import io

        out, image = io.BytesIO(), lent.spec.image
        Image.new("RGB", (image.width, image.height)).save(out, "WEBP")
        data = out.getvalue()
        door = doors.setdefault(lent.storage_address, StorageServiceStub(aio.insecure_channel(lent.storage_address)))
        request = storage.PutImageRequest(grant=lent.grant, data=data, sha256=hashlib.sha256(data).digest())
        try:
            receipt = (await door.PutImage(request)).receipt
        except aio.AioRpcError as error:
            attacker.noted(error)
            return
        await stream.write(outcome(lent, painted=worker_service_pb2.Painted(receipt=receipt)))

    await bad_workers(attacker, blacken)


async def slow_leases(attacker: Attacker) -> None:
    """64 slots, and a step every eight seconds."""

    async def dawdle(stream: Any, lent: Any) -> None:
        async def steps() -> None:
            for step in range(1, 500):
                said = worker_service_pb2.LeaseProgress(lease_id=lent.lease_id, step=step)
                await stream.write(worker_service_pb2.AttachRequest(progress=said))
                await asyncio.sleep(8)

        tasks.add(asyncio.ensure_future(steps()))

    tasks: set[asyncio.Future[None]] = set()
    await bad_workers(attacker, dawdle, slots=64)


async def bad_checksums(attacker: Attacker) -> None:
    """A PNG with a wrong Adler-32 under every grant, again and again."""
    doors: dict[str, Any] = {}
    image = _wrong_adler(512)

    async def upload(stream: Any, lent: Any) -> None:
        door = doors.setdefault(lent.storage_address, StorageServiceStub(aio.insecure_channel(lent.storage_address)))

        async def again() -> None:
            while True:
                call = door.UploadImage()
                try:
                    await call.write(storage.UploadImageRequest(open=storage.UploadImageOpen(grant=lent.grant)))
                    await call.read()
                    for chunk in cut(image, size=CHUNK):
                        await call.write(storage.UploadImageRequest(chunk=chunk))
                    await call.write(storage.UploadImageRequest(finish=finish(image)))
                    await call.read()
                except aio.AioRpcError as error:
                    attacker.noted(error)

        tasks.add(asyncio.ensure_future(again()))

    tasks: set[asyncio.Future[None]] = set()
    await bad_workers(attacker, upload)


async def garbage_previews(attacker: Attacker) -> None:
    """Previews that are magic bytes and garbage, as fast as may be."""

    async def show(stream: Any, lent: Any) -> None:
        for step in range(50):
            image = b"\xff\xd8\xff" + secrets.token_bytes(20_000)
            preview = worker_service_pb2.LeasePreview(lease_id=lent.lease_id, step=step, image=image)
            await stream.write(worker_service_pb2.AttachRequest(preview=preview))

    await bad_workers(attacker, show)


async def silent_inputs(attacker: Attacker) -> None:
    """33 PutInput streams under one anonymous ticket, each 15.75 MiB sent fast, then silent."""
    who = anonymous()
    request = generation.CreateInputTicketRequest(input_id=str(uuid.uuid4()))
    ticket = await attacker.generations.CreateInputTicket(request, metadata=who)
    door: Any = StorageServiceStub(aio.insecure_channel(ticket.address))

    async def one() -> None:
        async def sent() -> Any:
            yield storage.PutInputRequest(open=storage.PutInputOpen(ticket=ticket.ticket))
            for offset in range(0, 63 * CHUNK, CHUNK):
                yield storage.PutInputRequest(chunk=storage.Chunk(offset=offset, data=bytes(CHUNK)))
            await asyncio.sleep(600)

        while True:
            try:
                await door.PutInput(sent())
            except aio.AioRpcError as error:
                attacker.noted(error)
                await asyncio.sleep(0.05)

    await asyncio.gather(*(one() for _ in range(33)))


async def dear_anonymous_requests(attacker: Attacker) -> None:
    """Three anonymous requests for what nobody has, as dear as can be; then as many more as are taken."""
    while True:
        spec = generation_spec("x", model=NOBODY_HAS, width=4096, height=4096, steps=143, count=20)
        spec.wait_for_model = True
        spec.time_to_live.FromSeconds(86_400)
        await create(attacker, anonymous(), spec)
        await asyncio.sleep(0.05)


async def queue_stuffing(attacker: Attacker) -> None:
    """One account that asks for 20 images of what nobody has, for ever."""
    who = await attacker.register()
    while True:
        spec = generation_spec("x", model=NOBODY_HAS, width=64, height=64, steps=1, count=20)
        spec.wait_for_model = True
        await asyncio.gather(*(create(attacker, who, spec) for _ in range(8)))


async def create(attacker: Attacker, who: Metadata, spec: Any) -> str:
    """Ask for something; its id, or nothing."""
    request = generation.CreateGenerationRequest(request_id=str(uuid.uuid4()), spec=spec)
    try:
        made = (await attacker.generations.CreateGeneration(request, metadata=who)).generation
    except aio.AioRpcError as error:
        attacker.noted(error)
        await asyncio.sleep(0.02)
        return ""
    attacker.answers["accepted"] += 1
    return str(made.generation_id)


async def idle_sessions(attacker: Attacker) -> None:
    """Eight accounts with 256 sessions each that do nothing."""

    async def one(who: Metadata, name: str) -> None:
        while True:
            stream = attacker.workers.Attach(metadata=who)
            try:
                hello = worker_service_pb2.Hello(worker_name=name)
                await stream.write(worker_service_pb2.AttachRequest(hello=hello))
                while await stream.read() is not aio.EOF:
                    pass
            except aio.AioRpcError as error:
                attacker.noted(error)
            await asyncio.sleep(5)

    owners = [await attacker.register() for _ in range(8)]
    await asyncio.gather(*(one(who, f"rig-{number}") for who in owners for number in range(256)))


async def idle_watches(attacker: Attacker) -> None:
    """Five free tokens with 300 watches each that never read."""
    streams = []
    for _ in range(5):
        who = anonymous()
        spec = generation_spec("x", model=NOBODY_HAS, width=64, height=64, steps=1)
        spec.wait_for_model = True
        generation_id = await create(attacker, who, spec)
        for _ in range(300):
            request = generation.WatchGenerationRequest(generation_id=generation_id)
            streams.append(attacker.generations.WatchGeneration(request, metadata=who))
    while True:
        await asyncio.sleep(1)
        attacker.answers["watching"] = sum(not stream.done() for stream in streams)


async def tiny_calls(attacker: Attacker) -> None:
    """Tiny calls with fresh tokens, 64 at once, on eight connections."""

    stubs = [new_stubs(attacker.target) for _ in range(8)]

    async def one(number: int) -> None:
        _, _, generations, _, _ = stubs[number % len(stubs)]
        request = generation.GetGenerationRequest(generation_id=str(uuid.UUID(int=number)))
        while True:
            try:
                await generations.GetGeneration(request, metadata=anonymous())
            except aio.AioRpcError as error:
                attacker.noted(error)

    await asyncio.gather(*(one(number) for number in range(64)))


async def rapid_resets(attacker: Attacker) -> None:
    """Calls that are broken off as soon as they are begun."""

    async def one() -> None:
        channel, _, _, _, meshes = new_stubs(attacker.target)
        while channel:
            calls = [meshes.GetMesh(mesh.GetMeshRequest()) for _ in range(32)]
            await asyncio.sleep(0)
            for call in calls:
                call.cancel()
            attacker.answers["broken off"] += len(calls)
            await asyncio.sleep(0.002)

    await asyncio.gather(*(one() for _ in range(4)))


ATTACKS: dict[str, Callable[[Attacker], Awaitable[None]]] = {
    attack.__name__: attack
    for attack in (
        refusing_strangers,
        cancelling_strangers,
        failing_strangers,
        censoring_strangers,
        black_pictures,
        slow_leases,
        bad_checksums,
        garbage_previews,
        silent_inputs,
        dear_anonymous_requests,
        queue_stuffing,
        idle_sessions,
        idle_watches,
        tiny_calls,
        rapid_resets,
    )
}
