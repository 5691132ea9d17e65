"""What broken uploads left behind: kept a while, in memory, so that the next stream can go on. May be lost."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

Lease = tuple[str, str]

KEPT = timedelta(hours=1)
WORTH_KEEPING = 64 * 1024
"""Less than this is sent again sooner than it is remembered."""


class Partials:
    """At most `max_bytes` in all; the oldest go first."""

    def __init__(self, max_bytes: int, monotonic: Callable[[], float]) -> None:
        self._max_bytes = max_bytes
        self._monotonic = monotonic
        self._kept: dict[Lease, tuple[float, bytes]] = {}
        self.size = 0
        """Bytes that are kept."""

    def keep(self, lease: Lease, content: bytes) -> None:
        """Remember what arrived; it takes the place of what was remembered."""
        self.pop(lease)
        if WORTH_KEEPING <= len(content) <= self._max_bytes:
            self._kept[lease] = (self._monotonic() + KEPT.total_seconds(), content)
            self.size += len(content)
        self.expire()

    def pop(self, lease: Lease) -> bytes:
        """Take what is remembered; empty if nothing is."""
        ends, content = self._kept.pop(lease, (float("inf"), b""))
        self.size -= len(content)
        return content if self._monotonic() < ends else b""

    def expire(self) -> None:
        """Forget what is too old or too much."""
        now = self._monotonic()
        while self._kept:
            lease, (ends, _) = next(iter(self._kept.items()))
            if ends > now and self.size <= self._max_bytes:
                return
            self.pop(lease)
