"""Whoever is refused again and again waits for the next refusal, and whoever floods is cut off.

A refused call costs its server about as much as gRPC itself, and so does one that its caller breaks off at once: a
client that calls again and again, for ever, takes a core. The first of a connection are forgiven: people and programs
make mistakes. Then refusals are held back, so that a flood that waits for its answers is none; and what goes on all the
same loses its connection, the next one of its address sooner. Whose calls are mostly in order pays for no neighbour.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Protocol, TypeVar

from horde.services.addresses import address_bucket, is_connection
from horde.services.clock import Clock

V = TypeVar("V")
REMEMBERED = 10_000
"""Connections, and again addresses; those that were in the wrong longest ago are forgotten."""
GONE_SECONDS = 2.0
"""For how long what came of a connection before it was cut is passed over; later the port may be another's."""
FLOODER_SECONDS = 60.0
"""For how long an address is remembered of which a connection was cut."""


class Cuts(Protocol):
    """Cuts connections."""

    def cut(self, connection: str) -> None:
        """Close the connection of this peer, as gRPC names it, soon."""


@dataclass(slots=True)
class _Conduct:
    """Of a connection in this window."""

    began: float
    calls: int = 0
    wrong: int = 0
    """Calls that were refused or broken off."""


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
        window, if they are most of its calls. Both are halved each time that one of its address was cut lately: down to
        none that are told at once, and `least` until it is cut.
        """
        self._clock = clock
        self._free = free
        self._window = window_seconds
        self._seconds = seconds
        self._max_held = max_held
        self._cuts = cuts
        self._most = most
        self._least = least
        self._conduct: OrderedDict[str, _Conduct] = OrderedDict()
        self._flooders: OrderedDict[str, tuple[float, int]] = OrderedDict()
        self._gone: OrderedDict[str, float] = OrderedDict()
        self.held = 0
        self.cut = 0
        """Connections that were cut."""

    def gone(self, connection: str) -> bool:
        """Whether a connection was cut: what still comes of it is worth no work."""
        return bool(self._gone) and self._gone.get(connection, 0.0) > self._clock.monotonic()

    def opened(self, connection: str) -> bool:
        """Count a call; False where it is not worth any work: its connection was cut."""
        if self.gone(connection):
            return False
        self._of(connection).calls += 1
        return True

    async def hold(self, connection: str) -> None:
        """Count a refusal, and wait if there were many."""
        if not self._wrong(connection) or self.held >= self._max_held:
            return
        self.held += 1
        try:
            await self._clock.sleep(self._seconds)
        finally:
            self.held -= 1

    def broken_off(self, connection: str) -> None:
        """Count a call whose caller did not wait for its answer."""
        self._wrong(connection)

    def _of(self, connection: str) -> _Conduct:
        now = self._clock.monotonic()
        conduct = self._conduct.get(connection)
        if conduct is None or now - conduct.began >= self._window:
            conduct = _Conduct(now)
            _remember(self._conduct, connection, conduct)
        return conduct

    def _wrong(self, connection: str) -> bool:
        """Count a call that was in the wrong; whether its refusal is held back."""
        if self.gone(connection):
            return False
        conduct = self._of(connection)
        conduct.wrong += 1
        mostly = 2 * conduct.wrong >= conduct.calls
        cuts = self._cuts_of(connection) if mostly else 0
        # Whom a proxy calls for has no connection here: cut, he would be answered at once again; held, he waits.
        cuttable = self._cuts is not None and is_connection(connection)
        if cuttable and mostly and conduct.wrong > max(self._least, self._most >> cuts):
            self._cut(connection, cuts)
            return False
        return conduct.wrong > self._free >> cuts

    def _cuts_of(self, connection: str) -> int:
        """How many connections of its address were cut lately."""
        until, cuts = self._flooders.get(address_bucket(connection) or connection, (0.0, 0))
        return cuts if until > self._clock.monotonic() else 0

    def _cut(self, connection: str, cuts: int) -> None:
        now = self._clock.monotonic()
        _remember(self._flooders, address_bucket(connection) or connection, (now + FLOODER_SECONDS, cuts + 1))
        _remember(self._gone, connection, now + GONE_SECONDS)
        del self._conduct[connection]
        self.cut += 1
        if self._cuts is not None:
            self._cuts.cut(connection)


def _remember(memory: OrderedDict[str, V], name: str, value: V) -> None:
    memory[name] = value
    memory.move_to_end(name)
    if len(memory) > REMEMBERED:
        memory.popitem(last=False)
