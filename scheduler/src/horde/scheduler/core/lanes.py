"""The index from workers to waiting jobs.

What is first for a worker is found without looking at any job that it cannot paint, however many there are and however
they came: its capability class has it (`capability.py`). A limit of pixels that divides a slot of sizes is exact, too:
for that slot there are heads of their own, of the sizes within the limit. Buckets with an allow list are in no open
class: each worker that is named has heads of its own for them. Buckets that deny a worker are passed over one by one,
and where these are many, the worker has a class of its own.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterable
from functools import partial
from typing import TypeVar

from horde.scheduler.core.capability import NOTHING, SLOT_ENDS, SLOTS, Bucket, CapabilityClass, Entry, Heads
from horde.scheduler.core.fitting import Signature
from horde.scheduler.core.fleet import Worker
from horde.scheduler.core.job import Job, WorkerId
from horde.scheduler.core.speeds import Speeds

MAX_CLASSES = 256
"""Classes of one lane, and heads of one slot that limits divide; those that asked least recently are built anew."""
MAX_EMPTY = 512
"""Empty buckets that a lane keeps beside as many as half of all, for most come back."""
MANY_DENIALS = 16
"""Buckets that deny a worker, beyond which it has a class of its own instead of passing each of them over."""

K = TypeVar("K")


class Lane:
    """Jobs of one model that compete by tag, indexed by what they need."""

    def __init__(self) -> None:
        self.count = 0
        self.buckets: dict[Signature, Bucket] = {}
        """Also empty ones, for a while: most come back."""
        self._empty = 0
        self._open: dict[tuple[int, bool, WorkerId | None], CapabilityClass] = {}
        self._divided: dict[int, dict[tuple[int, int, bool], Heads]] = {}
        """By slot: heads for those whose limit divides it, by features, largest size within the limit, and fast or
        not."""
        self._named: dict[WorkerId, tuple[tuple[int, int, bool], Heads]] = {}
        """For one worker, what it can do, and heads of the buckets that allow it by name."""
        self._allowing: dict[WorkerId, dict[Bucket, None]] = {}
        self._denials: dict[WorkerId, int] = {}
        self._sizes: list[int] = []
        self._features = 0
        self._fast_only = False
        self._asked = 0

    def bucket(self, signature: Signature) -> Bucket:
        """The bucket for jobs of a signature, perhaps a new one."""
        return self.buckets.get(signature) or self._create(signature)

    def push(self, job: Job, bucket: Bucket) -> None:
        if not bucket.live:
            self._empty -= 1
        job.signature = bucket.signature  # The bucket's, so that like jobs share one.
        bucket.push(job)
        self.count += 1

    def remove(self, job: Job, bucket: Bucket) -> None:
        """Take out a job whose ticket is void already."""
        bucket.remove(job)
        self.count -= 1
        if not bucket.live:
            self._empty += 1
            if self._empty > MAX_EMPTY + len(self.buckets) // 2:
                self._sweep()

    def first(self, worker: Worker, model: str, speeds: Speeds) -> Entry | None:
        """What is due first among all that this worker can paint."""
        worker_id, capabilities = worker.worker_id, worker.capabilities
        # Only what some job here asks for tells workers apart; so there are few classes, however workers differ.
        features = capabilities.offers[model].features & self._features
        fast = not self._fast_only or speeds.is_fast(worker_id, model)
        alone = worker_id if self._denials.get(worker_id, 0) > MANY_DENIALS else None
        key = (features, fast, alone)
        mine = self._open.get(key) or self._open_class(key)
        self._asked = mine.asked = self._asked + 1
        limit = capabilities.limit(model)
        sizes = self._sizes
        slot, place = bisect_left(SLOT_ENDS, limit), bisect_right(sizes, limit)
        if place < len(sizes) and (slot == SLOTS - 1 or sizes[place] <= SLOT_ENDS[slot]):
            # Some sizes of the slot are too large, and some perhaps not.
            found = mine.first(worker_id, slot)
            if place and (not slot or sizes[place - 1] > SLOT_ENDS[slot - 1]):
                heads = self._divided_slot(slot, (features, sizes[place - 1], fast))
                heads.asked = self._asked
                found = min(found, heads.first(worker_id))
        else:
            found = mine.first(worker_id, slot + 1)
        if worker_id in self._allowing:
            can = capabilities.offers[model].features, limit, speeds.is_fast(worker_id, model)
            found = min(found, self._named_heads(worker_id, can).first(worker_id))
        return None if found is NOTHING else found

    def _open_class(self, key: tuple[int, bool, WorkerId | None]) -> CapabilityClass:
        _make_room(self._open, self.buckets)
        created = self._open[key] = CapabilityClass(*key)
        _enter(self.buckets.values(), created, created.fits)
        return created

    def _divided_slot(self, slot: int, can: tuple[int, int, bool]) -> Heads:
        among = self._divided.setdefault(slot, {})
        known = among.get(can)
        if known is not None:
            return known
        _make_room(among, self.buckets)
        created = among[can] = Heads()
        _enter([bucket for bucket in self.buckets.values() if bucket.slot == slot], created, partial(_can, can))
        return created

    def _named_heads(self, worker_id: WorkerId, can: tuple[int, int, bool]) -> Heads:
        known = self._named.get(worker_id)
        if known is not None and known[0] == can:
            return known[1]
        if known is not None:
            for bucket in self._allowing[worker_id]:
                if known[1] in bucket.classes:
                    bucket.classes.remove(known[1])
        created = Heads()
        self._named[worker_id] = can, created
        _enter(self._allowing[worker_id], created, partial(_can, can), named=True)
        return created

    def _create(self, signature: Signature) -> Bucket:
        self._empty += 1
        bucket = self.buckets[signature] = Bucket(signature, bisect_left(SLOT_ENDS, signature.pixels))
        if signature.allowed:
            # What it asks for tells no classes apart: the check of a picture would make twice as many of them.
            for worker_id in signature.allowed:
                self._allowing.setdefault(worker_id, {})[bucket] = None
                named = self._named.get(worker_id)
                if named is not None and _can(named[0], signature):
                    bucket.classes.append(named[1])
            return bucket
        self._features |= signature.features
        self._fast_only = self._fast_only or signature.fast_only
        place = bisect_right(self._sizes, signature.pixels)
        if not place or self._sizes[place - 1] != signature.pixels:
            insort(self._sizes, signature.pixels)
        for worker_id in signature.denied:
            self._denials[worker_id] = self._denials.get(worker_id, 0) + 1
        bucket.classes += [known for known in self._open.values() if known.fits(signature)]
        bucket.classes += [heads for can, heads in self._divided.get(bucket.slot, {}).items() if _can(can, signature)]
        return bucket

    def _sweep(self) -> None:
        """Let go of empty buckets, and of what only they needed."""
        for bucket in [bucket for bucket in self.buckets.values() if not bucket.live]:
            signature = bucket.signature
            del self.buckets[signature]
            for fitting in bucket.classes:
                fitting.forget(bucket)
            for worker_id in signature.denied if not signature.allowed else ():
                self._denials[worker_id] -= 1
                if not self._denials[worker_id]:
                    del self._denials[worker_id]
            for worker_id in signature.allowed:
                del self._allowing[worker_id][bucket]
                if not self._allowing[worker_id]:
                    del self._allowing[worker_id]
                    self._named.pop(worker_id, None)
        self._empty = 0
        for_all = [signature for signature in self.buckets if not signature.allowed]
        self._sizes = sorted({signature.pixels for signature in for_all})
        self._fast_only = any(signature.fast_only for signature in for_all)
        self._features = 0
        for signature in for_all:
            self._features |= signature.features


def _enter(
    buckets: Iterable[Bucket],
    created: CapabilityClass | Heads,
    fits: Callable[[Signature], bool],
    *,
    named: bool = False,
) -> None:
    """Have a new class know those buckets that fit it: of those whose lists name workers, or of all others."""
    heads = []
    for bucket in buckets:
        signature = bucket.signature
        if bool(signature.allowed) is named and fits(signature):
            bucket.classes.append(created)
            if bucket.head is not None:
                heads.append(bucket.head)
    created.begin(heads)


def _can(can: tuple[int, int, bool], signature: Signature) -> bool:
    features, limit, fast = can
    return not signature.features & ~features and signature.pixels <= limit and (fast or not signature.fast_only)


def _make_room(among: dict[K, CapabilityClass] | dict[K, Heads], buckets: dict[Signature, Bucket]) -> None:
    """Before one more is known: those that asked least recently go, if there are many."""
    if len(among) < MAX_CLASSES:
        return
    by_use = sorted(among, key=lambda key: among[key].asked)
    gone = {among.pop(key) for key in by_use[: MAX_CLASSES // 4]}
    for bucket in buckets.values():
        bucket.classes = [fitting for fitting in bucket.classes if fitting not in gone]
