"""What a watcher is told, and what is left out when it is slow."""

from __future__ import annotations

import asyncio

import pytest

from horde.api.generation.v1 import generation_pb2
from horde.api.generation.v1 import generation_service_pb2 as pb
from horde.gateway.core.previews import Glimpse
from horde.gateway.doors.watcher import Told, Watcher
from horde.services.clock import SystemClock
from horde.services.errors import Unavailable
from horde.testkit.loopback import ManualClock, settle


def image(version: int, job_id: str = "a") -> Told:
    return Told(image=generation_pb2.Image(job_id=job_id, version=version))


def progress(step: int, job_id: str = "a") -> Told:
    return Told(progress=pb.Progress(job_id=job_id, step=step))


async def all_of(watcher: Watcher) -> list[Told]:
    return [message async for message in watcher.heard()]


async def test_a_slow_reader_gets_the_latest_of_each_kind() -> None:
    watcher = Watcher(SystemClock(), previews=True)
    watcher.tell("snapshot", "", Told(snapshot=generation_pb2.Generation()))
    for step in range(1_000):
        watcher.tell("progress", "a", progress(step))
        watcher.tell("progress", "b", progress(step, "b"))
        watcher.show(Glimpse("a", "l", step, b"x"))
    watcher.fail(Unavailable())
    told = []
    with pytest.raises(Unavailable):
        async for message in watcher.heard():
            told.append(message)  # noqa: PERF401 - it raises
    assert [message.WhichOneof("event") for message in told] == ["snapshot", "progress", "progress", "preview"]
    assert [each.progress.step for each in told[1:3]] == [999, 999]


async def test_a_new_state_takes_back_what_was_unsaid_about_the_old_one() -> None:
    watcher = Watcher(SystemClock(), previews=True)
    watcher.tell("image", "a", image(2))
    watcher.tell("progress", "a", progress(7))
    watcher.tell("progress", "b", progress(5, "b"))
    watcher.tell("image", "a", image(3))
    watcher.fail(Unavailable())
    told = []
    with pytest.raises(Unavailable):
        async for message in watcher.heard():
            told.append(message)  # noqa: PERF401 - it raises
    assert told == [progress(5, "b"), image(3)]


async def test_the_end_is_last_and_comes_once() -> None:
    watcher = Watcher(SystemClock(), previews=False)
    watcher.tell("snapshot", "", Told(snapshot=generation_pb2.Generation()))
    watcher.tell("image", "a", image(2))
    watcher.finish(Told(finished=generation_pb2.Generation(finished=True)))
    watcher.tell("image", "a", image(3))
    watcher.fail(Unavailable())
    assert [message.WhichOneof("event") for message in await all_of(watcher)] == ["snapshot", "finished"]


async def test_a_waiting_reader_is_woken() -> None:
    watcher = Watcher(SystemClock(), previews=False)
    heard = watcher.heard()
    waiting = asyncio.ensure_future(anext(heard))
    await asyncio.sleep(0)
    assert not waiting.done()
    watcher.tell("image", "a", image(2))
    assert await waiting == image(2)
    await heard.aclose()


async def test_what_is_soon_out_of_date_waits_a_moment_and_what_is_final_does_not() -> None:
    clock = ManualClock()
    watcher = Watcher(clock, previews=False)
    heard = watcher.heard()
    waiting = asyncio.ensure_future(anext(heard))
    watcher.tell("progress", "a", progress(1), within=0.1)
    watcher.tell("progress", "a", progress(2), within=0.1)
    await settle()
    assert not waiting.done()
    await clock.advance(0.1)
    assert await waiting == progress(2)
    waiting = asyncio.ensure_future(anext(heard))
    watcher.tell("progress", "a", progress(3), within=0.1)
    watcher.tell("image", "a", image(4), within=0.03)
    await clock.advance(0.03)
    assert await waiting == image(4)
    waiting = asyncio.ensure_future(anext(heard))
    watcher.tell("progress", "a", progress(5), within=0.1)
    watcher.finish(Told(finished=generation_pb2.Generation(finished=True)))
    assert (await waiting).WhichOneof("event") == "finished"
    await heard.aclose()
    assert clock.waiting == 0
