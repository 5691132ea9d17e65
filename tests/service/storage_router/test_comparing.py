"""Two pictures compared where they are: in quarantine, or in place; and nothing kept of either."""

from __future__ import annotations

import pytest

from horde.api.job.v1 import job_pb2
from horde.internal.storage.v1 import object_service_pb2 as objects
from horde.storage_router.decoding import DecoderPool
from horde.testkit.loopback import ManualClock
from horde.testkit.storage_router import Job, Kit, keys_of, kit, paint

PLACEMENTS = {False: job_pb2.PLACEMENT_PRIVATE, True: job_pb2.PLACEMENT_SHARED}


def leased(job: Job) -> objects.PictureRef:
    return objects.PictureRef(job_id=job.job_id, lease_id=job.lease_id)


def placed(job: Job) -> objects.PictureRef:
    placement = PLACEMENTS[job.facts.asked]
    return objects.PictureRef(job_id=job.job_id, object_name=job.object_name, placement=placement)


async def compare(router: Kit, *pairs: tuple[objects.PictureRef, objects.PictureRef]) -> list[objects.CompareOutcome]:
    request = objects.CompareObjectsRequest(
        comparisons=[objects.ComparePictures(one=one, other=other) for one, other in pairs]
    )
    return list((await router.orders.CompareObjects(request)).outcomes)


@pytest.mark.parametrize("shared", [False, True])
async def test_a_picture_in_place_is_compared_with_one_in_quarantine(shared: bool) -> None:
    first = Job.numbered(1).shared() if shared else Job.numbered(1)
    again, other = Job.numbered(2), Job.numbered(3)
    async with kit(ManualClock()) as router:
        await router.upload(first, paint("PNG"))
        await router.commit(first.commit(paint("PNG")))
        await router.upload(again, paint("WEBP", lossless=True))
        await router.upload(other, paint("PNG", seed=5))
        same, far, both = await compare(
            router, (placed(first), leased(again)), (placed(first), leased(other)), (leased(again), leased(other))
        )
        assert (same.distance.structure, same.distance.luma) == (0, 0)
        assert far.distance.structure > 10
        assert far.distance.luma == both.distance.luma > 15_000
        # What was in quarantine is there still, until its lease is discarded; nothing else has come to be.
        assert len(await keys_of(router.private)) == (2 if shared else 3)


async def test_what_is_not_there_answers_for_itself() -> None:
    first, gone = Job.numbered(1), Job.numbered(2)
    clock = ManualClock()
    async with kit(clock) as router:
        await router.upload(first, paint())
        await router.commit(first.commit(paint()))
        stranger = placed(first)
        stranger.job_id = gone.job_id
        refs = [leased(gone), placed(gone), stranger, placed(gone.shared())]
        answers = await compare(router, *[(placed(first), ref) for ref in refs], (placed(first), placed(first)))
        assert [answer.error.code for answer in answers[:4]] == [5] * 4
        assert answers[4].distance.structure == 0
        await clock.advance(25 * 3600)
        (expired,) = await compare(router, (placed(first), placed(first)))
        assert expired.error.code == 5


async def test_a_pair_that_cannot_be_is_refused_by_itself() -> None:
    first = Job.numbered(1)
    async with kit(ManualClock()) as router:
        await router.upload(first, paint())
        wrong = objects.PictureRef(job_id="../x", lease_id="1.1")
        nowhere = objects.PictureRef(job_id=first.job_id, object_name="x")
        answers = await compare(
            router, (leased(first), wrong), (leased(first), nowhere), (leased(first), leased(first))
        )
        assert [answer.error.code for answer in answers] == [3, 3, 0]


async def test_strangers_pixels_are_decoded_in_a_child() -> None:
    first = Job.numbered(1)
    pool = DecoderPool(1, 64 * 64, 1 << 30, 30.0)
    async with pool, kit(ManualClock(), decoder=pool) as router:
        for job, seed in ((first, 0), (Job.numbered(2), 1)):
            await router.upload(job, paint("PNG", seed=seed))
        (found,) = await compare(router, (leased(first), leased(Job.numbered(2))))
        assert found.distance.contrast_one > 0
        assert pool.started == 1
