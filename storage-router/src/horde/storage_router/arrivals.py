"""What leases brought here lately: a lease is known for long, its bytes for a moment.

Most images are committed a moment after they came, by the same process: then their bytes need not be read again. And
who comes a second time is looked for in the bucket before the bytes are looked at. Both may be lost at any time.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from horde.storage_router.core.partials import Lease
from horde.storage_router.quarantine import Taken

KEPT_SECONDS: Final = 3.0
"""How long bytes are kept. Less than the scheduler waits for an answer: a repeated commit reads what is there."""
REMEMBERED: Final = 20_000
"""Leases; those seen longest ago are forgotten."""


class Arrivals:
    """Keeps at most `max_bytes` of bytes; those that came first go first."""

    def __init__(self, max_bytes: int, monotonic: Callable[[], float]) -> None:
        self._max_bytes = max_bytes
        self._monotonic = monotonic
        self._known: OrderedDict[Lease, None] = OrderedDict()
        self._kept: dict[Lease, tuple[float, Taken]] = {}
        self.size = 0
        """Bytes that are kept."""

    def is_first(self, lease: Lease) -> bool:
        """Whether this lease has not been here before, as far as is remembered. It has from now on."""
        first = lease not in self._known
        self._known[lease] = None
        self._known.move_to_end(lease)
        if len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        return first

    def keep(self, lease: Lease, brought: Taken) -> None:
        """Keep what was stored."""
        self.take(lease)
        self._kept[lease] = (self._monotonic() + KEPT_SECONDS, brought)
        self.size += len(brought.data)
        self.expire()

    def take(self, lease: Lease) -> Taken | None:
        """What is kept of a lease; it is not any more."""
        ends, brought = self._kept.pop(lease, (0.0, None))
        if brought is None:
            return None
        self.size -= len(brought.data)
        return brought if self._monotonic() < ends else None

    def expire(self) -> None:
        """Let go of what is too old or too much."""
        now = self._monotonic()
        while self._kept:
            lease, (ends, _) = next(iter(self._kept.items()))
            if ends > now and self.size <= self._max_bytes:
                return
            self.take(lease)
