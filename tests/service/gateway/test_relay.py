"""The one stream that carries all workers to the scheduler: what breaks, comes late, or comes all at once."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from typing import Any

from grpc import aio
from tests.service.gateway.attaching import HEAVY, JOB, LARGEST, OUTCOME, Credentials, Worker, have_a_record, relay_of

from horde.api.generation.v1 import generation_pb2
from horde.api.generation.v1 import generation_service_pb2 as generation_service
from horde.api.worker.v1 import worker_service_pb2 as pb
from horde.gateway.core.requesters import Principal, Requester
from horde.gateway.core.seats import owner
from horde.services.errors import (
    Aborted,
)
from horde.testkit.gateway import Bench
from horde.testkit.loopback import assert_raises_reason
from horde.testkit.waiting import until


async def test_a_worker_speaks_with_the_scheduler_through_the_relay(mesh: Bench, worker: Worker) -> None:
    relay = await relay_of(mesh)
    await worker.attach()
    await worker.restate()
    await worker.say(progress=pb.LeaseProgress(lease_id="7-1", step=3))
    await worker.say(demand=pb.Demand(slots=2))
    await until(lambda: len(relay.heard) == 4)
    assert relay.kinds(1) == ["opened", "restatement", "progress", "demand"]
    assert relay.hello is not None
    assert uuid.UUID(relay.hello.gateway_id)
    opened = relay.heard[0].opened
    assert opened.hello.worker_name == "rig"
    assert opened.session_id == ""
    relay.say(1, pb.AttachResponse(assignment=pb.Assignment(lease_id="7-2", job_id=JOB, price_mkudos=5)))
    assert (await worker.hear("assignment")).price_mkudos == 5
    await worker.stream.done_writing()
    assert await worker.stream.read() is aio.EOF
    await until(lambda: relay.kinds(1)[-1] == "closed")
    assert relay.heard[-1].closed.clean


async def test_a_worker_that_vanishes_is_closed_uncleanly(mesh: Bench, worker: Worker) -> None:
    relay = await relay_of(mesh)
    await worker.attach()
    worker.stream.cancel()
    await until(lambda: relay.kinds(1)[-1:] == ["closed"])
    assert not relay.heard[-1].closed.clean
    assert len(mesh.gateway.relay) == 0


async def test_a_broken_relay_keeps_the_workers_and_states_them_anew(
    mesh: Bench, worker: Worker, bert: Credentials
) -> None:
    first = await relay_of(mesh)
    other = Worker(mesh, bert)
    await worker.attach("one")
    await other.attach("two")
    mesh.scheduler.epoch = 8
    first.break_off()
    assert (await worker.hear("resync")).epoch == 8
    assert (await other.hear("resync")).epoch == 8
    second = await relay_of(mesh)
    assert second is not first
    await until(lambda: len(second.heard) >= 2)
    opened = {message.relay_session_id: message.opened for message in second.heard}
    assert {number: session.session_id for number, session in opened.items()} == {1: "s1", 2: "s2"}
    # What it says before it restates is covered by the restatement, and might confuse who has not heard that yet.
    await worker.say(progress=pb.LeaseProgress(lease_id="7-1", step=3))
    await worker.restate(epoch=8)
    await worker.say(progress=pb.LeaseProgress(lease_id="7-1", step=4))
    await until(lambda: second.kinds(1)[-1] == "progress")
    assert second.kinds(1) == ["opened", "restatement", "progress"]
    # The second welcome of a session that was stated anew is not the worker's business.
    second.say(1, pb.AttachResponse(settled=pb.Settled(lease_id="7-1")))
    await worker.hear("settled")


async def test_a_thousand_unsettled_outcomes_are_restated_in_one_message(mesh: Bench, worker: Worker) -> None:
    relay = await relay_of(mesh)
    await worker.attach()
    await worker.say(restatement=pb.Restatement(outcomes=[OUTCOME] * 1_024))
    await until(lambda: relay.kinds(1) == ["opened", "restatement"])
    assert len(relay.heard[1].worker.restatement.outcomes) == 1_024


async def test_a_relay_states_more_than_one_message_holds(mesh: Bench, anna: Credentials) -> None:
    await have_a_record(mesh, anna)
    first = await relay_of(mesh)
    workers = [Worker(mesh, anna) for _ in range(100)]
    for number, worker in enumerate(workers):
        await worker.say(hello=pb.Hello(worker_name=f"w{number}", capabilities=LARGEST))
        await worker.hear("welcome")
    said = [message.ByteSize() for message in first.heard]
    assert sum(said) > 4 * 1024 * 1024
    first.break_off()
    await until(lambda: len(mesh.scheduler.relays) > 1)
    for worker in workers:
        await worker.hear("resync")
    await until(lambda: len(mesh.scheduler.relays[-1].heard) == 100)
    assert len(mesh.scheduler.relays) == 2


async def test_workers_who_say_much_at_once_do_not_break_the_relay(mesh: Bench, anna: Credentials) -> None:
    await have_a_record(mesh, anna)
    relay = await relay_of(mesh)
    workers = [Worker(mesh, anna) for _ in range(24)]
    for number, worker in enumerate(workers):
        await worker.attach(f"w{number}")
    most = pb.Restatement(outcomes=[HEAVY] * 60)
    assert 24 * most.ByteSize() > 4 * 1024 * 1024
    await asyncio.gather(*(worker.say(restatement=most) for worker in workers))
    await until(lambda: len(relay.heard) == 48)
    assert mesh.scheduler.relays == [relay]


async def test_a_worker_that_comes_while_the_scheduler_is_away_waits_for_it(mesh: Bench, worker: Worker) -> None:
    relay = await relay_of(mesh)
    mesh.scheduler.away = True
    relay.break_off()
    await until(lambda: not mesh.gateway.relay.up)
    attached = asyncio.create_task(worker.attach())
    await until(lambda: len(mesh.gateway.relay) == 1)
    assert not attached.done()
    mesh.scheduler.away = False
    await attached
    assert mesh.scheduler.relays[-1].heard[0].relay_session_id == 1


async def test_numbers_are_never_used_again(mesh: Bench, anna: Credentials) -> None:
    relay = await relay_of(mesh)
    for _ in range(3):
        worker = Worker(mesh, anna)
        await worker.attach()
        worker.stream.cancel()
        await until(lambda: len(mesh.gateway.relay) == 0)
    assert [message.relay_session_id for message in relay.heard if message.HasField("opened")] == [1, 2, 3]


class Superseded(Aborted):
    """A newer session."""

    domain = "horde.api.worker.v1"
    reason = "SESSION_SUPERSEDED"


async def test_the_scheduler_can_end_a_session(mesh: Bench, worker: Worker) -> None:
    relay = await relay_of(mesh)
    await worker.attach()
    relay.end(1, Superseded(metadata={"worker_name": "rig"}))
    with assert_raises_reason(Aborted, "SESSION_SUPERSEDED"):
        await worker.stream.read()


async def test_after_a_storm_nothing_is_left(
    mesh: Bench, anna: Credentials, spec: Callable[..., generation_pb2.GenerationSpec]
) -> None:
    await have_a_record(mesh, anna)
    relay = await relay_of(mesh)
    asked = generation_service.CreateGenerationRequest(request_id=str(uuid.uuid4()), spec=spec())
    generation_id = (await mesh.generations.CreateGeneration(asked, metadata=anna)).generation.generation_id
    watch = generation_service.WatchGenerationRequest(generation_id=generation_id, previews=True)

    async def storm(number: int) -> None:
        stream = mesh.generations.WatchGeneration(watch, metadata=anna)
        worker = Worker(mesh, anna)
        if number % 3:
            await stream.read()
        if number % 2:
            await worker.attach(f"w{number}")
        stream.cancel()
        worker.stream.cancel()

    await asyncio.gather(*(storm(number) for number in range(100)))
    gateway = mesh.gateway
    await until(lambda: not len(gateway.watching) and not len(gateway.relay))
    assert not gateway.watching._followed
    assert not gateway.watching._seats.used
    assert not gateway.previews._sinks
    await until(lambda: sum(message.HasField("closed") for message in relay.heard) == 50)
    assert sum(message.HasField("opened") for message in relay.heard) == 50
    # And it still works.
    stream = mesh.generations.WatchGeneration(watch, metadata=anna)
    assert (await stream.read()).HasField("snapshot")
    await Worker(mesh, anna).attach()


async def test_attaching_costs_the_same_however_many_are_attached(mesh: Bench) -> None:
    relay, sessions, looked_at = mesh.gateway.relay, mesh.gateway.relay._sessions, 0

    class Counted(dict[int, Any]):
        def values(self) -> Any:
            nonlocal looked_at
            for session in super().values():
                looked_at += 1
                yield session

    sessions._by_number = Counted()
    numbers = range(2_000)
    hellos = [pb.Hello(worker_name=f"rig-{number}") for number in numbers]
    takers = [owner(f"account-{number % 10}", "", known=True) for number in numbers]
    opened = [
        relay._open(Principal(Requester(f"account-{number % 10}")), hellos[number], takers[number])
        for number in numbers
    ]
    assert looked_at == 0
    for session in opened:
        relay._close(session, clean=True)
    assert not sessions._seats.used
    assert not sessions._of_worker
