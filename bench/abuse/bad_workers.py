"""Attacks by workers of a stranger's account: each a function that goes on until it is cancelled."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import secrets
from collections.abc import Awaitable, Callable
from typing import Any

from attacker import Attacker
from grpc import aio
from storage_router import CHUNK, _wrong_adler

from horde.api.storage.v1 import storage_service_pb2 as storage
from horde.api.storage.v1.storage_service_pb2_grpc import StorageServiceStub
from horde.api.worker.v1 import worker_pb2, worker_service_pb2
from horde.testkit.storage_router import cut, finish

Answering = Callable[[Any, Any], Awaitable[None]]
"""What a bad worker does with an assignment, on its stream."""


class Stream:
    """A session's stream, on which many may write: gRPC itself ends a call, as INTERNAL, on which two write at once."""

    def __init__(self, call: Any) -> None:
        self._call = call
        self._writing = asyncio.Lock()
        self.read = call.read

    async def write(self, request: Any) -> None:
        """Say something, after what is being said."""
        async with self._writing:
            await self._call.write(request)


async def bad_workers(attacker: Attacker, answering: Answering, *, sessions: int = 3, slots: int = 1) -> None:
    """Sessions of one account that do this with every job."""
    who, model = await attacker.register(), await attacker.offer()
    offer = worker_pb2.ModelOffer(name=model, loaded=True)
    offer.image.max_pixels = 2048 * 2048
    hello = worker_service_pb2.Hello(worker_name="x", agent="mallory/1")
    hello.capabilities.models.append(offer)

    async def one(number: int) -> None:
        while True:
            stream = Stream(attacker.workers.Attach(metadata=who))
            hello.worker_name = f"rig-{number}"
            try:
                await stream.write(worker_service_pb2.AttachRequest(hello=hello))
                demand = worker_service_pb2.Demand(slots=slots)
                while (response := await stream.read()) is not aio.EOF:
                    kind = response.WhichOneof("message")
                    if kind in ("welcome", "resync"):
                        epoch = response.resync.epoch if kind == "resync" else 0
                        restatement = worker_service_pb2.Restatement(epoch=epoch, demand=demand)
                        await stream.write(worker_service_pb2.AttachRequest(restatement=restatement))
                    elif kind == "assignment":
                        attacker.answers["assignment"] += 1
                        await answering(stream, response.assignment)
                        await stream.write(worker_service_pb2.AttachRequest(demand=demand))
            except aio.AioRpcError as error:
                attacker.noted(error)
            await asyncio.sleep(0.2)

    await asyncio.gather(*(one(number) for number in range(sessions)))


def outcome(lent: Any, **result: Any) -> worker_service_pb2.AttachRequest:
    """An outcome of a lease."""
    outcome = worker_service_pb2.Outcome(lease_id=lent.lease_id, job_id=lent.job_id, **result)
    return worker_service_pb2.AttachRequest(outcome=outcome)


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
                progress = worker_service_pb2.LeaseProgress(lease_id=lent.lease_id, step=step)
                with contextlib.suppress(aio.AioRpcError, asyncio.InvalidStateError):  # Its session has ended.
                    await stream.write(worker_service_pb2.AttachRequest(progress=progress))
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
    """Previews that are magic bytes and garbage, or would command a terminal, as fast as may be."""
    beginnings = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF\x00\x10\x00\x00WEBP", b"\x1b]0;mallory\x07\x1b[2J")

    async def show(stream: Any, lent: Any) -> None:
        for step in range(50):
            image = beginnings[step % len(beginnings)] + secrets.token_bytes(20_000)
            preview = worker_service_pb2.LeasePreview(lease_id=lent.lease_id, step=step, image=image)
            await stream.write(worker_service_pb2.AttachRequest(preview=preview))

    await bad_workers(attacker, show)
