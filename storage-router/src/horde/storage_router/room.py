"""A bound on what all stored inputs take together: strangers may put them, and each stays for an hour.

The truth is in the bucket. It is counted before the first input is stored and at every sweep; in between, this process
counts what it stores and deletes. What other replicas store is seen at the next sweep, so together they may go over the
bound by what the others take in that time.
"""

from __future__ import annotations

from datetime import timedelta

from horde.storage_router.core.errors import InputsFull

LATER = timedelta(minutes=1)
"""When to try again: inputs go as the sweeper passes."""


class Room:
    """So many bytes."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.used: int | None = None
        """Bytes that are taken; None as long as nobody has counted."""
        self.taken = 0
        """Bytes that this process ever took; for `recount`."""

    def take(self, count: int) -> None:
        """Take some, or raise InputsFull."""
        if (self.used or 0) + count > self._limit:
            raise InputsFull(metadata={"limit": str(self._limit)}, retry_after=LATER)
        self.used = (self.used or 0) + count
        self.taken += count

    def give_back(self, count: int) -> None:
        """Give some back."""
        self.used = max(0, (self.used or 0) - count)

    def recount(self, counted: int, taken_before: int) -> None:
        """Put right what is taken: so much was counted, and `taken` had this value when the counting began.

        What was stored meanwhile may count twice, until the next time; never not at all.
        """
        self.used = counted + self.taken - taken_before
