"""Pictures painted a second time, over the wire: what a worker is told of a check, and what follows from it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid5

import jwt
from tests.service.scheduler.mesh import (
    ANNA,
    BERT,
    OWNER,
    PRICE,
    Gateway,
    Painter,
    Running,
    World,
    neighbours,
    running,
    scheduler,
    submission,
)

from horde.internal.scheduler.v1 import scheduler_service_pb2 as pb
from horde.scheduler.core.board import Limits
from horde.testkit.waiting import ticks

CARL = "00000000-0000-4000-8000-00000000cccc"
TRUTH, JUNK = b"\1" * 32, b"\2" * 32
PAINTERS = {"suspect": OWNER, "one": BERT, "other": CARL}


def looked_at() -> World:
    return World(limits=Limits(proven_images=0, checks_part=1.0))


def for_the_suspect(request_id: str, **image: Any) -> pb.SubmitGeneration:
    """What only the suspect may paint."""
    others = [str(uuid5(UUID(owner), name)) for name, owner in PAINTERS.items() if name != "suspect"]
    return submission(request_id, denied=others, **image)


async def until(happened: Callable[[], bool]) -> None:
    for _ in ticks("it does not happen"):
        if happened():
            return
        await asyncio.sleep(0.005)


async def assigned(*painters: Painter) -> tuple[Painter, Any]:
    """Whoever is given a job first, and the assignment."""
    waiting = {asyncio.create_task(painter.next("assignment")): painter for painter in painters}
    done, pending = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    await asyncio.gather(*pending, return_exceptions=True)
    task = done.pop()
    return waiting[task], task.result()


async def paint(painter: Painter, assignment: Any, sha256: bytes) -> Any:
    """Paint, and hear what was paid."""
    await painter.paint(assignment, sha256=sha256)
    return await painter.next("settled")


def told(assignment: Any) -> dict[str, Any]:
    """All that a worker can see of a job, but for what differs from any job to the next."""
    shown = {field.name: value for field, value in assignment.ListFields()}
    grant = jwt.decode(shown.pop("grant"), options={"verify_signature": False})
    for name in ("lease_id", "job_id", "generation_id"):
        assert UUID(shown.pop(name)).version == (8 if name == "lease_id" else 5)
        del grant[name]
    trace = shown.pop("traceparent", "")
    for name in ("worker_id", "owner", "exp", "iat", "jti", "nbf"):
        grant.pop(name, None)
    spec = shown.pop("spec")
    return {**shown, "lease_ttl": str(shown["lease_ttl"]), "grant": grant, "spec": str(spec), "trace": len(trace)}


async def test_no_field_tells_a_check_from_any_job() -> None:
    async with scheduler(looked_at()) as it, Gateway(it) as gateway:
        suspect, one = [await gateway.attach(name, PAINTERS[name]) for name in ("suspect", "one")]
        await it.submit(for_the_suspect("r", share=True, seed=99))
        first = await suspect.next("assignment")
        paid = await paint(suspect, first, TRUTH)
        check = await one.next("assignment")
        assert told(check) == told(first)
        settled = await paint(one, check, TRUTH)
        paid.settlement.event_id = settled.settlement.event_id = ""
        assert settled.settlement == paid.settlement
        assert settled.settlement.earned_mkudos == PRICE


async def test_who_asks_sees_nothing_of_it_and_the_check_is_compared_paid_and_discarded() -> None:
    async with scheduler(looked_at()) as it, Gateway(it) as gateway:
        world = it.world
        suspect, one = [await gateway.attach(name, PAINTERS[name]) for name in ("suspect", "one")]
        made = for_the_suspect("r")
        await it.submit(made)
        first = await suspect.next("assignment")
        await paint(suspect, first, TRUTH)
        check = await one.next("assignment")
        generation = (await it.get(made.generation_id)).generation.generation
        assert generation.finished
        listed = await it.stub.ListGenerations(pb.ListGenerationsRequest(requester=made.requester))
        assert [generation.generation.generation_id for generation in listed.generations] == [made.generation_id]
        await paint(one, check, TRUTH)
        await until(lambda: ("verify", first.job_id) in world.ledger.verdicts)
        await until(lambda: not world.storage.quarantine)
        assert world.storage.compared == [(first.job_id, check.job_id)]
        assert set(world.storage.committed) == {first.job_id}
        # Whoever audits what is in place is not told of it, in no order.
        for order in (pb.SETTLED_ORDER_BY_END, pb.SETTLED_ORDER_BY_JOB, pb.SETTLED_ORDER_BY_OBJECT):
            asked = pb.ListSettledImagesRequest(order=order)
            settled = await it.stub.ListSettledImages(asked)
            assert {image.job_id for image in settled.images} <= {first.job_id}, order
        described = await it.stub.DescribeJobs(pb.DescribeJobsRequest(job_ids=[check.job_id]))
        assert not described.jobs[0].state
        assert world.ledger.payers[str(uuid5(UUID(check.job_id), "hold"))] == "mesh"
        assert world.ledger.balances[ANNA] == world.ledger.balances["mesh"] < 0


async def caught(it: Running, gateway: Gateway) -> None:
    """The suspect paints junk, until it is caught."""
    suspect, *others = [await gateway.attach(name, owner) for name, owner in PAINTERS.items()]
    for number in range(2):
        await it.submit(for_the_suspect(f"r{number}"))
        junk = await suspect.next("assignment")
        await paint(suspect, junk, JUNK)
        for _ in range(2):
            checker, check = await assigned(*others)
            await paint(checker, check, TRUTH)


async def test_whoever_brings_junk_is_caught_and_loses_what_it_earned() -> None:
    async with scheduler(looked_at()) as it, Gateway(it) as gateway:
        await caught(it, gateway)
        ledger = it.world.ledger
        await until(lambda: len(ledger.verdicts) == 2)
        assert {verdict for verdict, _ in ledger.verdicts} == {"slash"}
        assert {ledger.settled[job_id].owner_account_id for _, job_id in ledger.verdicts} == {OWNER}
        shown = it.engine.owners.show(OWNER)  # type: ignore[arg-type]
        assert shown.strikes == 2


async def test_what_was_found_is_remembered_by_the_next_leader() -> None:
    world = looked_at()
    async with neighbours(world) as channels:
        async with running(world, channels) as it, Gateway(it) as gateway:
            await caught(it, gateway)
            await until(lambda: len(world.ledger.verdicts) == 2)
            await it.engine.saver.saved()
        async with running(world, channels) as it:
            standing = it.engine.board.fleet.standings[OWNER]  # type: ignore[index]
            assert (standing.caught, standing.verified, standing.rate) == (1, 0, 1.0)


async def test_a_storage_that_is_away_is_asked_again() -> None:
    async with scheduler(looked_at()) as it, Gateway(it) as gateway:
        world = it.world
        suspect, one = [await gateway.attach(name, PAINTERS[name]) for name in ("suspect", "one")]
        await it.submit(for_the_suspect("r"))
        first = await suspect.next("assignment")
        await paint(suspect, first, TRUTH)
        check = await one.next("assignment")
        world.storage.away = True
        await one.paint(check, sha256=TRUTH)
        await one.nothing()
        world.storage.away = False
        world.storage.forget_answers = 1
        for _ in ticks():
            await world.clock.advance(1.0)
            if ("verify", first.job_id) in world.ledger.verdicts:
                break
            await asyncio.sleep(0.005)
        assert world.ledger.settled[check.job_id].owner_account_id == BERT
        assert len(world.storage.compared) == 2  # Once unheard of.
