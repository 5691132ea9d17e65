"""How long to wait before trying again: longer each time, and never in step with anybody else. Knows no clock."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import random


@dataclass(slots=True)
class Backoff:
    """Full jitter over a doubling bound: the n-th wait is drawn from [floor, min(limit, first * 2^n)], in seconds.

    Full jitter spreads a thousand workers that lost the same gateway evenly, where a fixed delay brings them all back
    at once (AWS Architecture Blog, "Exponential Backoff And Jitter", 2015).
    """

    first: float = 0.5
    limit: float = 15.0
    floor: float = 0.05
    draw: Callable[[], float] = field(default=random)
    """Uniform in [0, 1)."""
    tries: int = 0

    def next(self, at_least: float = 0.0) -> float:
        """Seconds to wait now; `at_least` is what the other side asked for."""
        # 2.0**64 is past every limit: the exponent needs a bound, the result does not.
        bound = min(self.limit, self.first * 2.0 ** min(self.tries, 64))
        self.tries += 1
        return at_least + max(self.floor, bound * self.draw())

    def stay_within(self, grace: float) -> None:
        """Never wait longer than three quarters of the seconds that the other side waits for us; 0: it does not say."""
        if grace > 0:
            self.limit = min(self.limit, 0.75 * grace)

    def reset(self) -> None:
        """It worked: begin again from the shortest wait."""
        self.tries = 0
