"""Which job a worker gets next: start-time fair queueing over classes of like jobs, one virtual clock per model.

Jobs of a model with the same signature (what they need, size class, whom they exclude) share a bucket, so that whether
a worker can paint them is asked once per bucket and never per job: the cost is flat in the queue's length and the
fleet's size. Within a model the smallest tag goes first. A tag is given once, at accept:

    tag = max(clock of the model, end of the flow's last job);   end = tag + megapixel-steps / weight

All anonymous jobs together are one flow of low weight, and divide its share by address. Taking a job moves the model's
clock to its tag and then on, by its work over the weight of all who wait. So a flow that was away gains no credit, and
no flow starves, however many newcomers there are: each gets its weight's part of what the model's workers paint.

Which model a worker is given: the one whose oldest job has waited longest, where a model in memory counts as waiting
LOADED_BONUS longer; that bonus fades while one model is served on and on.
"""

from __future__ import annotations

import heapq
import math
from bisect import bisect_left
from collections import Counter, OrderedDict, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from horde.scheduler.core.fleet import Worker
from horde.scheduler.core.job import Generation, Job, WorkerId
from horde.scheduler.core.speeds import Speeds

ANONYMOUS_WEIGHT = 0.25
LOADED_BONUS = 30.0
"""Seconds."""
STICKY = 300.0
"""Seconds of serving one model after which its bonus is gone."""
MAX_RESTRICTED = 64
"""Buckets with exclusions that are looked at for one worker; they take turns."""
MAX_SCAN = 16
"""Jobs of one bucket that are looked at, where only some of a size class fit."""
MAX_FLOWS = 4096
"""Flows remembered per model before those are forgotten whose time has passed."""

CLASS_BOUNDS = tuple(side * side for side in (256, 512, 768, 1024, 1280, 1536, 2048, 3072, 4096))
"""Largest number of pixels of each size class."""

_NOBODY: frozenset[WorkerId] = frozenset()


def weight_of(balance_mkudos: int) -> float:
    """A registered requester's weight: 1 + log10(1 + kudos) / 2."""
    return 1.0 + math.log10(1.0 + max(0, balance_mkudos) / 1000) / 2


def size_class(pixels: int) -> int:
    return bisect_left(CLASS_BOUNDS, pixels)


class Signature(NamedTuple):
    """What makes jobs of a model alike for every worker."""

    features: int
    size_class: int
    fast_only: bool = False
    allowed: frozenset[WorkerId] = _NOBODY
    denied: frozenset[WorkerId] = _NOBODY

    @property
    def restricted(self) -> bool:
        return bool(self.allowed or self.denied)


def signature_of(job: Job) -> Signature:
    terms = job.generation.terms
    denied = terms.denied | job.tried if job.leases else terms.denied
    return Signature(terms.features, size_class(terms.pixels), terms.fast_only, terms.allowed, denied)


class Entry(NamedTuple):
    """A place in a heap; void once the job's ticket is another."""

    tag: float
    accepted_at_ms: int
    ticket: int
    job: Job


@dataclass(slots=True)
class Bucket:
    """Queued jobs of one signature, by tag: those of accounts, and the anonymous ones."""

    signature: Signature
    named: list[Entry] = field(default_factory=list)
    anonymous: list[Entry] = field(default_factory=list)
    live: int = 0

    def push(self, entry: Entry) -> None:
        heap = self.anonymous if entry.job.generation.anonymous else self.named
        self.live += 1
        if len(heap) > 2 * self.live + 64:
            heap[:] = [each for each in heap if each.job.ticket == each.ticket]
            heapq.heapify(heap)
        heapq.heappush(heap, entry)

    def heads(self, limit: int) -> Iterator[Entry]:
        """The first that a worker of this limit of pixels can paint, of each kind."""
        whole = limit >= CLASS_BOUNDS[min(self.signature.size_class, len(CLASS_BOUNDS) - 1)]
        for heap in (self.named, self.anonymous):
            entry = _first(heap, limit, whole)
            if entry is not None:
                yield entry


def _first(heap: list[Entry], limit: int, whole: bool) -> Entry | None:
    aside: list[Entry] = []
    found = None
    while heap and len(aside) < MAX_SCAN:
        entry = heap[0]
        if entry.job.ticket != entry.ticket:
            heapq.heappop(heap)
        elif whole or entry.job.generation.terms.pixels <= limit:
            found = entry
            break
        else:
            aside.append(heapq.heappop(heap))
    for entry in aside:
        heapq.heappush(heap, entry)
    return found


class ModelQueue:
    """The queue of one model."""

    def __init__(self) -> None:
        self.buckets: OrderedDict[Signature, Bucket] = OrderedDict()
        self.restricted: OrderedDict[Signature, Bucket] = OrderedDict()
        self.clock = 0.0
        self.count = 0
        self.work = 0.0
        self.anonymous_start = 0.0
        self._anonymous_clock = 0.0
        self._anonymous_count = 0
        self._waiting: Counter[str] = Counter()
        """Queued jobs of each account."""
        self._weight = 0.0
        """Of all flows that wait."""
        self._ends: dict[str, float] = {}
        self._arrivals: deque[tuple[float, int, Job]] = deque()

    def push(self, job: Job, ticket: int, now: float, again: bool) -> None:
        """Queue a job; `again` keeps the tag that it had."""
        generation = job.generation
        work = generation.terms.work
        if generation.anonymous:
            if self._anonymous_count == 0:
                self.anonymous_start = max(self.clock, self.anonymous_start)
                self._weight += ANONYMOUS_WEIGHT
            self._anonymous_count += 1
        else:
            if not self._waiting[generation.flow]:
                self._weight += generation.weight
            self._waiting[generation.flow] += 1
        clock = self._anonymous_clock if generation.anonymous else self.clock
        if again:
            # It was due already; and the clock may have begun anew since.
            job.tag = min(job.tag, clock)
        else:
            job.tag = max(clock, self._ends.get(generation.flow, 0.0))
            self._remember(generation.flow, job.tag + work / generation.weight)
        job.ticket = ticket
        signature = job.signature = signature_of(job)
        among = self.restricted if signature.restricted else self.buckets
        bucket = among.get(signature)
        if bucket is None:
            bucket = among[signature] = Bucket(signature)
        bucket.push(Entry(job.tag, generation.accepted_at_ms, ticket, job))
        self.count += 1
        self.work += work
        self._arrivals.append((now, ticket, job))

    def remove(self, job: Job) -> None:
        """Take a job out, whatever for."""
        job.ticket = 0
        self.count -= 1
        self.work = max(0.0, self.work - job.generation.terms.work)
        self._leave(job.generation)
        signature = job.signature or signature_of(job)
        among = self.restricted if signature.restricted else self.buckets
        bucket = among[signature]
        bucket.live -= 1
        if bucket.live == 0:
            del among[signature]

    def take(self, worker: Worker, model: str, speeds: Speeds) -> Job | None:
        """The job that is due, among those that this worker can paint; it leaves the queue."""
        limit = worker.capabilities.limit(model)
        best: tuple[float, float, int, int] | None = None
        chosen: Job | None = None
        for bucket in self._candidates():
            if why_not(bucket.signature, worker, model, speeds) is not None:
                continue
            for tag, accepted_at_ms, ticket, job in bucket.heads(limit):
                outer = self.anonymous_start if job.generation.anonymous else tag
                place = (outer, tag, accepted_at_ms, ticket)
                if best is None or place < best:
                    best, chosen = place, job
        if chosen is not None and best is not None:
            self._served(chosen, best[0])
            self.remove(chosen)
        return chosen

    def oldest(self) -> float | None:
        """When the job that has waited longest was queued."""
        arrivals = self._arrivals
        while arrivals and arrivals[0][2].ticket != arrivals[0][1]:
            arrivals.popleft()
        return arrivals[0][0] if arrivals else None

    def every_bucket(self) -> Iterator[Bucket]:
        yield from self.buckets.values()
        yield from self.restricted.values()

    def _candidates(self) -> list[Bucket]:
        candidates = list(self.buckets.values())
        for _ in range(min(MAX_RESTRICTED, len(self.restricted))):
            signature = next(iter(self.restricted))
            candidates.append(self.restricted[signature])
            self.restricted.move_to_end(signature)
        return candidates

    def _leave(self, generation: Generation) -> None:
        if generation.anonymous:
            self._anonymous_count -= 1
            if self._anonymous_count == 0:
                self._weight -= ANONYMOUS_WEIGHT
            return
        self._waiting[generation.flow] -= 1
        if not self._waiting[generation.flow]:
            del self._waiting[generation.flow]
            self._weight -= generation.weight
        if self.count == 0:
            self._weight = 0.0

    def _served(self, job: Job, outer: float) -> None:
        self.clock = max(self.clock, outer) + job.generation.terms.work / max(self._weight, ANONYMOUS_WEIGHT)
        if job.generation.anonymous:
            self._anonymous_clock = max(self._anonymous_clock, job.tag)
            self.anonymous_start = outer + job.generation.terms.work / ANONYMOUS_WEIGHT

    def _remember(self, flow: str, end: float) -> None:
        if len(self._ends) >= MAX_FLOWS:
            floor = min(self.clock, self._anonymous_clock)
            kept = {each: at for each, at in self._ends.items() if at > floor}
            # Still too many: all of them lose a little credit rather than we our memory.
            self._ends = kept if len(kept) < MAX_FLOWS else {}
        self._ends[flow] = end


class Queue:
    """The queues of all models."""

    def __init__(self) -> None:
        self.models: dict[str, ModelQueue] = {}
        self._tickets = 0

    def __len__(self) -> int:
        return sum(queue.count for queue in self.models.values())

    def push(self, job: Job, now: float, *, again: bool = False) -> None:
        self._tickets += 1
        model = job.generation.terms.model
        queue = self.models.get(model)
        if queue is None:
            queue = self.models[model] = ModelQueue()
        queue.push(job, self._tickets, now, again)

    def remove(self, job: Job) -> None:
        model = job.generation.terms.model
        queue = self.models[model]
        queue.remove(job)
        if queue.count == 0:
            del self.models[model]

    def take(self, worker: Worker, now: float, speeds: Speeds) -> Job | None:
        """The next job for a worker, of whichever of its models is due; None if there is none for it."""
        for model in self._by_urgency(worker, now):
            queue = self.models[model]
            job = queue.take(worker, model, speeds)
            if job is not None:
                if queue.count == 0:
                    del self.models[model]
                return job
        return None

    def _by_urgency(self, worker: Worker, now: float) -> list[str]:
        offers = worker.capabilities.offers
        if len(offers) <= len(self.models):
            models = [model for model in offers if model in self.models]
        else:
            models = [model for model in self.models if model in offers]
        if len(models) < 2:
            return models
        urgency = {}
        for model in models:
            oldest = self.models[model].oldest()
            score = 0.0 if oldest is None else now - oldest
            if offers[model].loaded or worker.model == model:
                served = now - worker.model_since if worker.model == model else 0.0
                score += LOADED_BONUS * max(0.0, 1.0 - served / STICKY)
            urgency[model] = score
        return sorted(models, key=lambda model: -urgency[model])


class WhyNot:
    """Why a worker cannot paint a job; numbers of the contract."""

    MODEL = 1
    SIZE = 2
    FEATURE = 3
    DENIED = 4
    SLOW = 5
    PAUSED = 6
    TRIED_BEFORE = 7
    NO_FREE_SLOT = 8
    RESTING = 9
    REFUSED_MODEL = 10
    BACKING_OFF = 11


def why_not(signature: Signature, worker: Worker, model: str, speeds: Speeds) -> int | None:
    """Why this worker can paint no job of this signature; None if it can, or can at least the smaller ones."""
    capabilities = worker.capabilities
    if model not in capabilities.offers:
        return WhyNot.MODEL
    if signature.features & ~capabilities.offers[model].features:
        return WhyNot.FEATURE
    if signature.size_class > size_class(capabilities.limit(model)):
        return WhyNot.SIZE
    if worker.worker_id in signature.denied:
        return WhyNot.DENIED
    if signature.allowed and worker.worker_id not in signature.allowed:
        return WhyNot.DENIED
    if signature.fast_only:
        mine, median = speeds.measured(worker.worker_id, model, signature.size_class), speeds.median(model)
        if median is not None and (mine is None or mine > median):
            return WhyNot.SLOW
    return None
