"""kill -9 of the scheduler's process at each arrow of the life of a generation: after its restart everything ends once.

The process is the real one, on SQLite; its neighbours and a stubborn gateway with one worker live here.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from grpc import aio
from tests.service.scheduler.mesh import OWNER, PRICE, World, requester, submission

from horde.api.job.v1 import job_pb2
from horde.api.worker.v1 import worker_pb2, worker_service_pb2
from horde.cli.local.ports import free_ports
from horde.internal.ledger.v1.ledger_service_pb2_grpc import add_LedgerServiceServicer_to_server
from horde.internal.scheduler.v1 import scheduler_service_pb2 as pb
from horde.internal.scheduler.v1.scheduler_service_pb2_grpc import SchedulerServiceStub
from horde.internal.storage.v1.object_service_pb2_grpc import add_ObjectServiceServicer_to_server
from horde.services.channel import dial
from horde.services.clock import SystemClock
from horde.services.errors import ServiceError
from horde.services.identity import AllowList, Credentials, SharedKey, create_key_file
from horde.services.server import Registration, serving
from horde.services.tokens import Signer
from horde.testkit.waiting import HANG_SECONDS, ticks

POINTS = [
    "after_accepting",
    "after_claim",
    "after_holds",
    "before_answer",
    "after_match",
    "after_assign",
    "after_outcome",
    "after_settling",
    "after_commit_object",
    "after_settle",
    "before_settled",
    "after_release",
]
INPUT = "00000000-0000-4000-8000-00000000cccc"
AGAIN_SECONDS = 5.0
"""After that a call is made again: whoever should answer may have been killed."""


class Place:
    """Where the scheduler's process runs, and what surrounds it."""

    def __init__(self, folder: Path, world: World) -> None:
        self.folder, self.world = folder, world
        (self.port,) = free_ports(1)
        self.told: dict[str, str] = {}
        self.process: asyncio.subprocess.Process | None = None
        self.stub: Any = None

    async def start(self, failpoints: str = "") -> None:
        told = {**self.told, "FAILPOINTS": failpoints}
        environment = {**os.environ, **{f"HORDE_SCHEDULER_{key}": value for key, value in told.items()}}
        environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
        with (self.folder / "log").open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "horde.scheduler", env=environment, stderr=log
            )

    async def killed(self) -> int:
        assert self.process is not None
        return await asyncio.wait_for(self.process.wait(), HANG_SECONDS)


@asynccontextmanager
async def place(folder: Path) -> AsyncIterator[Place]:
    """Neighbours that run, and a scheduler that does not yet."""
    world = World(clock=SystemClock())
    world.router = Signer.from_file(folder / "router.pem", "storage-router", publish=folder / "keys")
    create_key_file(folder / "mesh.key")
    it = Place(folder, world)
    async with AsyncExitStack() as stack:
        for name, add, servicer, service in (
            ("LEDGER", add_LedgerServiceServicer_to_server, world.ledger, "horde.internal.ledger.v1.LedgerService"),
            (
                "STORAGE_ROUTER",
                add_ObjectServiceServicer_to_server,
                world.storage,
                "horde.internal.storage.v1.ObjectService",
            ),
        ):
            server = await stack.enter_async_context(
                serving(
                    "127.0.0.1:0",
                    [Registration(add, servicer, service)],
                    name=name,
                    allow=AllowList({f"/{service}/*": {"scheduler"}}),
                    identity=SharedKey.from_file(folder / "mesh.key"),
                )
            )
            it.told[name] = f"127.0.0.1:{server.port}"
        it.told |= {
            "LISTEN": f"127.0.0.1:{it.port}",
            "STATE_DIR": str(folder / "state"),
            "KEY_FILE": str(folder / "mesh.key"),
            "PUBLIC_KEYS_DIR": str(folder / "keys"),
            "RESUME_GRACE_SECONDS": "2",
        }
        me = Credentials.from_key_file("gateway", folder / "mesh.key")
        channel = await stack.enter_async_context(dial(f"127.0.0.1:{it.port}", caller=me, wait_for_ready=True))
        it.stub = SchedulerServiceStub(channel)
        try:
            yield it
        finally:
            if it.process is not None and it.process.returncode is None:
                it.process.kill()
                await it.process.wait()


class Stubborn:
    """A gateway and its one worker: they come back, restate, and send outcomes until they are settled."""

    def __init__(self, place: Place, *, paint: bool = True) -> None:
        self.place, self.paint = place, paint
        self.session_id = self.worker_id = ""
        self.held: dict[str, Any] = {}
        self.outcomes: dict[str, worker_service_pb2.Outcome] = {}
        self.settled: list[Any] = []
        self.lent: list[tuple[str, str]] = []

    async def run(self) -> None:
        while True:
            try:
                await self._relay()
            except (ServiceError, asyncio.InvalidStateError):
                await asyncio.sleep(0.05)

    async def _relay(self) -> None:
        call = self.place.stub.Relay()
        try:
            await call.write(pb.RelayRequest(relay_hello=pb.RelayHello(gateway_id="g")))
            welcome = await call.read()
            if welcome is aio.EOF:
                return
            opened = pb.SessionOpened(owner_account_id=OWNER, session_id=self.session_id)
            opened.hello.worker_name = "w1"
            offer = opened.hello.capabilities.models.add(name="paintbox", loaded=True).image
            offer.max_pixels = 1 << 20
            offer.features.append(worker_pb2.FEATURE_IMAGE_TO_IMAGE)
            first = [pb.SessionRequest(relay_session_id=1, opened=opened)]
            if self.session_id:
                first.append(self._restatement(welcome.relay_welcome.epoch))
            await call.write(pb.RelayRequest(sessions=first))
            while (batch := await call.read()) is not aio.EOF:
                for session in batch.sessions:
                    answer = self._heard(session.worker)
                    if answer is not None:
                        await call.write(pb.RelayRequest(sessions=[answer]))
        finally:
            call.cancel()

    def _restatement(self, epoch: int) -> pb.SessionRequest:
        message = pb.SessionRequest(relay_session_id=1)
        restatement = message.worker.restatement
        restatement.epoch = epoch
        restatement.demand.slots = 2
        for assignment in self.held.values():
            restatement.leases.add(lease_id=assignment.lease_id, job_id=assignment.job_id)
        restatement.outcomes.extend(self.outcomes.values())
        return message

    def _heard(self, said: Any) -> pb.SessionRequest | None:
        kind = said.WhichOneof("message")
        if kind == "welcome":
            self.session_id, self.worker_id = said.welcome.session_id, said.welcome.worker_id
            return self._restatement(0)
        if kind == "assignment":
            self.lent.append((said.assignment.job_id, said.assignment.lease_id))
            self.held[said.assignment.lease_id] = said.assignment
            return self._paint(said.assignment) if self.paint else None
        if kind == "revocation":
            self.held.pop(said.revocation.lease_id, None)
        elif kind == "settled":
            self.settled.append(said.settled)
            self.outcomes.pop(said.settled.lease_id, None)
        return None

    def _paint(self, assignment: Any) -> pb.SessionRequest:
        self.held.pop(assignment.lease_id, None)
        receipt = self.place.world.receipt(assignment.job_id, assignment.lease_id, self.worker_id)
        message = pb.SessionRequest(relay_session_id=1)
        outcome = message.worker.outcome
        outcome.lease_id, outcome.job_id = assignment.lease_id, assignment.job_id
        outcome.painted.receipt = receipt
        self.outcomes[assignment.lease_id] = outcome
        return message


async def until(place: Place, request: pb.SubmitGeneration) -> Any:
    """Submit until it is answered, then look until it is finished."""
    while True:
        try:
            response = await place.stub.SubmitGenerations(
                pb.SubmitGenerationsRequest(submissions=[request]), timeout=AGAIN_SECONDS, wait_for_ready=True
            )
        except ServiceError:
            continue
        shown = response.outcomes[0]
        if shown.HasField("generation") and shown.generation.generation.finished:
            return shown.generation.generation
        await asyncio.sleep(0.02)


@pytest.mark.slow
@pytest.mark.parametrize("point", POINTS)
async def test_whatever_it_was_doing_it_goes_on(point: str, tmp_path: Path) -> None:
    async with place(tmp_path) as it:
        world = it.world
        world.storage.inputs[INPUT] = b"\7" * 32
        source = job_pb2.InputImage(input_id=INPUT, sha256=b"\7" * 32)
        request = submission(count=2, source_image=source)
        # A release needs something to be released: it is cancelled while nobody paints.
        cancelling = point == "after_release"
        gateway = Stubborn(it, paint=not cancelling)
        await it.start(f"scheduler.{point}=kill@1")
        tasks = [asyncio.create_task(gateway.run()), asyncio.create_task(until(it, request))]
        if cancelling:
            while not gateway.lent:
                await asyncio.sleep(0.02)
            ref = pb.GenerationRef(generation_id=request.generation_id, requester=requester())
            tasks.append(asyncio.create_task(_insist(it, pb.CancelGenerationsRequest(refs=[ref]))))
        assert await it.killed() == -9
        assert (tmp_path / "state").stat().st_mode & 0o077 == 0, "prompts are nobody else's business"
        await it.start()
        done = await asyncio.wait_for(tasks[1], HANG_SECONDS)
        ending = job_pb2.JOB_ENDING_CANCELLED if cancelling else job_pb2.JOB_ENDING_DONE
        assert [image.ending for image in done.images] == [ending] * 2
        for _ in ticks():
            quiet = not (gateway.outcomes or world.storage.quarantine or world.storage.claims or world.ledger.holds)
            if quiet:
                break
            await asyncio.sleep(0.02)
        assert quiet, (gateway.outcomes, world.storage.quarantine, world.storage.claims, world.ledger.holds)
        jobs = {image.job_id for image in done.images}
        if cancelling:
            assert world.ledger.released.keys() == jobs
        else:
            assert world.storage.committed.keys() == jobs == world.ledger.settled.keys()
            assert world.ledger.balances[OWNER] == 2 * PRICE
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _insist(it: Place, request: pb.CancelGenerationsRequest) -> None:
    while True:
        try:
            await it.stub.CancelGenerations(request, timeout=AGAIN_SECONDS, wait_for_ready=True)
        except ServiceError:
            continue
        return
