"""What one image costs the scheduler: a process of its own, SQLite on disk, neighbours and a gateway that do no work.

    python bench/scheduler_cpu.py [--images 5000] [--workers 40] [--outstanding 400] [--profile FILE]
    python bench/scheduler_cpu.py --rate 130 --n 4 --paint 0.1 --steps 0 --workers 16

Prints images per second, and CPU milliseconds per image of the scheduler's process alone. As fast as it goes, all
comes in large batches; with --rate and --paint it comes a little at a time, as in a mesh that also has other things to
do, and an image costs more.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import resource
import secrets
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from grpc import aio
from tests.service.scheduler.mesh import OWNER, submission
from tests.service.scheduler.neighbours import Ledger, Storage

from horde.api.worker.v1.worker_service_pb2 import Assignment
from horde.internal.ledger.v1.ledger_service_pb2_grpc import add_LedgerServiceServicer_to_server
from horde.internal.scheduler.v1 import scheduler_service_pb2 as pb
from horde.internal.scheduler.v1.scheduler_service_pb2_grpc import SchedulerServiceStub
from horde.internal.storage.v1.object_service_pb2_grpc import add_ObjectServiceServicer_to_server
from horde.services.channel import dial
from horde.services.identity import AllowList, Credentials, SharedKey, create_key_file
from horde.services.server import Registration, serving
from horde.services.tokens import Signer


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.terminate()
        await process.wait()


class Load:
    """A gateway with workers that paint at once, and requesters who follow."""

    def __init__(self, stub: Any, router: Signer, args: argparse.Namespace) -> None:
        self.stub, self.router, self.args = stub, router, args
        self.left = args.images
        self.done = 0
        self.finished = asyncio.Event()
        self.started: dict[str, float] = {}
        self.submitted: dict[str, float] = {}
        self.waits: list[float] = []
        self.worker_ids: dict[int, str] = {}
        self.out: asyncio.Queue[pb.SessionRequest] = asyncio.Queue()
        self.follows: asyncio.Queue[pb.FollowRequest] = asyncio.Queue()
        self.wanted = asyncio.Semaphore(args.outstanding)

    async def relay(self) -> None:
        call = self.stub.Relay()
        await call.write(pb.RelayRequest(relay_hello=pb.RelayHello(gateway_id="bench")))
        await call.read()
        for number in range(1, self.args.workers + 1):
            opened = pb.SessionRequest(relay_session_id=number)
            opened.opened.owner_account_id = OWNER
            opened.opened.hello.worker_name = f"w{number}"
            offer = opened.opened.hello.capabilities.models.add(name="paintbox", loaded=True)
            offer.image.max_pixels = 1 << 22
            self.out.put_nowait(opened)
        writer = asyncio.create_task(self._write(call))
        while (batch := await call.read()) is not aio.EOF:
            for session in batch.sessions:
                self._heard(session)
        writer.cancel()

    async def _write(self, call: Any) -> None:
        while True:
            sessions = [await self.out.get()]
            while not self.out.empty() and len(sessions) < 256:
                sessions.append(self.out.get_nowait())
            await call.write(pb.RelayRequest(sessions=sessions))

    def _heard(self, message: pb.SessionResponse) -> None:
        number = message.relay_session_id
        kind = message.worker.WhichOneof("message")
        if kind == "welcome":
            self.worker_ids[number] = message.worker.welcome.worker_id
            answer = pb.SessionRequest(relay_session_id=number)
            answer.worker.restatement.demand.slots = 2
            self.out.put_nowait(answer)
        elif kind == "assignment":
            assignment = message.worker.assignment
            self.waits.append(time.perf_counter() - self.submitted[assignment.generation_id])
            if self.args.paint:
                seconds = self.args.paint * random.uniform(0.5, 1.5)
                asyncio.get_running_loop().call_later(seconds, self._painted, number, assignment)
            else:
                self._painted(number, assignment)

    def _painted(self, number: int, assignment: Assignment) -> None:
        for step in range(1, self.args.steps + 1):
            progress = pb.SessionRequest(relay_session_id=number)
            progress.worker.progress.lease_id, progress.worker.progress.step = assignment.lease_id, step
            self.out.put_nowait(progress)
        outcome = pb.SessionRequest(relay_session_id=number)
        worker_outcome = outcome.worker.outcome
        worker_outcome.lease_id, worker_outcome.job_id = assignment.lease_id, assignment.job_id
        claims = {
            "act": "receipt", "job_id": assignment.job_id, "lease_id": assignment.lease_id,
            "worker_id": self.worker_ids[number], "owner": OWNER, "sha256": "00" * 32, "size_bytes": 50_000,
            "format": "WEBP", "width": 512, "height": 512,
        }  # fmt: skip
        worker_outcome.painted.receipt = self.router.sign("scheduler", claims, timedelta(days=8), datetime.now(UTC))
        self.out.put_nowait(outcome)

    async def follow(self) -> None:
        call = self.stub.Follow()

        async def write() -> None:
            while True:
                await call.write(await self.follows.get())

        writer = asyncio.create_task(write())
        while (batch := await call.read()) is not aio.EOF:
            for event in batch.events:
                if event.HasField("finished"):
                    self.done += self.args.n
                    self.wanted.release()
                    if self.done >= self.args.images:
                        self.finished.set()
        writer.cancel()

    async def submit(self) -> None:
        while self.left > 0:
            batch = []
            await self.wanted.acquire()
            batch.append(self._one())
            while self.left > 0 and len(batch) < self.args.batch and not self.wanted.locked():
                await self.wanted.acquire()
                batch.append(self._one())
            await self._send(batch)

    async def pace(self) -> None:
        """Submit a given number of images a second, each generation by itself."""
        sending = set()
        began, sent = time.perf_counter(), 0
        while self.left > 0:
            await asyncio.sleep(max(0.0, began + sent / self.args.rate - time.perf_counter()))
            sent += self.args.n
            task = asyncio.create_task(self._send([self._one()]))
            sending.add(task)
            task.add_done_callback(sending.discard)
        await asyncio.gather(*sending)

    def _one(self) -> pb.SubmitGeneration:
        self.left -= self.args.n
        message = submission(f"r{secrets.token_hex(8)}", steps=max(1, self.args.steps), count=self.args.n)
        self.submitted[message.generation_id] = time.perf_counter()
        return message

    async def _send(self, batch: list[pb.SubmitGeneration]) -> None:
        response = await self.stub.SubmitGenerations(pb.SubmitGenerationsRequest(submissions=batch))
        for generation, outcome in zip(batch, response.outcomes, strict=True):
            assert outcome.HasField("generation"), outcome
            ref = pb.GenerationRef(generation_id=generation.generation_id, requester=generation.requester)
            self.follows.put_nowait(pb.FollowRequest(follow=ref))


async def main(args: argparse.Namespace) -> None:
    # Only the calls that a scheduler makes are there.
    storage, ledger = Storage(), Ledger()  # type: ignore[abstract]
    storage.trust_all = True
    with tempfile.TemporaryDirectory(dir=args.dir) as name:
        folder = Path(name)
        create_key_file(folder / "mesh.key")
        router = Signer.from_file(folder / "router.pem", "storage-router", publish=folder / "keys")
        identity = SharedKey.from_file(folder / "mesh.key")
        async with AsyncExitStack() as stack:
            ports = []
            for add, servicer, service in (
                (add_LedgerServiceServicer_to_server, ledger, "horde.internal.ledger.v1.LedgerService"),
                (add_ObjectServiceServicer_to_server, storage, "horde.internal.storage.v1.ObjectService"),
            ):
                allow = AllowList({f"/{service}/*": {"scheduler"}})
                server = await stack.enter_async_context(
                    serving(
                        "127.0.0.1:0",
                        [Registration(add, servicer, service)],
                        name="fake",
                        allow=allow,
                        identity=identity,
                    )
                )
                ports.append(server.port)
            settings = {
                "LISTEN": f"127.0.0.1:{args.port}", "STATE_DIR": str(folder / "state"),
                "KEY_FILE": str(folder / "mesh.key"), "PUBLIC_KEYS_DIR": str(folder / "keys"),
                "LEDGER": f"127.0.0.1:{ports[0]}",
                "STORAGE_ROUTER": f"127.0.0.1:{ports[1]}", "COMMIT_PAUSE_SECONDS": str(args.pause),
            }  # fmt: skip
            environment = {**os.environ, **{f"HORDE_SCHEDULER_{key}": value for key, value in settings.items()}}
            how = ["-m", "horde.scheduler"]
            if args.profile:
                how = ["-m", "cProfile", "-o", args.profile, "-m", "horde.scheduler"]
            process = await asyncio.create_subprocess_exec(
                sys.executable, *how, env=environment, stderr=asyncio.subprocess.DEVNULL
            )
            me = Credentials.from_key_file("gateway", folder / "mesh.key")
            channel = await stack.enter_async_context(dial(f"127.0.0.1:{args.port}", caller=me, wait_for_ready=True))
            stub: Any = SchedulerServiceStub(channel)
            stack.push_async_callback(stop, process)
            await stub.ListModels(pb.ListModelsRequest(), timeout=60)
            load = Load(stub, router, args)
            tasks = [asyncio.create_task(start()) for start in (load.relay, load.follow)]
            await asyncio.sleep(0.3)
            before, began, mine = (
                cpu_seconds(process.pid),
                time.perf_counter(),
                resource.getrusage(resource.RUSAGE_SELF),
            )
            if args.rate:
                tasks.append(asyncio.create_task(load.pace()))
            else:
                tasks += [asyncio.create_task(load.submit()) for _ in range(args.submitters)]
            await load.finished.wait()
            took, cpu = time.perf_counter() - began, cpu_seconds(process.pid) - before
            used = resource.getrusage(resource.RUSAGE_SELF)
            load.waits.sort()
            print(
                f"{args.images / took:.0f} images/s, scheduler {1000 * cpu / args.images:.2f} CPU-ms per image, "
                f"driver {1000 * (used.ru_utime - mine.ru_utime + used.ru_stime - mine.ru_stime) / args.images:.2f}; "
                f"submit to assignment p50 {1000 * load.waits[len(load.waits) // 2]:.0f} ms, "
                f"p99 {1000 * load.waits[len(load.waits) * 99 // 100]:.0f} ms"
            )
            for task in tasks:
                task.cancel()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=int, default=3000)
    parser.add_argument("--workers", type=int, default=40)
    parser.add_argument("--outstanding", type=int, default=100)
    parser.add_argument("--submitters", type=int, default=4)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--n", type=int, default=1, help="images of a generation")
    parser.add_argument("--steps", type=int, default=4, help="that workers report of each image")
    parser.add_argument("--rate", type=float, default=0.0, help="images submitted a second; 0: as fast as it goes")
    parser.add_argument("--paint", type=float, default=0.0, help="seconds that painting takes, about")
    parser.add_argument("--pause", type=float, default=0.008)
    parser.add_argument("--port", type=int, default=17702)
    parser.add_argument("--profile", default="")
    parser.add_argument("--dir", default=None)
    asyncio.run(main(parser.parse_args()))
