"""Workers: they paint, and they crash, stall, lie, refuse, repeat themselves and forget, each in its own way."""

from __future__ import annotations

import asyncio
import hashlib
from random import Random
from typing import Any

from faults.network import Decoded, Network, stub_channel
from faults.services import GATEWAYS, MODELS
from faults.truth import Truth
from faults.virtual import Process
from horde.api.generation.v1 import generation_pb2
from horde.api.job.v1 import job_pb2
from horde.api.storage.v1 import storage_service_pb2
from horde.api.storage.v1.storage_service_pb2_grpc import StorageServiceStub
from horde.api.worker.v1 import worker_pb2
from horde.api.worker.v1 import worker_service_pb2 as pb
from horde.services.errors import ResourceExhausted, ServiceError, Unavailable
from horde.testkit.storage_router import paint

KINDS = (
    "honest",
    "honest",
    "honest",
    "staller",
    "liar",
    "refuser",
    "failer",
    "censor",
    "repeater",
    "forgetter",
    "late",
)
RESEND_SECONDS = 20.0
PART = 500
"""Bytes."""
GOOD = tuple(paint("JPEG", seed=seed) for seed in range(8))


def picture(lease_id: str, job_id: str) -> bytes:
    """One that no other lease has: the picture is its job's, and a comment in it names the lease."""
    good = GOOD[int(hashlib.sha256(job_id.encode()).hexdigest(), 16) % len(GOOD)]
    comment = f"{lease_id} {job_id}".encode()
    return good[:2] + b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment + good[2:]


class Disk:
    """What a worker keeps over its own crashes: outcomes that are not settled."""

    def __init__(self) -> None:
        self.outcomes: dict[str, pb.Outcome] = {}


class Worker:
    """One run of the program."""

    def __init__(
        self,
        process: Process,
        network: Network,
        truth: Truth,
        chance: Random,
        owner: str,
        name: str,
        kind: str,
        slots: int,
        disk: Disk,
        pace: float,
    ) -> None:
        self._process, self._network, self._truth, self._chance = process, network, truth, chance
        self._owner, self._name, self._slots, self._disk, self._pace = owner, name, slots, disk, pace
        self._kind = kind
        self._router: Any = StorageServiceStub(stub_channel(network, process, "router-"))
        self._stream: Decoded | None = None
        self._held: dict[str, pb.Assignment] = {}
        self._steps: dict[str, int] = {}
        self._painting: dict[str, asyncio.Task[None]] = {}
        self._epoch = 0
        self._told: dict[str, int] = {}

    @property
    def kind(self) -> str:
        """How it behaves: everybody is honest in a world that is healed."""
        return "honest" if self._network.faults.healed else self._kind

    async def run(self) -> None:
        """Stay attached for ever."""
        asyncio.get_running_loop().create_task(self._resend())
        while True:
            try:
                await self._session()
            except ServiceError:
                pass
            self._stream = None
            await asyncio.sleep(0.2 + 4.0 * self._chance.random() ** 2)

    async def _session(self) -> None:
        gateway = self._chance.choice(GATEWAYS)
        stream = self._network.open(self._process, gateway, lambda handlers: handlers["attach"](self._owner))
        self._stream = decoded = Decoded(stream, pb.AttachResponse.FromString)
        hello = pb.Hello(worker_name=self._name, agent="simulated/1")
        for model in MODELS:
            offer = worker_pb2.ImageOffer(max_pixels=1 << 20, features=[worker_pb2.FEATURE_IMAGE_TO_IMAGE])
            hello.capabilities.models.append(worker_pb2.ModelOffer(name=model, loaded=True, image=offer))
        await decoded.write(pb.AttachRequest(hello=hello))
        async for response in decoded:
            await self._hear(response)
            if self._network.faults.happens("worker hangs up"):
                decoded.cancel()
                return

    async def _hear(self, response: pb.AttachResponse) -> None:
        match response.WhichOneof("message"):
            case "welcome":
                await self._restate(0)
            case "resync":
                await self._restate(response.resync.epoch)
            case "assignment":
                self._begin(response.assignment)
            case "revocation":
                await self._revoked(response.revocation)
            case "settled":
                self._settled(response.settled)
            case "farewell":
                assert self._stream is not None
                self._stream.cancel()

    async def _restate(self, epoch: int) -> None:
        restatement = pb.Restatement(epoch=epoch)
        restatement.demand.slots = self._slots
        if self.kind == "forgetter" and self._chance.random() < 0.5:
            for lease_id in list(self._held):
                self._drop(lease_id)
        for lease_id, assignment in self._held.items():
            if lease_id not in self._disk.outcomes:
                held = pb.HeldLease(lease_id=lease_id, job_id=assignment.job_id, step=self._steps[lease_id])
                restatement.leases.append(held)
        restatement.outcomes.extend(self._disk.outcomes.values())
        await self._say(restatement=restatement)

    async def _say(self, **message: Any) -> None:
        if self._stream is None:
            return
        try:
            await self._stream.write(pb.AttachRequest(**message))
        except ServiceError:
            self._stream = None

    def _begin(self, assignment: pb.Assignment) -> None:
        self._held[assignment.lease_id] = assignment
        self._steps[assignment.lease_id] = 0
        working = sorted(self._held.keys() - self._disk.outcomes.keys())
        self._truth.must(len(working) <= self._slots, f"{self._name}: {self._slots} slots, and holds {working}")
        task = asyncio.get_running_loop().create_task(self._paint(assignment))
        self._painting[assignment.lease_id] = task
        task.add_done_callback(lambda _: self._painting.pop(assignment.lease_id, None))

    async def _revoked(self, revocation: pb.Revocation) -> None:
        lease_id = revocation.lease_id
        task = self._painting.get(lease_id)
        if self.kind == "late" and task is not None:
            self._held.pop(lease_id, None)
            return  # It did not hear, and brings its picture.
        if task is not None:
            task.cancel()
        assignment = self._held.pop(lease_id, None)
        step = self._steps.pop(lease_id, 0)
        if assignment is not None and lease_id not in self._disk.outcomes:
            outcome = pb.Outcome(lease_id=lease_id, job_id=assignment.job_id, cancelled=pb.Cancelled(step=step))
            await self._say(outcome=outcome)

    def _settled(self, settled: pb.Settled) -> None:
        self._disk.outcomes.pop(settled.lease_id, None)
        self._drop(settled.lease_id)
        if settled.disposition == pb.DISPOSITION_ACCEPTED and settled.HasField("settlement"):
            self._truth.told_paid(settled.job_id, settled.lease_id)

    def _drop(self, lease_id: str) -> None:
        self._held.pop(lease_id, None)
        self._steps.pop(lease_id, None)
        task = self._painting.get(lease_id)
        if task is not None:
            task.cancel()

    async def _paint(self, assignment: pb.Assignment) -> None:
        lease_id, chance = assignment.lease_id, self._chance
        steps = assignment.spec.image.steps
        gives_up = chance.randrange(steps + 1)
        for step in range(1, steps + 1):
            await asyncio.sleep(self._pace * (0.5 + chance.random()))
            if self.kind == "staller" and step > gives_up and chance.random() < 0.5:
                await asyncio.sleep(400 * chance.random())
            if self.kind in ("refuser", "failer", "censor") and step > gives_up:
                await self._report(assignment, **self._without_picture())
                return
            self._steps[lease_id] = step
            state = generation_pb2.LEASE_STATE_PAINTING
            await self._say(progress=pb.LeaseProgress(lease_id=lease_id, step=step, state=state))
        if self.kind == "liar" and chance.random() < 0.5:
            await self._report(assignment, painted=pb.Painted(receipt=self._false_receipt()))
            return
        receipt = await self._upload(assignment)
        if receipt:
            making = job_pb2.Making(device_class="test")
            await self._report(assignment, painted=pb.Painted(receipt=receipt, making=making))
        else:
            await self._report(assignment, failed=pb.Failed(reason=pb.FAILURE_REASON_UPLOAD_REFUSED))

    def _without_picture(self) -> dict[str, Any]:
        if self.kind == "refuser":
            return {"refused": pb.Refused(reason=pb.REFUSAL_REASON_CONTENT_DECLINED)}
        if self.kind == "censor":
            return {"censored": pb.Censored(category="nsfw")}
        return {"failed": pb.Failed(reason=pb.FAILURE_REASON_BACKEND)}

    def _false_receipt(self) -> str:
        """One that is none, or another lease's."""
        others = [each.painted.receipt for each in self._disk.outcomes.values() if each.HasField("painted")]
        return self._chance.choice([*others, "no.receipt.at-all"])

    async def _upload(self, assignment: pb.Assignment) -> str:
        data = picture(assignment.lease_id, assignment.job_id)
        sha256 = hashlib.sha256(data)
        self._truth.pictures[sha256.hexdigest()] = assignment.job_id
        request = storage_service_pb2.PutImageRequest(grant=assignment.grant, data=data, sha256=sha256.digest())
        in_parts = self._chance.random() < 0.2
        for _ in range(20):
            try:
                if in_parts:
                    return await self._upload_in_parts(request)
                answer = await self._router.PutImage(request)
            except (Unavailable, ResourceExhausted):
                await asyncio.sleep(0.2 + 2 * self._chance.random())
            except ServiceError:
                return ""
            else:
                return str(answer.receipt)
        return ""

    async def _upload_in_parts(self, whole: storage_service_pb2.PutImageRequest) -> str:
        """As a large picture is brought: from where the router says, in chunks."""
        call = self._router.UploadImage()
        try:
            answers = aiter(call)
            await call.write(
                storage_service_pb2.UploadImageRequest(open=storage_service_pb2.UploadImageOpen(grant=whole.grant))
            )
            offset = (await anext(answers)).resume.offset
            for start in range(offset, len(whole.data), PART):
                chunk = storage_service_pb2.Chunk(offset=start, data=whole.data[start : start + PART])
                await call.write(storage_service_pb2.UploadImageRequest(chunk=chunk))
                await asyncio.sleep(0.05)
            finish = storage_service_pb2.UploadFinish(sha256=whole.sha256, size_bytes=len(whole.data))
            await call.write(storage_service_pb2.UploadImageRequest(finish=finish))
            return str((await anext(answers)).receipt.receipt)
        except StopAsyncIteration:
            raise Unavailable("The router hung up.") from None
        finally:
            call.cancel()

    async def _report(self, assignment: pb.Assignment, **result: Any) -> None:
        outcome = pb.Outcome(lease_id=assignment.lease_id, job_id=assignment.job_id, **result)
        self._disk.outcomes[assignment.lease_id] = outcome
        for _ in range(3 if self.kind == "repeater" else 1):
            await self._say(outcome=outcome)

    async def _resend(self) -> None:
        """Until somebody says what became of it."""
        while True:
            await asyncio.sleep(RESEND_SECONDS)
            for lease_id, outcome in list(self._disk.outcomes.items()):
                if self._told.get(lease_id, 0):
                    await self._say(outcome=outcome)
                self._told[lease_id] = 1
