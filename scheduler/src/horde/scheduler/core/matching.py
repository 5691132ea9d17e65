"""Which job a worker gets next.

Within a model the smallest tag goes first among all that the worker can paint (`lanes.py` finds it, `shares.py` gives
tags). All anonymous jobs together are one flow of low weight, and divide its share by address.

Which model a worker is given: the one whose next job *for this worker* has waited longest, where a model in memory
counts as waiting LOADED_BONUS longer; that bonus fades while one model is served on and on. So what nobody here can
paint makes no model more urgent, and an old backlog of one requester does not draw all workers to its model.
"""

from __future__ import annotations

from horde.scheduler.core.fitting import signature_of
from horde.scheduler.core.fleet import Worker
from horde.scheduler.core.job import ANONYMOUS, Job
from horde.scheduler.core.lanes import Entry, Lane
from horde.scheduler.core.shares import ANONYMOUS_WEIGHT, Shares
from horde.scheduler.core.speeds import Speeds

LOADED_BONUS = 30.0
"""Seconds."""
STICKY = 300.0
"""Seconds of serving one model after which its bonus is gone."""


class ModelQueue:
    """The queue of one model."""

    def __init__(self) -> None:
        self.named = Lane()
        self.anonymous = Lane()
        self.shares = Shares()
        """Of accounts, and of the anonymous as one."""
        self.addresses = Shares()
        """Of the anonymous among themselves."""
        self.work = 0.0

    @property
    def count(self) -> int:
        return self.named.count + self.anonymous.count

    def push(self, job: Job, again: bool) -> None:
        """Queue a job; `again` keeps the tag that it had."""
        generation = job.generation
        work = generation.terms.work
        shares = self.shares
        if generation.anonymous:
            if again:
                shares.joined(ANONYMOUS, ANONYMOUS_WEIGHT)
            else:
                shares.enter(ANONYMOUS, ANONYMOUS_WEIGHT, work)
            shares = self.addresses
        if again:
            shares.joined(generation.flow, generation.weight)
            # It was due already; and the clock may have begun anew since.
            job.tag = min(job.tag, shares.clock)
        else:
            job.tag = shares.enter(generation.flow, generation.weight, work)
        self.work += work
        (self.anonymous if generation.anonymous else self.named).push(job, signature_of(job))

    def remove(self, job: Job) -> None:
        """Take a job out that nobody was given."""
        if job.generation.anonymous:
            self.shares.withdraw(ANONYMOUS)
            self.addresses.withdraw(job.generation.flow)
        else:
            self.shares.withdraw(job.generation.flow)
        self._drop(job)

    def serve(self, job: Job) -> None:
        """Take a job out that a worker is given."""
        generation, work = job.generation, job.generation.terms.work
        if generation.anonymous:
            self.shares.serve(ANONYMOUS, self.anonymous_start, work)
            self.addresses.serve(generation.flow, job.tag, work)
        else:
            self.shares.serve(generation.flow, job.tag, work)
        self._drop(job)

    def _drop(self, job: Job) -> None:
        job.ticket = 0
        self.work = max(0.0, self.work - job.generation.terms.work)
        (self.anonymous if job.generation.anonymous else self.named).remove(job)

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

    def __init__(self) -> None:
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
            queue = self.models[model] = ModelQueue()
        queue.push(job, again)

    def remove(self, job: Job) -> None:
        """Take a job out that nobody was given."""
        model = job.generation.terms.model
        queue = self.models[model]
        queue.remove(job)
        if not queue.count:
            del self.models[model]

    def take(self, worker: Worker, now: float, speeds: Speeds) -> Job | None:
        """The next job for a worker, of whichever of its models is due; None if there is none for it."""
        found = self.first(worker, now, speeds)
        if found is None:
            return None
        model, job = found
        queue = self.models[model]
        queue.serve(job)
        if not queue.count:
            del self.models[model]
        return job

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
