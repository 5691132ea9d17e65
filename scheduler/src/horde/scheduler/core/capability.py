"""Waiting jobs of one kind, and what of them is first for workers who can do the same.

Jobs of one signature lie in a *bucket*, by tag. Workers with the same features for a model are of one *capability
class*. A class keeps the heads of all buckets that fit it, by *slot* of sizes, in a tree of minima; a worker's limit of
pixels is a prefix of the slots. *Heads* are a heap that holds, for each bucket, at least one entry that is not later
than the bucket's head: a head that comes earlier is pushed at once, one that has gone later is found out when it gets
to the top. So it costs little that what one worker is given was first for many other classes, too.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from math import inf

from horde.scheduler.core.fitting import Signature
from horde.scheduler.core.job import Job, WorkerId

SLOT_ENDS = tuple((64 * side) ** 2 for side in range(1, 64))
"""The largest size of each slot but the last, in pixels: squares, as most workers' limits are."""
SLOTS = len(SLOT_ENDS) + 1

Entry = tuple[float, int, int, Job, "Bucket"]
"""A place in a heap: tag, time of accept, ticket (which is unique), job. Void once the job's ticket is another."""
NOTHING: Entry = (inf,)  # type: ignore[assignment]
"""After every entry."""


def _prefix(slots: int) -> tuple[int, ...]:
    nodes, at = [], SLOTS + slots
    while at > 1:
        if at & 1:  # A right child: what lies under its left sibling is in the prefix.
            nodes.append(at - 1)
        at >>= 1
    return tuple(nodes)


PREFIXES = (*(_prefix(slots) for slots in range(SLOTS)), (1,))
"""The nodes of a class's tree whose leaves, together, are the first so many slots."""


@dataclass(slots=True, eq=False)
class Bucket:
    """Queued jobs of one signature."""

    signature: Signature
    slot: int
    heap: list[Entry] = field(default_factory=list)
    live: int = 0
    head: Entry | None = None
    classes: list[CapabilityClass | Heads] = field(default_factory=list)
    """All that it fits."""
    paintable: bool = False
    """Whether somebody here could paint these jobs, when it was last looked at."""
    flows: dict[str, int] = field(default_factory=dict)
    """Whose jobs they are, and how many."""

    def push(self, job: Job) -> None:
        entry: Entry = (job.tag, job.generation.accepted_at_ms, job.ticket, job, self)
        flow = job.generation.flow
        self.flows[flow] = self.flows.get(flow, 0) + 1
        self.live += 1
        heapq.heappush(self.heap, entry)
        if self.head is None or entry < self.head:
            self.head = entry
            for fitting in self.classes:
                fitting.came_earlier(entry)

    def remove(self, job: Job) -> None:
        """Take out a job whose ticket is void already."""
        heap, flow = self.heap, job.generation.flow
        if self.flows[flow] > 1:
            self.flows[flow] -= 1
        else:
            del self.flows[flow]
        self.live -= 1
        if self.head is not None and self.head[3] is job:
            while heap and heap[0][3].ticket != heap[0][2]:
                heapq.heappop(heap)
            self.head = heap[0] if heap else None
        elif len(heap) > 2 * self.live + 64:
            heap[:] = [entry for entry in heap if entry[3].ticket == entry[2]]
            heapq.heapify(heap)


class Heads:
    """The heads of some buckets, the earliest on top."""

    __slots__ = ("asked", "heap", "listed")

    def __init__(self) -> None:
        self.asked = 0
        self.heap: list[Entry] = []
        self.listed: dict[Bucket, Entry] = {}
        """The one entry of each bucket that counts; others in the heap are left over."""

    def begin(self, heads: list[Entry]) -> None:
        """Have all of them, each of another bucket: cheaper than one after the other."""
        self.listed = {head[4]: head for head in heads}
        self.heap = heads
        heapq.heapify(heads)

    def came_earlier(self, head: Entry) -> None:
        """A bucket has this head, which is earlier than the one before."""
        self.listed[head[4]] = head
        heapq.heappush(self.heap, head)
        if len(self.heap) > 2 * len(self.listed) + 64:
            self.heap = list(self.listed.values())
            heapq.heapify(self.heap)

    def forget(self, bucket: Bucket) -> None:
        self.listed.pop(bucket, None)

    def top(self) -> Entry:
        """The earliest head of now, or NOTHING."""
        heap, listed = self.heap, self.listed
        while heap:
            entry = heap[0]
            bucket = entry[4]
            head = bucket.head
            if head is entry:
                return entry
            if listed.get(bucket) is not entry:
                heapq.heappop(heap)
            elif head is None:
                heapq.heappop(heap)
                del listed[bucket]
            else:
                listed[bucket] = head
                heapq.heapreplace(heap, head)
        return NOTHING

    def first(self, worker_id: WorkerId) -> Entry:
        """What is due first, without the buckets that deny this worker; or NOTHING."""
        denied: list[Entry] = []
        while (entry := self.top()) is not NOTHING and worker_id in entry[4].signature.denied:
            denied.append(heapq.heappop(self.heap))
        for other in denied:
            heapq.heappush(self.heap, other)
        return entry


class CapabilityClass:
    """Workers with the same features for one model, and the heads of the buckets that fit them, by slot of sizes."""

    __slots__ = ("asked", "fast", "features", "slots", "tree", "without")

    def __init__(self, features: int, fast: bool, without: WorkerId | None = None) -> None:
        self.features = features
        self.fast = fast
        self.without = without
        """The only worker of this class, if it is one that many buckets deny: those are left out."""
        self.asked = 0
        self.slots: list[Heads | None] = [None] * SLOTS
        self.tree: list[Entry] = [NOTHING] * (2 * SLOTS)
        """Minima: a leaf for each slot from SLOTS on, a root at 1. Never later than what is due first."""

    def fits(self, signature: Signature) -> bool:
        """Whether these workers can paint it, if it is not too large for them."""
        return (
            not signature.features & ~self.features
            and (self.fast or not signature.fast_only)
            and (self.without is None or self.without not in signature.denied)
        )

    def begin(self, heads: list[Entry]) -> None:
        """Have all of them, each of another bucket that fits."""
        by_slot: dict[int, list[Entry]] = {}
        for head in heads:
            by_slot.setdefault(head[4].slot, []).append(head)
        for slot, its in by_slot.items():
            listed = self.slots[slot] = Heads()
            listed.begin(its)
            self._climb(slot, its[0])

    def came_earlier(self, head: Entry) -> None:
        """A bucket that fits has this head, which is earlier than the one before."""
        slot = head[4].slot
        heads = self.slots[slot]
        if heads is None:
            heads = self.slots[slot] = Heads()
        heads.came_earlier(head)
        if head < self.tree[SLOTS + slot]:
            self._climb(slot, head)

    def forget(self, bucket: Bucket) -> None:
        heads = self.slots[bucket.slot]
        if heads is not None:
            heads.forget(bucket)

    def first(self, worker_id: WorkerId, slots: int) -> Entry:
        """What is due first in so many slots, without the buckets that deny this worker; or NOTHING."""
        denied: list[tuple[Heads, Entry]] = []
        while (entry := self._least(slots)) is not NOTHING:
            bucket = entry[4]
            heads = self.slots[bucket.slot]
            assert heads is not None
            if bucket.head is entry:
                if worker_id not in bucket.signature.denied:
                    break
                denied.append((heads, heapq.heappop(heads.heap)))
            self._climb(bucket.slot, heads.top())
        for heads, other in denied:
            heapq.heappush(heads.heap, other)
            self._climb(other[4].slot, heads.heap[0])
        return entry

    def _least(self, slots: int) -> Entry:
        """The least of the leaves of the first slots."""
        tree, best = self.tree, NOTHING
        for node in PREFIXES[slots]:
            if tree[node] < best:
                best = tree[node]
        return best

    def _climb(self, slot: int, least: Entry) -> None:
        tree, at = self.tree, SLOTS + slot
        tree[at] = least
        at >>= 1
        while at:
            left, right = tree[2 * at], tree[2 * at + 1]
            least = left if left < right else right
            if tree[at] is least:
                return
            tree[at] = least
            at >>= 1
