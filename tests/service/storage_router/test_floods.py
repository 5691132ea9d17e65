"""Whoever takes more than his share is refused, and the others do not notice. Real servers, real streams."""

from __future__ import annotations

import asyncio
import io
import zlib
from typing import Any

import pytest
from grpc import StatusCode, aio
from PIL import Image

from horde.api.storage.v1 import storage_service_pb2 as storage
from horde.internal.storage.v1 import object_service_pb2 as objects
from horde.services.errors import Internal, ServiceError
from horde.storage_router.core.errors import (
    ContentConflict,
    LeaseClosed,
    NotAnImage,
    ProtocolViolation,
    ShareExceeded,
    TooManyFailures,
    TooSlow,
)
from horde.storage_router.core.failures import MOST, Failures
from horde.storage_router.core.pictures import Picture
from horde.storage_router.decoding import DecoderPool
from horde.testkit.loopback import ManualClock, settle
from horde.testkit.storage_router import Job, Kit, NoDecoder, cut, finish, keys_of, kit, paint
from horde.testkit.waiting import until

CHUNK = 256 * 1024
MIB = 1024 * 1024
PutInput = aio.StreamUnaryCall[storage.PutInputRequest, storage.PutInputResponse]


async def begin_input(router: Kit, ticket: str, chunks: int) -> PutInput:
    """Open a stream and send so many chunks; then say nothing."""
    call = router.door.PutInput()
    await call.write(storage.PutInputRequest(open=storage.PutInputOpen(ticket=ticket)))
    await send(call, chunks)
    return call


async def send(call: PutInput, chunks: int, start: int = 0) -> None:
    """Send chunks until the other side has had enough."""
    try:
        for number in range(start, start + chunks):
            part = storage.Chunk(offset=number * CHUNK, data=bytes(CHUNK))
            await call.write(storage.PutInputRequest(chunk=part))
    except (ServiceError, asyncio.InvalidStateError, aio.UsageError):
        return


def wrong_adler(size: int) -> bytes:
    """A PNG that is right in all but the checksum at the end of its body: only a decoder finds that."""
    out = io.BytesIO()
    Image.effect_noise((size, size), 20).convert("RGB").save(out, "PNG", compress_level=1)
    image = bytearray(out.getvalue())
    at = image.rindex(b"IDAT")
    end = at + 4 + int.from_bytes(image[at - 4 : at], "big")
    image[end - 1] ^= 1
    image[end : end + 4] = zlib.crc32(image[at:end]).to_bytes(4, "big")
    return bytes(image)


async def test_a_ticket_is_one_stream() -> None:
    clock = ManualClock()
    async with kit(clock) as router:
        ticket = router.input_ticket("input-1", max_bytes=16 * MIB)
        first = await begin_input(router, ticket, 4)
        await router.received(4 * CHUNK)
        for _ in range(33):
            with pytest.raises(ShareExceeded) as caught:
                await router.put_input(ticket, paint())
            assert caught.value.metadata == {"of": "input"}
        assert router.shares.inputs.used == 4 * CHUNK
        # One that lost its way can begin again, though the stream before has not been seen to end.
        await clock.advance(5)
        second = await begin_input(router, ticket, 3)
        with pytest.raises(ProtocolViolation, match="another one"):
            await first
        await router.received(3 * CHUNK)
        await clock.advance(4.9)
        await send(second, 1, start=3)
        await router.received(4 * CHUNK)
        await clock.advance(4.9)
        with pytest.raises(ShareExceeded):
            await router.put_input(ticket, paint())
        await clock.advance(0.2)
        assert (await router.put_input(ticket, paint())).width == 64
        await router.received(0)


async def test_33_silent_streams_of_strangers_leave_the_others_their_room_and_end() -> None:
    clock = ManualClock()
    async with kit(clock, max_input_memory_bytes=64 * MIB) as router:
        tickets = [router.input_ticket("one", f"anonymous:{n:064x}", 16 * MIB) for n in range(33)]
        calls = await asyncio.gather(*(begin_input(router, ticket, 63) for ticket in tickets))
        await until(lambda: sum(call.done() for call in calls) >= 30)
        assert router.shares.inputs.used <= 48 * MIB, "a quarter is kept for accounts"
        # Images have a pot of their own, accounts a part of this one, and strangers from elsewhere something, too.
        assert await router.upload(Job(), paint())
        assert (await router.put_input(router.input_ticket("mine", "alice"), paint())).width == 64
        with pytest.raises(ShareExceeded) as caught:
            for call in calls:
                if call.done() and await call.code() is StatusCode.RESOURCE_EXHAUSTED:
                    await call
        assert caught.value.metadata["of"] in ("requester", "address", "all")
        assert caught.value.retry_after is not None
        await clock.advance(26)
        await router.received(0)
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        # Internal: what gRPC's client says when it writes to a stream that has just been ended.
        assert {type(outcome) for outcome in outcomes} <= {TooSlow, ShareExceeded, Internal}
        assert clock.waiting == 0


async def test_what_was_sent_fast_buys_no_right_to_be_silent() -> None:
    clock = ManualClock()
    async with kit(clock) as router:
        call = await begin_input(router, router.input_ticket("input-1", max_bytes=16 * MIB), 40)
        await router.received(40 * CHUNK)
        await clock.advance(25.9)
        await send(call, 1, start=40)
        await router.received(41 * CHUNK)
        await clock.advance(25.9)
        assert not call.done()
        await clock.advance(0.2)
        with pytest.raises(TooSlow):
            await call
        await router.received(0)


async def test_one_owner_does_not_take_the_memory_of_all() -> None:
    async with kit(ManualClock(), max_memory_bytes=16 * MIB) as router:
        calls = []
        for number in range(12):
            job = Job.numbered(number, width=1024, height=1024, max_bytes=8 * MIB)
            call = router.door.UploadImage()
            grant = router.grant(job, owner="mallory")
            await call.write(storage.UploadImageRequest(open=storage.UploadImageOpen(grant=grant)))
            await call.read()
            calls.append(call)
        for offset in range(0, 4 * MIB, CHUNK):
            for call in calls:
                if not call.done():
                    part = storage.UploadImageRequest(chunk=storage.Chunk(offset=offset, data=bytes(CHUNK)))
                    try:
                        await call.write(part)
                    except (ServiceError, asyncio.InvalidStateError):
                        continue
        await until(lambda: router.shares.images.held(("owner", "mallory")) >= 3 * MIB)
        assert router.shares.images.held(("owner", "mallory")) <= 4 * MIB + CHUNK
        honest = Job.numbered(99, width=512, height=512)
        assert await router.upload(honest, paint("PNG", 512, 512, compress_level=0))
        for call in calls:
            call.cancel()
        await router.received(0)


async def test_few_uploads_of_a_lease_may_fail_and_the_decoder_is_not_asked_again() -> None:
    job, bad = Job(width=256, height=256).shared(), wrong_adler(256)
    async with DecoderPool(1, 1 << 24, 512 << 20, 20.0) as pool:
        asked = Counting(pool)
        async with kit(ManualClock(), decoder=asked) as router:
            for _ in range(MOST):
                with pytest.raises(NotAnImage):
                    await router.upload(job, bad)
            for bring in (router.upload, router.put):
                with pytest.raises(TooManyFailures) as caught:
                    await bring(job, bad if bring == router.upload else paint(width=256, height=256))
                assert caught.value.metadata == {"limit": str(MOST)}
            assert asked.decoded == MOST
            # Nor by many streams at once, before the first of them is known to have failed.
            crowd = Job.numbered(3, width=256, height=256).shared()
            await asyncio.gather(*(router.upload(crowd, bad) for _ in range(12)), return_exceptions=True)
            assert asked.decoded == 2 * MOST
            other = Job.numbered(2).shared()
            assert await router.put(other, paint())


class Counting(NoDecoder):
    """A decoder that counts what it is asked."""

    def __init__(self, decoder: DecoderPool) -> None:
        super().__init__()
        self._decoder = decoder

    async def decode(self, data: bytes, picture: Picture, owner: str, *, known: bool) -> None:
        self.decoded += 1
        await self._decoder.decode(data, picture, owner, known=known)


async def test_few_uploads_of_an_input_may_fail() -> None:
    async with kit(ManualClock()) as router:
        ticket = router.input_ticket("input-1")
        for _ in range(MOST):
            with pytest.raises(NotAnImage):
                await router.put_input(ticket, b"text")
        with pytest.raises(TooManyFailures):
            await router.put_input(router.input_ticket("input-1"), paint())
        assert (await router.put_input(router.input_ticket("input-2"), paint())).width == 64


async def test_what_broke_off_or_was_too_slow_counts_as_no_failure() -> None:
    async with kit(ManualClock()) as router:
        for _ in range(2 * MOST):
            call = router.door.UploadImage()
            await call.write(storage.UploadImageRequest(open=storage.UploadImageOpen(grant=router.grant(Job()))))
            await call.read()
            call.cancel()
        assert await router.upload(Job(), paint())


class Gate(NoDecoder):
    """A decoder's place, by turns, in which each picture waits until the test lets it go on."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = DecoderPool(1, 1, 1, 1)
        self.order: list[str] = []
        self.go_on = asyncio.Semaphore(0)

    async def decode(self, data: bytes, picture: Picture, owner: str, *, known: bool) -> None:
        async with self.pool._turns.turn(owner):
            self.order.append(owner)
            await self.go_on.acquire()


async def test_the_decoder_is_taken_in_turns_by_owner() -> None:
    gate = Gate()
    async with kit(ManualClock(), decoder=gate) as router:
        jobs = [Job.numbered(number).shared() for number in range(21)]
        greedy = [asyncio.create_task(router.put(job, paint(), router.grant(job, owner="greedy"))) for job in jobs[:20]]
        await until(lambda: gate.pool._turns.waiting == 19)
        modest = asyncio.create_task(router.put(jobs[20], paint(), router.grant(jobs[20], owner="modest")))
        await until(lambda: gate.pool._turns.waiting == 20)
        for _ in jobs:
            gate.go_on.release()
        await asyncio.gather(*greedy, modest)
        assert gate.order.index("modest") == 1


@pytest.mark.parametrize("shared", [False, True])
async def test_nothing_is_kept_of_another_picture_under_a_grant_whose_image_was_committed(shared: bool) -> None:
    job = Job().shared() if shared else Job()
    async with kit(ManualClock()) as router:
        grant = router.grant(job)
        receipt = await router.put(job, paint(), grant)
        (outcome,) = await router.commit(job.commit(paint()))
        assert outcome.HasField("committed")
        before = await keys_of(router.private)
        for bring in (router.put, router.upload):
            with pytest.raises(ContentConflict):
                await bring(job, paint(seed=1), grant)
            # Whoever lost the answer gets it still.
            assert await bring(job, paint(), grant) == receipt
        assert await keys_of(router.private) == before
        # Internal: what gRPC's client says when it writes to a stream that has just been ended.
        with pytest.raises((ContentConflict, Internal)):
            await router.upload(job, paint("PNG", 64, 64, compress_level=0), grant)
        with pytest.raises(TooManyFailures):
            await router.upload(job, paint(seed=1), grant)
        (outcome,) = await router.commit(job.commit(paint()))
        assert outcome.HasField("committed")


async def test_a_picture_that_is_on_its_way_while_its_lease_is_committed_by_another_stream_is_not_kept() -> None:
    job = Job(width=128, height=128)
    image, other = (paint("PNG", 128, 128, seed) for seed in (1, 2))
    async with kit(ManualClock()) as router:
        call = router.door.UploadImage()
        await call.write(storage.UploadImageRequest(open=storage.UploadImageOpen(grant=router.grant(job))))
        await call.read()
        await router.upload(job, image)
        await router.commit(job.commit(image))
        with pytest.raises(ContentConflict):
            await finish_stream(call, other)
        assert await keys_of(router.private) == [f"images/{job.object_name}"]


async def finish_stream(call: Any, image: bytes) -> None:
    for chunk in cut(image):
        await call.write(storage.UploadImageRequest(chunk=chunk))
    await call.write(storage.UploadImageRequest(finish=finish(image)))
    await call.read()


async def test_a_lease_that_ended_without_an_object_says_so_whatever_comes_and_however() -> None:
    job = Job()
    async with kit(ManualClock()) as router:
        discards = [objects.DiscardObject(job_id=job.job_id, lease_id=job.lease_id)]
        await router.orders.DiscardObjects(objects.DiscardObjectsRequest(discards=discards))
        for bring in (router.put, router.upload):
            with pytest.raises(LeaseClosed) as caught:
                await bring(job, paint())
            assert caught.value.metadata == {"lease_id": job.lease_id}
        assert await keys_of(router.private) == []


def test_owners_have_a_record_while_their_pictures_pass() -> None:
    failures = Failures()
    assert not failures.has_record("bob")
    failures.passed("bob")
    assert failures.has_record("bob")
    with pytest.raises(NotAnImage), failures.counted(("job", "lease"), "bob"):
        raise NotAnImage.because("it is not")
    assert not failures.has_record("bob")


async def test_streams_that_end_leave_nothing_behind() -> None:
    clock = ManualClock()
    async with kit(clock) as router:

        async def one(number: int) -> None:
            ticket = router.input_ticket(f"input-{number}", f"anonymous:{number:064x}")
            call = await begin_input(router, ticket, 1)
            call.cancel()

        await asyncio.gather(*(one(number) for number in range(50)))
        await until(lambda: clock.waiting == 0)
        await settle()
        assert (router.shares.inputs.used, router.shares.inputs._held) == (0, {})
