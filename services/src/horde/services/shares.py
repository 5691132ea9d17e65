"""Fair shares of what is bounded for all: memory, seats, places in a queue, the budget of a day.

Whoever takes from a pot is counted under a key of each kind: who calls, whose it is, from which address. A key may hold
at most `share` times what is free. So one alone gets share / (1 + share) of the pot, n that want everything get
n * share / (1 + n * share) together, and something is left for the next one, however many came before: the dynamic
thresholds by which network switches share a buffer (Choudhury and Hahne, 1998). A part may be kept for those with a
record. Nobody is thrown out and nothing is searched: to take, to be refused and to give back cost the same few steps
however full the pot is and however many share it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from horde.services.errors import ServiceError

Key = tuple[str, str]
"""A kind of key and a name of that kind. An empty name tells nobody apart from anybody: it is not counted."""


@dataclass(frozen=True, slots=True)
class Taker:
    """Who takes: the keys that count it, and whether it has a record, so that what is kept is for it, too."""

    keys: tuple[Key, ...]
    known: bool = False


class Pot:
    """So many of one thing. Pure: no clock, no lock; use it from one thread."""

    def __init__(
        self,
        capacity: int,
        shares: Mapping[str, float],
        refuse: Callable[[str], ServiceError],
        *,
        kept: int = 0,
        least: int = 1,
    ) -> None:
        """`shares`: of what is free, for each kind of key. `kept`: only for takers with a record. `least`: what a key
        may hold whatever its share, while there is room. `refuse` makes the error: it is told the kind of the key that
        has its share already, or the empty text if everything is taken.
        """
        if not 0 <= kept <= capacity:
            raise ValueError(f"{kept} of {capacity} cannot be kept")
        self.capacity = capacity
        self.used = 0
        self._shares = dict(shares)
        self._refuse = refuse
        self._open = capacity - kept
        self._least = least
        self._strangers = 0
        self._held: dict[Key, int] = {}

    def take(self, taker: Taker, amount: int = 1) -> None:
        """Take some, or raise what `refuse` makes; then nothing was taken."""
        left = self._free(taker) - amount
        if left < 0:
            raise self._refuse("")
        for key in taker.keys:
            if key[1] and self.held(key) + amount > max(self._least, self._shares[key[0]] * left):
                raise self._refuse(key[0])
        self._add(taker, amount)

    def count(self, taker: Taker, amount: int) -> None:
        """Count what was taken already, whatever the bounds: after a restart, from the record of it."""
        self._add(taker, amount)

    def give_back(self, taker: Taker, amount: int = 1) -> None:
        """Give some back. The taker is the one that took, with the same record."""
        self._add(taker, -amount)

    def held(self, key: Key) -> int:
        """What a key holds now."""
        return self._held.get(key, 0)

    def clear(self) -> None:
        """Everything is there again: a new day's budget."""
        self.used = self._strangers = 0
        self._held.clear()

    @contextmanager
    def tab(self, taker: Taker) -> Iterator[Tab]:
        """A tab to take on; all that is on it is given back at the end of the block."""
        tab = Tab(self, taker)
        try:
            yield tab
        finally:
            self.give_back(taker, tab.taken)

    def _free(self, taker: Taker) -> int:
        free = self.capacity - self.used
        return free if taker.known else min(free, self._open - self._strangers)

    def _add(self, taker: Taker, amount: int) -> None:
        self.used += amount
        if not taker.known:
            self._strangers += amount
        for key in taker.keys:
            if key[1]:
                held = self._held.get(key, 0) + amount
                if held:
                    self._held[key] = held
                else:
                    # Nothing is kept of those who hold nothing: there are never more keys than what is held.
                    self._held.pop(key, None)


class Tab:
    """What one taker has taken so far."""

    __slots__ = ("_pot", "_taker", "taken")

    def __init__(self, pot: Pot, taker: Taker) -> None:
        self._pot = pot
        self._taker = taker
        self.taken = 0

    def take(self, amount: int) -> None:
        """Take some more, or raise what the pot's `refuse` makes."""
        self._pot.take(self._taker, amount)
        self.taken += amount
