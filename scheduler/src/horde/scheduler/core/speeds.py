"""How fast workers are, as measured: seconds for one megapixel-step, per worker, model and size class.

An exponentially weighted mean; a single measurement moves it by a fifth, and counts at most four times off, so that one
pause does not ruin a reputation. What was never measured is believed to be as the fleet's median.
"""

from __future__ import annotations

from collections.abc import Iterable
from statistics import median

from horde.scheduler.core.job import WorkerId

ALPHA = 0.2
CLIP = 4.0
PRIOR = 0.5
"""Seconds for a megapixel-step where nothing was ever measured."""
REFRESH = 8
"""A median is computed again after as many measurements as a part of its workers: one in so many."""

Key = tuple[str, int]
"""Model and size class."""


class Speeds:
    """The measurements of the fleet."""

    def __init__(self) -> None:
        self._by_worker: dict[WorkerId, dict[Key, float]] = {}
        self._by_model: dict[str, dict[WorkerId, float]] = {}
        self._medians: dict[str, float] = {}
        self._until_refresh: dict[str, int] = {}
        self.taken = 0
        """How many measurements."""

    def measure(self, worker_id: WorkerId, model: str, size_class: int, seconds: float, work: float) -> None:
        """Take in that `work` megapixel-steps took so long. Who is fast may be others afterwards."""
        if seconds <= 0 or work <= 0:
            return
        self.taken += 1
        sample = seconds / work
        mine = self._by_worker.setdefault(worker_id, {})
        for key in ((model, size_class), (model, -1)):
            old = mine.get(key)
            if old is None:
                mine[key] = sample
            else:
                mine[key] = old + ALPHA * (min(max(sample, old / CLIP), old * CLIP) - old)
        self._by_model.setdefault(model, {})[worker_id] = mine[model, -1]
        self._until_refresh[model] = self._until_refresh.get(model, 0) - 1
        if self._until_refresh[model] < 0:
            self._refresh(model)

    def _refresh(self, model: str) -> None:
        known = self._by_model[model]
        self._medians[model] = median(known.values())
        self._until_refresh[model] = len(known) // REFRESH

    def measured(self, worker_id: WorkerId, model: str, size_class: int) -> float | None:
        """What was measured, at this size or, failing that, at any."""
        mine = self._by_worker.get(worker_id)
        if mine is None:
            return None
        return mine.get((model, size_class), mine.get((model, -1)))

    def median(self, model: str) -> float | None:
        """The median worker's, for this model, as of the last refresh."""
        return self._medians.get(model)

    def is_fast(self, worker_id: WorkerId, model: str) -> bool:
        """Whether a worker is not slower than the median; where nobody was ever measured, everybody is fast."""
        median = self._medians.get(model)
        if median is None:
            return True
        mine = self._by_model[model].get(worker_id)
        return mine is not None and mine <= median

    def painters(self, model: str) -> Iterable[WorkerId]:
        """Workers that were measured with this model."""
        return self._by_model.get(model, ())

    def expected(self, worker_id: WorkerId, model: str, size_class: int) -> float:
        """Seconds for a megapixel-step, as far as one can know."""
        return self.measured(worker_id, model, size_class) or self.median(model) or PRIOR

    def of(self, worker_id: WorkerId) -> dict[Key, float]:
        """All that was measured of one worker; -1 is any size."""
        return self._by_worker.get(worker_id, {})

    def restore(self, worker_id: WorkerId, known: dict[Key, float]) -> None:
        """Take back what an earlier process measured; `restored` ends it."""
        self._by_worker[worker_id] = dict(known)
        for (model, size_class), value in known.items():
            if size_class == -1:
                self._by_model.setdefault(model, {})[worker_id] = value

    def restored(self) -> None:
        """All that was measured before is here again."""
        for model in self._by_model:
            self._refresh(model)

    def forget(self, worker_id: WorkerId) -> list[str]:
        """Forget a worker that is gone for good; returns the models that nobody known was measured with any more."""
        unmeasured = []
        for model, size_class in self._by_worker.pop(worker_id, {}):
            if size_class != -1:
                continue
            known = self._by_model[model]
            known.pop(worker_id, None)
            if not known:
                del self._by_model[model], self._medians[model], self._until_refresh[model]
                unmeasured.append(model)
        return unmeasured
