"""Watching a generation, over a real socket."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from grpc import aio

from horde.api.generation.v1 import generation_pb2
from horde.api.generation.v1 import generation_service_pb2 as pb
from horde.api.job.v1 import job_pb2
from horde.internal.scheduler.v1 import scheduler_service_pb2 as scheduler_pb2
from horde.services.errors import NotFound, ResourceExhausted, Unavailable
from horde.testkit.gateway import Bench
from horde.testkit.loopback import assert_raises_reason
from horde.testkit.waiting import HANG_SECONDS

Spec = Callable[..., generation_pb2.GenerationSpec]
Credentials = list[tuple[str, str]]


async def until(true: Callable[[], object]) -> None:
    """Wait for something that other tasks bring about."""
    async with asyncio.timeout(HANG_SECONDS):
        while not true():
            await asyncio.sleep(0.002)


async def create(mesh: Bench, who: Credentials, spec: generation_pb2.GenerationSpec) -> generation_pb2.Generation:
    asked = pb.CreateGenerationRequest(request_id=str(uuid.uuid4()), spec=spec)
    answer: pb.CreateGenerationResponse = await mesh.generations.CreateGeneration(asked, metadata=who)
    return answer.generation


def watch(mesh: Bench, who: Credentials, generation_id: str) -> Any:
    return mesh.generations.WatchGeneration(pb.WatchGenerationRequest(generation_id=generation_id), metadata=who)


async def hear(stream: Any, kind: str) -> Any:
    async with asyncio.timeout(HANG_SECONDS):
        told = await stream.read()
    assert told is not aio.EOF, "the stream ended"
    assert told.WhichOneof("event") == kind
    return getattr(told, kind)


async def test_a_watch_begins_with_everything_and_ends_with_everything(
    mesh: Bench, anna: Credentials, spec: Spec
) -> None:
    generation = await create(mesh, anna, spec())
    generation_id, job_id = generation.generation_id, generation.images[0].job_id
    stream = watch(mesh, anna, generation_id)
    assert (await hear(stream, "snapshot")).images[0].state == job_pb2.JOB_STATE_QUEUED
    mesh.scheduler.lease(generation_id, 0, "7-1")
    image = await hear(stream, "image")
    assert (image.state, image.version, image.lease_id) == (job_pb2.JOB_STATE_LEASED, 2, "7-1")
    mesh.scheduler.progress(generation_id, 0, "7-1", 3)
    assert await hear(stream, "progress") == pb.Progress(job_id=job_id, lease_id="7-1", step=3)
    # Of another lease, and backwards: not told.
    mesh.scheduler.progress(generation_id, 0, "6-9", 5)
    mesh.scheduler.progress(generation_id, 0, "7-1", 2)
    mesh.scheduler.progress(generation_id, 0, "7-1", 4)
    assert (await hear(stream, "progress")).step == 4
    mesh.scheduler.end(generation_id, 0)
    told = await stream.read()
    if told.WhichOneof("event") == "image":
        told = await stream.read()
    assert told.finished.images[0].ending == job_pb2.JOB_ENDING_DONE
    assert told.finished.images[0].download.ticket
    assert await stream.read() is aio.EOF
    assert len(mesh.gateway.watching) == 0


async def test_an_old_version_is_not_told(mesh: Bench, anna: Credentials, spec: Spec) -> None:
    generation_id = (await create(mesh, anna, spec())).generation_id
    stream = watch(mesh, anna, generation_id)
    await hear(stream, "snapshot")
    mesh.scheduler.lease(generation_id, 0, "7-1")
    await hear(stream, "image")
    known = mesh.scheduler.generations[generation_id].generation
    known.version = 0
    mesh.scheduler.lease(generation_id, 0, "7-0")
    known.version = 5
    mesh.scheduler.lease(generation_id, 0, "7-2")
    assert (await hear(stream, "image")).lease_id == "7-2"


async def test_many_watchers_of_one_generation_follow_it_once(mesh: Bench, anna: Credentials, spec: Spec) -> None:
    generation_id = (await create(mesh, anna, spec())).generation_id
    streams = [watch(mesh, anna, generation_id) for _ in range(5)]
    for stream in streams:
        await hear(stream, "snapshot")
    assert len(mesh.scheduler.follows) == 1
    mesh.scheduler.lease(generation_id, 0, "7-1")
    for stream in streams:
        assert (await hear(stream, "image")).lease_id == "7-1"
    late = watch(mesh, anna, generation_id)
    assert (await hear(late, "snapshot")).images[0].lease_id == "7-1"
    for stream in (*streams, late):
        stream.cancel()
    await until(lambda: len(mesh.scheduler.follows) == 2)
    assert mesh.scheduler.follows[-1].unfollow == generation_id
    assert len(mesh.gateway.watching) == 0


async def test_a_finished_generation_is_told_and_over(mesh: Bench, anna: Credentials, spec: Spec) -> None:
    generation_id = (await create(mesh, anna, spec())).generation_id
    mesh.scheduler.end(generation_id, 0)
    stream = watch(mesh, anna, generation_id)
    assert (await hear(stream, "snapshot")).finished
    assert (await hear(stream, "finished")).finished
    assert await stream.read() is aio.EOF


async def test_after_a_break_a_watcher_hears_what_is_new_and_nothing_twice(
    mesh: Bench, anna: Credentials, spec: Spec
) -> None:
    generation_id = (await create(mesh, anna, spec(count=2))).generation_id
    stream = watch(mesh, anna, generation_id)
    await hear(stream, "snapshot")
    mesh.scheduler.lease(generation_id, 0, "7-1")
    await hear(stream, "image")
    mesh.scheduler.away = True
    mesh.scheduler.break_follows()
    mesh.scheduler._followed.clear()
    mesh.scheduler.lease(generation_id, 1, "7-2")
    mesh.scheduler.away = False
    image = await hear(stream, "image")
    assert (image.index, image.lease_id) == (1, "7-2")
    mesh.scheduler.progress(generation_id, 0, "7-1", 1)
    await hear(stream, "progress")


async def test_a_watcher_that_joins_while_the_scheduler_is_away_gets_a_snapshot_first(
    mesh: Bench, anna: Credentials, spec: Spec
) -> None:
    generation_id = (await create(mesh, anna, spec(count=2))).generation_id
    stream = watch(mesh, anna, generation_id)
    await hear(stream, "snapshot")
    mesh.scheduler.lease(generation_id, 0, "7-1")
    await hear(stream, "image")
    mesh.scheduler.away = True
    mesh.scheduler.break_follows()
    mesh.scheduler._followed.clear()
    await until(lambda: mesh.gateway.watching._followed[generation_id].stale)
    mesh.scheduler.lease(generation_id, 1, "7-2")
    late = watch(mesh, anna, generation_id)
    await until(lambda: len(mesh.gateway.watching) == 2)
    mesh.scheduler.away = False
    assert [image.lease_id for image in (await hear(late, "snapshot")).images] == ["7-1", ""]
    for each in (stream, late):
        assert (await hear(each, "image")).lease_id == "7-2"


async def test_a_generation_that_finished_while_the_scheduler_was_away_ends_the_watch(
    mesh: Bench, anna: Credentials, spec: Spec
) -> None:
    generation_id = (await create(mesh, anna, spec())).generation_id
    stream = watch(mesh, anna, generation_id)
    await hear(stream, "snapshot")
    mesh.scheduler.away = True
    mesh.scheduler.break_follows()
    mesh.scheduler._followed.clear()
    mesh.scheduler.end(generation_id, 0)
    mesh.scheduler.away = False
    assert (await hear(stream, "finished")).finished
    assert await stream.read() is aio.EOF


async def test_somebody_who_claims_anothers_generation_learns_nothing_and_spoils_nothing(
    mesh: Bench, anna: Credentials, bert: Credentials, spec: Spec
) -> None:
    generation_id = (await create(mesh, anna, spec())).generation_id
    await until(lambda: mesh.gateway.watching._line is not None)
    mesh.scheduler.follow_answers = False
    liar = watch(mesh, bert, generation_id)
    await until(lambda: len(mesh.scheduler.follows) == 1)
    owner = watch(mesh, anna, generation_id)
    # The liar leaves before it is answered; the owner's claim comes next, and then the answer to the liar.
    liar.cancel()
    await until(lambda: len(mesh.scheduler.follows) >= 3)
    mesh.scheduler.answer_follow(mesh.scheduler.follows[0].follow)
    mesh.scheduler.answer_follow(mesh.scheduler.follows[-1].follow)
    assert (await hear(owner, "snapshot")).generation_id == generation_id
    with assert_raises_reason(NotFound, "GENERATION_NOT_FOUND", {"generation_id": generation_id}):
        await watch(mesh, bert, generation_id).read()
    mesh.scheduler.follow_answers = True
    mesh.scheduler.lease(generation_id, 0, "7-1")
    await hear(owner, "image")


async def test_a_watcher_is_sent_away_when_the_gateway_stops(mesh: Bench, anna: Credentials, spec: Spec) -> None:
    generation_id = (await create(mesh, anna, spec())).generation_id
    stream = watch(mesh, anna, generation_id)
    await hear(stream, "snapshot")
    await mesh.gateway.farewell()
    with assert_raises_reason(Unavailable):
        await stream.read()


async def test_a_slow_reader_misses_steps_and_no_end(mesh: Bench, anna: Credentials, spec: Spec) -> None:
    generation_id = (await create(mesh, anna, spec())).generation_id
    stream = watch(mesh, anna, generation_id)
    await hear(stream, "snapshot")
    mesh.scheduler.lease(generation_id, 0, "7-1")
    for step in range(1, 500):
        mesh.scheduler.progress(generation_id, 0, "7-1", step)
    mesh.scheduler.end(generation_id, 0)
    events = []
    while (event := await stream.read()) is not aio.EOF:
        events.append(event)
    assert events[-1].WhichOneof("event") == "finished"
    steps = [event.progress.step for event in events if event.WhichOneof("event") == "progress"]
    assert steps == sorted(steps)


async def test_a_watcher_does_not_wait_for_ever_for_a_scheduler_that_is_away(
    mesh: Bench, anna: Credentials, spec: Spec, monkeypatch: pytest.MonkeyPatch
) -> None:
    generation_id = (await create(mesh, anna, spec())).generation_id
    monkeypatch.setattr(mesh.gateway.watching, "_snapshot_seconds", 0.05)
    mesh.scheduler.follow_answers = False
    with assert_raises_reason(Unavailable):
        await watch(mesh, anna, generation_id).read()
    assert len(mesh.gateway.watching) == 0
    assert not mesh.gateway.watching._followed


async def test_one_requester_does_not_take_all_the_room(
    mesh: Bench, anna: Credentials, nobody: Credentials, spec: Spec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mesh.gateway.watching._seats, "_least", 2)
    monkeypatch.setitem(mesh.gateway.watching._seats._shares, "requester", 0.0)
    hers, theirs = (await create(mesh, anna, spec())), (await create(mesh, nobody, spec()))
    streams = [watch(mesh, anna, hers.generation_id) for _ in range(2)]
    for stream in streams:
        await hear(stream, "snapshot")
    with assert_raises_reason(ResourceExhausted, "RATE_LIMITED"):
        await watch(mesh, anna, hers.generation_id).read()
    await hear(watch(mesh, nobody, theirs.generation_id), "snapshot")
    streams[0].cancel()
    await until(lambda: len(mesh.gateway.watching) == 2)
    await hear(watch(mesh, anna, hers.generation_id), "snapshot")


async def test_a_message_that_makes_no_sense_ends_no_watch(mesh: Bench, anna: Credentials, spec: Spec) -> None:
    generation_id = (await create(mesh, anna, spec())).generation_id
    stream = watch(mesh, anna, generation_id)
    await hear(stream, "snapshot")
    # DONE, but stored nowhere: no ticket can be made for it.
    known = mesh.scheduler.generations[generation_id].generation
    known.version = 9
    broken = generation_pb2.Image(job_id=known.images[0].job_id, version=9, ending=job_pb2.JOB_ENDING_DONE)
    mesh.scheduler.tell(scheduler_pb2.FollowedEvent(generation_id=generation_id, image=broken))
    mesh.scheduler.end(generation_id, 0)
    while (told := await stream.read()) is not aio.EOF:
        last = told
    assert last.WhichOneof("event") == "finished"
