"""How long a job would wait, answered from the workers that could do it, with reasons from those that could not.

    p50 = (work ahead + work begun) / rate of the eligible workers; at once if one of them is free
    p90 = twice p50 and one job more

Work ahead is what has smaller tags in the buckets that share workers with the asker, found by looking at MAX_LOOK jobs
at most and scaling up; so an estimate costs the same however long the queue is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable
from dataclasses import dataclass
from itertools import islice

from horde.scheduler.core.board import Board
from horde.scheduler.core.fleet import Worker
from horde.scheduler.core.job import ANONYMOUS, AccountId, Job, Terms, WorkerId
from horde.scheduler.core.matching import Bucket, Entry, Signature, WhyNot, signature_of, size_class, why_not

MAX_LOOK = 512
MAX_WORKERS_LOOKED_AT = 2_000
MAX_SUPPLIES = 1_024
LASTS = 1.0
"""Seconds."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """Seconds until a job is begun."""

    jobs_ahead: int
    p50: float
    p90: float
    eligible: int
    ineligible: tuple[tuple[int, int], ...]
    """Reason and how many workers, most frequent first."""


@dataclass(frozen=True, slots=True)
class Supply:
    """Who could do a kind of job, as of some moment."""

    at: float
    eligible: int
    rate: float
    """Megapixel-steps in a second, all together."""
    begun: float
    """Megapixel-steps that they are at."""
    fastest: float
    """Seconds for a megapixel-step."""
    ineligible: tuple[tuple[int, int], ...]


class Estimates:
    """Answers for one board; who could do a kind of job is looked up once in LASTS seconds."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._supplies: dict[Hashable, Supply] = {}

    def for_job(self, job: Job, now: float) -> Estimate:
        """For a job that is queued."""
        signature = job.signature or signature_of(job)
        return self._estimate(job.generation.terms, signature, job.generation.anonymous, job.tag, job.tried, now)

    def for_terms(self, terms: Terms, account_id: AccountId, now: float) -> Estimate:
        """For something that was not asked for yet: it comes after all that its like wait for."""
        signature = Signature(terms.features, size_class(terms.pixels), terms.fast_only, terms.allowed, terms.denied)
        return self._estimate(terms, signature, account_id == ANONYMOUS, float("inf"), frozenset(), now)

    def _estimate(
        self,
        terms: Terms,
        signature: Signature,
        anonymous: bool,
        tag: float,
        tried: frozenset[WorkerId],
        now: float,
    ) -> Estimate:
        supply = self._supply(terms, signature, tried, now)
        if not supply.eligible:
            return Estimate(0, 0.0, 0.0, 0, supply.ineligible)
        count, work = _ahead(self._board, terms, anonymous, tag)
        if count == 0 and self._somebody_is_free(terms, signature, tried):
            return Estimate(0, 0.0, 1.0, supply.eligible, supply.ineligible)
        p50 = (work + supply.begun) / supply.rate
        return Estimate(count, p50, 2 * p50 + supply.fastest * terms.work, supply.eligible, supply.ineligible)

    def _somebody_is_free(self, terms: Terms, signature: Signature, tried: frozenset[WorkerId]) -> bool:
        free = self._board.fleet.free_for(terms.model)
        return any(_reason(self._board, worker, terms, signature, tried) is None for worker in free)

    def _supply(self, terms: Terms, signature: Signature, tried: frozenset[WorkerId], now: float) -> Supply:
        key = (terms.model, signature, terms.pixels)
        known = self._supplies.get(key)
        if known is None or now - known.at >= LASTS:
            if len(self._supplies) >= MAX_SUPPLIES:
                self._supplies.clear()
            known = self._supplies[key] = _look(self._board, terms, signature, tried, now)
        return known


def _look(board: Board, terms: Terms, signature: Signature, tried: frozenset[WorkerId], now: float) -> Supply:
    speeds: list[float] = []
    begun = 0.0
    reasons: Counter[int] = Counter()
    kind = size_class(terms.pixels)
    for worker in islice(board.fleet.workers.values(), MAX_WORKERS_LOOKED_AT):
        if worker.session is None:
            continue
        reason = _reason(board, worker, terms, signature, tried)
        if reason is None:
            speeds.append(board.speeds.expected(worker.worker_id, terms.model, kind))
            begun += _left(worker)
        else:
            reasons[reason] += 1
    rate = sum(1 / speed for speed in speeds)
    return Supply(now, len(speeds), rate, begun, min(speeds, default=0.0), tuple(reasons.most_common()))


def _reason(board: Board, worker: Worker, terms: Terms, signature: Signature, tried: frozenset[WorkerId]) -> int | None:
    reason = why_not(signature, worker, terms.model, board.speeds)
    if reason is None and terms.pixels > worker.capabilities.limit(terms.model):
        return WhyNot.SIZE
    if reason is None and (worker.paused or (worker.session is not None and worker.session.draining)):
        return WhyNot.PAUSED
    if reason == WhyNot.DENIED and worker.worker_id in tried:
        return WhyNot.TRIED_BEFORE
    return reason


def _left(worker: Worker) -> float:
    """Megapixel-steps that a worker still has to do."""
    total = 0.0
    for lease in worker.leases.values():
        terms = lease.job.generation.terms
        total += terms.work * (1 - lease.step / terms.steps)
    return total


def _ahead(board: Board, terms: Terms, anonymous: bool, tag: float) -> tuple[int, float]:
    queue = board.queue.models.get(terms.model)
    if queue is None:
        return 0, 0.0
    count, work = 0.0, 0.0
    budget = max(1, MAX_LOOK // max(1, len(queue.buckets) + len(queue.restricted)))
    for index, bucket in enumerate(queue.every_bucket()):
        if index >= MAX_LOOK:
            break
        for heap in _heaps(bucket, anonymous):
            n, w = _sample(heap, budget, tag if (heap is bucket.anonymous) == anonymous else float("inf"))
            count, work = count + n, work + w
    return round(count), work


def _heaps(bucket: Bucket, anonymous: bool) -> tuple[list[Entry], ...]:
    # An account passes the anonymous; the anonymous wait for everybody.
    return (bucket.named, bucket.anonymous) if anonymous else (bucket.named,)


def _sample(heap: list[Entry], budget: int, tag: float) -> tuple[float, float]:
    """About how many live entries have a smaller tag, and their work."""
    stride = max(1, len(heap) // budget)
    looked = heap[::stride]
    if not looked:
        return 0.0, 0.0
    scale = len(heap) / len(looked)
    ahead = [job for its, _, ticket, job in looked if job.ticket == ticket and its < tag]
    return len(ahead) * scale, sum(job.generation.terms.work for job in ahead) * scale
