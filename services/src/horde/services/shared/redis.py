"""The shared memory in Redis (7 and later) or Valkey.

A draw is one script, so that it is atomic; the server's clock counts, so that replicas' clocks do not matter. While the
server is away, slow or wrong, this process counts by itself, asks again a second later, and news are dropped.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from redis.asyncio import Redis, RedisCluster, Sentinel
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeout

from horde.services.batching import Batcher
from horde.services.clock import Clock
from horde.services.errors import ServiceError
from horde.services.identity import read_private
from horde.services.loops import Loops
from horde.services.neighbours import Watch
from horde.services.rates import Counters, Draw, TooOften
from horde.services.shared.port import MAX_NEWS_BYTES, Hear
from horde.services.telemetry import get_logger

log = get_logger(__name__)

ANSWER_SECONDS: Final = 0.25
"""How long an answer may take; then this process decides alone."""
AWAY_SECONDS: Final = 1.0
"""How long the server is left alone after it failed."""
MAX_WAITING_NEWS: Final = 2_000
"""News that wait to be sent; the oldest are dropped."""
SILENT_SECONDS: Final = 10.0
"""How long a listener hears nothing before it asks; as long again, and the connection is taken for dead."""
FIRST_PAUSE: Final = 0.05
LONGEST_PAUSE: Final = 5.0
"""Seconds between two attempts to subscribe again, at most."""
HERE: Final = "here"
"""A topic that is always subscribed to: a connection that hears nothing is not kept open."""

# KEYS: one for each draw. ARGV: 1 to count or 0 to look; then interval in us, burst in us, weight, count, of each draw.
# Answers the number of the draw that does not pass and the us to wait, or 0 and 0.
SCRIPT: Final = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local ends = {}
for i = 1, #KEYS do
  local interval, burst = tonumber(ARGV[4 * i - 2]), tonumber(ARGV[4 * i - 1])
  local weight, count = tonumber(ARGV[4 * i]), tonumber(ARGV[4 * i + 1])
  local at = math.max(tonumber(redis.call('GET', KEYS[i]) or now), now)
  local wait = at + math.min(weight, count) * interval - now - burst
  if wait > 0 then return {i, math.ceil(wait)} end
  ends[i] = at + weight * interval
end
if ARGV[1] == '1' then
  for i = 1, #KEYS do
    redis.call('SET', KEYS[i], string.format('%.0f', ends[i]), 'PX', math.ceil((ends[i] - now) / 1000) + 1)
  end
end
return {0, 0}
"""


@dataclass(frozen=True, slots=True)
class RedisAddress:
    """Where Redis is: `redis://HOST:PORT/DB`, `rediss://` over TLS, one of a cluster's nodes, or sentinels."""

    url: str
    password_file: Path | None = None
    cluster: bool = False
    sentinel_master: str = ""
    """With sentinels, the name of the master that they watch; `url` is then HOST:PORT of sentinels, by commas."""
    authorities: Path | None = None
    """Whose certificate the server must have, PEM; absent: the system's."""

    @property
    def where(self) -> str:
        """For operators; without a password that the URL may hold."""
        scheme, apart, rest = self.url.rpartition("://")
        return scheme + apart + rest.rpartition("@")[2]

    def client(self, answer_seconds: float | None) -> Any:
        """A client, whose answers may take so long. Nothing is dialled yet."""
        options: dict[str, Any] = {
            "socket_timeout": answer_seconds,
            "socket_connect_timeout": ANSWER_SECONDS,
            "password": read_private(self.password_file).decode().strip() if self.password_file else None,
        }
        if self.authorities is not None:
            options["ssl_ca_certs"] = str(self.authorities)
        if self.sentinel_master:
            hosts = [address.rpartition(":") for address in self.url.split(",")]
            sentinel: Any = Sentinel([(host, int(port)) for host, _, port in hosts], **options)  # type: ignore[no-untyped-call]
            return sentinel.master_for(self.sentinel_master)
        if self.cluster:
            return RedisCluster.from_url(self.url, **options)
        return Redis.from_url(self.url, **options)


class RedisShared:
    """This process's part in a memory that Redis holds."""

    def __init__(self, address: RedisAddress, clock: Clock, prefix: str) -> None:
        self._client = address.client(ANSWER_SECONDS)
        self._listener = address.client(None)
        self._clock = clock
        self._prefix = prefix
        self._alone = Counters()
        self._away_until = float("-inf")
        self._watch = Watch("redis", clock.monotonic)
        self._draws: Batcher[tuple[bool, Sequence[Draw]], TooOften | None] = Batcher(self._ask, max_inflight=4)
        self._news: deque[tuple[str, bytes]] = deque(maxlen=MAX_WAITING_NEWS)
        self._news_there = asyncio.Event()
        self._topics: dict[str, list[Hear]] = {}
        self._changed = asyncio.Event()
        self._joined: list[Callable[[], None]] = []
        self._subscribed: set[str] = set()
        self._in = False

    async def admit(self, draws: Sequence[Draw]) -> TooOften | None:
        return await self._decide(True, draws)

    async def look(self, draws: Sequence[Draw]) -> TooOften | None:
        return await self._decide(False, draws)

    def publish(self, topic: str, news: bytes) -> None:
        if len(news) <= MAX_NEWS_BYTES:
            self._news.append((topic, news))
            self._news_there.set()

    def subscribe(self, topic: str, hear: Hear) -> Callable[[], None]:
        self._topics.setdefault(topic, []).append(hear)
        self._changed.set()

        def unsubscribe() -> None:
            hearing = self._topics.get(topic, [])
            if hear in hearing:
                hearing.remove(hear)
            if not hearing:
                self._topics.pop(topic, None)
                self._changed.set()

        return unsubscribe

    def on_joined(self, call: Callable[[], None]) -> None:
        self._joined.append(call)
        if self._in:
            call()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Take part for as long as the block."""
        try:
            async with self._draws, Loops() as loops:
                loops.start("news to replicas", self._tell())
                loops.start("news of replicas", self._hear())
                yield
        finally:
            await self._client.aclose()
            await self._listener.aclose()

    async def _decide(self, count: bool, draws: Sequence[Draw]) -> TooOften | None:
        if not draws:
            return None
        now = self._clock.monotonic()
        if now >= self._away_until:
            try:
                answer = await self._draws.submit((count, draws))
            except (RedisError, OSError, TimeoutError, ServiceError) as error:
                self._failing(error)
            else:
                self._watch.answered()
                return answer
        return self._alone.admit(draws, now) if count else self._alone.look(draws, now)

    async def _ask(self, items: Sequence[tuple[bool, Sequence[Draw]]]) -> list[TooOften | Exception | None]:
        pipeline = self._client.pipeline(transaction=False)
        for count, draws in items:
            # One hash tag: a cluster runs a script only on keys of one slot.
            keys = [f"{{{self._prefix}}}:{'a' if draw.of_address else 'c'}:{draw.subject}" for draw in draws]
            arguments: list[Any] = [int(count)]
            for draw in draws:
                arguments += [draw.rate.interval * 1e6, draw.rate.seconds * 1e6, draw.weight, draw.rate.count]
            pipeline.eval(SCRIPT, len(keys), *keys, *arguments)
        async with asyncio.timeout(2 * ANSWER_SECONDS):
            answers = await pipeline.execute()
        return [
            TooOften(draws[int(number) - 1], int(wait) / 1e6) if number else None
            for (_, draws), (number, wait) in zip(items, answers, strict=True)
        ]

    def _failing(self, error: Exception) -> None:
        self._away_until = self._clock.monotonic() + AWAY_SECONDS
        self._watch.failed(f"{type(error).__name__}: this process counts alone")

    async def _tell(self) -> None:
        while True:
            # The client waits with asyncio.wait_for, which until Python 3.12 swallows a cancellation that comes as the
            # answer does.
            _end_if_cancelled()
            await self._news_there.wait()
            self._news_there.clear()
            taken = [self._news.popleft() for _ in range(min(len(self._news), 256))]
            if self._news:
                self._news_there.set()
            if self._clock.monotonic() < self._away_until:
                continue
            try:
                # A cluster's pipelines carry no PUBLISH.
                if isinstance(self._client, RedisCluster):
                    for topic, news in taken:
                        await self._client.execute_command("PUBLISH", self._channel(topic), news)
                    continue
                pipeline = self._client.pipeline(transaction=False)
                for topic, news in taken:
                    pipeline.publish(self._channel(topic), news)
                await pipeline.execute()
            except (RedisError, OSError) as error:
                self._failing(error)

    async def _hear(self) -> None:
        pause = FIRST_PAUSE
        while True:
            try:
                async with self._listener.pubsub() as channel, asyncio.TaskGroup() as tasks:
                    # HERE comes last: the server confirms in order, so all of them are in force when it is.
                    self._subscribed = {self._channel(topic) for topic in self._topics}
                    await channel.subscribe(*self._subscribed, self._channel(HERE))
                    changing = tasks.create_task(self._keep_subscribed(channel))
                    await self._listen(channel)
                    changing.cancel()
            except* (RedisError, OSError) as failed:
                log.debug("not among the other replicas", error=str(failed.exceptions[0]))
            # Until Python 3.13 a TaskGroup forgets that it was cancelled if a task of its own fails while it ends.
            _end_if_cancelled()
            if self._in:
                pause = FIRST_PAUSE
            self._in = False
            await self._clock.sleep(pause * random.uniform(0.5, 1.5))
            pause = min(LONGEST_PAUSE, pause * 2)

    async def _listen(self, channel: Any) -> None:
        """Hear until the connection ends; a server that is silent for too long is asked whether it is there."""
        silent = 0
        while True:
            message = await channel.get_message(timeout=SILENT_SECONDS)
            if message is None:
                silent += 1
                if silent > 1:
                    raise RedisTimeout("The server is silent.")
                await channel.ping()
                continue
            silent = 0
            if message["type"] == "message":
                self._heard(message["channel"].decode(), message["data"])
            elif message["type"] == "subscribe" and message["channel"].decode() == self._channel(HERE):
                self._in = True
                for call in self._joined:
                    call()

    async def _keep_subscribed(self, channel: Any) -> None:
        """Subscribe to what is wanted, and no longer to what is not, as it changes."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            wanted = {self._channel(topic) for topic in self._topics}
            if fresh := wanted - self._subscribed:
                await channel.subscribe(*fresh)
            if stale := self._subscribed - wanted:
                await channel.unsubscribe(*stale)
            self._subscribed = wanted

    def _heard(self, channel: str, news: bytes) -> None:
        topic = channel.removeprefix(f"{self._prefix}:")
        for hear in tuple(self._topics.get(topic, ())):
            hear(news)

    def _channel(self, topic: str) -> str:
        return f"{self._prefix}:{topic}"


def _end_if_cancelled() -> None:
    """End this task if it was cancelled, whoever has taken the exception for his own."""
    if (own := asyncio.current_task()) is not None and own.cancelling():
        raise asyncio.CancelledError


@asynccontextmanager
async def redis_shared(address: RedisAddress, clock: Clock, prefix: str) -> AsyncIterator[RedisShared]:
    """Take part in the memory that lies under `prefix`, for as long as the block."""
    shared = RedisShared(address, clock, prefix)
    async with shared.running():
        yield shared
