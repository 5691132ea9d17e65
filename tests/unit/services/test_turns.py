"""A few places by fair turns: nobody waits for more than one turn of somebody who has had more."""

from __future__ import annotations

import asyncio

import pytest

from horde.services.errors import ResourceExhausted
from horde.services.turns import REMEMBERED, Turns
from horde.testkit.loopback import ManualClock, settle


class Full(ResourceExhausted):
    """There is no place left to wait."""


class Work:
    """Tasks that take turns, each as long as it says, and the order in which they had them."""

    def __init__(self, size: int = 1, **bounds: int) -> None:
        self.clock = ManualClock()
        self.turns = Turns(size, self.clock.monotonic, Full, **bounds)
        self.order: list[str] = []
        self.tasks: list[asyncio.Task[None]] = []

    def bring(self, key: str, count: int = 1, seconds: float = 1.0, most: int | None = None) -> None:
        self.tasks += [asyncio.create_task(self._one(key, seconds, most)) for _ in range(count)]

    async def _one(self, key: str, seconds: float, most: int | None) -> None:
        async with self.turns.turn(key, most):
            self.order.append(key)
            await self.clock.sleep(seconds)

    async def finish(self) -> list[str]:
        while not all(task.done() for task in self.tasks):
            await self.clock.advance(0.25)
        await asyncio.gather(*self.tasks)
        assert (self.turns.running, self.turns.waiting) == (0, 0)
        return self.order


async def test_one_behind_a_crowd_of_another_is_next_but_one() -> None:
    work = Work()
    work.bring("greedy", 50)
    await settle()
    work.bring("modest")
    assert (await work.finish())[:2] == ["greedy", "modest"]


async def test_long_work_gets_fewer_turns_and_not_more_time() -> None:
    work = Work()
    work.bring("long", 10, seconds=10.0)
    work.bring("short", 40, seconds=1.0)
    order = await work.finish()
    assert order[:12].count("short") >= 9
    assert 30 <= order[:44].count("short") <= 40


async def test_whoever_rested_has_saved_up_nothing() -> None:
    work = Work()
    work.bring("busy", 20)
    await work.clock.advance(15)
    work.bring("rested", 20)
    await work.clock.advance(10)
    assert abs(work.order[-8:].count("busy") - 4) <= 1
    await work.finish()


async def test_a_key_holds_no_more_places_than_it_may() -> None:
    work = Work(2)
    work.bring("greedy", 10, most=1)
    await settle()
    assert work.turns.running == 1
    work.bring("modest")
    await settle()
    assert work.order == ["greedy", "modest"]
    await work.finish()


async def test_there_is_a_bound_on_who_waits_for_one_and_for_all() -> None:
    work = Work(max_waiting=4, max_waiting_of_one=2)
    work.bring("greedy", 3)
    await settle()
    with pytest.raises(Full):
        async with work.turns.turn("greedy"):
            raise AssertionError
    work.bring("other", 2)
    await settle()
    with pytest.raises(Full):
        async with work.turns.turn("third"):
            raise AssertionError
    await work.finish()


async def test_whoever_gives_up_while_waiting_or_in_its_turn_leaves_its_place() -> None:
    work = Work()
    work.bring("a", 2)
    work.bring("b", 1)
    await settle()
    for task in (work.tasks[1], work.tasks[0]):
        task.cancel()
    await settle()
    assert work.order == ["a", "b"]
    del work.tasks[:2]
    await work.finish()


async def test_one_that_is_called_and_cancelled_at_once_gives_its_place_on() -> None:
    work = Work()
    work.bring("a")
    await settle()
    work.bring("b")
    await settle()
    work.clock.jump(1)
    # The first task ends in the next round and calls the second, which is cancelled in the same.
    await asyncio.sleep(0)
    work.tasks[1].cancel()
    await settle()
    work.bring("c")
    del work.tasks[1]
    assert "c" in await work.finish()


async def test_many_keys_are_forgotten() -> None:
    work = Work()
    for number in range(REMEMBERED + 10):
        async with work.turns.turn(f"key {number}"):
            pass
    assert len(work.turns._had) <= REMEMBERED
