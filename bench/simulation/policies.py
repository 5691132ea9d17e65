"""Three ways to give work to workers: by time of asking, by kudos as AI Horde does, and as this mesh does."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Protocol

from simulation.trace import Ask, Painter, Trace

AGEING = 5.0
"""Kudos that a second of waiting counts, in AI Horde's order."""


class Policy(Protocol):
    """Brings asks and painters together. `begin(painter, ask)` must be called for each picture that is begun."""

    def asked(self, ask: Ask, now: float) -> None:
        """Somebody asks."""

    def came(self, painter: Painter, now: float) -> None:
        """A painter is here, and free."""

    def left(self, painter: Painter, now: float) -> None:
        """A painter leaves; what it holds is lost."""

    def painted(self, painter: Painter, ask: Ask, now: float) -> None:
        """A painter is done with a picture, and free."""

    def until(self, now: float) -> float | None:
        """When the policy itself must look next, if ever."""

    def look(self, now: float) -> None:
        """It looks."""


class ByKey:
    """A queue for each model, in an order that never changes; whoever is free takes the first that it can paint."""

    def __init__(self, trace: Trace, begin: Callable[[Painter, Ask], None], key: Callable[[Ask], float]) -> None:
        self._begin = begin
        self._key = key
        self._queues: dict[str, list[tuple[float, int, Ask]]] = {}
        self._free: dict[str, Painter] = {}
        self._holds: dict[str, Ask] = {}

    def asked(self, ask: Ask, now: float) -> None:
        heapq.heappush(self._queues.setdefault(ask.model, []), (self._key(ask), ask.number, ask))
        # Who polls first wins: whoever has been free longest.
        for painter in self._free.values():
            if ask.model in painter.models:
                self._take(painter)
                return

    def came(self, painter: Painter, now: float) -> None:
        self._free[painter.name] = painter
        self._take(painter)

    def left(self, painter: Painter, now: float) -> None:
        self._free.pop(painter.name, None)
        lost = self._holds.pop(painter.name, None)
        if lost is not None:
            self.asked(lost, now)

    def painted(self, painter: Painter, ask: Ask, now: float) -> None:
        self._holds.pop(painter.name, None)
        self.came(painter, now)

    def until(self, now: float) -> float | None:
        return None

    def look(self, now: float) -> None:
        pass

    def _take(self, painter: Painter) -> None:
        heads = [queue[0] for model in painter.models if (queue := self._queues.get(model))]
        if not heads:
            return
        _, _, ask = min(heads)
        heapq.heappop(self._queues[ask.model])
        self._free.pop(painter.name, None)
        self._holds[painter.name] = ask
        self._begin(painter, ask)


def by_time(trace: Trace, begin: Callable[[Painter, Ask], None]) -> ByKey:
    """First come, first served."""
    return ByKey(trace, begin, lambda ask: ask.at)


def by_kudos(trace: Trace, begin: Callable[[Painter, Ask], None]) -> ByKey:
    """AI Horde's order: the most kudos first, and a second of waiting counts as five."""
    return ByKey(trace, begin, lambda ask: AGEING * ask.at - ask.kudos)
