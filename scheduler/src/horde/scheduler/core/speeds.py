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
REFRESH = 16
"""Measurements after which a median is computed again."""

Key = tuple[str, int]
"""Model and size class."""


class Speeds:
    """The measurements of the fleet."""

    def __init__(self) -> None:
        self._by_worker: dict[WorkerId, dict[Key, float]] = {}
        self._by_model: dict[str, dict[WorkerId, float]] = {}
        self._medians: dict[str, tuple[float, int]] = {}
        self.taken = 0
        """How many measurements."""

    def measure(self, worker_id: WorkerId, model: str, size_class: int, seconds: float, work: float) -> None:
        """Take in that `work` megapixel-steps took so long."""
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
        value, left = self._medians.get(model, (0.0, 0))
        self._medians[model] = (value, left - 1)

    def measured(self, worker_id: WorkerId, model: str, size_class: int) -> float | None:
        """What was measured, at this size or, failing that, at any."""
        mine = self._by_worker.get(worker_id)
        if mine is None:
            return None
        return mine.get((model, size_class), mine.get((model, -1)))

    def median(self, model: str) -> float | None:
        """The median worker's, for this model."""
        known = self._by_model.get(model)
        if not known:
            return None
        value, left = self._medians.get(model, (0.0, 0))
        if left <= 0 or value <= 0:
            value = median(known.values())
            self._medians[model] = (value, REFRESH)
        return value

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
        """Take back what an earlier process measured."""
        self._by_worker[worker_id] = dict(known)
        for (model, size_class), value in known.items():
            if size_class == -1:
                self._by_model.setdefault(model, {})[worker_id] = value

    def forget(self, worker_id: WorkerId) -> None:
        """A worker that is gone for good."""
        for model, _ in self._by_worker.pop(worker_id, {}):
            self._by_model.get(model, {}).pop(worker_id, None)
