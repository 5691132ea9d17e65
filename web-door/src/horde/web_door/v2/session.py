"""One session with the mesh, held for one worker that speaks REST: attached again when the stream breaks."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from contextlib import suppress
from typing import Any

from grpc import aio

from horde.api.mesh.v1 import mesh_pb2
from horde.api.worker.v1 import worker_pb2
from horde.api.worker.v1 import worker_service_pb2 as pb
from horde.services.clock import Clock
from horde.services.errors import Cancelled, DeadlineExceeded, Internal, ServiceError, Unavailable, Unknown
from horde.services.telemetry import get_logger
from horde.web_door.caller import Metadata
from horde.web_door.core.rest_worker import End, Lent, RestWorker

log = get_logger(__name__)

WELCOME_SECONDS = 10.0
TICK_SECONDS = 1.0
IDLE_QUESTION_SECONDS = 30.0
LATER = (0.2, 5.0)
"""Seconds between two attempts to attach again, at first and at last."""
RETRY = (Unavailable, DeadlineExceeded, Cancelled, Internal, Unknown)
"""What a stream breaks of that is opened again; what the mesh refuses for anything else ends the session."""
FEATURES = (
    worker_pb2.SESSION_FEATURE_EXPECTED_PACE,
    worker_pb2.SESSION_FEATURE_IDLE_REPORTS,
)
Settling = asyncio.Future[pb.Settled]


class WorkerSession:
    """Run it; it ends when the worker has been silent for long, or the mesh will not have it."""

    def __init__(self, stub: Any, hello: pb.Hello, metadata: Metadata, clock: Clock) -> None:
        self.worker = RestWorker(last_pop=clock.monotonic())
        self.name = hello.worker_name
        self.worker_id = ""
        self.skipped: pb.IdleReport | None = None
        self.ended: ServiceError | None = None
        """Why it is over."""
        self.attached = asyncio.Event()
        """Also set when it is over."""
        self._stub = stub
        self._hello = hello
        self._metadata = metadata
        self._clock = clock
        self._stream: Any = None
        self._news = asyncio.Event()
        self._words = asyncio.Event()
        self._slots = 0
        self._owed: dict[str, tuple[pb.Outcome, Settling]] = {}
        """Outcomes that are not settled, by lease."""
        self._to_say: deque[pb.AttachRequest] = deque()
        self._asks_why = False
        self._asked_why_at = 0.0

    # What the worker does.

    async def pop(self, wait_seconds: float) -> Lent | None:
        """A job for the worker, if the mesh has one for it, or soon has."""
        lent = self.worker.pop(self._clock.monotonic())
        if lent is not None or not self._tell_demand():
            # It was told before that this worker is hungry; what there is for it would be here.
            self._ask_why()
            return lent
        deadline = self._clock.monotonic() + wait_seconds
        while not self.worker.waiting and self.ended is None:
            left = deadline - self._clock.monotonic()
            if left <= 0:
                return None
            self._news.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._news.wait()
        return self.worker.pop(self._clock.monotonic())

    def change(self, capabilities: worker_pb2.Capabilities) -> None:
        """The worker can do other things now."""
        if capabilities != self._hello.capabilities:
            self._hello.capabilities.CopyFrom(capabilities)
            self._say(pb.AttachRequest(capabilities=capabilities))

    async def report(self, lent: Lent, outcome: pb.Outcome, wait_seconds: float) -> pb.Settled | None:
        """Say what became of a job, and what the mesh made of it; None if it has not said so in time. It is said again
        until it has."""
        settling: Settling = asyncio.get_running_loop().create_future()
        self._owed[lent.lease_id] = (outcome, settling)
        self._say(pb.AttachRequest(outcome=outcome))
        self.worker.ended(lent, End.SUBMITTED)
        self._tell_demand()
        try:
            async with asyncio.timeout(wait_seconds):
                return await asyncio.shield(settling)
        except TimeoutError:
            return None

    # The stream.

    async def run(self) -> None:
        """Hold the session until it is over."""
        try:
            async with asyncio.TaskGroup() as group:
                ticking = group.create_task(self._tick())
                await self._hold(group)
                ticking.cancel()
        finally:
            self.attached.set()
            self._news.set()
            if self.ended is None:
                self.ended = ServiceError("The session is over.")

    async def _hold(self, group: asyncio.TaskGroup) -> None:
        pause = LATER[0]
        while self.ended is None:
            try:
                await self._attached(group)
                pause = LATER[0]
            except ServiceError as error:
                if not isinstance(error, RETRY) or self.worker.over(self._clock.monotonic()):
                    self.ended = error
                    return
            if self.ended is None:
                await self._clock.sleep(pause * random.uniform(0.5, 1.0))
                pause = min(pause * 2, LATER[1])

    async def _attached(self, group: asyncio.TaskGroup) -> None:
        stream = self._stream = self._stub.Attach(metadata=self._metadata)
        try:
            await stream.write(pb.AttachRequest(hello=self._hello))
            async with asyncio.timeout(WELCOME_SECONDS):
                first = await stream.read()
            if first is aio.EOF or first.WhichOneof("message") != "welcome":
                return
            self.worker_id = first.welcome.worker_id
            self._asks_why = worker_pb2.SESSION_FEATURE_IDLE_REPORTS in first.welcome.features
            self._to_say.clear()
            self._restate(0)
            self.attached.set()
            speaking = group.create_task(self._speak(stream))
            try:
                while (response := await stream.read()) is not aio.EOF:
                    self._heard(response)
            finally:
                speaking.cancel()
        except TimeoutError:
            return
        finally:
            self._stream = None
            stream.cancel()

    async def _speak(self, stream: Any) -> None:
        with suppress(ServiceError):
            # How the stream ended is told to whoever reads it.
            while True:
                while self._to_say:
                    await stream.write(self._to_say.popleft())
                if self.worker.over(self._clock.monotonic()):
                    self.ended = ServiceError("The worker fell silent.")
                    await stream.done_writing()
                    return
                self._words.clear()
                await self._words.wait()

    async def _tick(self) -> None:
        """What happens because time passes: nobody asks again, what was lent is not fetched."""
        while True:
            await self._clock.sleep(TICK_SECONDS)
            now = self._clock.monotonic()
            for lent in self.worker.unclaimed(now):
                refused = pb.Refused(reason=pb.REFUSAL_REASON_PAUSED, detail="The worker did not come for it.")
                self._owe(lent, pb.Outcome(lease_id=lent.lease_id, job_id=lent.job_id, refused=refused))
            self._tell_demand()
            if self.worker.over(now):
                self._words.set()

    def _heard(self, response: pb.AttachResponse) -> None:
        match response.WhichOneof("message"):
            case "assignment":
                given = response.assignment
                self.worker.lent(Lent(given.job_id, given.lease_id, given, self._clock.monotonic()))
                self._news.set()
            case "revocation":
                self.worker.revoked(response.revocation.lease_id)
                self._owed.pop(response.revocation.lease_id, None)
                self._tell_demand()
            case "settled":
                owed = self._owed.pop(response.settled.lease_id, None)
                if owed is not None and not owed[1].done():
                    owed[1].set_result(response.settled)
            case "resync":
                self._restate(response.resync.epoch)
            case "idle_report":
                self.skipped = response.idle_report
            case _:
                # Terms count at the mesh; after a farewell the stream ends, and it attaches again.
                pass

    def _restate(self, epoch: int) -> None:
        self._slots = self.worker.slots(self._clock.monotonic())
        leases = [pb.HeldLease(lease_id=lent.lease_id, job_id=lent.job_id) for lent in self.worker.held()]
        restatement = pb.Restatement(epoch=epoch, demand=pb.Demand(slots=self._slots), leases=leases[:256])
        self._say(pb.AttachRequest(restatement=restatement))
        for outcome, _ in self._owed.values():
            self._say(pb.AttachRequest(outcome=outcome))

    def _tell_demand(self) -> bool:
        """Say how many jobs are wanted, if that has changed; whether it is more."""
        slots = self.worker.slots(self._clock.monotonic())
        more = slots > self._slots
        if slots != self._slots:
            self._slots = slots
            self._say(pb.AttachRequest(demand=pb.Demand(slots=slots)))
        return more

    def _owe(self, lent: Lent, outcome: pb.Outcome) -> None:
        self._owed[lent.lease_id] = (outcome, asyncio.get_running_loop().create_future())
        self._say(pb.AttachRequest(outcome=outcome))

    def _ask_why(self) -> None:
        now = self._clock.monotonic()
        if self._asks_why and now - self._asked_why_at >= IDLE_QUESTION_SECONDS:
            self._asked_why_at = now
            self._say(pb.AttachRequest(idle_question=pb.IdleQuestion()))

    def _say(self, message: pb.AttachRequest) -> None:
        if self._stream is not None:
            self._to_say.append(message)
            self._words.set()


def hello_of(name: str, agent: str, capabilities: worker_pb2.Capabilities, pace: pb.ExpectedPace) -> pb.Hello:
    """The hello of a worker that cannot say how far it is."""
    return pb.Hello(
        worker_name=name,
        agent=agent,
        capabilities=capabilities,
        revision=mesh_pb2.CONTRACT_REVISION_1,
        features=FEATURES,
        expected_pace=pace,
    )
