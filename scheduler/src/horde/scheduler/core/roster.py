"""The index from jobs to workers: who of some workers could paint a job, without looking at those who could not.

Workers are listed by model, by what they can do with it, and by the size up to which they can, so that whoever is
looked at fits; only deny lists are passed over one by one, and these are short.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, NamedTuple

from horde.scheduler.core.fitting import Signature, why_not
from horde.scheduler.core.job import WorkerId
from horde.scheduler.core.speeds import Speeds

if TYPE_CHECKING:
    from horde.scheduler.core.fleet import Worker


class Kind(NamedTuple):
    """What workers have in common with each other, for one model; whoever has it loaded comes first."""

    loaded: bool
    features: int
    fast: bool


class Shelf:
    """Workers of one kind, by the most pixels that they paint; those listed first come first."""

    __slots__ = ("by_limit", "limits")

    def __init__(self) -> None:
        self.limits: list[int] = []
        self.by_limit: dict[int, dict[WorkerId, Worker]] = {}

    def add(self, worker: Worker, limit: int) -> None:
        if limit not in self.by_limit:
            insort(self.limits, limit)
            self.by_limit[limit] = {}
        self.by_limit[limit][worker.worker_id] = worker

    def remove(self, worker_id: WorkerId, limit: int) -> None:
        del self.by_limit[limit][worker_id]
        if not self.by_limit[limit]:
            del self.by_limit[limit]
            self.limits.remove(limit)


class Roster:
    """Some of the workers. With `by_speed` those who are fast are listed by themselves; see `misjudged`."""

    def __init__(self, *, by_speed: bool = False) -> None:
        self._by_speed = by_speed
        self._models: dict[str, dict[Kind, Shelf]] = {}
        self._places: dict[WorkerId, tuple[Worker, list[tuple[str, Kind, int]]]] = {}

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, worker_id: WorkerId) -> bool:
        return worker_id in self._places

    def __iter__(self) -> Iterator[Worker]:
        """All, those listed first first."""
        return (worker for worker, _ in self._places.values())

    def add(self, worker: Worker, speeds: Speeds) -> None:
        """List a worker as it is now; again, if it was."""
        self.remove(worker.worker_id)
        capabilities = worker.capabilities
        places: list[tuple[str, Kind, int]] = []
        for model, offer in capabilities.offers.items():
            fast = not self._by_speed or speeds.is_fast(worker.worker_id, model)
            kind = Kind(offer.loaded or worker.model == model, offer.features, fast)
            limit = capabilities.limit(model)
            shelves = self._models.setdefault(model, {})
            shelf = shelves.get(kind)
            if shelf is None:
                shelf = shelves[kind] = Shelf()
            shelf.add(worker, limit)
            places.append((model, kind, limit))
        self._places[worker.worker_id] = (worker, places)

    def remove(self, worker_id: WorkerId) -> None:
        """List a worker no more, if it was."""
        known = self._places.pop(worker_id, None)
        if known is None:
            return
        for model, kind, limit in known[1]:
            shelves = self._models[model]
            shelf = shelves[kind]
            shelf.remove(worker_id, limit)
            if not shelf.limits:
                del shelves[kind]
                if not shelves:
                    del self._models[model]

    def fitting(self, model: str, signature: Signature, speeds: Speeds) -> Iterator[Worker]:
        """Those who can paint a job, loaded ones first, then smaller ones before larger."""
        shelves = self._models.get(model)
        if shelves is None:
            return
        if signature.allowed:
            for worker_id in sorted(signature.allowed):
                worker = self.get(worker_id)
                if worker is not None and why_not(signature, worker, model, speeds) is None:
                    yield worker
            return
        features, denied = signature.features, signature.denied
        for loaded in (True, False):
            for kind, shelf in shelves.items():
                if kind.loaded is not loaded or features & ~kind.features or (signature.fast_only and not kind.fast):
                    continue
                for limit in shelf.limits[bisect_left(shelf.limits, signature.pixels) :]:
                    for worker_id, worker in shelf.by_limit[limit].items():
                        if worker_id in denied or (signature.fast_only and not speeds.is_fast(worker_id, model)):
                            continue
                        yield worker

    def get(self, worker_id: WorkerId) -> Worker | None:
        known = self._places.get(worker_id)
        return known[0] if known is not None else None

    def groups(self, model: str) -> Iterator[tuple[Kind, int, Collection[Worker]]]:
        """All that have a model: of one kind and limit of pixels at a time."""
        for kind, shelf in self._models.get(model, {}).items():
            for limit, workers in shelf.by_limit.items():
                yield kind, limit, workers.values()

    def misjudged(self, model: str, speeds: Speeds) -> list[Worker]:
        """Those listed as fast who are not any more, or the other way round."""
        return [
            worker
            for kind, _, workers in self.groups(model)
            for worker in workers
            if speeds.is_fast(worker.worker_id, model) is not kind.fast
        ]
