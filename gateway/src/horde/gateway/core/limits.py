"""How often somebody may call: the generic cell rate algorithm, one number per subject.

A limit `10/60s` lets ten through at once and one more every six seconds. Subjects are accounts, anonymous identities
and addresses; a call passes all of its limits or none. Memory is bounded: the subjects seen longest ago are forgotten,
which at worst lets one through early. Addresses have a memory of their own: identities cost nothing to make, and making
many must not make the limiter forget where they come from.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from horde.gateway.core.errors import RateLimited
from horde.services.addresses import address_bucket as address_bucket

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


class Limiter:
    """Counts calls. Local to this process: replicas count by themselves until they share a memory."""

    def __init__(self, max_subjects: int = 100_000) -> None:
        """`max_subjects`: of callers, and again of addresses."""
        self._max = max_subjects
        self._callers: OrderedDict[str, float] = OrderedDict()
        self._addresses: OrderedDict[str, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._callers) + len(self._addresses)

    def admit(self, draws: Sequence[Draw], now: float) -> None:
        """Let a call through, or raise RateLimited with how long to wait; a refused call uses nothing up.

        `now` is monotonic seconds.
        A weight above what fits at once is let through when nothing else was: it then takes its time afterwards.
        """
        for memory, subject, at in self._passed(draws, now):
            memory[subject] = at
            memory.move_to_end(subject)
            while len(memory) > self._max:
                memory.popitem(last=False)

    def look(self, draws: Sequence[Draw], now: float) -> None:
        """Raise what `admit` would raise, and count nothing."""
        self._passed(draws, now)

    def _passed(self, draws: Sequence[Draw], now: float) -> list[tuple[OrderedDict[str, float], str, float]]:
        updates = []
        for draw in draws:
            rate = draw.rate
            memory = self._addresses if draw.of_address else self._callers
            at = max(memory.get(draw.subject, now), now)
            cost = min(draw.weight, rate.count) * rate.interval
            wait = at + cost - now - rate.seconds
            if wait > 1e-9:
                raise RateLimited(metadata={"limit": str(rate)}, retry_after=timedelta(seconds=wait))
            updates.append((memory, draw.subject, at + draw.weight * rate.interval))
        return updates
