"""Faults of every kind, planted in buckets that are otherwise as the mesh leaves them: each is found, and nothing else.

On folders, and on a real S3 server with the auditor's own credential.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from horde.auditor.auditor import Auditor, Bounds
from horde.auditor.core.findings import Kind
from horde.auditor.private_audit import PrivateAudit
from horde.auditor.progress import ProgressFile
from horde.auditor.shared_audit import SharedAudit
from horde.auditor.truth import Truth
from horde.buckets.directory import DirectoryBucket
from horde.buckets.port import Bucket
from horde.buckets.s3 import S3Bucket
from horde.scheduler.core.job import Ending, JobState
from horde.services.errors import ServiceError
from horde.testkit.auditor import SettledMesh
from horde.testkit.data_releases import Moment, Sharing, job_id, plain_folder
from horde.testkit.s3 import REGION, ThrowawayS3

IMAGES = 24
PRIVATE = range(100, 112)


class Clock(Moment):
    """Some hours later: what is compared has settled long ago."""

    def monotonic(self) -> float:
        return self.at.timestamp()

    async def sleep(self, seconds: float) -> None:
        raise AssertionError("nobody waits here")

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Any:
        raise AssertionError("nobody waits here")


@dataclass
class Audited:
    """A mesh that is settled, who looks at it, and where he notes it."""

    mesh: SettledMesh
    shared_seen: Bucket
    private_seen: Bucket
    truth: Truth
    folder: Path
    clock: Clock
    planted: dict[str, Kind] = field(default_factory=dict)

    @property
    def shared(self) -> Bucket:
        return self.mesh.sharing.bucket

    def auditor(self, *, sample: int = 1000, **bounds: Any) -> Auditor:
        settle = timedelta(minutes=5)
        return Auditor(
            self.truth,
            SharedAudit(self.shared_seen, self.truth, self.clock.now, settle, sample),
            PrivateAudit(self.private_seen, self.truth, self.clock.now, settle),
            ProgressFile(self.folder),
            self.clock,
            Bounds(**{"settle": settle, **bounds}),
        )

    async def found(self, **bounds: Any) -> dict[str, Kind]:
        auditor = self.auditor(**bounds)
        await auditor.whole()
        return {finding.key: finding.kind for finding in auditor.progress.open}

    async def swap(self, key: str, data: bytes) -> None:
        await self.shared.delete(key)
        await self.shared.put(key, data)


@pytest.fixture(params=["folders", pytest.param("s3", marks=pytest.mark.s3)])
async def audited(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Audited]:
    # The server has the real time: what is put there now was put there hours ago to who looks later.
    moment = Moment(datetime.now(UTC) - timedelta(minutes=90))
    async with AsyncExitStack() as stack:
        if request.param == "folders":
            shared: Bucket = await stack.enter_async_context(plain_folder(tmp_path / "shared", moment))
            private: Bucket = await stack.enter_async_context(DirectoryBucket(tmp_path / "private", moment.now))
            seen = shared, private
        else:
            server: ThrowawayS3 = request.getfixturevalue("s3_server")
            server.empty("horde-shared", "horde-private")

            async def bucket(name: str, user: str, *, read_only: bool = False) -> Bucket:
                credential = server.access_key(user), server.secret(user)
                opened = S3Bucket(server.endpoint, name, *credential, REGION, secure=False, read_only=read_only)
                return await stack.enter_async_context(opened)

            shared = await bucket("horde-shared", "router-promoter")
            private = await bucket("horde-private", "router-private")
            seen = (
                await bucket("horde-shared", "auditor", read_only=True),
                await bucket("horde-private", "auditor", read_only=True),
            )
        mesh = SettledMesh(Sharing(shared, moment), private)
        for number in range(IMAGES):
            await mesh.share(number)
        for number in PRIVATE:
            await mesh.keep(number)
        withdrawn = job_id(IMAGES - 1)
        await mesh.sharing.images.withdraw(withdrawn)
        mesh.job(withdrawn)["withdrawn"] = True
        await mesh.sharing.decide(job_id(0), "safe")
        await shared.put(f"moderation/decided/{moment.at:%Y-%m-%dT%H}/{job_id(0)}", b"")
        truth = await stack.enter_async_context(mesh.truth())
        clock = Clock(datetime.now(UTC) + timedelta(hours=4))
        yield Audited(mesh, *seen, truth, tmp_path / "auditor", clock)


async def record_of(audited: Audited, number: int) -> dict[str, Any]:
    found = await audited.shared.read(f"images/{job_id(number)}.json")
    assert found is not None
    record: dict[str, Any] = json.loads(found.data)
    return record


async def stranger(audited: Audited) -> dict[str, Kind]:
    for key in (f"images/{job_id(999)}.webp", "images/readme.txt", "elsewhere/x"):
        await audited.shared.put(key, b"x")
    return dict.fromkeys((f"images/{job_id(999)}.webp", "images/readme.txt", "elsewhere/x"), Kind.STRANGER)


async def swapped_bytes(audited: Audited) -> dict[str, Kind]:
    key, other = f"images/{job_id(0)}.webp", await audited.shared.read(f"images/{job_id(3)}.webp")
    here = await audited.shared.read(key)
    assert here is not None
    assert other is not None
    # As long as before: only its digest tells.
    await audited.swap(key, here.data[:-1] + bytes([here.data[-1] ^ 1]))
    return {key: Kind.CHANGED}


async def another_size(audited: Audited) -> dict[str, Kind]:
    key = f"images/{job_id(6)}.webp"
    await audited.swap(key, b"x")
    return {key: Kind.CHANGED}


async def missing_record(audited: Audited) -> dict[str, Kind]:
    await audited.shared.delete(f"images/{job_id(1)}.json")
    return {f"images/{job_id(1)}.json": Kind.MISSING_RECORD}


async def missing_image(audited: Audited) -> dict[str, Kind]:
    await audited.shared.delete(f"images/{job_id(2)}.jpg")
    return {f"images/{job_id(2)}.jpg": Kind.MISSING_IMAGE}


async def both_missing(audited: Audited) -> dict[str, Kind]:
    keys = [f"images/{job_id(4)}.{ending}" for ending in ("png", "json")]
    for key in keys:
        await audited.shared.delete(key)
    return dict(zip(keys, (Kind.MISSING_IMAGE, Kind.MISSING_RECORD), strict=True))


async def private_copied_over(audited: Audited) -> dict[str, Kind]:
    found = await audited.mesh.private.read(audited.mesh.private_key(100))
    assert found is not None
    await audited.shared.put(f"images/{job_id(100)}.webp", found.data)
    return {f"images/{job_id(100)}.webp": Kind.PRIVATE_IN_SHARED}


async def private_in_the_journal(audited: Audited) -> dict[str, Kind]:
    key = f"journal/{audited.mesh.sharing.clock.now():%Y-%m-%dT%H}/{job_id(101)}"
    await audited.shared.put(key, b"")
    return {key: Kind.PRIVATE_IN_SHARED}


async def consent_gone(audited: Audited) -> dict[str, Kind]:
    await audited.mesh.sharing.change_record(job_id(5), consent=None)
    return {f"images/{job_id(5)}.json": Kind.BAD_RECORD}


async def record_of_another(audited: Audited) -> dict[str, Kind]:
    record = await record_of(audited, 7)
    await audited.mesh.sharing.change_record(job_id(7), image={**record["image"], "sha256": "0" * 64})
    return {f"images/{job_id(7)}.json": Kind.BAD_RECORD}


async def painted_from_a_picture(audited: Audited) -> dict[str, Kind]:
    spec = (await record_of(audited, 8))["spec"]
    spec["image"]["source"] = {"input_id": "x"}
    await audited.mesh.sharing.change_record(job_id(8), spec=spec)
    return {f"images/{job_id(8)}.json": Kind.BAD_RECORD}


async def withdrawn_put_back(audited: Audited) -> dict[str, Kind]:
    await audited.shared.put(f"images/{job_id(IMAGES - 1)}.jpg", b"x")
    return {f"images/{job_id(IMAGES - 1)}.jpg": Kind.WITHDRAWN_THERE}


async def sign_nobody_gave(audited: Audited) -> dict[str, Kind]:
    await audited.mesh.sharing.images.withdraw(job_id(9))
    return {f"withdrawn/{job_id(9)}.json": Kind.BAD_ENTRY}


async def entry_gone(audited: Audited) -> dict[str, Kind]:
    hour = audited.mesh.sharing.clock.now()
    await audited.shared.delete(f"journal/{hour:%Y-%m-%dT%H}/{job_id(10)}")
    return {f"journal/{hour:%Y-%m-%dT%H}/{job_id(10)}": Kind.NOT_IN_JOURNAL}


async def bad_entries(audited: Audited) -> dict[str, Kind]:
    hour = f"{audited.mesh.sharing.clock.now():%Y-%m-%dT%H}"
    bad = {
        f"journal/{hour}/{job_id(998)}": b"",
        f"withdrawals/{hour}/{job_id(997)}": b"",
        f"journal/2026-13-77T99/{job_id(11)}": b"",
        f"journal/{hour}/{job_id(12)}x": b"",
        f"moderation/{job_id(13)}.json": b"{}",
        f"moderation/{job_id(14)}.json": b"unsafe",
        f"moderation/{job_id(996)}.json": b'{"verdict": "safe"}',
        f"moderation/decided/{hour}/{job_id(995)}": b"",
    }
    for key, data in bad.items():
        await audited.shared.put(key, data)
    return {key: Kind.STRANGER if key.endswith("x") else Kind.BAD_ENTRY for key in bad}


async def another_format_beside_it(audited: Audited) -> dict[str, Kind]:
    await audited.shared.put(f"images/{job_id(15)}.png", b"x")
    return {f"images/{job_id(15)}.png": Kind.STRANGER}


async def job_ended_otherwise(audited: Audited) -> dict[str, Kind]:
    audited.mesh.job(job_id(16))["ending"] = int(Ending.CANCELLED)
    return {f"images/{job_id(16)}.{ending}": Kind.STRANGER for ending in ("png", "json")}


async def private_gone(audited: Audited) -> dict[str, Kind]:
    await audited.mesh.private.delete(audited.mesh.private_key(102))
    return {audited.mesh.private_key(102): Kind.MISSING_PRIVATE}


async def private_orphan(audited: Audited) -> dict[str, Kind]:
    await audited.mesh.private.put(f"images/{'ab' * 16}", b"x")
    return {f"images/{'ab' * 16}": Kind.ORPHAN}


async def private_withdrawn_there(audited: Audited) -> dict[str, Kind]:
    audited.mesh.job(job_id(103))["withdrawn"] = True
    return {audited.mesh.private_key(103): Kind.ORPHAN}


async def left_in_quarantine(audited: Audited) -> dict[str, Kind]:
    key = f"quarantine/{job_id(104)}/1.7"
    await audited.mesh.private.put(key, b"x")
    return {key: Kind.ORPHAN}


async def expired_and_there(audited: Audited) -> dict[str, Kind]:
    audited.mesh.job(job_id(105))["expires_at_ms"] = 1
    return {audited.mesh.private_key(105): Kind.OVERDUE}


FAULTS: list[Callable[[Audited], Awaitable[dict[str, Kind]]]] = [
    stranger,
    swapped_bytes,
    another_size,
    missing_record,
    missing_image,
    both_missing,
    private_copied_over,
    private_in_the_journal,
    consent_gone,
    record_of_another,
    painted_from_a_picture,
    withdrawn_put_back,
    sign_nobody_gave,
    entry_gone,
    bad_entries,
    another_format_beside_it,
    job_ended_otherwise,
    private_gone,
    private_orphan,
    private_withdrawn_there,
    left_in_quarantine,
    expired_and_there,
]


async def test_every_planted_fault_is_found_and_nothing_else_is(audited: Audited) -> None:
    assert await audited.found() == {}
    expected: dict[str, Kind] = {}
    for plant in FAULTS:
        expected |= await plant(audited)
    assert await audited.found() == expected
    assert set(expected.values()) == set(Kind)


@pytest.mark.parametrize("audited", ["folders"], indirect=True)
@pytest.mark.parametrize("plant", FAULTS, ids=lambda plant: plant.__name__)
async def test_one_fault_alone_is_found_on_the_way_round_in_small_slices(
    audited: Audited, plant: Callable[[Audited], Awaitable[dict[str, Kind]]]
) -> None:
    expected = await plant(audited)
    # A slice ends in the middle of an image more than once.
    assert await audited.found(slice_objects=5) == expected


@pytest.mark.parametrize("audited", ["folders"], indirect=True)
async def test_what_is_new_is_read_whole_at_once_though_the_old_is_sampled(audited: Audited) -> None:
    await swapped_bytes(audited)
    auditor = audited.auditor(sample=0, slice_objects=1)
    look = await auditor.look()
    assert (look.new, look.caught_up) == (IMAGES + len(PRIVATE), True)
    assert [finding.kind for finding in auditor.progress.open] == [Kind.CHANGED]


@pytest.mark.parametrize("audited", ["folders"], indirect=True)
async def test_a_bounded_look_goes_on_where_the_last_ended_also_in_another_process(audited: Audited) -> None:
    seen = 0
    for _ in range(100):
        look = await audited.auditor(new_images=7, slice_objects=11).look()
        assert look.new <= 7
        assert look.objects <= 22
        seen += look.new
        if audited.auditor().progress.shared.finished_at is not None and look.caught_up:
            break
    assert seen == IMAGES + len(PRIVATE)
    assert audited.auditor().progress.private.finished_at is not None


@pytest.mark.parametrize("audited", ["folders"], indirect=True)
async def test_what_is_mended_is_no_finding_any_more(audited: Audited) -> None:
    found = await audited.shared.read(f"images/{job_id(1)}.json")
    assert found is not None
    await missing_record(audited)
    await private_orphan(audited)
    await audited.found()
    auditor = audited.auditor()
    assert len(auditor.progress.open) == 2
    await audited.shared.put(f"images/{job_id(1)}.json", found.data)
    await audited.mesh.private.delete(f"images/{'ab' * 16}")
    await auditor.look()
    assert auditor.progress.open == []


@pytest.mark.parametrize("audited", ["folders"], indirect=True)
async def test_what_is_still_on_its_way_is_no_finding(audited: Audited) -> None:
    settling, waiting = audited.mesh.job(job_id(0)), audited.mesh.job(job_id(100))
    settling["state"] = waiting["state"] = int(JobState.SETTLING)
    await audited.shared.delete(f"images/{job_id(0)}.webp")
    await audited.mesh.private.put(f"quarantine/{job_id(100)}/1.9", b"x")
    assert await audited.found() == {}


@pytest.mark.s3
@pytest.mark.parametrize("audited", ["s3"], indirect=True)
async def test_the_auditor_cannot_read_what_is_private(audited: Audited) -> None:
    assert await audited.private_seen.page("images/")
    with pytest.raises(ServiceError):
        await audited.private_seen.read(audited.mesh.private_key(100))
