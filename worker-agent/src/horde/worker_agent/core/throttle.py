"""At most one per interval. Told the time, never asks for it."""

from __future__ import annotations

from dataclasses import dataclass

PREVIEW_INTERVAL_SECONDS = 1.0
"""The contract's limit for previews of one lease."""
PROGRESS_INTERVAL_SECONDS = 0.1
"""More than ten steps a second tell nobody anything, and every one costs the gateway and the scheduler."""


@dataclass(slots=True)
class Throttle:
    """Passes the first, then none until `interval` seconds have gone by since the last that passed."""

    interval: float
    _last: float | None = None

    def ready(self, now: float) -> bool:
        """Whether one would pass."""
        return self._last is None or now - self._last >= self.interval

    def passes(self, now: float) -> bool:
        """Whether this one passes; counts it if it does. `now` is monotonic seconds."""
        if not self.ready(now):
            return False
        self._last = now
        return True
