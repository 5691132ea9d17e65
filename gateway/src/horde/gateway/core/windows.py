"""What was counted since some time ago, from totals that only grow."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")
PARTS = 60
"""How finely a window is cut: it is too long by at most such a part."""


@dataclass(slots=True)
class Window(Generic[T]):
    """Totals as they were, over the last `seconds`; at most PARTS + 2 of them are kept."""

    seconds: float
    _samples: deque[tuple[float, T]] = field(default_factory=deque)

    def add(self, at: float, totals: T) -> None:
        """Take in the totals of now, on a clock that never goes back."""
        if not self._samples or at - self._samples[-1][0] >= self.seconds / PARTS:
            self._samples.append((at, totals))
        # The one before the window's begin stays: it is what is counted from.
        while len(self._samples) > 1 and self._samples[1][0] <= at - self.seconds:
            self._samples.popleft()

    def first(self) -> T:
        """The totals that what happened within the window is counted from; needs one `add` before."""
        return self._samples[0][1]
