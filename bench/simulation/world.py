"""Virtual time: what is asked, begun and painted, in order."""

from __future__ import annotations

import heapq
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from math import inf

from simulation.mesh import Mesh
from simulation.policies import Policy
from simulation.pools import Pools
from simulation.trace import SWAP_SECONDS, Ask, Painter, Trace

STRAGGLERS = 0.01
"""Part of all paintings that take STRAGGLES times as long."""
STRAGGLES = 6.0
REPORTS = 10.0
"""Seconds between two words of a painter about its progress."""

Begin = Callable[[Painter, Ask], None]
Stop = Callable[[Painter], None]


@dataclass
class Outcome:
    """What became of a trace under one policy."""

    asks: list[Ask]
    seconds: float
    swaps: int = 0
    begun: int = 0
    hedged: int = 0
    served: dict[str, float] = field(default_factory=dict)
    """Megapixel-steps painted for each requester."""

    def waits(self, kind: str) -> list[float]:
        """Seconds until begun; what was not begun has waited until the end."""
        return sorted((ask.begun or self.seconds) - ask.at for ask in self.asks if ask.kind == kind)

    @property
    def goodput(self) -> float:
        """Megapixel-steps finished."""
        return sum(self.served.values())


class World:
    """Plays a trace against a policy."""

    def __init__(self, trace: Trace, make: Callable[[Trace, Begin, Stop], Policy]) -> None:
        self._trace = trace
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()
        self._paintings: dict[str, int] = {}
        """The number of what each painter is at."""
        self._loaded: dict[str, str] = {}
        self.now = 0.0
        asks = [
            Ask(ask.number, ask.at, ask.who, ask.kind, ask.kudos, ask.model, ask.side, ask.steps) for ask in trace.asks
        ]
        self.outcome = Outcome(asks, trace.seconds)
        self.policy = make(trace, self._begin, self._stop)

    def play(self) -> Outcome:
        for painter in self._trace.painters:
            self._at(0.0, lambda painter=painter: self.policy.came(painter, self.now))  # type: ignore[misc]
            for gone, back in painter.away:
                self._at(gone, lambda painter=painter: self._leave(painter))  # type: ignore[misc]
                self._at(back, lambda painter=painter: self._come(painter))  # type: ignore[misc]
        for ask in self.outcome.asks:
            self._at(ask.at, lambda ask=ask: self.policy.asked(ask, self.now))  # type: ignore[misc]
        while True:
            at = self._events[0][0] if self._events else inf
            due = self.policy.until(self.now)
            if min(at, due if due is not None else inf) > self._trace.seconds:
                return self.outcome
            if due is not None and due < at:
                self.now = max(self.now, due)
                self.policy.look(self.now)
            else:
                self.now = at
                heapq.heappop(self._events)[2]()

    def _at(self, at: float, what: Callable[[], None]) -> None:
        heapq.heappush(self._events, (at, next(self._order), what))

    def _leave(self, painter: Painter) -> None:
        self._stop(painter)
        self._loaded.pop(painter.name, None)
        self.policy.left(painter, self.now)

    def _come(self, painter: Painter) -> None:
        self.policy.came(painter, self.now)

    def _stop(self, painter: Painter) -> None:
        self._paintings.pop(painter.name, None)

    def _begin(self, painter: Painter, ask: Ask) -> None:
        if ask.begun is None:
            ask.begun = self.now
        self.outcome.begun += 1
        seconds = ask.work * painter.seconds
        # By who paints what, so that every policy meets the same stragglers.
        if zlib.crc32(f"{painter.name}/{ask.number}".encode()) < STRAGGLERS * 2**32:
            seconds *= STRAGGLES
        swap = 0.0
        if self._loaded.get(painter.name) != ask.model:
            self._loaded[painter.name] = ask.model
            self.outcome.swaps += 1
            swap = SWAP_SECONDS
        number = self._paintings[painter.name] = next(self._order)
        if isinstance(self.policy, Mesh | Pools):
            reports = REPORTS
            while reports < seconds:
                self._report(painter, number, self.now + swap + reports, reports / seconds)
                reports += REPORTS
        self._at(self.now + swap + seconds, lambda: self._end(painter, number, ask))

    def _report(self, painter: Painter, number: int, at: float, part: float) -> None:
        def report() -> None:
            if self._paintings.get(painter.name) == number and isinstance(self.policy, Mesh | Pools):
                self.policy.progressed(painter, part, self.now)

        self._at(at, report)

    def _end(self, painter: Painter, number: int, ask: Ask) -> None:
        if self._paintings.get(painter.name) != number:
            return
        del self._paintings[painter.name]
        if ask.done is None:
            ask.done = self.now
            self.outcome.served[ask.who] = self.outcome.served.get(ask.who, 0.0) + ask.work
        self.policy.painted(painter, ask, self.now)
