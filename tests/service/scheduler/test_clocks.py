"""A clock that is wrong, and right again: a generation ends by its time to live whatever the clock did."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta

import pytest
from tests.service.scheduler.mesh import Running, World, neighbours, running, submission

from horde.testkit.loopback import ManualClock
from horde.testkit.waiting import ticks

TTL = 60.0


class WrongClock(ManualClock):
    """A clock whose time of day is changed by hand, as people and daemons do."""

    def __init__(self) -> None:
        super().__init__()
        self.off = timedelta()

    def now(self) -> datetime:
        return super().now() + self.off


async def ended(it: Running, generation_ids: list[str]) -> bool:
    """Whether all have ended and nothing is held, without any time passing."""
    for _ in ticks():
        found = [(await it.get(generation_id)).generation.generation for generation_id in generation_ids]
        if all(each.finished for each in found) and not it.world.ledger.holds:
            return True
        if not any(each.finished for each in found) and it.engine.board.live_jobs == len(found):
            return False
        await asyncio.sleep(0.005)
    return False


@pytest.mark.parametrize("restarts", [0, 1, 2])
@pytest.mark.parametrize("hours", [-1, 1])
async def test_a_clock_that_is_an_hour_off_and_then_right_again_keeps_nothing_alive(hours: int, restarts: int) -> None:
    clock = WrongClock()
    world = World(clock=clock)
    async with neighbours(world) as channels:
        made = [submission(f"r{number}", ttl=TTL) for number in range(3)]
        ids = [generation.generation_id for generation in made]
        async with running(world, channels) as it:
            await it.submit(*made)
            assert len(world.ledger.holds) == 3
            if not restarts:
                clock.off = timedelta(hours=hours)
                await clock.advance(1.0)
                clock.off = timedelta()
                await clock.advance(73.0)
                assert await ended(it, ids)
                return
        clock.off = timedelta(hours=hours)
        if restarts == 2:
            async with running(world, channels):
                await clock.advance(1.0)
            clock.off = timedelta()
        async with running(world, channels) as it:
            clock.off = timedelta()
            await clock.advance(74.0)
            assert await ended(it, ids)
            assert len(world.ledger.released) == 3
