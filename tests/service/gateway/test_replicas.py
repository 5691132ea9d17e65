"""Two gateways that share a Redis: a revoked key is unknown to both at once, limits are counted together, and previews
go from the one that holds the worker to the one that holds the watcher."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from horde.api.account.v1 import account_service_pb2 as account
from horde.gateway.core.credentials import new_api_key
from horde.gateway.core.previews import Glimpse, Previews
from horde.gateway.doors.preview_news import SILENT_SECONDS, PreviewNews
from horde.gateway.store.memory import MemoryIdentityStore
from horde.services.clock import SystemClock
from horde.services.errors import ServiceError
from horde.services.shared.memory import InProcess
from horde.services.shared.redis import RedisAddress, redis_shared
from horde.testkit.gateway import Bench, bench
from horde.testkit.loopback import ManualClock
from horde.testkit.redis import ThrowawayRedis, throwaway_redis
from horde.testkit.waiting import HANG_SECONDS

PICTURE = b"\xff\xd8\xff" + bytes(100)


@pytest.fixture
def redis() -> Iterator[ThrowawayRedis]:
    with throwaway_redis() as server:
        yield server


@pytest.fixture
async def pair(redis: ThrowawayRedis, tmp_path: Path) -> AsyncIterator[tuple[Bench, Bench]]:
    """Two gateways with one store, one pepper and one Redis."""
    store = MemoryIdentityStore()
    pepper = tmp_path / "pepper"
    async with AsyncExitStack() as stack:
        made = []
        for name in ("one", "two"):
            folder = tmp_path / name
            folder.mkdir()
            one = bench(folder, store=store, redis_url=redis.url, pepper_file=pepper, limit_account_calls="20/3600s")
            made.append(await stack.enter_async_context(one))
        yield made[0], made[1]


async def until(true: Callable[[], object]) -> None:
    async with asyncio.timeout(HANG_SECONDS):
        while not true():
            await asyncio.sleep(0.001)


async def open_account(mesh: Bench) -> list[tuple[str, str]]:
    key = new_api_key().text()
    await mesh.accounts.CreateAccount(
        account.CreateAccountRequest(request_id=str(uuid.uuid4()), display_name="Anna", api_key=key)
    )
    return [("authorization", f"Bearer {key}")]


async def refusal(mesh: Bench, who: list[tuple[str, str]]) -> str | None:
    try:
        await mesh.accounts.GetAccount(account.GetAccountRequest(), metadata=who)
    except ServiceError as error:
        return error.reason
    return None


async def test_a_key_that_one_revokes_is_unknown_to_the_other(pair: tuple[Bench, Bench]) -> None:
    one, other = pair
    who = await open_account(one)
    assert await refusal(other, who) is None
    joined = asyncio.Event()
    other.gateway._shared.on_joined(joined.set)
    await asyncio.wait_for(joined.wait(), HANG_SECONDS)
    keys = await one.accounts.ListApiKeys(account.ListApiKeysRequest(), metadata=who)
    revoke = account.RevokeApiKeyRequest(api_key_id=keys.keys[0].api_key_id)
    await one.accounts.RevokeApiKey(revoke, metadata=who)
    assert await refusal(one, who) == "API_KEY_UNKNOWN"
    # Not after the five seconds for which a verified key is believed, but as soon as the news are there.
    await until(lambda: not other.gateway.authenticator._verified)
    assert await refusal(other, who) == "API_KEY_UNKNOWN"


async def test_both_count_the_calls_of_an_account(pair: tuple[Bench, Bench]) -> None:
    who = await open_account(pair[0])
    codes = [await refusal(pair[number % 2], who) for number in range(22)]
    assert codes == [None] * 20 + ["RATE_LIMITED"] * 2


async def test_without_redis_calls_are_answered(pair: tuple[Bench, Bench], redis: ThrowawayRedis) -> None:
    who = await open_account(pair[0])
    redis.stop()
    assert [await refusal(mesh, who) for mesh in pair] == [None, None]


class Screen:
    """Somebody who watches."""

    def __init__(self) -> None:
        self.seen: list[int] = []

    def __call__(self, glimpse: Glimpse) -> None:
        assert glimpse.image == PICTURE
        self.seen.append(glimpse.step)


class Wishes:
    """A worker: whether it was asked for previews."""

    def __init__(self) -> None:
        self.heard = [False]

    def __call__(self, lease_id: str, wanted: bool) -> None:
        self.heard.append(wanted)

    def asked(self) -> bool:
        return self.heard[-1]


async def test_previews_cross_gateways_while_somebody_watches(redis: ThrowawayRedis) -> None:
    clock = SystemClock()
    async with AsyncExitStack() as stack:
        address = RedisAddress(redis.url)
        one = await stack.enter_async_context(redis_shared(address, clock, "gateway"))
        other = await stack.enter_async_context(redis_shared(address, clock, "gateway"))
        workers = Previews(ManualClock())
        PreviewNews(workers, one, clock, "workers")
        news = PreviewNews(Previews(clock), other, clock, "watchers")
        wishes, screen = Wishes(), Screen()
        workers.lent("w", "L1", "J1", "G1", wishes)
        for shared in (one, other):
            joined = asyncio.Event()
            shared.on_joined(joined.set)
            await asyncio.wait_for(joined.wait(), HANG_SECONDS)
        assert not wishes.asked()
        news.watch("G1", screen)
        await until(lambda: wishes.asked())
        assert workers.admit("w", "L1", PICTURE)
        workers.pass_on("L1", 3, PICTURE)
        await until(lambda: screen.seen == [3])
        news.unwatch("G1", screen)
        await until(lambda: not wishes.asked())


async def test_a_gateway_that_comes_later_learns_what_is_watched() -> None:
    clock = ManualClock()
    shared = InProcess(clock)
    news = PreviewNews(Previews(clock), shared, clock, "watchers")
    screen = Screen()
    news.watch("G1", screen)
    workers, wishes = Previews(clock), Wishes()
    PreviewNews(workers, shared, clock, "workers")
    workers.lent("w", "L1", "J1", "G1", wishes)
    assert wishes.asked()
    assert workers.admit("w", "L1", PICTURE)
    workers.pass_on("L1", 1, PICTURE)
    assert screen.seen == [1]


async def test_a_gateway_that_fell_silent_watches_nothing() -> None:
    clock = ManualClock()
    shared = InProcess(clock)
    workers, wishes = Previews(clock), Wishes()
    holder = PreviewNews(workers, shared, clock, "workers")
    running = asyncio.create_task(holder.run())
    workers.lent("w", "L1", "J1", "G1", wishes)
    news = PreviewNews(Previews(clock), shared, clock, "watchers")
    news.watch("G1", Screen())
    assert wishes.asked()
    await clock.advance(3 * SILENT_SECONDS)
    assert not wishes.asked()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_who_watches_where_the_worker_is_sees_each_preview_once() -> None:
    clock = ManualClock()
    shared = InProcess(clock)
    previews, wishes, screen = Previews(clock), Wishes(), Screen()
    news = PreviewNews(previews, shared, clock, "one")
    PreviewNews(Previews(clock), shared, clock, "another")
    previews.lent("w", "L1", "J1", "G1", wishes)
    news.watch("G1", screen)
    assert previews.admit("w", "L1", PICTURE)
    previews.pass_on("L1", 1, PICTURE)
    assert screen.seen == [1]


JUNK = (b"", b"\xff", b"[]", b"{}", b'{"gateway": 1}', b'{"gateway": "x", "watch": [1], "unwatch": [], "again": true}')


@pytest.mark.parametrize("news", JUNK)
async def test_news_that_make_no_sense_are_passed_over(news: bytes) -> None:
    clock = ManualClock()
    shared = InProcess(clock)
    previews, wishes, screen = Previews(clock), Wishes(), Screen()
    watching = PreviewNews(previews, shared, clock, "one")
    for topic in ("watching", "previews/one"):
        shared.publish(topic, news)
        shared.publish(topic, news + b"\0" + PICTURE)
    previews.lent("w", "L1", "J1", "G1", wishes)
    watching.watch("G1", screen)
    assert previews.admit("w", "L1", PICTURE)
    previews.pass_on("L1", 1, PICTURE)
    assert screen.seen == [1]
