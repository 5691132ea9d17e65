"""Whose turn it is: accounts with something to deliver, by when the first of it is due. Each stands here once."""

from __future__ import annotations

import heapq
from datetime import datetime


class Turns:
    """Accounts, the earliest first."""

    def __init__(self) -> None:
        self._heap: list[tuple[datetime, str]] = []
        self._at: dict[str, datetime] = {}

    def __len__(self) -> int:
        return len(self._at)

    def put(self, account_id: str, at: datetime) -> None:
        """Something of an account's is due then; the earliest counts."""
        known = self._at.get(account_id)
        if known is None or at < known:
            self._at[account_id] = at
            heapq.heappush(self._heap, (at, account_id))

    def next_at(self) -> datetime | None:
        """When the next turn is."""
        # What was put again at an earlier time lies here still, at its former one.
        while self._heap and self._at.get(self._heap[0][1]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def take(self, now: datetime) -> str | None:
        """The account whose turn it is; it leaves."""
        at = self.next_at()
        if at is None or at > now:
            return None
        _, account_id = heapq.heappop(self._heap)
        del self._at[account_id]
        return account_id
