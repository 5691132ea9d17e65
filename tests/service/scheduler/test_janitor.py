"""What is forgotten, and what is not."""

from __future__ import annotations

import asyncio

from tests.service.scheduler.mesh import Gateway, Running, World, neighbours, running, scheduler

from horde.scheduler.janitor import DAY_MS, KNOWN_DAYS, PAUSE, sweep


async def sweep_once(it: Running) -> None:
    """Have the janitor come by once."""
    sweeping = asyncio.create_task(sweep(it.engine.term, history_days=30))
    await it.world.clock.advance(PAUSE)
    await it.engine.saver.saved()
    sweeping.cancel()


def make_old(it: Running, by_ms: int) -> None:
    """Everything known of every worker happened so much earlier."""
    for row in it.world.memory.workers.values():
        row["last_seen_ms"] -= by_ms
    for worker in it.engine.board.fleet.workers.values():
        worker.last_seen_ms -= by_ms


async def test_a_worker_that_stays_away_loses_its_row_and_one_that_is_here_does_not() -> None:
    world = World()
    async with neighbours(world) as channels:
        async with running(world, channels) as it, Gateway(it) as gateway:
            await gateway.attach("gone")
            await it.engine.saver.saved()
        async with running(world, channels) as it, Gateway(it) as gateway:
            await gateway.attach("here")
            await it.engine.saver.saved()
            make_old(it, KNOWN_DAYS * DAY_MS - 2 * int(PAUSE * 1000))
            await sweep_once(it)
            assert {row["name"] for row in world.memory.workers.values()} == {"gone", "here"}
            make_old(it, 2 * int(PAUSE * 1000))
            await sweep_once(it)
            assert {row["name"] for row in world.memory.workers.values()} == {"here"}
            assert {worker.name for worker in it.engine.board.fleet.workers.values()} == {"here"}


async def test_of_a_worker_that_is_here_for_long_it_is_written_daily() -> None:
    async with scheduler() as it, Gateway(it) as gateway:
        await gateway.attach("here")
        await it.engine.saver.saved()
        make_old(it, DAY_MS)
        await sweep_once(it)
        (row,) = it.world.memory.workers.values()
        assert row["last_seen_ms"] == it.engine.term.now_ms()
