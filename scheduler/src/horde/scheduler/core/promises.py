"""Estimates that are promises: each is corrected by how far earlier ones of its kind were off.

What a computed wait is multiplied by follows the quantile that it stands for: each wait that was longer than its p90
raises the factor by nine parts, each that was shorter lowers it by one, so that it comes to rest where one in ten is
longer; the p50's likewise. One pair of factors for each model and for each length of wait, since who has long to wait
is overtaken by more people, and anonymous apart: they wait for everybody.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

MAX_KINDS = 16_384
"""Models, times LENGTHS, twice, whose errors are remembered; beyond it all begin anew."""
STEP = 0.15
"""Of the logarithm of a factor, for one wait."""
BOUND = math.log(32)
"""Of the logarithm of a factor: what is further off was no estimate."""
MEMORY = 0.02
"""How much one wait counts in the part that is shown."""
ENOUGH = 20
"""Waits that are known before it is shown."""

Kind = tuple[str, bool]
"""Model, and whether anonymous."""
LENGTHS = 8
"""Classes of computed waits: up to 8 s, twice that, and so on."""


@dataclass(frozen=True, slots=True)
class Promise:
    """What somebody was told about a job's wait."""

    at: float
    """When, on the core's clock, in seconds."""
    computed: float
    """Before it was corrected."""
    p50: float
    p90: float


@dataclass(slots=True)
class _Errors:
    log50: float = 0.0
    log90: float = math.log(2)
    held: float = 0.9
    promises: int = 0


class Promises:
    """How well estimates of one board have held."""

    def __init__(self) -> None:
        self._errors: dict[tuple[Kind, int], _Errors] = {}

    def correct(self, kind: Kind, seconds: float) -> tuple[float, float]:
        """The p50 and p90 of a wait that was computed as so many seconds."""
        errors = self._errors.get((kind, _length(seconds))) or _Errors()
        p50 = seconds * math.exp(errors.log50)
        return p50, max(p50, seconds * math.exp(errors.log90))

    def begun(self, kind: Kind, promise: Promise, now: float) -> None:
        """Learn how long the wait was that the promise was about."""
        key = kind, _length(promise.computed)
        if len(self._errors) >= MAX_KINDS and key not in self._errors:
            self._errors.clear()
        errors = self._errors.setdefault(key, _Errors())
        held50, held90 = (now - promise.at <= seconds for seconds in (promise.p50, promise.p90))
        errors.log50 = _bounded(errors.log50 + STEP * (-0.5 if held50 else 0.5))
        errors.log90 = _bounded(errors.log90 + STEP * (-0.1 if held90 else 0.9))
        errors.held += MEMORY * (held90 - errors.held)
        errors.promises += 1

    def held(self, kind: Kind) -> float | None:
        """The part of the last waits (some fifty of each length count) that were within their p90; None: too few."""
        known = [found for length in range(LENGTHS) if (found := self._errors.get((kind, length)))]
        count = sum(errors.promises for errors in known)
        return sum(errors.held * errors.promises for errors in known) / count if count >= ENOUGH else None


def _length(seconds: float) -> int:
    return min(LENGTHS - 1, max(0, int(math.log2(max(1.0, seconds / 4)))))


def _bounded(logarithm: float) -> float:
    return min(BOUND, max(-BOUND, logarithm))
