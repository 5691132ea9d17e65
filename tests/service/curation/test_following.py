"""Which shared images there are is learnt from the bucket's journals: all of them, each once, also after a restart."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from horde.curation.core.images import digest_requester
from horde.curation.following import Follower
from horde.curation.neighbours.shared_bucket import SHARED, WITHDRAWN, SharedBucket
from horde.curation.store.port import CurationStore
from horde.curation.store.sql import sql_store
from horde.testkit.data_releases import START, Moment, Sharing, job_id, plain_folder
from horde.testkit.loopback import ManualClock

HOUR = 3_600.0


@dataclass
class World:
    sharing: Sharing
    store: CurationStore
    clock: ManualClock
    follower: Follower

    async def share(self, number: int) -> str:
        self.sharing.clock.at = self.clock.now()
        return await self.sharing.share(number)

    async def withdraw(self, number: int) -> None:
        self.sharing.clock.at = self.clock.now()
        await self.sharing.images.withdraw(job_id(number))

    async def known(self) -> set[str]:
        return set(await self.store.known([job_id(number) for number in range(50)]))


@asynccontextmanager
async def world(folder: Path, clock: ManualClock | None = None) -> AsyncIterator[World]:
    clock = clock or ManualClock(START)
    async with (
        plain_folder(folder / "shared", Moment(START)) as bucket,
        sql_store(f"sqlite:///{folder / 'curation.sqlite'}") as store,
    ):
        follower = Follower(SharedBucket(bucket), store, clock, timedelta(seconds=10))
        yield World(Sharing(bucket), store, clock, follower)


async def test_what_is_shared_is_known_as_its_record_says(tmp_path: Path) -> None:
    async with world(tmp_path) as it:
        await it.follower.round()
        await it.share(1)
        await it.follower.round()
        found = await it.store.image(job_id(1))
        assert found is not None
        assert found.prompt == "a red door, number 1"
        assert found.negative_prompt == "blurry"
        assert (found.model, found.width, found.height, found.format) == ("dreams", 64, 64, "PNG")
        assert found.requester == digest_requester("user-1")
        assert found.ratable


async def test_an_hour_is_read_again_until_it_is_settled_and_then_never(tmp_path: Path) -> None:
    async with world(tmp_path) as it:
        await it.share(7)
        await it.follower.round()
        # An id that sorts before what was read.
        await it.share(3)
        await it.follower.round()
        assert await it.known() == {job_id(3), job_id(7)}
        assert await it.store.place(SHARED) is None
        it.clock.jump(HOUR + 10 * 60)
        await it.follower.round()
        assert await it.store.place(SHARED) is None
        it.clock.jump(5 * 60)
        await it.follower.round()
        assert await it.store.place(SHARED) == START + timedelta(hours=1)
        await it.share(4)
        it.clock.jump(5 * HOUR)
        await it.follower.round()
        assert await it.known() == {job_id(number) for number in (3, 4, 7)}
        assert await it.store.place(SHARED) == START + timedelta(hours=6)


async def test_an_image_whose_bytes_are_not_there_yet_comes_when_they_are(tmp_path: Path) -> None:
    async with world(tmp_path) as it:
        await it.share(1)
        bytes_of_it = await it.sharing.bucket.read(f"images/{job_id(1)}.png")
        assert bytes_of_it is not None
        await it.sharing.bucket.delete(f"images/{job_id(1)}.png")
        await it.follower.round()
        assert await it.known() == set()
        await it.sharing.bucket.put(f"images/{job_id(1)}.png", bytes_of_it.data)
        await it.follower.round()
        assert await it.known() == {job_id(1)}


async def test_an_image_that_came_hours_after_its_entry_is_its_releases_by_the_first_entry(tmp_path: Path) -> None:
    async with world(tmp_path) as it:
        await it.share(1)
        await it.share(2)
        bytes_of_it = await it.sharing.bucket.read(f"images/{job_id(1)}.png")
        assert bytes_of_it is not None
        await it.sharing.bucket.delete(f"images/{job_id(1)}.png")
        it.clock.jump(5 * HOUR)
        await it.follower.round()
        assert await it.known() == {job_id(2)}
        # The commit is repeated, as it is until it is whole.
        await it.sharing.bucket.put(f"journal/{it.clock.now():%Y-%m-%dT%H}/{job_id(1)}", b"")
        await it.sharing.bucket.put(f"images/{job_id(1)}.png", bytes_of_it.data)
        await it.follower.round()
        found = await it.store.image(job_id(1))
        assert found is not None
        assert found.journal_hour == START


async def test_what_a_report_made_known_has_no_hour_until_the_journal_is_read(tmp_path: Path) -> None:
    async with world(tmp_path) as it:
        await it.share(1)
        reported = await SharedBucket(it.sharing.bucket).image(job_id(1))
        assert reported is not None
        await it.store.add_images([reported])
        assert await it.store.known([job_id(1)]) == {job_id(1): None}
        await it.follower.round()
        assert await it.store.known([job_id(1)]) == {job_id(1): START}


async def test_what_was_withdrawn_is_known_as_such_and_what_was_never_known_is_nothing(tmp_path: Path) -> None:
    async with world(tmp_path) as it:
        await it.share(1)
        await it.share(2)
        await it.withdraw(2)
        await it.follower.round()
        await it.withdraw(1)
        await it.follower.round()
        assert await it.known() == {job_id(1)}
        found = await it.store.image(job_id(1))
        assert found is not None
        assert found.withdrawn_at is not None
        assert not found.ratable
        it.clock.jump(2 * HOUR)
        await it.follower.round()
        assert await it.store.place(WITHDRAWN) == START + timedelta(hours=1)


async def test_a_record_that_cannot_be_read_stops_nobody(tmp_path: Path) -> None:
    async with world(tmp_path) as it:
        for number in range(20):
            await it.share(number)
        await it.sharing.change_record(job_id(5), spec={})
        await it.sharing.change_record(job_id(6), job_id=job_id(7))
        await it.follower.round()
        assert await it.known() == {job_id(number) for number in range(20) if number not in (5, 6)}


async def test_a_restart_goes_on_where_it_was(tmp_path: Path) -> None:
    clock = ManualClock(START)
    async with world(tmp_path, clock) as it:
        await it.share(1)
        clock.jump(2 * HOUR)
        await it.follower.round()
    async with world(tmp_path, clock) as it:
        # Of an hour that is done nothing is asked any more.
        await it.sharing.bucket.put(f"journal/{START:%Y-%m-%dT%H}/{job_id(2)}", b"")
        await it.share(3)
        await it.follower.round()
        assert await it.known() == {job_id(1), job_id(3)}
