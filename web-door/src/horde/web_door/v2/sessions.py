"""All workers that speak REST: who may use which session, and how many there may be."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from datetime import timedelta

from google.protobuf import json_format

from horde.api.worker.v1 import worker_pb2
from horde.api.worker.v1 import worker_service_pb2 as pb
from horde.services.clock import Clock
from horde.services.errors import ResourceExhausted, ServiceError
from horde.services.loops import Loops
from horde.services.shares import Pot, Taker
from horde.web_door.caller import Caller
from horde.web_door.core.bodies import PopBody
from horde.web_door.core.offers import agent_of, offers, pace_of, worker_name
from horde.web_door.core.refusals import Refusal
from horde.web_door.core.rest_worker import Lent
from horde.web_door.neighbours.mesh import Mesh
from horde.web_door.v2.session import WorkerSession, hello_of

REFUSED_SECONDS = 5.0
"""How long a worker that the mesh would not have is told so without asking again."""
MOST_REFUSED = 1_000
ATTACH_SECONDS = 5.0
Name = tuple[str, str]
"""The key and the name of a worker here."""


def _full(kind: str) -> ServiceError:
    return ResourceExhausted("Too many workers are held here; wait.", retry_after=timedelta(seconds=30))


class Sessions:
    """The sessions that are held here. They end with this process; the mesh lends elsewhere what they had."""

    def __init__(self, mesh: Mesh, clock: Clock, loops: Loops, most: int) -> None:
        self._mesh = mesh
        self._clock = clock
        self._loops = loops
        self._sessions: dict[Name, WorkerSession] = {}
        self._refused: OrderedDict[Name, tuple[ServiceError, float]] = OrderedDict()
        self._seats = Pot(most, {"address": 1.0}, _full)

    def __len__(self) -> int:
        return len(self._sessions)

    async def session(self, caller: Caller, body: PopBody) -> WorkerSession:
        """The session of the worker that pops; opened if there is none. Raises what the mesh refuses it for."""
        name = (caller.key, worker_name(body.name))
        capabilities = _capabilities(body)
        session = self._sessions.get(name)
        if session is None:
            session = self._open(caller, name, body, capabilities)
        session.change(capabilities)
        if not session.attached.is_set():
            try:
                async with asyncio.timeout(ATTACH_SECONDS):
                    await session.attached.wait()
            except TimeoutError:
                return session
        if session.ended is not None and session.worker_id == "":
            raise session.ended
        return session

    def find(self, caller: Caller, job_id: str) -> tuple[WorkerSession, Lent]:
        """Who holds a job that the caller submits; raises Refusal in the words that such workers look for."""
        own = [session for (key, _), session in self._sessions.items() if key == caller.key]
        for session in own:
            if job_id in session.worker.hands:
                return session, session.worker.submitting(job_id)
        if any(job_id in session.worker.hands for session in self._sessions.values()):
            raise Refusal(403, "WrongCredentials", "wrong credentials: this job was lent to another user's worker")
        for session in own:
            if job_id in session.worker.closed:
                session.worker.submitting(job_id)
        raise Refusal(404, "InvalidJobID", f"Processing Job with ID {job_id[:64]} does not exist.")

    def arrived(self, lease_id: str, receipt: str) -> bool:
        """The router has the picture of a lease; whether it was lent here."""
        return any(session.worker.arrived(lease_id, receipt) for session in self._sessions.values())

    def _open(self, caller: Caller, name: Name, body: PopBody, capabilities: worker_pb2.Capabilities) -> WorkerSession:
        refused = self._refused.get(name)
        if refused is not None and refused[1] > self._clock.monotonic():
            raise refused[0]
        taker = Taker((("address", caller.address),))
        self._seats.take(taker)
        pace, expected = pace_of(body), pb.ExpectedPace()
        expected.megapixel_step.FromTimedelta(timedelta(seconds=pace.megapixel_step_seconds))
        expected.each_job.FromTimedelta(timedelta(seconds=pace.each_job_seconds))
        hello = hello_of(name[1], agent_of(body.bridge_agent), capabilities, expected)
        session = WorkerSession(self._mesh.sessions, hello, caller.metadata(), self._clock)
        self._sessions[name] = session

        async def held() -> None:
            try:
                await session.run()
            finally:
                self._seats.give_back(taker)
                del self._sessions[name]
                if session.ended is not None and not session.worker_id:
                    self._refused[name] = (session.ended, self._clock.monotonic() + REFUSED_SECONDS)
                    while len(self._refused) > MOST_REFUSED:
                        self._refused.popitem(last=False)

        self._loops.spawn("worker session", held())
        return session


def _capabilities(body: PopBody) -> worker_pb2.Capabilities:
    return json_format.ParseDict({"models": offers(body)}, worker_pb2.Capabilities())
