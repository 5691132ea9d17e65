"""How long the jobs of the last hour waited before they were begun, for statistics.

Counted by the minute and by the logarithm of the wait, so that it costs the same however many jobs there are; what is
told is never too short, and too long by an eighth and an eighth of a second at most. It begins empty with each leader.
"""

from __future__ import annotations

import math
from collections import Counter, OrderedDict

MINUTES = 60
PARTS = 6
"""Steps in which a wait doubles."""
LONGEST = 24 * 3600.0
"""Seconds; no job waits longer."""


class Waits:
    """Those of one board."""

    def __init__(self) -> None:
        self._minutes: OrderedDict[int, Counter[int]] = OrderedDict()

    def begun(self, seconds: float, now: float) -> None:
        """A job has waited so long for its first worker."""
        minute = int(now // 60)
        counted = self._minutes.get(minute)
        if counted is None:
            counted = self._minutes[minute] = Counter()
            while len(self._minutes) > MINUTES:
                self._minutes.popitem(last=False)
        counted[math.ceil(PARTS * math.log2(1 + min(seconds, LONGEST)))] += 1

    def quantiles(self, parts: tuple[float, ...], now: float) -> list[float] | None:
        """Seconds within which such parts of the jobs were begun; None: there were none."""
        oldest = int(now // 60) - MINUTES
        waits: Counter[int] = Counter()
        for minute, counted in self._minutes.items():
            if minute > oldest:
                waits.update(counted)
        if not waits:
            return None
        return [_within(waits, math.ceil(part * waits.total())) for part in parts]


def _within(waits: Counter[int], jobs: int) -> float:
    for step in sorted(waits):
        jobs -= waits[step]
        if jobs <= 0:
            return math.exp2(step / PARTS) - 1
    raise AssertionError("more jobs than there are")
