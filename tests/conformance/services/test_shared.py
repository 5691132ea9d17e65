"""One suite for the memory that replicas share: in process, on Redis and on Valkey. And what a server that is emptied,
stopped or silent changes: limits and latency, nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack

import pytest

from horde.services.clock import SystemClock
from horde.services.rates import Draw, Rate
from horde.services.shared.memory import InProcess
from horde.services.shared.port import MAX_NEWS_BYTES, Shared
from horde.services.shared.redis import RedisAddress, RedisShared, redis_shared
from horde.testkit.redis import ThrowawayRedis, throwaway_redis
from horde.testkit.waiting import HANG_SECONDS

TEN = Rate.parse("10/3600s")
"""Slow enough that no test sees one come back."""


@pytest.fixture(scope="module", params=["redis", "valkey"])
def server(request: pytest.FixtureRequest) -> Iterator[ThrowawayRedis]:
    with throwaway_redis(request.param) as started:
        yield started


@pytest.fixture(params=["in process", "redis", "valkey"])
async def replicas(request: pytest.FixtureRequest) -> AsyncIterator[tuple[Shared, Shared]]:
    if request.param == "in process":
        one = InProcess(SystemClock())
        yield one, one
        return
    with throwaway_redis(request.param) as started:
        async with AsyncExitStack() as stack:
            address = RedisAddress(started.url)
            pair = [await stack.enter_async_context(redis_shared(address, SystemClock(), "test")) for _ in range(2)]
            yield pair[0], pair[1]


async def joined(shared: Shared) -> None:
    """Wait until it hears the others."""
    there = asyncio.Event()
    shared.on_joined(there.set)
    await asyncio.wait_for(there.wait(), HANG_SECONDS)


class Heard:
    """What was heard, in order."""

    def __init__(self) -> None:
        self.news: list[bytes] = []
        self._came = asyncio.Event()

    def __call__(self, news: bytes) -> None:
        self.news.append(news)
        self._came.set()

    async def until(self, true: Callable[[], bool]) -> None:
        while not true():
            self._came.clear()
            await asyncio.wait_for(self._came.wait(), HANG_SECONDS)


async def test_replicas_count_together(replicas: tuple[Shared, Shared]) -> None:
    one, other = replicas
    verdicts = [await (one if number % 2 else other).admit([Draw("a", TEN)]) for number in range(12)]
    assert verdicts[:10] == [None] * 10
    for refused in verdicts[10:]:
        assert refused is not None
        assert refused.draw == Draw("a", TEN)
        assert refused.seconds == pytest.approx(360, abs=60)
    assert await one.admit([Draw("b", TEN)]) is None


async def test_a_call_passes_all_of_its_draws_or_uses_none_up(replicas: tuple[Shared, Shared]) -> None:
    one, other = replicas
    once = Draw("network", Rate(1, 3600), of_address=True)
    assert await one.admit([once]) is None
    refused = await other.admit([Draw("a", TEN), once])
    assert refused is not None
    assert refused.draw == once
    assert [await one.admit([Draw("a", TEN)]) for _ in range(10)] == [None] * 10


async def test_a_look_counts_nothing(replicas: tuple[Shared, Shared]) -> None:
    one, _ = replicas
    once = [Draw("a", Rate(1, 3600))]
    assert await one.look(once) is None
    assert await one.look(once) is None
    assert await one.admit(once) is None
    assert await one.look(once) is not None
    assert await one.admit([]) is None


async def test_a_caller_and_an_address_of_one_name_are_two(replicas: tuple[Shared, Shared]) -> None:
    one, _ = replicas
    assert await one.admit([Draw("a", Rate(1, 3600))]) is None
    assert await one.admit([Draw("a", Rate(1, 3600), of_address=True)]) is None


async def test_a_weight_above_the_burst_passes_when_nothing_else_did(replicas: tuple[Shared, Shared]) -> None:
    one, other = replicas
    assert await one.admit([Draw("a", TEN, weight=30)]) is None
    refused = await other.admit([Draw("a", TEN)])
    assert refused is not None
    assert refused.seconds == pytest.approx(30 * 360 - 9 * 360, abs=60)


async def test_news_reach_every_replica_that_listens(replicas: tuple[Shared, Shared]) -> None:
    one, other = replicas
    mine, theirs, elsewhere = Heard(), Heard(), Heard()
    one.subscribe("keys", mine)
    other.subscribe("keys", theirs)
    other.subscribe("previews", elsewhere)
    await joined(one)
    await joined(other)
    one.publish("keys", b"\x00\xff")
    one.publish("keys", bytes(MAX_NEWS_BYTES + 1))
    one.publish("keys", b"last")
    for heard in (mine, theirs):
        await heard.until(lambda heard=heard: len(heard.news) == 2)  # type: ignore[misc]
        assert heard.news == [b"\x00\xff", b"last"]
    assert elsewhere.news == []


async def test_who_hears_no_more_is_told_no_more(replicas: tuple[Shared, Shared]) -> None:
    one, other = replicas
    left, stayed = Heard(), Heard()
    leave = other.subscribe("keys", left)
    other.subscribe("keys", stayed)
    await joined(one)
    await joined(other)
    leave()
    leave()
    one.publish("keys", b"x")
    await stayed.until(lambda: bool(stayed.news))
    assert left.news == []


async def test_a_subscription_while_listening_is_in_force_soon(replicas: tuple[Shared, Shared]) -> None:
    one, other = replicas
    await joined(one)
    await joined(other)
    late = Heard()
    other.subscribe("late", late)
    while not late.news:
        one.publish("late", b"x")
        await asyncio.sleep(0)
    assert late.news[0] == b"x"


async def test_an_emptied_server_forgets_limits_and_nothing_else(server: ThrowawayRedis) -> None:
    async with redis_shared(RedisAddress(server.url), SystemClock(), "emptied") as shared:
        once = [Draw("a", Rate(1, 3600))]
        heard = Heard()
        shared.subscribe("keys", heard)
        await joined(shared)
        assert await shared.admit(once) is None
        assert await shared.admit(once) is not None
        server.ask("FLUSHALL")
        assert await shared.admit(once) is None
        shared.publish("keys", b"x")
        await heard.until(lambda: heard.news == [b"x"])


async def test_without_a_server_each_replica_counts_alone_and_comes_back_by_itself(server: ThrowawayRedis) -> None:
    async with redis_shared(RedisAddress(server.url), SystemClock(), "stopped") as shared:
        once = [Draw("a", Rate(1, 3600))]
        heard = Heard()
        shared.subscribe("keys", heard)
        await joined(shared)
        assert await shared.admit(once) is None
        server.stop()
        try:
            # It was not counted here yet; from now on it is.
            assert await shared.admit(once) is None
            assert await shared.admit(once) is not None
            assert await shared.look(once) is not None
            shared.publish("keys", b"lost, or not")
        finally:
            server.start()
        again = asyncio.Event()
        shared.on_joined(again.set)
        await asyncio.wait_for(again.wait(), HANG_SECONDS)
        while b"back" not in heard.news:
            shared.publish("keys", b"back")
            await asyncio.sleep(0.01)


async def test_a_silent_server_delays_one_call_and_not_the_next(server: ThrowawayRedis) -> None:
    async with redis_shared(RedisAddress(server.url), SystemClock(), "silent") as shared:
        assert await shared.admit([Draw("a", TEN)]) is None
        server.pause()
        try:
            for _ in range(10):
                assert await shared.admit([Draw("b", TEN)]) is None
            assert await shared.admit([Draw("b", TEN)]) is not None
        finally:
            server.resume()


async def test_a_listener_ends_when_it_is_cancelled_whatever_fails_meanwhile(
    server: ThrowawayRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def breaks(self: RedisShared, channel: object) -> None:
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            raise ConnectionError("the connection went with the one that was cancelled") from None

    monkeypatch.setattr(RedisShared, "_keep_subscribed", breaks)
    async with asyncio.timeout(HANG_SECONDS), redis_shared(RedisAddress(server.url), SystemClock(), "ends") as shared:
        await joined(shared)
