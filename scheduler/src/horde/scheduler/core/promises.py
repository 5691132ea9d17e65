"""Estimates that are promises: each is corrected by how far earlier ones of its kind were off.

What a computed wait is multiplied by follows the quantile that it stands for: each wait that was longer than its p90
raises the factor by nine parts, each that was shorter lowers it by one, so that it comes to rest where one in ten is
longer; the p50's likewise. One pair of factors for each model and for each length of wait, since who has long to wait
is overtaken by more people, and anonymous apart: they wait for everybody.

Who waits long would teach late, and few of a model do: so a wait that is longer than its promise counts when that is
so, not when it is over; and a model begins with what all models together have taught for that length.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count

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
MAX_WATCHED = 4_096
"""Promises that are looked at while they last; those beyond it teach when their waits are over."""

Kind = tuple[str, bool]
"""Model, and whether anonymous."""
LENGTHS = 8
"""Classes of computed waits: up to 8 s, twice that, and so on."""


@dataclass(slots=True, eq=False)
class Promise:
    """What somebody was told about a job's wait."""

    at: float
    """When, on the core's clock, in seconds."""
    computed: float
    """Before it was corrected."""
    p50: float
    p90: float
    broken: int = 0
    """How many of the two were found to be too short while it waited still."""


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
        self._of_all: dict[tuple[bool, int], _Errors] = {}
        """Of all models together."""
        self._watched: list[tuple[float, int, Kind, Promise, Callable[[], bool]]] = []
        """A heap, by when the next of the two is too short."""
        self._order = count()

    def correct(self, kind: Kind, seconds: float) -> tuple[float, float]:
        """The p50 and p90 of a wait that was computed as so many seconds."""
        length = _length(seconds)
        errors = self._errors.get((kind, length)) or self._of_all.get((kind[1], length)) or _Errors()
        p50 = seconds * math.exp(errors.log50)
        return p50, max(p50, seconds * math.exp(errors.log90))

    def begun(self, kind: Kind, promise: Promise, now: float) -> None:
        """Learn how long the wait was that the promise was about."""
        waited = now - promise.at
        if promise.broken < 1:
            self._learn50(kind, promise, held=waited <= promise.p50)
        if promise.broken < 2:
            self._learn90(kind, promise, held=waited <= promise.p90)

    def watch(self, kind: Kind, promise: Promise, waits: Callable[[], bool]) -> None:
        """Learn of a promise as soon as it was too short; `waits` says whether that wait goes on."""
        if len(self._watched) < MAX_WATCHED:
            heapq.heappush(self._watched, (promise.at + promise.p50, next(self._order), kind, promise, waits))

    def look(self, now: float) -> None:
        """Learn from what has become too short since."""
        watched = self._watched
        while watched and watched[0][0] < now:
            _, _, kind, promise, waits = heapq.heappop(watched)
            if not waits():
                continue
            promise.broken += 1
            if promise.broken == 1:
                self._learn50(kind, promise, held=False)
                heapq.heappush(watched, (promise.at + promise.p90, next(self._order), kind, promise, waits))
            else:
                self._learn90(kind, promise, held=False)

    def _learn50(self, kind: Kind, promise: Promise, *, held: bool) -> None:
        for errors in self._known(kind, promise):
            errors.log50 = _bounded(errors.log50 + STEP * (-0.5 if held else 0.5))

    def _learn90(self, kind: Kind, promise: Promise, *, held: bool) -> None:
        for errors in self._known(kind, promise):
            errors.log90 = _bounded(errors.log90 + STEP * (-0.1 if held else 0.9))
            errors.held += MEMORY * (held - errors.held)
            errors.promises += 1

    def _known(self, kind: Kind, promise: Promise) -> tuple[_Errors, _Errors]:
        """What is known of its model, and of all models."""
        length = _length(promise.computed)
        of_all = self._of_all.setdefault((kind[1], length), _Errors())
        errors = self._errors.get((kind, length))
        if errors is None:
            if len(self._errors) >= MAX_KINDS:
                self._errors.clear()
            errors = self._errors[kind, length] = _Errors(of_all.log50, of_all.log90)
        return errors, of_all

    def held(self, kind: Kind) -> float | None:
        """The part of the last waits (some fifty of each length count) that were within their p90; None: too few."""
        known = [found for length in range(LENGTHS) if (found := self._errors.get((kind, length)))]
        count = sum(errors.promises for errors in known)
        return sum(errors.held * errors.promises for errors in known) / count if count >= ENOUGH else None


def _length(seconds: float) -> int:
    return min(LENGTHS - 1, max(0, int(math.log2(max(1.0, seconds / 4)))))


def _bounded(logarithm: float) -> float:
    return min(BOUND, max(-BOUND, logarithm))
