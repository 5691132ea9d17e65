"""A bound on what all stored inputs take together, and a share of it for each: strangers may put them.

The truth is in the bucket. It is counted before the first input is stored and at every sweep; in between, this process
counts what it stores and deletes. What other replicas store is seen at the next sweep, so together they may go over the
bound by what the others take in that time. Addresses stand in no bucket: what strangers of one bring is counted here,
for as long as it may stay.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from datetime import timedelta

from horde.services.shares import Pot, Taker
from horde.storage_router.core import keys
from horde.storage_router.core.errors import InputsFull

LATER = timedelta(minutes=1)
"""When to try again: inputs go as the sweeper passes."""
SHARE = 0.125
"""Of what is free, for one requester, and for the strangers of one address."""
KEPT = 4
"""One part in so many is for accounts."""


class Room:
    """So many bytes."""

    def __init__(self, limit: int, monotonic: Callable[[], float], stays: timedelta) -> None:
        """`stays`: how long what a stranger brings may stay."""
        self._limit = limit
        self._monotonic = monotonic
        self._stays = stays.total_seconds()
        self._pot = Pot(limit, {"requester": SHARE}, self._full, kept=limit // KEPT)
        self._addresses = Pot(limit, {"address": SHARE}, self._full)
        self._leaving: deque[tuple[float, Taker, int]] = deque()
        self._counts: list[Count] = []
        self.counted = False
        """Whether anybody has looked how much is taken."""

    @property
    def used(self) -> int:
        """Bytes that are taken."""
        return self._pot.used

    def take(self, requester: str, count: int, address: str = "") -> None:
        """Take some, or raise InputsFull. `requester` is its part of keys."""
        now = self._monotonic()
        while self._leaving and self._leaving[0][0] <= now:
            _, stranger, size = self._leaving.popleft()
            self._addresses.give_back(stranger, size)
        taker = _taker(requester)
        stranger = Taker((("address", "" if taker.known else address),))
        self._addresses.take(stranger, count)
        try:
            self._pot.take(taker, count)
        except InputsFull:
            self._addresses.give_back(stranger, count)
            raise
        self._leaving.append((now + self._stays, stranger, count))
        for counted in self._counts:
            counted.add(requester, count)

    def give_back(self, requester: str, count: int) -> None:
        """Give some back: at most what is known of this requester, as others may have stored it."""
        taker = _taker(requester)
        self._pot.give_back(taker, min(count, self._pot.held(taker.keys[0])))

    def count(self) -> Count:
        """Begin to count what is there."""
        count = Count(self._recount)
        self._counts.append(count)
        return count

    def _recount(self, count: Count, found: Mapping[str, int]) -> None:
        self._counts.remove(count)
        self._pot.clear()
        for requester, size in found.items():
            self._pot.count(_taker(requester), size)
        self.counted = True

    def _full(self, kind: str) -> InputsFull:
        return InputsFull(metadata={"limit": str(self._limit), "of": kind or "all"}, retry_after=LATER)


class Count:
    """What is there, being counted. What is stored meanwhile may count twice, until the next time; never not at all."""

    def __init__(self, finish: Callable[[Count, Mapping[str, int]], None]) -> None:
        self._finish = finish
        self._found: dict[str, int] = {}

    def add(self, requester: str, size: int) -> None:
        """Something that is there."""
        self._found[requester] = self._found.get(requester, 0) + size

    def finish(self) -> None:
        """That was all; or the counting broke off, and the next one will tell."""
        self._finish(self, self._found)


def _taker(requester: str) -> Taker:
    return Taker((("requester", requester),), keys.is_account(requester))
