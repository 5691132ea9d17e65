"""Workers of a crowd, as many as one process holds: each with a connection and an address of its own, and the worker
agent's own way of coming back. They paint nothing; what happens to them is told on standard output, a line each.

Started by `bench/crowd.py`, which writes `NUMBER KEY` lines for those that are to attach. A line of output says
what happened, when by the monotonic clock of this machine, and to whom or for which generation.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from collections.abc import Sequence
from typing import Any

from horde.api.worker.v1 import worker_service_pb2 as pb
from horde.api.worker.v1.worker_service_pb2_grpc import WorkerServiceStub
from horde.services.channel import MIB, dial
from horde.services.clock import SystemClock
from horde.services.identity import Caller, Credentials
from horde.services.streams import Outbox
from horde.services.telemetry import configure_logs
from horde.worker_agent.attach import Dismissed, keep_attached
from horde.worker_agent.core.backoff import Backoff

MODEL = "paintbox"
MAX_PIXELS = 256 * 256
"""What a worker of the crowd takes at most."""


def tell(what: str, about: str) -> None:
    """One line for whoever started us."""
    sys.stdout.write(f"{what} {time.monotonic():.4f} {about}\n")


class IdleWorker:
    """What `keep_attached` needs of an agent: one that is ready for a job, and keeps what it is lent for ever."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._outbox: Outbox[pb.AttachRequest] | None = None
        self._leases: dict[str, pb.HeldLease] = {}

    def connected(self, outbox: Outbox[pb.AttachRequest]) -> None:
        """A stream is being opened."""
        tell("calls", self.name)
        self._outbox = outbox
        hello = pb.Hello(worker_name=self.name, agent="bench")
        offer = hello.capabilities.models.add(name=MODEL, loaded=True)
        offer.image.max_pixels = MAX_PIXELS
        outbox.put_nowait(pb.AttachRequest(hello=hello))

    def disconnected(self) -> None:
        """It is over."""
        self._outbox = None

    def drop_rejected(self, violations: Sequence[Any]) -> bool:
        """Whether to go on without what was not taken."""
        return False

    def heard(self, message: pb.AttachResponse) -> None:
        """The gateway has said something."""
        match message.WhichOneof("message"):
            case "welcome":
                tell("attached", self.name)
                self._restate(0)
            case "resync":
                tell("restates", self.name)
                self._restate(message.resync.epoch)
            case "assignment":
                lent = message.assignment
                tell("lent", lent.generation_id)
                self._leases[lent.lease_id] = pb.HeldLease(lease_id=lent.lease_id, job_id=lent.job_id)
            case "revocation":
                self._leases.pop(message.revocation.lease_id, None)

    def _restate(self, epoch: int) -> None:
        demand = pb.Demand(slots=1)
        restatement = pb.Restatement(epoch=epoch, demand=demand, leases=self._leases.values())
        if self._outbox is not None:
            self._outbox.put_nowait(pb.AttachRequest(restatement=restatement))


async def work(gateway: str, number: int, name: str, key: str) -> None:
    """One worker, until it is dismissed."""
    # Whose proxy the gateway believes: workers of one network have a share of the seats together.
    address = (("x-forwarded-for", f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"),)
    caller = Credentials(Caller("worker"), address)
    # gRPC shares connections between channels of the same options.
    async with dial(gateway, caller=caller, retry=False, max_message_bytes=4 * MIB + number) as channel:
        try:
            await keep_attached(IdleWorker(name), WorkerServiceStub(channel), key, SystemClock(), Backoff())  # type: ignore[arg-type]
        except Dismissed as error:
            tell("dismissed", f"{name} {error}")


async def main(gateway: str) -> None:
    """Attach whom standard input names, until it ends."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    workers: list[asyncio.Task[None]] = []
    while line := await reader.readline():
        number, key = line.decode().split()
        workers.append(asyncio.create_task(work(gateway, int(number), f"w{number}", key)))
    for worker in workers:
        worker.cancel()


if __name__ == "__main__":
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    configure_logs(level="error", form="console", service="crowd")
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main(sys.argv[1]))
