"""Whoever is refused again and again waits for the next refusal: a flood that waits for its answers is none.

A refused call costs its server about as much as gRPC itself, and a client that calls again at once, for ever, takes a
core. The first refusals of a connection are told at once: people and programs make mistakes.
"""

from __future__ import annotations

from collections import OrderedDict

from horde.services.clock import Clock

REMEMBERED = 10_000
"""Connections; those refused longest ago are forgotten."""


class Brake:
    """Holds refusals back. Of one server; use it on one loop."""

    def __init__(
        self, clock: Clock, *, free: int = 32, window_seconds: float = 10.0, seconds: float = 1.0, max_held: int = 1_000
    ) -> None:
        """`free` refusals of a connection in a window are told at once, the others after `seconds`, while no more than
        `max_held` wait.
        """
        self._clock = clock
        self._free = free
        self._window = window_seconds
        self._seconds = seconds
        self._max_held = max_held
        self._refusals: OrderedDict[str, tuple[float, int]] = OrderedDict()
        self.held = 0

    async def hold(self, connection: str) -> None:
        """Count a refusal, and wait if there were many."""
        now = self._clock.monotonic()
        began, count = self._refusals.pop(connection, (now, 0))
        if now - began >= self._window:
            began, count = now, 0
        self._refusals[connection] = began, count + 1
        if len(self._refusals) > REMEMBERED:
            self._refusals.popitem(last=False)
        if count < self._free or self.held >= self._max_held:
            return
        self.held += 1
        try:
            await self._clock.sleep(self._seconds)
        finally:
            self.held -= 1
