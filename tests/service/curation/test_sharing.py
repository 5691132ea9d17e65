"""What a requester has shared: told to them alone, and taken back as a whole."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.conformance.curation.test_curation_store import image

from horde.api.generation.v1 import generation_service_pb2 as pb
from horde.api.generation.v1.generation_service_pb2_grpc import GenerationServiceStub
from horde.curation.core.sharing import SETTLED, Wish, job_ids_of
from horde.curation.sharing import Sharing
from horde.curation.store.sql import sql_store
from horde.services.errors import InvalidArgument, Unavailable
from horde.testkit.curation import CurationBench, curation, visitor
from horde.testkit.data_releases import START, job_id
from horde.testkit.loopback import ManualClock, assert_raises_reason, fields_of
from horde.testkit.waiting import POLL_SECONDS, ticks

WHO = visitor("user-1")


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[tuple[CurationBench, Any]]:
    async with curation(folder) as it:
        for number in range(12):
            it.sharing.clock.at = START + timedelta(seconds=number)
            await it.sharing.share(number, anonymous=number == 11)
        stub: Any = GenerationServiceStub(it.channel)

        async def known() -> bool:
            answer = await stub.ListSharedImages(pb.ListSharedImagesRequest(), metadata=WHO)
            return len(answer.images) == 3

        # The follower reads at once, and then again when time goes on.
        clock = it.clock
        for _ in ticks():
            if await known():
                break
            clock.jump(10)
            await asyncio.sleep(POLL_SECONDS)
        yield it, stub


async def test_each_sees_their_own_newest_first_with_the_text_that_they_agreed_to(tmp_path: Path) -> None:
    async with opened(tmp_path) as (_, stub):
        pages, token = [], ""
        while True:
            request = pb.ListSharedImagesRequest(page_size=2, page_token=token)
            answer = await stub.ListSharedImages(request, metadata=WHO)
            pages.append([shared.job_id for shared in answer.images])
            token = answer.next_page_token
            if not token:
                break
        assert pages == [[job_id(11), job_id(6)], [job_id(1)]]
        (shared,) = (await stub.ListSharedImages(pb.ListSharedImagesRequest(page_size=1), metadata=WHO)).images
        assert (shared.consent_text_version, shared.asked) == ("2026-11", False)
        assert not shared.HasField("withdrawn_at")
        nobodys = await stub.ListSharedImages(pb.ListSharedImagesRequest(), metadata=visitor("user-99"))
        assert list(nobodys.images) == []
        of_one = pb.ListSharedImagesRequest(generation_id="9b2d8c1e-0000-5000-8000-00000000000f")
        assert list((await stub.ListSharedImages(of_one, metadata=WHO)).images) == []


@pytest.mark.parametrize(
    ("request_", "fields"),
    [
        (pb.ListSharedImagesRequest(generation_id="x", page_size=-1), ["page_size", "generation_id"]),
        (pb.ListSharedImagesRequest(page_token="x"), ["page_token"]),
        (pb.ListSharedImagesRequest(page_token="WyJhIiwgImIiXQ=="), ["page_token"]),
    ],
)
async def test_a_question_that_makes_no_sense_is_refused(tmp_path: Path, request_: Any, fields: list[str]) -> None:
    async with curation(tmp_path) as it:
        with assert_raises_reason(InvalidArgument, "INVALID_FIELD") as caught:
            await GenerationServiceStub(it.channel).ListSharedImages(request_, metadata=WHO)
        assert fields_of(caught.value) == fields


async def test_nothing_is_taken_back_by_mistake(tmp_path: Path) -> None:
    async with opened(tmp_path) as (_, stub):
        with assert_raises_reason(InvalidArgument, "INVALID_FIELD") as caught:
            await stub.WithdrawAllShared(pb.WithdrawAllSharedRequest(expected_images=2), metadata=WHO)
        assert fields_of(caught.value) == ["expected_images"]
        answer = await stub.WithdrawAllShared(pb.WithdrawAllSharedRequest(expected_images=3), metadata=WHO)
        assert (answer.images, answer.released_images) == (3, 0)


class Router:
    """Takes images away, when it can."""

    def __init__(self) -> None:
        self.gone: list[str] = []
        self.away = False
        self.refused: set[str] = set()

    async def withdraw(self, image_ids: Sequence[str]) -> list[str]:
        if self.away:
            raise Unavailable
        gone = [image_id for image_id in image_ids if image_id not in self.refused]
        self.gone += gone
        return gone


class NoReleases:
    async def finished(self) -> list[Any]:
        return []


async def until(holds: Callable[[], Awaitable[bool]], clock: ManualClock) -> None:
    for _ in ticks():
        if await holds():
            return
        clock.jump(2)
        await asyncio.sleep(POLL_SECONDS)


async def test_a_wish_is_granted_however_often_the_router_is_away_and_also_of_what_becomes_known_later(
    tmp_path: Path,
) -> None:
    clock, router, mine = ManualClock(START), Router(), f"{1:064x}"
    async with sql_store(f"sqlite:///{tmp_path / 'curation.sqlite'}") as store:
        await store.add_images([image(1), image(4), image(2)])
        sharing = Sharing(store, NoReleases(), router, clock)  # type: ignore[arg-type]
        clock.jump(3600)
        await store.wish(Wish(mine, clock.now()))
        wished_at = clock.now()
        router.away, router.refused = True, {"image-4"}
        running = asyncio.create_task(sharing.run())
        try:
            await until(lambda: _waits(clock), clock)
            assert router.gone == []
            router.away = False

            async def one_is_gone() -> bool:
                return router.gone[:1] == ["image-1"]

            await until(one_is_gone, clock)
            router.refused = set()
            # Shared before the wish, and only known now.
            await store.add_images([image(7)])

            async def all_are_gone() -> bool:
                return {"image-1", "image-4", "image-7"} <= set(router.gone)

            await until(all_are_gone, clock)
            assert list(await store.wishes(10)) == [Wish(mine, wished_at)]
            clock.jump(SETTLED.total_seconds())

            async def granted() -> bool:
                return not await store.wishes(10)

            await until(granted, clock)
        finally:
            running.cancel()
        assert "image-2" not in router.gone
        found = await store.image("image-1")
        assert found is not None
        assert found.withdrawn_at is not None


async def _waits(clock: ManualClock) -> bool:
    return clock.waiting > 0


def test_the_images_of_a_generation_are_named_by_the_contracts_rule() -> None:
    assert len(set(job_ids_of("9b2d8c1e-0000-5000-8000-00000000000f"))) == 20
