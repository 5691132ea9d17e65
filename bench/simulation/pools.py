"""Two pools of models, each led by a scheduler of its own, and painters that offer models of both.

A painter is known in each pool whose models it offers, and its slot belongs to one of them at a time: its gateway,
which holds its stream, says so by its demand, 1 there and 0 in the other. The slot is handed over in two steps: the
pool that has it is told 0, and says that it heard so *behind every assignment that it had given until then*, on the
same stream; only if the painter holds nothing at that moment is the other pool told 1. Whatever is late or lost, the
demands together are never more than its slots, so it is never promised twice. A pool hears of what waits in another as
one figure by model; here it is read when it is needed.

`careless` is what this is against: both pools are told 1, and each lends.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from random import Random

from simulation.mesh import Mesh
from simulation.trace import Ask, Painter, Trace

TURN = 60.0
"""Seconds that a slot stays in a pool at least, while there is something for it."""
MORE_URGENT = 90.0
"""Seconds that the other pool's next job must have waited longer."""
SLOWEST = 0.25
"""Seconds that a message between a gateway and a pool takes at most."""


class Pools:
    """As many of the real cores as there are pools, as one policy."""

    def __init__(
        self,
        trace: Trace,
        begin: Callable[[Painter, Ask], None],
        stop: Callable[[Painter], None],
        pools: int = 2,
        *,
        careless: bool = False,
    ) -> None:
        models = sorted({model for painter in trace.painters for model in painter.models})
        self._pool_of = {model: number % pools for number, model in enumerate(models)}
        self._begin, self._stop, self._careless = begin, stop, careless
        self._pools = [
            Mesh(replace(trace, painters=self._painters_of(trace, number)), self._begun, self._stopped)
            for number in range(pools)
        ]
        self._painters = {painter.name: painter for painter in trace.painters}
        self._turn: dict[str, int] = {}
        """Of each painter that is here, the pool that has its slot."""
        self._since: dict[str, float] = {}
        self._moving: set[str] = set()
        self._holds: dict[str, list[Ask]] = {}
        self._late: list[tuple[float, int, Callable[[float], None]]] = []
        self._order = count()
        self._chance = Random(len(trace.asks))
        self.twice = 0
        """How often a painter was lent a picture that had one already."""
        self.handed_over = 0

    def _painters_of(self, trace: Trace, number: int) -> list[Painter]:
        return [self._part(painter, number) for painter in trace.painters]

    def _part(self, painter: Painter, number: int) -> Painter:
        """A painter as a pool knows it: with the models of that pool."""
        return replace(painter, models=tuple(model for model in painter.models if self._pool_of[model] == number))

    @property
    def hedged(self) -> int:
        return sum(pool.hedged for pool in self._pools)

    def _begun(self, part: Painter, ask: Ask) -> None:
        held = self._holds.setdefault(part.name, [])
        held.append(ask)
        if len(held) > 1:
            self.twice += 1
            return  # It has hands for one: the other waits until that is done.
        self._begin(self._painters[part.name], ask)

    def _stopped(self, part: Painter) -> None:
        self._holds.pop(part.name, None)
        self._stop(self._painters[part.name])

    def _offered(self, painter: Painter) -> list[int]:
        return sorted({self._pool_of[model] for model in painter.models})

    # What happens.

    def asked(self, ask: Ask, now: float) -> None:
        number = self._pool_of[ask.model]
        self._pools[number].asked(ask, now)
        if ask.begun is None and not self._careless:
            for name, turn in self._turn.items():
                idle = turn != number and name not in self._moving and not self._holds.get(name)
                if idle and ask.model in self._painters[name].models:
                    self._hand_over(name, number, now)
                    return

    def came(self, painter: Painter, now: float) -> None:
        offered = self._offered(painter)
        self._turn[painter.name], self._since[painter.name] = offered[0], now
        for number in offered:
            slots = 1 if self._careless or number == offered[0] else 0
            self._pools[number].came(self._part(painter, number), now, slots)
        self._look_elsewhere(painter.name, now)

    def left(self, painter: Painter, now: float) -> None:
        self._turn.pop(painter.name, None)
        self._moving.discard(painter.name)
        self._holds.pop(painter.name, None)
        for number in self._offered(painter):
            self._pools[number].left(self._part(painter, number), now)

    def painted(self, painter: Painter, ask: Ask, now: float) -> None:
        held, number = self._holds[painter.name], self._pool_of[ask.model]
        held.remove(ask)
        if not self._careless:
            self._look_elsewhere(painter.name, now)
        for other in self._offered(painter):
            if other != number:
                self._pools[other].loads(self._part(painter, other), ask.model, now)
        self._pools[number].painted(self._part(painter, number), ask, now)
        if len(held) > 0 and self._careless:
            self._begin(painter, held[0])
        elif not self._careless:
            self._look_elsewhere(painter.name, now)

    def progressed(self, painter: Painter, part: float, now: float) -> None:
        for ask in self._holds.get(painter.name, ())[:1]:
            number = self._pool_of[ask.model]
            self._pools[number].progressed(self._part(painter, number), part, now)

    def until(self, now: float) -> float | None:
        times = [at for pool in self._pools if (at := pool.until(now)) is not None]
        return min([*times, *(late[0] for late in self._late[:1])], default=None)

    def look(self, now: float) -> None:
        while self._late and self._late[0][0] <= now:
            heapq.heappop(self._late)[2](now)
        for pool in self._pools:
            if (at := pool.until(now)) is not None and at <= now:
                pool.look(now)

    # Whose turn it is.

    def _look_elsewhere(self, name: str, now: float) -> None:
        """Whether a free painter's slot should go to another pool."""
        if name not in self._turn or name in self._moving or self._holds.get(name):
            return
        painter, here = self._painters[name], self._turn[name]
        waits = {
            number: self._pools[number].oldest(self._part(painter, number), now) for number in self._offered(painter)
        }
        elsewhere = [(wait, number) for number, wait in waits.items() if wait is not None and number != here]
        if not elsewhere:
            return
        wait, number = max(elsewhere)
        mine = waits[here]
        if mine is None or (now - self._since[name] >= TURN and wait > mine + MORE_URGENT):
            self._hand_over(name, number, now)

    def _hand_over(self, name: str, to: int, now: float) -> None:
        """Ask for the slot back from the pool that has it, and give it to another one once that has said so."""
        painter, here = self._painters[name], self._turn[name]
        self._moving.add(name)

        def heard(now: float) -> None:
            if name in self._moving:
                self._pools[here].wants(self._part(painter, here), 0, now)
                self._send(answered, now)

        def answered(now: float) -> None:
            if name not in self._moving:
                return  # It left meanwhile.
            if self._holds.get(name):
                self._moving.discard(name)
                self._send(lambda now: self._want(name, here, now), now)
                return
            self._turn[name], self._since[name] = to, now
            self.handed_over += 1
            self._send(begin, now)

        def begin(now: float) -> None:
            if name in self._moving:
                self._moving.discard(name)
                self._want(name, to, now)
                self._look_elsewhere(name, now)

        self._send(heard, now)

    def _want(self, name: str, number: int, now: float) -> None:
        """Tell a pool that it has the slot, if it still has."""
        if self._turn.get(name) == number and name not in self._moving:
            self._pools[number].wants(self._part(self._painters[name], number), 1, now)

    def _send(self, what: Callable[[float], None], now: float) -> None:
        heapq.heappush(self._late, (now + SLOWEST * self._chance.random(), next(self._order), what))
