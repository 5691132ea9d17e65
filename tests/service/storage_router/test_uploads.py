"""Uploads that break off, dawdle, race or come again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from datetime import datetime

import jwt
import pytest
from grpc import aio

from horde.api.storage.v1 import storage_service_pb2 as storage
from horde.buckets.memory import MemoryBucket
from horde.internal.storage.v1 import object_service_pb2 as objects
from horde.storage_router.core.errors import ContentConflict, LeaseClosed, ProtocolViolation, TooSlow
from horde.testkit.loopback import ManualClock
from horde.testkit.storage_router import Job, Kit, cut, finish, keys_of, kit, paint
from horde.testkit.waiting import HANG_SECONDS

Request = storage.UploadImageRequest
JOB = Job(width=512, height=512)
LARGE = paint("PNG", 512, 512, compress_level=0)
"""About 768 KB."""


async def begin(router: Kit, job: Job = JOB) -> tuple[aio.StreamStreamCall[Request, storage.UploadImageResponse], int]:
    """Open a stream; the offset to go on from."""
    call = router.door.UploadImage()
    await call.write(Request(open=storage.UploadImageOpen(grant=router.grant(job))))
    answer = await call.read()
    assert isinstance(answer, storage.UploadImageResponse)
    assert answer.HasField("resume")
    return call, answer.resume.offset


async def end(call: aio.StreamStreamCall[Request, storage.UploadImageResponse], image: bytes) -> str:
    await call.write(Request(finish=finish(image)))
    answer = await call.read()
    assert isinstance(answer, storage.UploadImageResponse)
    return answer.receipt.receipt


async def wait_for_partial(
    router: Kit, job: Job = JOB
) -> tuple[aio.StreamStreamCall[Request, storage.UploadImageResponse], int]:
    """Open until the broken stream has been noticed."""
    while True:
        call, offset = await begin(router, job)
        if offset:
            return call, offset
        call.cancel()
        await asyncio.sleep(0.01)


async def test_a_broken_upload_goes_on_where_it_stopped() -> None:
    async with kit(ManualClock()) as router:
        call, offset = await begin(router)
        assert offset == 0
        chunks = list(cut(LARGE, size=256 * 1024))
        await call.write(Request(chunk=chunks[0]))
        await call.write(Request(chunk=chunks[1]))
        await call.done_writing()
        with pytest.raises(ProtocolViolation):
            await call.read()
        call, offset = await begin(router)
        assert offset == 512 * 1024
        for chunk in cut(LARGE, offset):
            await call.write(Request(chunk=chunk))
        assert await end(call, LARGE)
        stored = await router.private.read(f"quarantine/{JOB.job_id}/{JOB.lease_id}")
        assert stored is not None
        assert stored.data == LARGE


async def test_a_vanished_worker_goes_on_or_begins_again_as_it_likes() -> None:
    async with kit(ManualClock()) as router:
        call, _ = await begin(router)
        await call.write(Request(chunk=storage.Chunk(offset=0, data=b"of another painting" * 10_000)))
        call.cancel()
        call, offset = await wait_for_partial(router)
        assert offset > 0
        for chunk in cut(LARGE, 0):
            await call.write(Request(chunk=chunk))
        assert await end(call, LARGE)


async def test_a_partial_is_forgotten_after_an_hour() -> None:
    clock = ManualClock()
    async with kit(clock) as router:
        call, _ = await begin(router)
        await call.write(Request(chunk=storage.Chunk(offset=0, data=LARGE[: 256 * 1024])))
        await call.done_writing()
        with pytest.raises(ProtocolViolation):
            await call.read()
        await clock.advance(3_600)
        _, offset = await begin(router)
        assert offset == 0


async def test_an_upload_that_dawdles_is_ended_and_may_go_on() -> None:
    clock = ManualClock()
    async with kit(clock) as router:
        call, _ = await begin(router)
        for number, chunk in enumerate(cut(LARGE, size=64 * 1024)):
            if number == 3:
                break
            await call.write(Request(chunk=chunk))
        # 192 KiB are enough for 10 + 12 seconds, 256 KiB for 10 + 16.
        await router.received(192 * 1024)
        await clock.advance(21.9)
        await call.write(Request(chunk=storage.Chunk(offset=192 * 1024, data=LARGE[192 * 1024 : 256 * 1024])))
        await router.received(256 * 1024)
        await clock.advance(4.0)
        assert clock.waiting == 1
        await clock.advance(0.2)
        with pytest.raises(TooSlow):
            await call.read()
        _, offset = await begin(router)
        assert offset == 256 * 1024
        assert await keys_of(router.private) == []


async def test_whoever_opens_and_says_nothing_is_ended_after_ten_seconds() -> None:
    clock = ManualClock()
    async with kit(clock) as router:
        silent = router.door.UploadImage()
        await silent.write(Request(open=storage.UploadImageOpen(grant=router.grant(JOB))))
        assert await silent.read()
        mute = router.door.PutInput()
        while clock.waiting < 2:
            await asyncio.sleep(0.005)
        await clock.advance(10)
        with pytest.raises(TooSlow):
            await silent.read()
        with pytest.raises(TooSlow):
            await mute
        assert clock.waiting == 0


async def test_of_two_streams_of_one_lease_the_first_to_finish_wins() -> None:
    image, other = paint("PNG", 512, 512, seed=1), paint("PNG", 512, 512, seed=2)
    async with kit(ManualClock()) as router:
        (first, _), (second, _), (third, _) = [await begin(router) for _ in range(3)]
        for call, content in ((first, image), (second, other), (third, image)):
            for chunk in cut(content):
                await call.write(Request(chunk=chunk))
        receipt = await end(first, image)
        with pytest.raises(ContentConflict) as caught:
            await end(second, other)
        assert caught.value.metadata == {"field": "sha256"}
        assert await end(third, image) == receipt
        stored = await router.private.read(f"quarantine/{JOB.job_id}/{JOB.lease_id}")
        assert stored is not None
        assert stored.data == image


async def test_a_replayed_grant_gets_the_receipt_of_what_is_stored_and_nothing_for_other_content() -> None:
    clock = ManualClock()
    async with kit(clock) as router:
        grant = router.grant(JOB)
        receipt = await router.upload(JOB, LARGE, grant)
        await clock.advance(300)
        assert await router.upload(JOB, LARGE, grant) == receipt
        with pytest.raises(ContentConflict):
            await router.upload(JOB, paint("PNG", 512, 512, seed=9), grant)
        claims = jwt.decode(receipt, options={"verify_signature": False})
        assert claims["exp"] - claims["iat"] > 7 * 24 * 3600
        assert len(await keys_of(router.private)) == 1


async def test_a_small_image_may_come_in_one_message() -> None:
    image, job = paint(), Job()
    async with kit(ManualClock()) as router:
        receipt = await router.put(job, image)
        assert receipt == await router.put(job, image) == await router.upload(job, image)
        for bring in (router.put, router.upload):
            with pytest.raises(ContentConflict):
                await bring(job, paint(seed=1))
        stored = await router.private.read(f"quarantine/{job.job_id}/{job.lease_id}")
        assert stored is not None
        assert stored.data == image
        (outcome,) = await router.commit(job.commit(image))
        assert outcome.HasField("committed")


async def test_in_parts_and_in_one_message_is_the_same_upload() -> None:
    image, other, job = paint(), paint(seed=1), Job()
    async with kit(ManualClock()) as router:
        (call, _), (late, _) = await begin(router, job), await begin(router, job)
        for each, content in ((call, image), (late, other)):
            for chunk in cut(content):
                await each.write(Request(chunk=chunk))
        receipt = await router.put(job, image)
        assert await end(call, image) == receipt
        with pytest.raises(ContentConflict):
            await end(late, other)


async def test_what_comes_in_one_message_after_a_discard_is_not_kept() -> None:
    job = Job()
    async with kit(ManualClock()) as router:
        discard = objects.DiscardObjectsRequest(
            discards=[objects.DiscardObject(job_id=job.job_id, lease_id=job.lease_id)]
        )
        await router.orders.DiscardObjects(discard)
        for bring in (router.put, router.upload):
            with pytest.raises(LeaseClosed) as caught:
                await bring(job, paint())
            assert caught.value.metadata == {"lease_id": job.lease_id}
        assert not [key for key in await keys_of(router.private) if key.startswith("quarantine/")]


class Unstoppable(MemoryBucket):
    """Like a folder, whose threads finish what they have begun. What it stores in quarantine waits at a gate."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        super().__init__(now)
        self.begun, self.gate, self.finished = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def put(
        self, key: str, data: bytes, *, metadata: Mapping[str, str] | None = None, media_type: str = ""
    ) -> bool:
        storing = super().put(key, data, metadata=metadata, media_type=media_type)
        return await asyncio.shield(self._at_the_gate(storing)) if data else await storing

    async def _at_the_gate(self, storing: Coroutine[None, None, bool]) -> bool:
        self.begun.set()
        await self.gate.wait()
        self.finished.set()
        return await storing


async def test_what_is_stored_after_its_worker_hung_up_is_not_kept_after_a_discard() -> None:
    clock = ManualClock()
    bucket = Unstoppable(clock.now)
    async with kit(clock, private=bucket) as router:
        call, _ = await begin(router)
        for chunk in cut(LARGE):
            await call.write(Request(chunk=chunk))
        await call.write(Request(finish=finish(LARGE)))
        await bucket.begun.wait()
        call.cancel()
        await router.received(0)
        discard = objects.DiscardObjectsRequest(
            discards=[objects.DiscardObject(job_id=JOB.job_id, lease_id=JOB.lease_id)]
        )
        await router.orders.DiscardObjects(discard)
        bucket.gate.set()
        await asyncio.wait_for(bucket.finished.wait(), HANG_SECONDS)
        assert not [key for key in await keys_of(bucket) if key.startswith("quarantine/")]


async def test_what_comes_after_a_discard_is_not_kept() -> None:
    async with kit(ManualClock()) as router:
        call, _ = await begin(router)
        for chunk in cut(LARGE):
            await call.write(Request(chunk=chunk))
        discard = objects.DiscardObjectsRequest(
            discards=[objects.DiscardObject(job_id=JOB.job_id, lease_id=JOB.lease_id)]
        )
        for _ in range(2):
            answer = await router.orders.DiscardObjects(discard)
            assert [outcome.code for outcome in answer.outcomes] == [0]
        with pytest.raises(LeaseClosed):
            await end(call, LARGE)
        assert not [key for key in await keys_of(router.private) if key.startswith("quarantine/")]
