"""The index from workers to waiting jobs: what is first for those who can do the same.

Jobs of one signature lie in a *bucket*, by tag. Workers that can do the same things with a model are of one
*capability class*; each class keeps a heap of the heads of all buckets that fit it. So what is first for a worker is
found without looking at any job that it cannot paint, however many there are and however they came.

A class's heap holds, for each bucket that fits, at least one entry that is not later than the bucket's head: a head
that comes earlier is pushed at once, one that has gone later is found out when it gets to the top.

Buckets with an allow list are in no open class: each worker that is named has a class of its own for them.
"""

from __future__ import annotations

import heapq
from bisect import bisect_right, insort
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from horde.scheduler.core.fitting import Signature
from horde.scheduler.core.fleet import Worker
from horde.scheduler.core.job import Job, WorkerId
from horde.scheduler.core.speeds import Speeds

MAX_CLASSES = 256
"""Classes of one lane; those that asked least recently are built anew when they ask again."""
MANY_DENIALS = 16
"""Buckets that deny a worker, beyond which it has a class of its own instead of passing each of them over."""

Entry = tuple[float, int, int, Job, "Bucket"]
"""A place in a heap: tag, time of accept, ticket (which is unique), job. Void once the job's ticket is another."""


@dataclass(slots=True, eq=False)
class Bucket:
    """Queued jobs of one signature."""

    signature: Signature
    heap: list[Entry] = field(default_factory=list)
    live: int = 0
    head: Entry | None = None
    classes: list[CapabilityClass] = field(default_factory=list)
    """All that it fits."""

    def push(self, job: Job) -> None:
        entry: Entry = (job.tag, job.generation.accepted_at_ms, job.ticket, job, self)
        self.live += 1
        heapq.heappush(self.heap, entry)
        if self.head is None or entry < self.head:
            self.head = entry
            for fitting in self.classes:
                fitting.came_earlier(entry)

    def remove(self, job: Job) -> None:
        """Take out a job whose ticket is void already."""
        heap = self.heap
        self.live -= 1
        if self.head is not None and self.head[3] is job:
            while heap and heap[0][3].ticket != heap[0][2]:
                heapq.heappop(heap)
            self.head = heap[0] if heap else None
        elif len(heap) > 2 * self.live + 64:
            heap[:] = [entry for entry in heap if entry[3].ticket == entry[2]]
            heapq.heapify(heap)


class CapabilityClass:
    """Workers that can do the same with one model, and the heads of the buckets that fit them."""

    __slots__ = ("asked", "fast", "features", "heap", "limit", "listed", "without")

    def __init__(self, features: int, limit: int, fast: bool, without: WorkerId | None = None) -> None:
        self.features = features
        self.limit = limit
        """Pixels."""
        self.fast = fast
        self.without = without
        """The only worker of this class, if it is one that many buckets deny: those are left out."""
        self.asked = 0
        self.heap: list[Entry] = []
        self.listed: dict[Bucket, Entry] = {}
        """The one entry of each bucket that counts; others in the heap are left over."""

    def fits(self, signature: Signature) -> bool:
        return (
            signature.pixels <= self.limit
            and not signature.features & ~self.features
            and (self.fast or not signature.fast_only)
            and (self.without is None or self.without not in signature.denied)
        )

    def add(self, bucket: Bucket) -> None:
        """Take in a bucket, if it fits."""
        if self.fits(bucket.signature):
            bucket.classes.append(self)
            if bucket.head is not None:
                self.came_earlier(bucket.head)

    def came_earlier(self, head: Entry) -> None:
        """A bucket that fits has this head, which is earlier than the one before."""
        self.listed[head[4]] = head
        heapq.heappush(self.heap, head)
        if len(self.heap) > 2 * len(self.listed) + 64:
            self.heap = list(self.listed.values())
            heapq.heapify(self.heap)

    def first(self, worker_id: WorkerId) -> Entry | None:
        """What is due first among all that fits, without the buckets that deny this worker."""
        heap, listed = self.heap, self.listed
        denied: list[Entry] = []
        found = None
        while heap:
            entry = heap[0]
            bucket = entry[4]
            if bucket.head is entry:
                if worker_id not in bucket.signature.denied:
                    found = entry
                    break
                denied.append(heapq.heappop(heap))
            elif listed.get(bucket) is not entry:
                heapq.heappop(heap)
            elif bucket.head is None:
                heapq.heappop(heap)
                del listed[bucket]
            else:
                listed[bucket] = bucket.head
                heapq.heapreplace(heap, bucket.head)
        for entry in denied:
            heapq.heappush(heap, entry)
        return found


class Lane:
    """Jobs of one model that compete by tag, indexed by what they need."""

    def __init__(self) -> None:
        self.count = 0
        self.buckets: dict[Signature, Bucket] = {}
        """Also empty ones, for a while: most come back."""
        self._empty = 0
        self._open: dict[tuple[int, int, bool, WorkerId | None], CapabilityClass] = {}
        self._named: dict[WorkerId, CapabilityClass] = {}
        """Classes of one worker, for the buckets that allow it by name."""
        self._allowing: dict[WorkerId, dict[Bucket, None]] = {}
        self._denials: Counter[WorkerId] = Counter()
        self._sizes: list[int] = []
        self._features = 0
        self._fast_only = False
        self._asked = 0

    def push(self, job: Job, signature: Signature) -> None:
        bucket = self.buckets.get(signature)
        if bucket is None:
            bucket = self._create(signature)
        elif not bucket.live:
            self._empty -= 1
        # The bucket's, so that like jobs share one.
        job.signature = bucket.signature
        bucket.push(job)
        self.count += 1

    def remove(self, job: Job) -> None:
        """Take out a job whose ticket is void already."""
        assert job.signature is not None
        bucket = self.buckets[job.signature]
        bucket.remove(job)
        self.count -= 1
        if not bucket.live:
            self._empty += 1
            if self._empty > 64 + len(self.buckets) // 2:
                self._sweep()

    def first(self, worker: Worker, model: str, speeds: Speeds) -> Entry | None:
        """What is due first among all that this worker can paint."""
        worker_id, capabilities = worker.worker_id, worker.capabilities
        features = capabilities.offers[model].features
        place = bisect_right(self._sizes, capabilities.limit(model))
        # Only what some job here asks for tells workers apart; so there are few classes, however workers differ.
        key = (
            features & self._features,
            self._sizes[place - 1] if place else 0,
            not self._fast_only or speeds.is_fast(worker_id, model),
            worker_id if self._denials and self._denials[worker_id] > MANY_DENIALS else None,
        )
        mine = self._open.get(key) or self._open_class(key)
        self._asked += 1
        mine.asked = self._asked
        found = mine.first(worker_id)
        if worker_id in self._allowing:
            own = self._named_class(worker_id, features, capabilities.limit(model), key[2]).first(worker_id)
            if own is not None and (found is None or own < found):
                return own
        return found

    def _open_class(self, key: tuple[int, int, bool, WorkerId | None]) -> CapabilityClass:
        if len(self._open) >= MAX_CLASSES:
            by_use = sorted(self._open, key=lambda known: self._open[known].asked)
            for known in by_use[: MAX_CLASSES // 4]:
                _dissolve(self._open.pop(known), self.buckets.values())
        created = self._open[key] = CapabilityClass(*key)
        for bucket in self.buckets.values():
            if not bucket.signature.allowed:
                created.add(bucket)
        return created

    def _named_class(self, worker_id: WorkerId, features: int, limit: int, fast: bool) -> CapabilityClass:
        known = self._named.get(worker_id)
        if known is not None:
            if (known.features, known.limit, known.fast) == (features, limit, fast):
                return known
            _dissolve(known, self._allowing[worker_id])
        created = self._named[worker_id] = CapabilityClass(features, limit, fast)
        for bucket in self._allowing[worker_id]:
            created.add(bucket)
        return created

    def _create(self, signature: Signature) -> Bucket:
        bucket = self.buckets[signature] = Bucket(signature)
        self._features |= signature.features
        self._fast_only = self._fast_only or signature.fast_only
        place = bisect_right(self._sizes, signature.pixels)
        if not place or self._sizes[place - 1] != signature.pixels:
            insort(self._sizes, signature.pixels)
        for worker_id in signature.denied:
            self._denials[worker_id] += 1
        if signature.allowed:
            for worker_id in signature.allowed:
                self._allowing.setdefault(worker_id, {})[bucket] = None
                if worker_id in self._named:
                    self._named[worker_id].add(bucket)
        else:
            for known in self._open.values():
                known.add(bucket)
        return bucket

    def _sweep(self) -> None:
        """Let go of empty buckets, and of what only they needed."""
        for bucket in [bucket for bucket in self.buckets.values() if not bucket.live]:
            signature = bucket.signature
            del self.buckets[signature]
            for fitting in bucket.classes:
                fitting.listed.pop(bucket, None)
            for worker_id in signature.denied:
                self._denials[worker_id] -= 1
                if not self._denials[worker_id]:
                    del self._denials[worker_id]
            for worker_id in signature.allowed:
                del self._allowing[worker_id][bucket]
                if not self._allowing[worker_id]:
                    del self._allowing[worker_id]
                    self._named.pop(worker_id, None)
        self._empty = 0
        self._sizes = sorted({signature.pixels for signature in self.buckets})
        self._fast_only = any(signature.fast_only for signature in self.buckets)
        self._features = 0
        for signature in self.buckets:
            self._features |= signature.features


def _dissolve(gone: CapabilityClass, among: Iterable[Bucket]) -> None:
    for bucket in among:
        if gone in bucket.classes:
            bucket.classes.remove(gone)
