"""Which job a worker gets next.

Within a model the smallest tag goes first among all that the worker can paint (`lanes.py` finds it, `shares.py` gives
tags). All anonymous jobs together are one flow of low weight, and divide its share by address.

Which model a worker is given: the one whose next job *for this worker* has waited longest, where a model in memory
counts as waiting LOADED_BONUS longer; that bonus fades while one model is served on and on. So what nobody here can
paint makes no model more urgent, and an old backlog of one requester does not draw all workers to its model.
"""

from __future__ import annotations

from collections.abc import Callable

from horde.scheduler.core.capability import Bucket, Entry
from horde.scheduler.core.fitting import Signature, signature_of
from horde.scheduler.core.fleet import Worker
from horde.scheduler.core.job import ANONYMOUS, Job
from horde.scheduler.core.lanes import Lane
from horde.scheduler.core.shares import ANONYMOUS_WEIGHT, Shares
from horde.scheduler.core.speeds import Speeds

LOADED_BONUS = 90.0
"""Seconds."""
STICKY = 600.0
"""Seconds of serving one model after which its bonus is gone."""
MAX_REVIEWED = 1024
"""Kinds of waiting jobs that are looked at in one review."""


Paintable = Callable[[str, Signature], bool]
"""Whether somebody here could paint such jobs of a model."""


class ModelQueue:
    """The queue of one model."""

    def __init__(self, model: str, paintable: Paintable) -> None:
        self._model = model
        self._paintable = paintable
        self.named = Lane()
        self.anonymous = Lane()
        self.shares = Shares()
        """Of accounts, and of the anonymous as one."""
        self.addresses = Shares()
        """Of the anonymous among themselves."""
        self.work = 0.0
        self._unreviewed: list[tuple[Lane, Bucket]] = []

    @property
    def count(self) -> int:
        return self.named.count + self.anonymous.count

    def push(self, job: Job, again: bool) -> None:
        """Queue a job; `again` keeps the tag that it had."""
        generation = job.generation
        work = generation.terms.work
        lane, shares = self.named, self.shares
        if generation.anonymous:
            lane, shares = self.anonymous, self.addresses
        bucket = lane.bucket(signature_of(job))
        if not bucket.live:
            bucket.paintable = self._paintable(self._model, bucket.signature)
        if again:
            shares.join(generation.flow, generation.weight, bucket.paintable)
            # It was due already; and the clock may have begun anew since.
            job.tag = min(job.tag, shares.clock)
        else:
            job.tag = shares.enter(generation.flow, generation.weight, work, bucket.paintable)
        if generation.anonymous and again:
            self.shares.join(ANONYMOUS, ANONYMOUS_WEIGHT, bucket.paintable)
        elif generation.anonymous:
            self.shares.enter(ANONYMOUS, ANONYMOUS_WEIGHT, work, bucket.paintable)
        self.work += work
        lane.push(job, bucket)

    def remove(self, job: Job) -> None:
        """Take a job out that nobody was given."""
        lane, bucket = self._place(job)
        if lane is self.anonymous:
            self.shares.withdraw(ANONYMOUS, bucket.paintable)
            self.addresses.withdraw(job.generation.flow, bucket.paintable)
        else:
            self.shares.withdraw(job.generation.flow, bucket.paintable)
        self._drop(job, lane, bucket)

    def serve(self, job: Job) -> None:
        """Take a job out that a worker is given."""
        lane, bucket = self._place(job)
        flow, work = job.generation.flow, job.generation.terms.work
        if not bucket.paintable:
            self._turn(lane, bucket)
        if lane is self.anonymous:
            self.shares.serve(ANONYMOUS, self.anonymous_start, work)
            self.addresses.serve(flow, job.tag, work)
        else:
            self.shares.serve(flow, job.tag, work)
        self._drop(job, lane, bucket)

    def _place(self, job: Job) -> tuple[Lane, Bucket]:
        assert job.signature is not None
        lane = self.anonymous if job.generation.anonymous else self.named
        return lane, lane.buckets[job.signature]

    def _drop(self, job: Job, lane: Lane, bucket: Bucket) -> None:
        job.ticket = 0
        self.work = max(0.0, self.work - job.generation.terms.work)
        lane.remove(job, bucket)

    def review(self, at_most: int) -> None:
        """See of some kinds of waiting jobs, the others next time, whether somebody here can paint them still."""
        if not self._unreviewed:
            self._unreviewed = [
                (lane, bucket) for lane in (self.named, self.anonymous) for bucket in lane.buckets.values()
            ]
        for lane, bucket in self._unreviewed[-at_most:]:
            if bucket.live and bucket.paintable is not self._paintable(self._model, bucket.signature):
                self._turn(lane, bucket)
        del self._unreviewed[-at_most:]

    def _turn(self, lane: Lane, bucket: Bucket) -> None:
        """Somebody can paint what nobody could, or the other way round."""
        bucket.paintable = not bucket.paintable
        sign = 1 if bucket.paintable else -1
        shares = self.addresses if lane is self.anonymous else self.shares
        for flow, count in bucket.flows.items():
            shares.turned(flow, sign * count)
        if lane is self.anonymous:
            self.shares.turned(ANONYMOUS, sign * bucket.live)

    @property
    def anonymous_start(self) -> float:
        """The tag, among those of accounts, of whichever anonymous job is next."""
        return self.shares.flows[ANONYMOUS].served

    def first(self, worker: Worker, model: str, speeds: Speeds) -> Entry | None:
        """The job that is due, among those that this worker can paint."""
        named = self.named.first(worker, model, speeds) if self.named.count else None
        if not self.anonymous.count or (named is not None and named[0] < self.anonymous_start):
            return named
        anonymous = self.anonymous.first(worker, model, speeds)
        if named is None or anonymous is None:
            return named or anonymous
        # An account passes where they are equal.
        return anonymous if self.anonymous_start < named[0] else named


class Queue:
    """The queues of all models."""

    def __init__(self, paintable: Paintable) -> None:
        self._paintable = paintable
        self.models: dict[str, ModelQueue] = {}
        self._tickets = 0

    def __len__(self) -> int:
        return sum(queue.count for queue in self.models.values())

    def push(self, job: Job, now: float, *, again: bool = False) -> None:
        """Queue a job; `again` keeps its place in the order and the time since when it waits."""
        self._tickets += 1
        job.ticket = self._tickets
        if not again:
            job.queued_at = now
        model = job.generation.terms.model
        queue = self.models.get(model)
        if queue is None:
            queue = self.models[model] = ModelQueue(model, self._paintable)
        queue.push(job, again)

    def remove(self, job: Job) -> None:
        """Take a job out that nobody was given."""
        model = job.generation.terms.model
        queue = self.models[model]
        queue.remove(job)
        if not queue.count:
            del self.models[model]

    def review(self) -> None:
        """See whether what waits can be painted by somebody here, as it could not or could before."""
        for queue in self.models.values():
            queue.review(max(1, MAX_REVIEWED // len(self.models)))

    def take(self, worker: Worker, now: float, speeds: Speeds) -> Job | None:
        """The next job for a worker, of whichever of its models is due; None if there is none for it."""
        found = self.first(worker, now, speeds)
        if found is None:
            return None
        self.serve(found[1])
        return found[1]

    def serve(self, job: Job) -> None:
        """Take a job out that a worker is given."""
        model = job.generation.terms.model
        queue = self.models[model]
        queue.serve(job)
        if not queue.count:
            del self.models[model]

    def first(self, worker: Worker, now: float, speeds: Speeds) -> tuple[str, Job] | None:
        """What `take` would take, and its model."""
        offers, queues = worker.capabilities.offers, self.models
        models = [model for model in offers if model in queues]
        best: tuple[str, Job] | None = None
        highest = 0.0
        for model in models:
            entry = queues[model].first(worker, model, speeds)
            if entry is None:
                continue
            job = entry[3]
            if len(models) == 1:
                return model, job
            urgency = now - job.queued_at
            if offers[model].loaded or worker.model == model:
                served = now - worker.model_since if worker.model == model else 0.0
                urgency += LOADED_BONUS * max(0.0, 1.0 - served / STICKY)
            if best is None or urgency > highest:
                best, highest = (model, job), urgency
        return best
