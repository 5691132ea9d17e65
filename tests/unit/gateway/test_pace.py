"""How fast a worker's session may speak."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from horde.api.worker.v1 import worker_service_pb2 as pb
from horde.gateway.doors.attach import (
    BYTES_OF_A_MESSAGE,
    MAX_MESSAGE_BYTES,
    MESSAGES_A_SECOND,
    MESSAGES_AT_ONCE,
    Pace,
    Paced,
)
from horde.testkit.loopback import ManualClock, settle


def test_a_burst_is_read_at_once_and_what_is_above_it_at_the_pace() -> None:
    pace = Pace()
    assert [pace.spend(10, 100.0) for _ in range(MESSAGES_AT_ONCE)] == [0.0] * MESSAGES_AT_ONCE
    assert pace.spend(10, 100.0) == pytest.approx(1 / MESSAGES_A_SECOND)
    assert pace.spend(10, 100.0) == pytest.approx(2 / MESSAGES_A_SECOND)


def test_who_keeps_the_pace_never_waits_and_saves_up_no_more_than_a_burst() -> None:
    pace = Pace()
    for number in range(10 * MESSAGES_AT_ONCE):
        assert pace.spend(10, number / MESSAGES_A_SECOND) == 0.0
    later = 1e6
    assert sum(pace.spend(10, later) == 0.0 for _ in range(2 * MESSAGES_AT_ONCE)) == MESSAGES_AT_ONCE


def test_large_messages_count_as_several() -> None:
    pace, said = Pace(), 0
    while pace.spend(MAX_MESSAGE_BYTES, 0.0) == 0.0:
        said += MAX_MESSAGE_BYTES
    assert said <= MESSAGES_AT_ONCE * BYTES_OF_A_MESSAGE


async def test_a_flood_waits_where_it_is_and_nothing_of_it_is_lost() -> None:
    taken = 0

    async def flood() -> AsyncIterator[pb.AttachRequest]:
        nonlocal taken
        for step in range(MESSAGES_AT_ONCE + 3 * MESSAGES_A_SECOND):
            taken += 1
            yield pb.AttachRequest(progress=pb.LeaseProgress(lease_id="7-1", step=step))

    clock, steps = ManualClock(), list[int]()

    async def read() -> None:
        async for request in Paced(flood(), clock):
            steps.append(request.progress.step)

    reading = asyncio.create_task(read())
    await settle()
    assert taken == len(steps) <= MESSAGES_AT_ONCE + 1
    await clock.advance(1.0)
    assert taken == len(steps) <= MESSAGES_AT_ONCE + MESSAGES_A_SECOND + 1
    await clock.advance(2.1)
    await reading
    assert steps == list(range(MESSAGES_AT_ONCE + 3 * MESSAGES_A_SECOND))
