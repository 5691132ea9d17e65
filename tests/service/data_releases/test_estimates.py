"""What a release would hold, said before it is made: as it then comes, and with nothing written."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from horde.buckets.directory import DirectoryBucket
from horde.data_releases.estimating import LEFT_SECONDS, Estimate, estimate
from horde.data_releases.planning import Order
from horde.data_releases.releases import Finished
from horde.data_releases.shared_side import BucketVerdicts, SharedSide
from horde.testkit.data_releases import Moment, Sharing, contents, job_id, plain_folder, release

WEEK = timedelta(days=8)
TERMS = {"samples": 25}


@dataclass
class Stage:
    sharing: Sharing
    releases: DirectoryBucket
    path: Path

    async def estimate(self, name: str) -> Estimate:
        self.sharing.clock.at += WEEK
        shared = SharedSide(self.sharing.bucket, BucketVerdicts(self.sharing.bucket))
        try:
            return await estimate(
                Order(name, others=TERMS), shared, self.releases, self.path / "state", self.sharing.clock.now
            )
        finally:
            self.sharing.clock.at -= WEEK

    async def release(self, name: str) -> Finished:
        return await release(self.sharing, self.releases, self.path / "state", Order(name))


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    clock = Moment()
    async with plain_folder(tmp_path / "shared", clock) as shared, plain_folder(tmp_path / "releases", clock) as made:
        yield Stage(Sharing(shared, clock), made, tmp_path)


async def test_an_estimate_says_what_the_release_then_holds_and_writes_nothing(stage: Stage) -> None:
    share, sharing = stage.sharing.share, stage.sharing
    for number in range(30):
        await share(number)
    await sharing.images.withdraw(job_id(0))
    await sharing.change_record(job_id(1), consent={"who_class": "registered"})
    await sharing.decide(job_id(4), "unsafe")
    await sharing.bucket.delete(f"images/{job_id(7)}.png")
    await share(30, prompt="write to jane.doe@example.org")
    await share(31, seed=99)
    await share(32, seed=99)
    sharing.clock.at += timedelta(days=5)
    await share(33)
    sharing.clock.at -= timedelta(days=5)
    before = contents(stage.path)
    told = await stage.estimate("r1")
    assert contents(stage.path) == before
    reasons = ("withdrawn", "no_consent", "unsafe", "incomplete", "contact_data", "duplicate", "cooling_off")
    assert told.left_out == dict.fromkeys(reasons, 1)
    made = await stage.release("r1")
    assert (told.images, sum(told.left_out.values()) - 1, told.removed) == (made.images, made.left_out, made.removed)
    assert told.plan == made.plan


async def test_an_estimate_of_the_next_release_leaves_the_index_of_the_first_as_it_is(stage: Stage) -> None:
    for number in range(30):
        await stage.sharing.share(number)
    await stage.release("r1")
    await stage.sharing.images.withdraw(job_id(2))
    for number in range(30, 35):
        await stage.sharing.share(number)
    await stage.sharing.share(35, seed=0)
    told = await stage.estimate("r2")
    assert (told.images, told.removed, told.plan.previous) == (6, 1, "r1")
    assert not list((stage.path / "state").glob("estimate-*"))
    made = await stage.release("r2")
    assert (told.images, told.removed) == (made.images, made.removed)
    assert (await stage.estimate("r3")).removed == 1


async def test_what_a_count_that_was_killed_has_left_is_deleted_by_a_later_one(stage: Stage) -> None:
    await stage.sharing.share(1)
    killed, alive = stage.path / "state" / "estimate-killed", stage.path / "state" / "estimate-alive"
    for folder in (killed, alive):
        folder.mkdir(parents=True)
        (folder / "catalogue.sqlite").write_bytes(b"x")
    long_ago = killed.stat().st_mtime - 2 * LEFT_SECONDS
    for path in (killed / "catalogue.sqlite", killed, alive):
        os.utime(path, (long_ago, long_ago))
    await stage.estimate("one")
    assert [path.name for path in (stage.path / "state").glob("estimate-*")] == ["estimate-alive"]
