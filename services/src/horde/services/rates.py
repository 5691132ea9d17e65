"""How often something may happen: the generic cell rate algorithm, one number per subject.

A rate `10/60s` lets ten through at once and one more every six seconds. A call passes all of its draws or none. Memory
is bounded: the subjects seen longest ago are forgotten, which at worst lets one through early. Addresses have a memory
of their own: identities cost nothing to make, and making many must not make it forget where they come from.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

_FORM = re.compile(r"([1-9][0-9]{0,8})/([1-9][0-9]{0,5})s\Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class Rate:
    """So many in so many seconds, and as many at once."""

    count: int
    seconds: int

    @classmethod
    def parse(cls, text: str) -> Rate:
        """Read `10/60s`."""
        form = _FORM.match(text)
        if form is None:
            raise ValueError(f"{text!r} is not a rate such as 10/60s")
        return cls(int(form[1]), int(form[2]))

    def __str__(self) -> str:
        return f"{self.count}/{self.seconds}s"

    @property
    def interval(self) -> float:
        """Seconds that one call uses up."""
        return self.seconds / self.count


@dataclass(frozen=True, slots=True)
class Draw:
    """One call (or `weight` of them) counted against one subject."""

    subject: str
    rate: Rate
    weight: int = 1
    of_address: bool = False
    """Whether the subject is an address, and not somebody who calls from there."""


@dataclass(frozen=True, slots=True)
class TooOften:
    """Which draw did not pass, and how many seconds to wait until it would."""

    draw: Draw
    seconds: float


class Counters:
    """Counts draws in this process."""

    def __init__(self, max_subjects: int = 100_000) -> None:
        """`max_subjects`: of callers, and again of addresses."""
        self._max = max_subjects
        self._callers: OrderedDict[str, float] = OrderedDict()
        self._addresses: OrderedDict[str, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._callers) + len(self._addresses)

    def admit(self, draws: Sequence[Draw], now: float) -> TooOften | None:
        """Count all draws and return None; or say which does not pass, and count none.

        `now` is monotonic seconds. A weight above what fits at once is let through when nothing else was: it then takes
        its time afterwards.
        """
        passed = self._passed(draws, now)
        if isinstance(passed, TooOften):
            return passed
        for memory, subject, at in passed:
            memory[subject] = at
            memory.move_to_end(subject)
            while len(memory) > self._max:
                memory.popitem(last=False)
        return None

    def look(self, draws: Sequence[Draw], now: float) -> TooOften | None:
        """Say what `admit` would say, and count nothing."""
        passed = self._passed(draws, now)
        return passed if isinstance(passed, TooOften) else None

    def _passed(self, draws: Sequence[Draw], now: float) -> list[tuple[OrderedDict[str, float], str, float]] | TooOften:
        updates = []
        for draw in draws:
            rate = draw.rate
            memory = self._addresses if draw.of_address else self._callers
            at = max(memory.get(draw.subject, now), now)
            cost = min(draw.weight, rate.count) * rate.interval
            wait = at + cost - now - rate.seconds
            if wait > 1e-9:
                return TooOften(draw, wait)
            updates.append((memory, draw.subject, at + draw.weight * rate.interval))
        return updates
