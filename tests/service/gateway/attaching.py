"""One worker's end of its stream, as the tests of it speak."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

from grpc import aio

from horde.api.account.v1 import account_service_pb2 as account_pb2
from horde.api.job.v1 import job_pb2
from horde.api.worker.v1 import worker_pb2
from horde.api.worker.v1 import worker_service_pb2 as pb
from horde.testkit.gateway import Bench, FakeRelay
from horde.testkit.waiting import HANG_SECONDS, until

Credentials = list[tuple[str, str]]

PNG = b"\x89PNG\r\n\x1a\n" + bytes(40)

JOB = str(uuid.UUID(int=5))

NEWER = bytes([0xFA, 0xFF, 0x3F, 0])
"""An empty member of the oneof that is newer than this service."""

OUTCOME = pb.Outcome(lease_id="1-1", job_id=JOB, cancelled=pb.Cancelled())

HEAVY = pb.Outcome(lease_id="1-1", job_id=JOB, painted=pb.Painted(receipt="r" * 4_096))

LARGEST = worker_pb2.Capabilities(
    models=[
        worker_pb2.ModelOffer(
            name=f"{n:0>128}",
            sha256=bytes(32),
            image=worker_pb2.ImageOffer(
                max_pixels=2**31 - 1,
                features=list(worker_pb2.Feature.values()),
                samplers=list(job_pb2.Sampler.values()),
                schedules=list(job_pb2.NoiseSchedule.values()),
            ),
        )
        for n in range(256)
    ]
)


class Worker:
    """One worker's end of the stream."""

    def __init__(self, mesh: Bench, credentials: Credentials) -> None:
        self.stream: Any = mesh.workers.Attach(metadata=credentials)

    async def say(self, **message: Any) -> None:
        await self.stream.write(pb.AttachRequest(**message))

    async def hear(self, kind: str) -> Any:
        async with asyncio.timeout(HANG_SECONDS):
            message = await self.stream.read()
        assert message is not aio.EOF, "the stream ended"
        assert message.WhichOneof("message") == kind
        return getattr(message, kind)

    async def attach(self, name: str = "rig") -> None:
        offer = worker_pb2.ImageOffer(max_pixels=512 * 512)
        capabilities = worker_pb2.Capabilities(models=[worker_pb2.ModelOffer(name="paintbox", image=offer)])
        await self.say(hello=pb.Hello(worker_name=name, capabilities=capabilities, agent="test"))
        await self.hear("welcome")

    async def restate(self, epoch: int = 0) -> None:
        await self.say(restatement=pb.Restatement(epoch=epoch, demand=pb.Demand(slots=1)))


async def relay_of(mesh: Bench) -> FakeRelay:
    await until(lambda: mesh.gateway.relay.up)
    return mesh.scheduler.relays[-1]


async def have_a_record(mesh: Bench, who: Credentials) -> None:
    """Newcomers have few seats."""
    account = (await mesh.accounts.GetAccount(account_pb2.GetAccountRequest(), metadata=who)).account
    mesh.ledger.earned.add(account.account_id)
