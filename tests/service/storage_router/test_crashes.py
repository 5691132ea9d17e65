"""The router fails at each of its failpoints, in turn, and everybody repeats: everything ends in its place, once."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path

import pytest

from horde.buckets.directory import DirectoryBucket
from horde.internal.storage.v1 import object_service_pb2 as objects
from horde.services import failpoints
from horde.services.errors import Internal, Unavailable
from horde.testkit.loopback import ManualClock
from horde.testkit.storage_router import Job, Kit, keys_of, kit, paint

IMAGE = paint()
POINTS = sorted(name for name in failpoints.declared() if name.startswith("storage."))
UPLOADING = [
    "storage.after_open",
    "storage.mid_upload",
    "storage.after_check",
    "storage.after_put",
    "storage.before_receipt",
]
COMMITTING = ["storage.commit.before_copy", "storage.commit.after_copy", "storage.commit.before_answer"]
PUBLISHING = [*COMMITTING, "storage.commit.after_record", "storage.commit.after_image"]
WITHDRAWING = ["storage.withdraw.after_sign", "storage.withdraw.before_answer"]


@pytest.fixture(autouse=True)
def disarmed() -> Iterator[None]:
    yield
    failpoints.arm("")


@asynccontextmanager
async def on_disk(folder: Path) -> AsyncIterator[Kit]:
    """A router over folders; another one later finds what this one left."""
    clock = ManualClock()
    async with (
        DirectoryBucket(folder / "private", clock.now) as private,
        DirectoryBucket(folder / "shared", clock.now, plain=True) as shared,
        kit(clock, private=private, shared=shared) as router,
    ):
        yield router


async def check_shared_is_whole(router: Kit) -> None:
    """No image without its consent record, and nothing that is not public."""
    keys = await keys_of(router.shared)
    for key in keys:
        if key.startswith("images/") and not key.endswith(".json"):
            assert f"{key.rpartition('.')[0]}.json" in keys


def test_every_failpoint_of_the_router_is_passed_by_a_test() -> None:
    elsewhere = {
        "storage.input.after_put",
        "storage.input.after_open",
        "storage.inputs.after_sign",
        "storage.inputs.after_claim",
        "storage.inputs.after_release",
        "storage.expiry.before_delete",
        "storage.mid_download",
        "storage.discard.before_answer",
    }
    assert set(POINTS) == {*UPLOADING, *PUBLISHING, *WITHDRAWING} | elsewhere


@pytest.mark.parametrize("point", UPLOADING)
async def test_an_upload_that_fails_anywhere_is_repeated_with_one_effect(point: str, tmp_path: Path) -> None:
    job = Job()
    async with on_disk(tmp_path) as router:
        failpoints.arm(f"{point}=error")
        # Internal: what gRPC's client says when it writes to a stream that has just been ended.
        with pytest.raises((Unavailable, Internal)):
            await router.upload(job, IMAGE)
        failpoints.arm("")
    async with on_disk(tmp_path) as router:
        receipt = await router.upload(job, IMAGE)
        assert await router.upload(job, IMAGE) == receipt
        assert await keys_of(router.private) == [f"quarantine/{job.job_id}/{job.lease_id}"]


@pytest.mark.parametrize("point", [each for each in UPLOADING if each != "storage.mid_upload"])
async def test_an_upload_in_one_message_that_fails_anywhere_is_repeated_with_one_effect(
    point: str, tmp_path: Path
) -> None:
    job = Job()
    async with on_disk(tmp_path) as router:
        failpoints.arm(f"{point}=error")
        # What was stored before it failed is found by gRPC's own repeat: then there is a receipt at once.
        with nullcontext() if point == "storage.after_put" else pytest.raises(Unavailable):
            await router.put(job, IMAGE)
        failpoints.arm("")
    async with on_disk(tmp_path) as router:
        receipt = await router.put(job, IMAGE)
        assert await router.upload(job, IMAGE) == receipt
        assert await keys_of(router.private) == [f"quarantine/{job.job_id}/{job.lease_id}"]


@pytest.mark.parametrize("after_restart", [False, True])
@pytest.mark.parametrize("point", COMMITTING)
async def test_a_private_commit_that_fails_anywhere_is_repeated(
    point: str, after_restart: bool, tmp_path: Path
) -> None:
    job = Job()
    async with on_disk(tmp_path) as router:
        await router.upload(job, IMAGE)
        failpoints.arm(f"{point}=error@1")
        (outcome,) = await router.commit(job.commit(IMAGE))
        assert outcome.error.code
        if not after_restart:
            (outcome,) = await router.commit(job.commit(IMAGE))
            assert outcome.HasField("committed")
    async with on_disk(tmp_path) as router:
        (outcome,) = await router.commit(job.commit(IMAGE))
        assert outcome.committed.size_bytes == len(IMAGE)
        assert await keys_of(router.private) == [f"images/{job.object_name}"]
        assert await keys_of(router.shared) == []
        assert (await router.download(router.ticket(job.image_ticket_claims(IMAGE))))[1] == IMAGE


@pytest.mark.parametrize("point", PUBLISHING)
async def test_a_shared_commit_that_fails_anywhere_leaves_nothing_half_and_is_repeated(
    point: str, tmp_path: Path
) -> None:
    job = Job().shared()
    async with on_disk(tmp_path) as router:
        await router.upload(job, IMAGE)
        failpoints.arm(f"{point}=error@1")
        (outcome,) = await router.commit(job.commit(IMAGE))
        assert outcome.error.code
        await check_shared_is_whole(router)
    async with on_disk(tmp_path) as router:
        for _ in range(2):
            (outcome,) = await router.commit(job.commit(IMAGE))
            assert outcome.committed.size_bytes == len(IMAGE)
        assert await keys_of(router.private) == []
        assert await keys_of(router.shared) == [f"images/{job.job_id}.json", f"images/{job.job_id}.webp"]
        assert (tmp_path / "shared" / "images" / f"{job.job_id}.webp").read_bytes() == IMAGE


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("point", WITHDRAWING)
async def test_a_withdrawal_that_fails_anywhere_is_repeated_and_a_late_commit_brings_nothing_back(
    point: str, shared: bool, tmp_path: Path
) -> None:
    job = Job().shared() if shared else Job()
    request = objects.WithdrawObjectsRequest(withdrawals=[job.withdrawal()])
    async with on_disk(tmp_path) as router:
        await router.upload(job, IMAGE)
        failpoints.arm("storage.commit.after_copy=error@1")
        await router.commit(job.commit(IMAGE))
        failpoints.arm(f"{point}=error@1")
        await router.orders.WithdrawObjects(request)
    async with on_disk(tmp_path) as router:
        for _ in range(2):
            answer = await router.orders.WithdrawObjects(request)
            assert [outcome.code for outcome in answer.outcomes] == [0]
        assert not [key for key in await keys_of(router.shared) if key.startswith("images/")]
        if shared:
            failpoints.arm("storage.commit.after_image=error@1")
            (outcome,) = await router.commit(job.commit(IMAGE))
            failpoints.arm("")
            assert outcome.committed.size_bytes == len(IMAGE)
            assert await keys_of(router.shared) == [f"withdrawn/{job.job_id}.json"]
            assert await keys_of(router.private) == []


async def test_a_discard_that_fails_is_repeated(tmp_path: Path) -> None:
    job = Job()
    request = objects.DiscardObjectsRequest(discards=[objects.DiscardObject(job_id=job.job_id, lease_id=job.lease_id)])
    async with on_disk(tmp_path) as router:
        await router.upload(job, IMAGE)
        failpoints.arm("storage.discard.before_answer=error@1")
        for expected in (14, 0):
            answer = await router.orders.DiscardObjects(request)
            assert [outcome.code for outcome in answer.outcomes] == [expected]
        assert not [key for key in await keys_of(router.private) if key.startswith("quarantine/")]


async def test_a_discard_touches_no_committed_object_and_no_other_lease(tmp_path: Path) -> None:
    done, other = Job.numbered(1), Job.numbered(2)
    async with on_disk(tmp_path) as router:
        for job in (done, other):
            await router.upload(job, IMAGE)
        await router.commit(done.commit(IMAGE))
        discards = [objects.DiscardObject(job_id=done.job_id, lease_id=done.lease_id)]
        await router.orders.DiscardObjects(objects.DiscardObjectsRequest(discards=discards))
        assert await keys_of(router.private) == [
            f"images/{done.object_name}",
            f"quarantine/{other.job_id}/{other.lease_id}",
        ]


async def test_bytes_that_changed_in_quarantine_are_not_committed(tmp_path: Path) -> None:
    job = Job().shared()
    async with on_disk(tmp_path) as router:
        await router.upload(job, IMAGE)
        file = tmp_path / "private" / "quarantine" / f"{job.job_id}!{job.lease_id}"
        damaged = bytearray(file.read_bytes())
        damaged[100] ^= 1
        file.write_bytes(damaged)
        (outcome,) = await router.commit(job.commit(IMAGE))
        assert outcome.error.code == 5
        assert await keys_of(router.shared) == []
