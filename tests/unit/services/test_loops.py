"""Loops that end take the block around them along, and say why."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

import pytest

from horde.services import deadlines
from horde.services.errors import Unavailable
from horde.services.lifecycle import LoopDied
from horde.services.loops import TOLD_AGAIN_TIMES, Loops
from horde.testkit.loopback import ManualClock, settle
from horde.testkit.waiting import HANG_SECONDS


async def forever() -> None:
    await asyncio.Event().wait()


async def broken() -> None:
    raise KeyError("a defect")


async def over() -> None:
    pass


def died(caught: pytest.ExceptionInfo[ExceptionGroup[Exception]]) -> LoopDied:
    (error,) = caught.value.exceptions
    assert isinstance(error, LoopDied)
    return error


async def test_a_loop_that_breaks_ends_the_block_whatever_it_waits_for(capsys: Any) -> None:
    with pytest.raises(ExceptionGroup) as caught:
        async with Loops() as loops:
            other = loops.start("other", forever())
            loops.start("saver", broken())
            await asyncio.Event().wait()
    error = died(caught)
    assert str(error) == "the loop 'saver' has died"
    assert isinstance(error.__cause__, KeyError)
    assert other.cancelled()
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "a loop has died" in line]
    assert "loop=saver" in line
    assert "KeyError" in line


async def test_a_loop_that_ends_by_itself_has_died_too() -> None:
    with pytest.raises(ExceptionGroup) as caught:
        async with Loops() as loops:
            loops.start("follow", over())
            await asyncio.Event().wait()
    assert died(caught).__cause__ is None


async def test_leaving_the_block_cancels_what_runs() -> None:
    async with Loops() as loops:
        running = [loops.start("one", forever()), loops.spawn("two", forever())]
    assert all(task.cancelled() for task in running)


async def test_work_that_nobody_waits_for_may_end_but_not_break() -> None:
    async with Loops() as loops:
        await loops.spawn("look", over())
    with pytest.raises(ExceptionGroup) as caught:
        async with Loops() as loops:
            loops.spawn("look", broken())
            await asyncio.Event().wait()
    assert isinstance(died(caught).__cause__, KeyError)


async def test_a_loop_that_was_told_to_end_may_end_by_itself() -> None:
    async with Loops() as loops:
        ended = loops.start("writer", over())
        loops.leave()
        await ended


@pytest.mark.parametrize("arrange", ["timer", "future"])
async def test_a_callback_that_breaks_is_a_dead_loop(arrange: str) -> None:
    clock = ManualClock()

    def call() -> None:
        raise KeyError("a defect")

    with pytest.raises(ExceptionGroup) as caught:
        async with Loops() as loops:
            callback: Callable[[], None] = loops.guarded("clockwork", call)
            if arrange == "timer":
                clock.call_later(1, callback)
                clock.jump(1)
            else:
                asyncio.get_running_loop().call_soon(callback)
            await asyncio.Event().wait()
    assert str(died(caught)) == "the loop 'clockwork' has died"


async def test_loops_within_a_loop_say_it_once(capsys: Any) -> None:
    async def nested() -> None:
        async with Loops() as loops:
            loops.start("inner", broken())
            await forever()

    with pytest.raises(ExceptionGroup):
        async with Loops() as loops:
            loops.start("outer", nested())
            await asyncio.Event().wait()
    said = [line for line in capsys.readouterr().err.splitlines() if "a loop has died" in line]
    assert [line.count("loop=inner") for line in said] == [1]


async def test_the_blocks_own_error_stays_what_it_is() -> None:
    with pytest.raises(Unavailable):
        async with Loops() as loops:
            loops.start("one", forever())
            raise Unavailable


async def test_nothing_starts_where_a_loop_has_died() -> None:
    with pytest.raises(ExceptionGroup):
        async with Loops() as loops:
            loops.start("one", broken())
            try:
                await asyncio.Event().wait()
            finally:
                with pytest.raises(RuntimeError):
                    loops.start("two", forever())
                loops.fail("three", KeyError())


async def test_what_is_started_within_a_call_does_not_end_with_it() -> None:
    left: list[float | None] = []

    async def look() -> None:
        left.append(deadlines.remaining())

    async with Loops() as loops:
        with deadlines.within(1.0):
            await loops.spawn("look", look())
    await settle()
    assert left == [None]


async def test_a_loop_whose_library_swallows_its_cancellation_is_told_again_and_that_is_logged(capsys: Any) -> None:
    async def swallows_once() -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await forever()
        await forever()

    async with asyncio.timeout(HANG_SECONDS), Loops(told_again_seconds=0) as loops:
        telling = loops.start("telling", swallows_once())
        await settle()
    assert telling.cancelled()
    line, *_ = [line for line in capsys.readouterr().err.splitlines() if "told again" in line]
    assert "loop=telling" in line


async def test_a_loop_that_never_ends_is_told_no_more_than_some_times() -> None:
    heard = 0

    async def never_ends() -> None:
        nonlocal heard
        while heard <= TOLD_AGAIN_TIMES:
            try:
                await forever()
            except asyncio.CancelledError:
                heard += 1
        over_at_last.set()
        await asyncio.Event().wait()

    over_at_last = asyncio.Event()

    async def leave() -> None:
        async with Loops(told_again_seconds=0) as loops:
            loops.start("deaf", never_ends())
            await settle()

    leaving = asyncio.create_task(leave())
    async with asyncio.timeout(HANG_SECONDS):
        await over_at_last.wait()
    await settle()
    assert not leaving.done()
    assert heard == 1 + TOLD_AGAIN_TIMES
    leaving.cancel()
    await asyncio.wait([leaving])


async def test_a_loop_that_writes_at_its_end_is_left_alone_meanwhile() -> None:
    written = False

    async def writes() -> None:
        nonlocal written
        try:
            await forever()
        finally:
            await settle()
            written = True

    async with Loops() as loops:
        writing = loops.start("writing", writes())
        await settle()
    assert written
    assert writing.cancelling() == 1
