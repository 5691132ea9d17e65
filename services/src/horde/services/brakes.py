"""Whoever is refused again and again waits for the next refusal, and whoever floods is cut off.

A refused call costs its server about as much as gRPC itself, and so does one that its caller breaks off at once: a
client that calls again and again, for ever, takes a core. The first of a connection are forgiven: people and programs
make mistakes. Then refusals are held back, so that a flood that waits for its answers is none; and what goes on all the
same loses its connection, the next one sooner.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Protocol, TypeVar

from horde.services.addresses import address_bucket
from horde.services.clock import Clock

V = TypeVar("V")
REMEMBERED = 10_000
"""Connections, and again addresses; those that were in the wrong longest ago are forgotten."""
GONE_SECONDS = 10.0
"""For how long what comes of a connection that was cut is passed over; later the port may be another's."""
FLOODER_SECONDS = 60.0
"""For how long an address is remembered of which a connection was cut."""


class Cuts(Protocol):
    """Cuts connections."""

    def cut(self, connection: str) -> None:
        """Close the connection of this peer, as gRPC names it, soon."""


class Brake:
    """Holds refusals back. Of one server; use it on one loop."""

    def __init__(
        self,
        clock: Clock,
        *,
        free: int = 32,
        window_seconds: float = 10.0,
        seconds: float = 1.0,
        max_held: int = 1_000,
        cuts: Cuts | None = None,
        most: int = 200,
        least: int = 8,
    ) -> None:
        """`free` refusals of a connection in a window are told at once, the others after `seconds`, while no more than
        `max_held` wait. With `cuts`, a connection is cut after `most` refusals and calls that were broken off in a
        window: after half as many each time that one of its address was cut lately, `least` at least.
        """
        self._clock = clock
        self._free = free
        self._window = window_seconds
        self._seconds = seconds
        self._max_held = max_held
        self._cuts = cuts
        self._most = most
        self._least = least
        self._refusals: OrderedDict[str, tuple[float, int]] = OrderedDict()
        self._flooders: OrderedDict[str, tuple[float, int]] = OrderedDict()
        self._gone: OrderedDict[str, float] = OrderedDict()
        self.held = 0
        self.cut = 0
        """Connections that were cut."""

    def gone(self, connection: str) -> bool:
        """Whether a connection was cut: what still comes of it is worth no work."""
        return bool(self._gone) and self._gone.get(connection, 0.0) > self._clock.monotonic()

    async def hold(self, connection: str) -> None:
        """Count a refusal, and wait if there were many."""
        if self._count(connection) < self._free or self.held >= self._max_held:
            return
        self.held += 1
        try:
            await self._clock.sleep(self._seconds)
        finally:
            self.held -= 1

    def broken_off(self, connection: str) -> None:
        """Count a call whose caller did not wait for its answer."""
        self._count(connection)

    def _count(self, connection: str) -> int:
        """How often it was in the wrong before, in this window."""
        if self.gone(connection):
            return 0
        now = self._clock.monotonic()
        began, count = self._refusals.pop(connection, (now, 0))
        if now - began >= self._window:
            began, count = now, 0
        _remember(self._refusals, connection, (began, count + 1))
        if self._cuts is not None and count >= self._least:
            address = address_bucket(connection) or connection
            until, cuts = self._flooders.get(address, (now, 0))
            cuts = cuts if until > now else 0
            if count >= max(self._least, self._most >> cuts):
                _remember(self._flooders, address, (now + FLOODER_SECONDS, cuts + 1))
                self._refusals.pop(connection)
                _remember(self._gone, connection, now + GONE_SECONDS)
                self.cut += 1
                self._cuts.cut(connection)
        return count


def _remember(memory: OrderedDict[str, V], name: str, value: V) -> None:
    memory[name] = value
    memory.move_to_end(name)
    if len(memory) > REMEMBERED:
        memory.popitem(last=False)
