"""Messages between services are bounded in bytes: large prompts stop nobody."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from itertools import pairwise

import pytest
from tests.service.scheduler.mesh import Gateway, requester, scheduler, submission

from horde.internal.scheduler.v1 import scheduler_service_pb2 as pb
from horde.scheduler.core.answers import Answer, Done, Stuck
from horde.scheduler.doors import submitting
from horde.scheduler.doors.follow import Follower
from horde.scheduler.doors.relay import Relay
from horde.scheduler.neighbours.courier import LONGEST_STUCK_PAUSE, Courier
from horde.services.errors import ResourceExhausted, Unavailable
from horde.services.status import from_status
from horde.services.streams import MAX_BYTES, take
from horde.testkit.loopback import ManualClock
from horde.testkit.waiting import ticks

LONG = "\U0001f98a" * 8_000
"""32 kB."""


def test_a_message_is_cut_by_items_and_by_bytes_and_never_empty() -> None:
    waiting = deque([5, 5, 5, 20, 1, 1, 1])
    cuts = []
    while waiting:
        cuts.append(take(waiting, 2, lambda each: each, 10))
    assert cuts == [[5, 5], [5], [20], [1, 1], [1]]


async def test_what_gateways_are_told_is_cut_by_bytes() -> None:
    relay, follower = Relay(1), Follower()
    for number in range(140):
        message = pb.SessionResponse(relay_session_id=number)
        message.worker.assignment.spec.image.prompt = LONG
        relay.put(message)
        event = pb.FollowedEvent(generation_id=str(number))
        event.snapshot.generation.spec.job.image.prompt = LONG
        follower.put(event)
    relay.outbox.close()
    follower.outbox.close()
    _welcome, *batches = [batch async for batch in relay.responses(1)]
    assert sum(len(batch.sessions) for batch in batches) == 140
    assert max(batch.ByteSize() for batch in batches) <= MAX_BYTES + 1024
    told = [batch async for batch in follower.responses()]
    assert [event.generation_id for batch in told for event in batch.events] == [str(each) for each in range(140)]
    assert max(batch.ByteSize() for batch in told) <= MAX_BYTES + 1024


async def test_many_large_generations_are_committed_after_storage_was_away() -> None:
    async with scheduler() as it, Gateway(it) as gateway:
        painter = await gateway.attach(slots=64)
        it.world.storage.away = True
        for request in range(7):
            await it.submit(submission(f"r{request}", count=20, prompt=LONG))
        for _ in range(140):
            await painter.paint(await painter.next("assignment"))
        it.world.storage.away = False
        for _ in ticks(lambda: len(it.world.ledger.settled)):
            if len(it.world.ledger.settled) == 140:
                return
            await it.world.clock.advance(1.0)
            await asyncio.sleep(0.005)


async def test_a_batch_that_is_too_large_is_halved_and_one_item_stops_no_other() -> None:
    clock, carried = ManualClock(), list[int]()
    enough = asyncio.Event()

    async def call(items: Sequence[int]) -> Sequence[Answer]:
        if len(items) > 3 or 7 in items:
            raise ResourceExhausted("Too large.")
        return [Done() for _ in items]

    async def answered(answers: Sequence[tuple[int, Answer]]) -> None:
        carried.extend(item for item, _ in answers)
        if len(carried) == 15:
            enough.set()

    courier: Courier[int, Answer] = Courier("Try", call, answered, clock)
    for item in range(16):
        courier.send(item)
    running = asyncio.create_task(courier.run())
    for _ in range(200):
        await clock.advance(0.2)
        if enough.is_set():
            break
    running.cancel()
    assert sorted(carried) == [item for item in range(16) if item != 7]


async def test_what_waits_already_is_not_carried_twice() -> None:
    clock = ManualClock()
    batches: list[list[int]] = []
    away = True

    async def call(items: Sequence[int]) -> Sequence[Answer]:
        batches.append(list(items))
        if away:
            raise Unavailable
        return [Done() for _ in items]

    async def answered(answers: Sequence[tuple[int, Answer]]) -> None: ...

    courier: Courier[int, Answer] = Courier("Try", call, answered, clock)
    running = asyncio.create_task(courier.run())
    for _ in range(3):
        for _ in range(100):
            courier.send(1)
            courier.send(2)
        assert len(courier) <= 2
        await clock.advance(10.0)
    away = False
    await clock.advance(10.0)
    courier.send(1)
    await clock.advance(10.0)
    running.cancel()
    assert batches[-2:] == [[1, 2], [1]]
    assert all(sorted(batch) == [1, 2] for batch in batches[:-1])


async def test_answers_that_do_not_fit_together_are_to_be_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(submitting, "MAX_ANSWER_BYTES", 100_000)
    async with scheduler() as it:
        made = [submission(f"r{request}", prompt=LONG) for request in range(6)]
        for generation in made:
            await it.submit(generation)
        refs = [pb.GenerationRef(generation_id=generation.generation_id, requester=requester()) for generation in made]
        answer = await it.stub.GetGenerations(pb.GetGenerationsRequest(refs=refs))
        assert answer.ByteSize() < 110_000
        kinds = [outcome.WhichOneof("result") for outcome in answer.outcomes]
        assert kinds == ["generation"] * 3 + ["error"] * 3
        assert "again" in str(from_status(answer.outcomes[5].error))


async def test_what_cannot_be_is_asked_ever_more_seldom_and_stops_no_other() -> None:
    clock, asked, carried = ManualClock(), list[float](), list[int]()
    mended = False

    async def call(items: Sequence[int]) -> Sequence[Answer]:
        asked.extend(clock.monotonic() for item in items if item == 7)
        return [Stuck("no such hold") if item == 7 and not mended else Done() for item in items]

    async def answered(answers: Sequence[tuple[int, Answer]]) -> None:
        carried.extend(item for item, _ in answers)

    courier: Courier[int, Answer] = Courier("Try", call, answered, clock)
    for item in (6, 7, 8):
        courier.send(item)
    running = asyncio.create_task(courier.run())
    await clock.advance(3000.0)
    pauses = [round(after - before, 3) for before, after in pairwise(asked)]
    assert pauses[:10] == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300]
    assert set(pauses[9:]) == {LONGEST_STUCK_PAUSE}
    assert (carried, courier.stuck) == ([6, 8], 1)

    mended = True
    await clock.advance(LONGEST_STUCK_PAUSE)
    assert (carried, courier.stuck) == ([6, 8, 7], 0)
    running.cancel()


async def test_an_end_that_cannot_be_paid_is_seen_and_is_paid_when_the_ledger_is_mended() -> None:
    async with scheduler() as it, Gateway(it) as gateway:
        painter = await gateway.attach()
        await it.submit(submission())
        ledger = it.world.ledger
        holds = dict(ledger.holds)
        ledger.holds.clear()
        await painter.paint(await painter.next("assignment"))
        apply = it.engine.errands.ledger
        for _ in ticks():
            if apply.stuck:
                break
            await asyncio.sleep(0.005)
        assert (apply.stuck, len(ledger.settled)) == (1, 0)
        ledger.holds.update(holds)
        for _ in ticks():
            if ledger.settled and not apply.stuck:
                break
            await it.world.clock.advance(1.0)
            await asyncio.sleep(0.005)
        assert (apply.stuck, len(ledger.settled)) == (0, 1)
