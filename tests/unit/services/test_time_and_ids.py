"""Time that stands still until it is told to move."""

from __future__ import annotations

import asyncio
from datetime import UTC, timedelta

import pytest

from horde.services import deadlines
from horde.services.clock import Clock, SystemClock
from horde.services.ids import Ids, RandomIds
from horde.testkit.loopback import START, ManualClock, SequentialIds, settle


async def test_sleepers_wake_in_order_each_at_its_time() -> None:
    clock = ManualClock()
    woken: list[tuple[str, float]] = []

    async def sleeper(name: str, seconds: float) -> None:
        await clock.sleep(seconds)
        woken.append((name, clock.monotonic()))

    tasks = [asyncio.create_task(sleeper(*each)) for each in (("late", 5.0), ("soon", 1.0), ("later", 9.0))]
    await clock.advance(6.0)
    assert woken == [("soon", 1.0), ("late", 5.0)]
    assert clock.monotonic() == 6.0
    assert clock.now() == START + timedelta(seconds=6)
    assert clock.waiting == 1
    await clock.advance(3.0)
    await asyncio.gather(*tasks)
    assert woken[-1] == ("later", 9.0)


async def test_a_loop_that_sleeps_again_runs_as_often_as_time_allows() -> None:
    clock = ManualClock()
    ticks: list[float] = []

    async def ticking() -> None:
        while True:
            await clock.sleep(1.0)
            ticks.append(clock.monotonic())

    task = asyncio.create_task(ticking())
    await clock.advance(3.5)
    task.cancel()
    assert ticks == [1.0, 2.0, 3.0]


async def test_a_timer_that_was_called_off_does_not_fire() -> None:
    clock = ManualClock()
    fired: list[int] = []
    clock.call_later(1.0, lambda: fired.append(1)).cancel()
    clock.call_later(1.0, lambda: fired.append(2))
    clock.jump(2.0)
    assert fired == [2]


async def test_a_cancelled_sleeper_leaves_nothing_behind() -> None:
    clock = ManualClock()
    task = asyncio.create_task(clock.sleep(1.0))
    await settle()
    task.cancel()
    await settle()
    assert clock.waiting == 0


async def test_the_systems_clock_is_aware_and_moves_on() -> None:
    clock: Clock = SystemClock()
    before = clock.monotonic()
    fired = asyncio.Event()
    clock.call_later(0, fired.set)
    await fired.wait()
    await clock.sleep(0)
    assert clock.monotonic() >= before
    assert clock.now().tzinfo is UTC


@pytest.mark.parametrize("ids", [SequentialIds(), RandomIds()])
def test_ids_are_never_the_same(ids: Ids) -> None:
    made = [ids.new() for _ in range(100)]
    assert len(set(made)) == 100
    assert all(each.version == 4 for each in made)


def test_a_deadline_is_only_ever_shortened() -> None:
    assert deadlines.remaining() is None
    with deadlines.within(1_000):
        with deadlines.within(10_000):
            assert 500 < (deadlines.remaining() or 0) <= 1_000
        with deadlines.without_deadline():
            assert deadlines.remaining() is None
        with deadlines.within(-1):
            assert deadlines.remaining() == 0
    assert deadlines.remaining() is None
