"""Nothing is lost, nothing is done twice, and everybody gets his own result."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from horde.services import deadlines
from horde.services.batching import Batcher
from horde.services.errors import Internal, NotFound, ResourceExhausted, Unavailable
from horde.testkit.loopback import settle


class Doubler:
    """Doubles numbers; keeps its batches; waits at the gate if there is one."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.gate: asyncio.Event | None = None

    async def __call__(self, items: Sequence[int]) -> list[int | Exception]:
        self.batches.append(list(items))
        if self.gate:
            await self.gate.wait()
        return [NotFound(str(item)) if item < 0 else item * 2 for item in items]


async def test_a_lone_item_goes_at_once() -> None:
    run = Doubler()
    async with Batcher(run) as batcher:
        assert await batcher.submit(4) == 8
    assert run.batches == [[4]]


async def test_what_waits_meanwhile_makes_up_the_next_batch_in_order() -> None:
    run = Doubler()
    run.gate = asyncio.Event()
    async with Batcher(run, max_items=3) as batcher:
        tasks = [asyncio.create_task(batcher.submit(0))]
        await settle()
        tasks += [asyncio.create_task(batcher.submit(number)) for number in range(1, 6)]
        await settle()
        assert len(batcher) == 5
        run.gate.set()
        assert await asyncio.gather(*tasks) == [0, 2, 4, 6, 8, 10]
    assert run.batches == [[0], [1, 2, 3], [4, 5]]


async def test_an_items_error_is_raised_to_its_caller_alone() -> None:
    async with Batcher(Doubler()) as batcher:
        results = await asyncio.gather(*map(batcher.submit, [1, -1, 2]), return_exceptions=True)
    assert results[0] == 2
    assert isinstance(results[1], NotFound)
    assert results[2] == 4


async def test_an_error_of_the_whole_goes_to_all_of_that_batch() -> None:
    fail = True

    async def run(items: Sequence[int]) -> list[int | Exception]:
        if fail:
            raise Unavailable("gone")
        return list(items)

    async with Batcher(run) as batcher:
        results = await asyncio.gather(batcher.submit(1), batcher.submit(2), return_exceptions=True)
        assert [type(result) for result in results] == [Unavailable, Unavailable]
        fail = False
        assert await batcher.submit(3) == 3


async def test_a_wrong_number_of_results_is_nobodys_result() -> None:
    async def run(items: Sequence[int]) -> list[int | Exception]:
        return [1]

    async with Batcher(run) as batcher:
        results = await asyncio.gather(batcher.submit(1), batcher.submit(2), return_exceptions=True)
    assert [type(result) for result in results] == [Internal, Internal]


async def test_one_too_many_is_refused() -> None:
    run = Doubler()
    run.gate = asyncio.Event()
    async with Batcher(run, max_waiting=2) as batcher:
        tasks = [asyncio.create_task(batcher.submit(0))]
        await settle()
        tasks += [asyncio.create_task(batcher.submit(number)) for number in (1, 2)]
        await settle()
        with pytest.raises(ResourceExhausted) as caught:
            await batcher.submit(3)
        assert caught.value.retry_after
        run.gate.set()
        await asyncio.gather(*tasks)


async def test_a_caller_who_gives_up_disturbs_nobody() -> None:
    run = Doubler()
    run.gate = asyncio.Event()
    async with Batcher(run) as batcher:
        away = asyncio.create_task(batcher.submit(1))
        await settle()
        waiting = asyncio.create_task(batcher.submit(2))
        patient = asyncio.create_task(batcher.submit(3))
        await settle()
        away.cancel()
        waiting.cancel()
        await settle()
        run.gate.set()
        assert await patient == 6
    assert run.batches == [[1], [3]]


async def test_a_batch_belongs_to_no_callers_deadline() -> None:
    seen: list[float | None] = []

    async def run(items: Sequence[int]) -> list[int | Exception]:
        seen.append(deadlines.remaining())
        return list(items)

    async with Batcher(run) as batcher:
        with deadlines.within(1.0):
            await batcher.submit(1)
    assert seen == [None]


async def test_leaving_finishes_what_waits_and_takes_no_more() -> None:
    run = Doubler()
    run.gate = asyncio.Event()
    async with Batcher(run, max_items=1) as batcher:
        tasks = [asyncio.create_task(batcher.submit(number)) for number in range(3)]
        await settle()
        asyncio.get_running_loop().call_soon(run.gate.set)
    assert await asyncio.gather(*tasks) == [0, 2, 4]
    with pytest.raises(Unavailable):
        await batcher.submit(9)


async def test_leaving_gives_up_what_does_not_end() -> None:
    run = Doubler()
    run.gate = asyncio.Event()
    async with Batcher(run, max_items=1, drain=timedelta(0)) as batcher:
        tasks = [asyncio.create_task(batcher.submit(number)) for number in range(3)]
        await settle()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(result) for result in results] == [Unavailable] * 3


@settings(deadline=None, max_examples=60)
@given(
    items=st.lists(st.tuples(st.integers(-50, 50), st.integers(0, 3), st.booleans()), max_size=60),
    max_items=st.integers(1, 8),
    max_inflight=st.integers(1, 3),
)
def test_whatever_happens_each_item_is_done_at_most_once_and_each_patient_caller_is_answered(
    items: list[tuple[int, int, bool]], max_items: int, max_inflight: int
) -> None:
    async def scenario() -> None:
        done: list[int] = []

        async def run(batch: Sequence[tuple[int, int]]) -> list[int | Exception]:
            assert 1 <= len(batch) <= max_items
            done.extend(index for index, _ in batch)
            await asyncio.sleep(0)
            return [NotFound() if number < 0 else number * 2 for _, number in batch]

        async with Batcher(run, max_items=max_items, max_inflight=max_inflight) as batcher:
            tasks = []
            for index, (number, pause, gives_up) in enumerate(items):
                task = asyncio.create_task(batcher.submit((index, number)))
                await settle(pause)
                if gives_up:
                    task.cancel()
                tasks.append(task)
            results = await asyncio.gather(*tasks, return_exceptions=True)
        assert len(done) == len(set(done))
        if max_inflight == 1:
            assert done == sorted(done)
        for index, ((number, _, gives_up), result) in enumerate(zip(items, results, strict=True)):
            if isinstance(result, asyncio.CancelledError):
                assert gives_up
            else:
                assert index in done
                assert isinstance(result, NotFound) if number < 0 else result == number * 2

    asyncio.run(scenario())
