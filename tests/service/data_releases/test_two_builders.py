"""Two builders of one release, clocks that are wrong, and stray objects: no release is harmed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from horde.buckets.directory import DirectoryBucket
from horde.data_releases import copies
from horde.data_releases.core.plan import BadPlan
from horde.data_releases.planning import Order
from horde.data_releases.releases import Finished
from horde.data_releases.turn import OtherBuilder
from horde.testkit.data_releases import Moment, Sharing, builder, contents, job_id, plain_folder, release
from horde.testkit.waiting import POLL_SECONDS, ticks

WEEK = timedelta(days=8)


@pytest.fixture
async def sharing(tmp_path: Path) -> AsyncIterator[Sharing]:
    clock = Moment()
    async with plain_folder(tmp_path / "shared", clock) as shared:
        yield Sharing(shared, clock)


@pytest.fixture
async def releases(sharing: Sharing, tmp_path: Path) -> AsyncIterator[DirectoryBucket]:
    async with plain_folder(tmp_path / "releases", sharing.clock) as opened:
        yield opened


async def test_of_two_builders_the_one_that_began_last_makes_the_release_and_the_other_changes_nothing(
    sharing: Sharing, releases: DirectoryBucket, tmp_path: Path
) -> None:
    for number in range(40):
        await sharing.share(number)
    sharing.clock.at += WEEK
    order = Order("r1", sharing.clock.at, others={"samples": 4})
    older = asyncio.create_task(builder(sharing, releases, tmp_path / "older").create(order))
    for _ in ticks():
        if await releases.page("building/r1/parts/"):
            break
        await asyncio.sleep(POLL_SECONDS)
    # What only the newer one hears of: with it, the older one's parts are others.
    await sharing.images.withdraw(job_id(0))
    newer = await builder(sharing, releases, tmp_path / "newer").create(order)
    made = contents(tmp_path / "releases")
    (ended,) = await asyncio.gather(older, return_exceptions=True)
    assert isinstance(ended, OtherBuilder | Finished), ended
    assert contents(tmp_path / "releases") == made
    report = copies.verify(tmp_path / "releases" / "releases" / "r1")
    assert (report.faults, report.images) == ([], newer.images)
    assert not await releases.page("building/")


async def test_a_machine_whose_clock_is_ahead_of_the_stores_makes_no_release(
    sharing: Sharing, releases: DirectoryBucket, tmp_path: Path
) -> None:
    await sharing.share(0)
    ahead = replace(sharing, clock=Moment(sharing.clock.at + WEEK))
    with pytest.raises(BadPlan, match="clock"):
        await builder(ahead, releases, tmp_path / "state").create(Order("r1"))
    # It leaves nothing that would keep the right one from being made.
    assert not await releases.page("")
    assert (await release(sharing, releases, tmp_path / "state", Order("r1"))).images == 1


async def test_a_release_does_not_speak_for_an_earlier_moment_than_the_one_before(
    sharing: Sharing, releases: DirectoryBucket, tmp_path: Path
) -> None:
    await sharing.share(0)
    await release(sharing, releases, tmp_path / "state", Order("r1"))
    with pytest.raises(BadPlan, match="r1 speaks for a later moment"):
        await builder(sharing, releases, tmp_path / "state").create(Order("r2", sharing.clock.at - timedelta(days=1)))


async def test_what_somebody_left_in_the_bucket_leaves_itself_out(
    sharing: Sharing, releases: DirectoryBucket, tmp_path: Path
) -> None:
    await sharing.share(0, prompt="two\nlines \u202e\x00")
    await sharing.share(1)
    await sharing.bucket.put("moderation/9b2d8c1e-0000-5000-8000-000000000001.json", b"{")
    await sharing.bucket.put("journal/README", b"not an hour")
    hour = f"journal/{sharing.clock.at:%Y-%m-%dT%H}"
    for stray in ("a.b", "x" * 120, "with space"):
        await sharing.bucket.put(f"{hour}/{stray}", b"")
    made = await release(sharing, releases, tmp_path / "state", Order("r1"))
    # One image waits, because its verdict cannot be read.
    assert (made.images, made.left_out) == (1, 4)
    assert copies.verify(tmp_path / "releases" / "releases" / "r1").faults == []
