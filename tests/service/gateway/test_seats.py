"""Seats are shared: no few may take all, and whoever has a record finds one."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest_asyncio

from horde.api.account.v1 import account_service_pb2 as account_pb2
from horde.api.generation.v1 import generation_pb2
from horde.api.generation.v1 import generation_service_pb2 as pb
from horde.api.worker.v1 import worker_service_pb2 as worker_pb2
from horde.services.errors import Aborted, ResourceExhausted, ServiceError
from horde.testkit.gateway import Bench, bench
from horde.testkit.loopback import assert_raises_reason
from horde.testkit.waiting import until

Credentials = list[tuple[str, str]]
Spec = Callable[..., generation_pb2.GenerationSpec]
Register = Callable[[str], Awaitable[Credentials]]


@pytest_asyncio.fixture
async def mesh(tmp_path: Path) -> AsyncIterator[Bench]:
    """A small one, so that taking all of it is quick."""
    async with bench(tmp_path, max_watchers=100, max_sessions=100) as ready:
        yield ready


async def watched(mesh: Bench, who: Credentials, generation_id: str) -> Any:
    """A watch that has begun, and reads no further."""
    stream = mesh.generations.WatchGeneration(pb.WatchGenerationRequest(generation_id=generation_id), metadata=who)
    await stream.read()
    return stream


async def created(mesh: Bench, who: Credentials, spec: generation_pb2.GenerationSpec) -> str:
    request = pb.CreateGenerationRequest(request_id=str(uuid.uuid4()), spec=spec)
    return str((await mesh.generations.CreateGeneration(request, metadata=who)).generation.generation_id)


async def attached(mesh: Bench, who: Credentials, name: str) -> Any:
    """A session of a worker that the gateway took."""
    stream = mesh.workers.Attach(metadata=who)
    await stream.write(worker_pb2.AttachRequest(hello=worker_pb2.Hello(worker_name=name)))
    await stream.read()
    return stream


async def as_many_as_it_can(take: Callable[[int], Awaitable[Any]]) -> list[Any]:
    taken: list[Any] = []
    while True:
        try:
            taken.append(await take(len(taken)))
        except ServiceError as error:
            if error.reason not in ("RATE_LIMITED", "OVERLOADED", "TOO_MANY_SESSIONS"):
                raise
            return taken


async def account_id(mesh: Bench, who: Credentials) -> str:
    return str((await mesh.accounts.GetAccount(account_pb2.GetAccountRequest(), metadata=who)).account.account_id)


async def test_free_tokens_that_watch_and_never_read_leave_seats_to_accounts(
    mesh: Bench, anna: Credentials, spec: Spec
) -> None:
    streams = []
    for token in range(5):
        who = [("authorization", f"Anonymous {token:032x}")]
        generation_id = await created(mesh, who, spec())

        async def take(_: int, who: Credentials = who, generation_id: str = generation_id) -> Any:
            return await watched(mesh, who, generation_id)

        streams += await as_many_as_it_can(take)
    hers = await created(mesh, anna, spec())
    streams += [await watched(mesh, anna, hers) for _ in range(6)]
    for stream in streams:
        stream.cancel()
    await until(lambda: mesh.gateway.watching._seats.used == 0)


async def test_who_holds_a_pass_takes_no_seat_of_who_asked(mesh: Bench, nobody: Credentials, spec: Spec) -> None:
    request = pb.CreateGenerationRequest(request_id=str(uuid.uuid4()), spec=spec())
    made = await mesh.generations.CreateGeneration(request, metadata=nobody)
    generation_id, passed = made.generation.generation_id, [("authorization", f"Pass {made.pass_id}")]
    streams = await as_many_as_it_can(lambda _: watched(mesh, passed, generation_id))
    assert streams
    streams += [await watched(mesh, nobody, generation_id) for _ in range(8)]
    for stream in streams:
        stream.cancel()
    await until(lambda: mesh.gateway.watching._seats.used == 0)


async def test_idle_sessions_of_new_owners_leave_seats_to_those_with_a_record(
    mesh: Bench, anna: Credentials, register: Register
) -> None:
    mesh.ledger.earned.add(await account_id(mesh, anna))
    streams = []
    for number in range(8):
        who = await register(f"Idle {number}")

        async def take(index: int, who: Credentials = who) -> Any:
            return await attached(mesh, who, f"rig-{index}")

        taken = await as_many_as_it_can(take)
        assert len(taken) <= 16
        streams += taken
    streams += [await attached(mesh, anna, f"rig-{number}") for number in range(4)]
    mesh.ledger.away = True
    streams.append(await attached(mesh, anna, "rig-5"))  # Who was known once is known.
    for stream in streams:
        stream.cancel()
    await until(lambda: mesh.gateway.relay._sessions._seats.used == 0)


async def test_a_worker_that_restarts_has_its_seat_though_all_are_taken(
    mesh: Bench, anna: Credentials, register: Register
) -> None:
    first = await attached(mesh, anna, "rig")
    streams = []
    for number in range(5):
        who = await register(f"Idle {number}")

        async def take(index: int, who: Credentials = who) -> Any:
            return await attached(mesh, who, f"rig-{index}")

        streams += await as_many_as_it_can(take)
    with assert_raises_reason(ResourceExhausted, "TOO_MANY_SESSIONS"):
        await attached(mesh, await register("Late"), "rig")
    again = await attached(mesh, anna, "rig")
    with assert_raises_reason(Aborted, "SESSION_SUPERSEDED"):
        await first.read()
    await until(lambda: len(mesh.gateway.relay) == 1 + len(streams))
    for stream in (again, *streams):
        stream.cancel()
    await until(lambda: mesh.gateway.relay._sessions._seats.used == 0)
