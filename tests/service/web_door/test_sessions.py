"""Sessions that are held for workers that pull, in front of a scripted workers' door."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from horde.api.worker.v1 import worker_pb2
from horde.api.worker.v1 import worker_service_pb2 as pb
from horde.api.worker.v1.worker_service_pb2_grpc import (
    WorkerServiceServicer,
    WorkerServiceStub,
    add_WorkerServiceServicer_to_server,
)
from horde.services.channel import dial
from horde.services.clock import SystemClock
from horde.services.errors import ServiceError, Unauthenticated, Unavailable
from horde.services.identity import PUBLIC, AllowList
from horde.services.loops import Loops
from horde.services.server import Registration, serving
from horde.services.streams import Outbox
from horde.testkit.waiting import until
from horde.web_door.caller import Caller
from horde.web_door.core.bodies import PopBody, read
from horde.web_door.core.refusals import Refusal
from horde.web_door.core.rest_worker import Lent
from horde.web_door.v2.sessions import Sessions

NAME = "horde.api.worker.v1.WorkerService"
ANNA = Caller("192.0.2.7", "a" * 22)


class WorkersDoor(WorkerServiceServicer):
    """Welcomes everybody, remembers what is said, and says what a test has it say."""

    def __init__(self) -> None:
        self.heard: list[list[pb.AttachRequest]] = []
        self.metadata: list[dict[str, Any]] = []
        self.outboxes: list[Outbox[pb.AttachResponse]] = []
        self.refusal: ServiceError | None = None
        self.attached = 0

    async def Attach(self, request_iterator: Any, context: Any) -> AsyncIterator[pb.AttachResponse]:
        self.attached += 1
        if self.refusal is not None:
            raise self.refusal
        said: list[pb.AttachRequest] = []
        outbox: Outbox[pb.AttachResponse] = Outbox(100)
        self.heard.append(said)
        self.outboxes.append(outbox)
        self.metadata.append(dict(context.invocation_metadata()))
        outbox.put_nowait(pb.AttachResponse(welcome=pb.Welcome(session_id="s", worker_id="w")))

        async def listen() -> None:
            async for request in request_iterator:
                said.append(request)  # noqa: PERF401 - as they come, and not all at the end

        listening = asyncio.create_task(listen())
        try:
            async for response in outbox:
                yield response
        finally:
            listening.cancel()

    def kinds(self, session: int = -1) -> list[str]:
        return [request.WhichOneof("message") or "" for request in self.heard[session]]

    def lend(self, number: int) -> None:
        assignment = pb.Assignment(job_id=f"job{number}", lease_id=f"lease{number}", price_mkudos=1_000)
        self.outboxes[-1].put_nowait(pb.AttachResponse(assignment=assignment))

    def settle(self, number: int) -> None:
        settled = pb.Settled(job_id=f"job{number}", lease_id=f"lease{number}", disposition=pb.DISPOSITION_ACCEPTED)
        self.outboxes[-1].put_nowait(pb.AttachResponse(settled=settled))


class Neighbours:
    """What of the mesh the sessions need."""

    def __init__(self, channel: Any) -> None:
        self.sessions = WorkerServiceStub(channel)


@asynccontextmanager
async def door(most: int = 10) -> AsyncIterator[tuple[WorkersDoor, Sessions]]:
    workers = WorkersDoor()  # type: ignore[abstract]
    registration = Registration(add_WorkerServiceServicer_to_server, workers, NAME)
    allow = AllowList({f"/{NAME}/*": PUBLIC})
    async with (
        serving("127.0.0.1:0", [registration], name="gateway", allow=allow, identity=None) as server,
        dial(f"127.0.0.1:{server.port}", caller=None, retry=False) as channel,
        Loops() as loops,
    ):
        neighbours: Any = Neighbours(channel)
        yield workers, Sessions(neighbours, SystemClock(), loops, most)


def pop(name: str = "w", **fields: Any) -> PopBody:
    return read(PopBody, {"name": name, "models": ["paintbox"], **fields})


async def test_an_idle_worker_that_pops_and_pops_says_one_thing_to_the_mesh() -> None:
    async with door() as (workers, sessions):
        session = await sessions.session(ANNA, pop())
        assert await session.pop(0.05) is None
        await until(lambda: workers.kinds() == ["hello", "restatement", "demand"])
        for _ in range(200):
            assert await (await sessions.session(ANNA, pop())).pop(10.0) is None
        assert workers.kinds() == ["hello", "restatement", "demand"]
        assert workers.heard[-1][-1].demand.slots == 1
        assert len(workers.heard) == 1


async def test_the_mesh_hears_who_it_is_how_fast_it_is_and_where_it_calls_from() -> None:
    async with door() as (workers, sessions):
        await sessions.session(ANNA, pop("An odd name", extra_slow_worker=True))
        hello = workers.heard[-1][0].hello
        assert hello.worker_name.startswith("An-odd-name-")
        assert hello.expected_pace.each_job.seconds == 180
        assert worker_pb2.SESSION_FEATURE_EXPECTED_PACE in hello.features
        assert workers.metadata[-1]["authorization"] == f"Bearer {ANNA.key}"
        assert workers.metadata[-1]["x-forwarded-for"] == "192.0.2.7"


async def test_a_job_reaches_the_pop_that_waits_for_it_and_the_next_one_from_memory() -> None:
    async with door() as (workers, sessions):
        session = await sessions.session(ANNA, pop())
        waiting = asyncio.create_task(session.pop(60.0))
        await until(lambda: "demand" in workers.kinds())
        workers.lend(1)
        lent = await waiting
        assert lent is not None
        assert lent.job_id == "job1"
        workers.lend(2)
        await until(lambda: session.worker.waiting)
        second = await session.pop(0.0)
        assert second is not None
        assert second.job_id == "job2"


async def test_after_a_break_everything_is_stated_anew_and_outcomes_are_said_again() -> None:
    async with door() as (workers, sessions):
        session = await sessions.session(ANNA, pop())
        held = []
        for number in (1, 2):
            asking = asyncio.create_task(session.pop(60.0))
            await until(lambda: session.worker.hungry_until)
            workers.lend(number)
            lent = await asking
            assert lent is not None
            held.append(lent)
        failed = pb.Outcome(lease_id="lease1", job_id="job1")
        failed.failed.detail = "broken"
        assert await session.report(held[0], failed, 0.01) is None
        workers.outboxes[-1].close(Unavailable("broken by the test"))
        await until(lambda: len(workers.heard) == 2 and "outcome" in workers.kinds())
        restated = workers.heard[-1][1].restatement
        assert [lease.lease_id for lease in restated.leases] == ["lease2"]
        assert workers.heard[-1][2].outcome == failed
        workers.settle(1)
        workers.outboxes[-1].close(Unavailable("again"))
        await until(lambda: len(workers.heard) == 3 and "restatement" in workers.kinds())
        assert "outcome" not in workers.kinds()


async def test_a_submit_is_answered_with_what_the_mesh_made_of_it() -> None:
    async with door() as (workers, sessions):
        session = await sessions.session(ANNA, pop())
        asking = asyncio.create_task(session.pop(60.0))
        await until(lambda: "demand" in workers.kinds())
        workers.lend(1)
        lent = await asking
        assert lent is not None
        found, same = sessions.find(ANNA, "job1")
        assert (found, same) == (session, lent)
        with pytest.raises(Refusal, match="already submitted"):
            sessions.find(ANNA, "job1")
        with pytest.raises(Refusal, match="wrong credentials"):
            sessions.find(Caller("192.0.2.7", "b" * 22), "job1")
        outcome = pb.Outcome(lease_id="lease1", job_id="job1")
        outcome.failed.detail = "broken"
        reporting = asyncio.create_task(session.report(lent, outcome, 60.0))
        await until(lambda: "outcome" in workers.kinds())
        workers.settle(1)
        settled = await reporting
        assert settled is not None
        assert settled.disposition == pb.DISPOSITION_ACCEPTED


async def test_what_was_not_fetched_in_time_is_given_back() -> None:
    async with door() as (workers, sessions):
        session = await sessions.session(ANNA, pop())
        await session.pop(0.01)
        # Lent, as the session takes it, long ago.
        session.worker.lent(Lent("job1", "lease1", pb.Assignment(job_id="job1", lease_id="lease1"), at=-1_000.0))
        await until(lambda: "outcome" in workers.kinds())
        (outcome,) = [message.outcome for message in workers.heard[-1] if message.HasField("outcome")]
        assert outcome.refused.reason == pb.REFUSAL_REASON_PAUSED
        assert outcome.lease_id == "lease1"


async def test_a_key_that_is_refused_is_told_and_not_tried_with_every_pop() -> None:
    async with door() as (workers, sessions):
        workers.refusal = Unauthenticated("no")
        for _ in range(5):
            with pytest.raises(Unauthenticated):
                await sessions.session(ANNA, pop())
        assert len(sessions) == 0
        assert workers.attached == 1


async def test_of_one_address_no_more_than_its_share_are_held() -> None:
    async with door(most=4) as (_, sessions):
        with pytest.raises(ServiceError, match="Too many workers"):
            for number in range(4):
                await sessions.session(ANNA, pop(f"w{number}"))
        await sessions.session(Caller("198.51.100.7", "b" * 22), pop())
