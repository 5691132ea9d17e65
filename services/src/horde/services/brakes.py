"""Whoever is refused again and again waits for the next refusal, and whoever floods is cut off.

A refused call costs its server about as much as gRPC itself, and so does one that its caller breaks off at once: a
client that calls again and again, for ever, takes a core. The first of a connection are forgiven: people and programs
make mistakes. Then refusals are held back, so that a flood that waits for its answers is none; and what goes on all the
same loses its connection, the next one of its address sooner. Whose calls are mostly in order pays for no neighbour.
Those that wait are bounded, and shared by network: so a flood fills its own seats, and whoever has none left there is
cut, or not listened to for a while.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Protocol, TypeVar

from horde.services.addresses import address_bucket, is_connection
from horde.services.clock import Clock
from horde.services.errors import ResourceExhausted
from horde.services.shares import Pot, Taker

V = TypeVar("V")
REMEMBERED = 10_000
"""Connections, and again addresses; those that were in the wrong longest ago are forgotten."""
GONE_SECONDS = 2.0
"""For how long what came of a connection before it was cut is passed over; later the port may be another's. As
long, what comes of somebody whom a proxy calls for and who has more refusals waiting than may."""
CONNECTIONS_OF_A_NETWORK = 8
"""Whose free refusals a network has in a window before all its connections have fewer: fresh ones cost little."""
LONGEST = 4
"""Times that the first wait can become: still less than what callers usually wait for an answer."""
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
    right: int = 0
    """Calls that were served to their end. Those that are not over are neither: many begun at once excuse nothing."""
    wrong: int = 0
    """Calls that were refused or broken off."""

    @property
    def mostly_wrong(self) -> bool:
        return self.wrong >= self.right


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
        """`free` refusals of a connection in a window are told at once, the next as many after `seconds`, and so on up
        to LONGEST times as long where they are most of its calls. No more than `max_held` wait, of one network no more
        than wait of no other: one that has more is cut. With `cuts`, a connection is cut after `most` refusals and
        calls that were broken off in a window, if they are most of its calls. Both are halved each time that one of its
        address was cut lately, and again with the free refusals of CONNECTIONS_OF_A_NETWORK connections of its
        network: down to none that are told at once, and `least` until it is cut.
        """
        self._clock = clock
        self._free = free
        self._window = window_seconds
        self._seconds = seconds
        self._seats = Pot(max_held, {"network": 1.0}, lambda _: ResourceExhausted("Too many refusals wait."))
        self._cuts = cuts
        self._most = most
        self._least = least
        self._conduct: OrderedDict[str, _Conduct] = OrderedDict()
        self._networks: OrderedDict[str, _Conduct] = OrderedDict()
        self._flooders: OrderedDict[str, tuple[float, int]] = OrderedDict()
        self._gone: OrderedDict[str, float] = OrderedDict()
        self.cut = 0
        """Connections that were cut."""

    @property
    def held(self) -> int:
        """Refusals that wait."""
        return self._seats.used

    def gone(self, connection: str) -> bool:
        """Whether a connection was cut, or is not listened to: what still comes of it is worth no work."""
        return bool(self._gone) and self._gone.get(connection, 0.0) > self._clock.monotonic()

    def served(self, connection: str) -> None:
        """Count a call that came to a good end."""
        self._of(self._conduct, connection).right += 1

    async def hold(self, connection: str) -> None:
        """Count a refusal, and wait if there were many."""
        seconds = self._wrong(connection)
        if not seconds:
            return
        seat = Taker((("network", address_bucket(connection)),))
        try:
            self._seats.take(seat)
        except ResourceExhausted:
            self._overflowed(connection)
            return
        try:
            await self._clock.sleep(seconds)
        finally:
            self._seats.give_back(seat)

    def broken_off(self, connection: str) -> None:
        """Count a call whose caller did not wait for its answer."""
        self._wrong(connection)

    def _overflowed(self, connection: str) -> None:
        """More refusals wait than may: told at once, whoever has so many calls would be braked by nothing."""
        if not self._of(self._conduct, connection).mostly_wrong:
            return
        if self._cuts is not None and is_connection(connection):
            self._cut(connection, self._cuts_of(connection))
        else:
            _remember(self._gone, connection, self._clock.monotonic() + GONE_SECONDS)

    def _of(self, memory: OrderedDict[str, _Conduct], name: str) -> _Conduct:
        now = self._clock.monotonic()
        conduct = memory.get(name)
        if conduct is None or now - conduct.began >= self._window:
            # Who stops for a window is forgiven; who goes on is forgiven half.
            goes_on = conduct is not None and conduct.mostly_wrong and now - conduct.began < 2 * self._window
            half = conduct.wrong // 2 if conduct is not None and goes_on else 0
            conduct = _Conduct(now, wrong=half)
            _remember(memory, name, conduct)
        return conduct

    def _wrong(self, connection: str) -> float:
        """Count a call that was in the wrong; for how many seconds its refusal is held back."""
        if self.gone(connection):
            return 0.0
        conduct = self._of(self._conduct, connection)
        conduct.wrong += 1
        mostly = conduct.mostly_wrong
        of_network = self._wrong_of_network(connection)
        fewer = self._cuts_of(connection) + of_network if mostly else 0
        # Whom a proxy calls for has no connection here: cut, he would be answered at once again; held, he waits.
        cuttable = self._cuts is not None and is_connection(connection)
        if cuttable and mostly and conduct.wrong > max(self._least, self._most >> fewer):
            self._cut(connection, self._cuts_of(connection))
            return 0.0
        free = self._free >> fewer
        if conduct.wrong <= free:
            return 0.0
        return (
            self._seconds * min(LONGEST, 1 + (conduct.wrong - free - 1) // max(1, self._free))
            if mostly
            else self._seconds
        )

    def _wrong_of_network(self, connection: str) -> int:
        """Count a call that was in the wrong for its network; how often that has used up what is free."""
        network = address_bucket(connection)
        if not network:
            return 0
        conduct = self._of(self._networks, network)
        conduct.wrong += 1
        return conduct.wrong // (CONNECTIONS_OF_A_NETWORK * max(1, self._free))

    def _cuts_of(self, connection: str) -> int:
        """How many connections of its address were cut lately."""
        until, cuts = self._flooders.get(address_bucket(connection) or connection, (0.0, 0))
        return cuts if until > self._clock.monotonic() else 0

    def _cut(self, connection: str, cuts: int) -> None:
        now = self._clock.monotonic()
        _remember(self._flooders, address_bucket(connection) or connection, (now + FLOODER_SECONDS, cuts + 1))
        _remember(self._gone, connection, now + GONE_SECONDS)
        self._conduct.pop(connection, None)
        self.cut += 1
        if self._cuts is not None:
            self._cuts.cut(connection)


def _remember(memory: OrderedDict[str, V], name: str, value: V) -> None:
    memory[name] = value
    memory.move_to_end(name)
    if len(memory) > REMEMBERED:
        memory.popitem(last=False)
