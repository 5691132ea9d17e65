"""Refusals of one connection are told at once, until there are too many; others notice nothing."""

from __future__ import annotations

import asyncio

from horde.services.brakes import REMEMBERED, Brake
from horde.testkit.loopback import ManualClock, settle


async def test_the_first_refusals_are_told_at_once_and_the_others_after_a_while() -> None:
    clock = ManualClock()
    brake = Brake(clock, free=3)
    for _ in range(3):
        await brake.hold("flooder")
    held = asyncio.create_task(brake.hold("flooder"))
    await brake.hold("somebody else")
    await clock.advance(0.9)
    assert not held.done()
    assert brake.held == 1
    await clock.advance(0.1)
    await held
    assert brake.held == 0


async def test_one_that_stops_is_forgiven() -> None:
    clock = ManualClock()
    brake = Brake(clock, free=1, window_seconds=10)
    await brake.hold("flooder")
    await clock.advance(10)
    await brake.hold("flooder")


async def test_no_more_wait_than_may_and_who_hangs_up_waits_no_longer() -> None:
    brake = Brake(ManualClock(), free=0, max_held=2)
    held = [asyncio.create_task(brake.hold("flooder")) for _ in range(2)]
    await settle()
    await brake.hold("flooder")
    for task in held:
        task.cancel()
    await asyncio.gather(*held, return_exceptions=True)
    assert brake.held == 0


async def test_many_connections_are_forgotten() -> None:
    brake = Brake(ManualClock())
    for number in range(REMEMBERED + 10):
        await brake.hold(f"connection {number}")
    assert len(brake._refusals) == REMEMBERED
