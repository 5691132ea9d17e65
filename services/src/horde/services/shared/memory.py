"""The shared memory of one process: the embedded default, and in tests that of several replicas in one process."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from horde.services.clock import Clock
from horde.services.rates import Counters, Draw, TooOften
from horde.services.shared.port import MAX_NEWS_BYTES, Hear


class InProcess:
    """One object is one shared memory; every replica that is given it shares it."""

    def __init__(self, clock: Clock, max_subjects: int = 100_000) -> None:
        self._clock = clock
        self._counters = Counters(max_subjects)
        self._topics: dict[str, list[Hear]] = {}

    async def admit(self, draws: Sequence[Draw]) -> TooOften | None:
        return self._counters.admit(draws, self._clock.monotonic())

    async def look(self, draws: Sequence[Draw]) -> TooOften | None:
        return self._counters.look(draws, self._clock.monotonic())

    def publish(self, topic: str, news: bytes) -> None:
        if len(news) <= MAX_NEWS_BYTES:
            for hear in tuple(self._topics.get(topic, ())):
                hear(news)

    def subscribe(self, topic: str, hear: Hear) -> Callable[[], None]:
        self._topics.setdefault(topic, []).append(hear)

        def unsubscribe() -> None:
            hearing = self._topics.get(topic, [])
            if hear in hearing:
                hearing.remove(hear)
            if not hearing:
                self._topics.pop(topic, None)

        return unsubscribe

    def on_joined(self, call: Callable[[], None]) -> None:
        call()
