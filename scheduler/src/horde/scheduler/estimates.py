"""How long a job would wait, answered from the workers that could do it, with reasons from those that could not.

    p50 = (work ahead + work begun) / rate of the eligible workers; at once if one of them is free
    p90 = twice p50 and one job more

Work ahead is what has smaller tags in the buckets that share workers with the asker, found by looking at MAX_LOOK jobs
at most and scaling up; so an estimate costs the same however long the queue is.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from horde.scheduler.board import Board
from horde.scheduler.fleet import Worker
from horde.scheduler.job import ANONYMOUS, AccountId, Job, Terms, WorkerId
from horde.scheduler.matching import Bucket, Entry, Signature, WhyNot, signature_of, size_class, why_not

MAX_LOOK = 512
MAX_WORKERS_LOOKED_AT = 2_000


@dataclass(frozen=True, slots=True)
class Estimate:
    """Seconds until a job is begun."""

    jobs_ahead: int
    p50: float
    p90: float
    eligible: int
    ineligible: tuple[tuple[int, int], ...]
    """Reason and how many workers, most frequent first."""


def for_job(board: Board, job: Job) -> Estimate:
    """For a job that is queued."""
    anonymous = job.generation.anonymous
    return _estimate(board, job.generation.terms, job.signature or signature_of(job), anonymous, job.tag, job.tried)


def for_terms(board: Board, terms: Terms, account_id: AccountId) -> Estimate:
    """For something that was not asked for yet: behind all that waits, but for what waits less."""
    signature = Signature(terms.features, size_class(terms.pixels), terms.fast_only, terms.allowed, terms.denied)
    return _estimate(board, terms, signature, account_id == ANONYMOUS, float("inf"), frozenset())


def _estimate(
    board: Board, terms: Terms, signature: Signature, anonymous: bool, tag: float, tried: frozenset[WorkerId]
) -> Estimate:
    eligible: list[Worker] = []
    reasons: Counter[int] = Counter()
    for index, worker in enumerate(board.fleet.workers.values()):
        if index >= MAX_WORKERS_LOOKED_AT:
            break
        if worker.session is None:
            continue
        reason = _reason(board, worker, terms, signature, tried)
        if reason is None:
            eligible.append(worker)
        else:
            reasons[reason] += 1
    ineligible = tuple(reasons.most_common())
    if not eligible:
        return Estimate(0, 0.0, 0.0, 0, ineligible)
    count, work = _ahead(board, terms, anonymous, tag)
    kind = size_class(terms.pixels)
    speeds = [board.speeds.expected(worker.worker_id, terms.model, kind) for worker in eligible]
    rate = sum(1 / speed for speed in speeds)
    if count == 0 and any(worker.free for worker in eligible):
        return Estimate(0, 0.0, 1.0, len(eligible), ineligible)
    running = sum(_left(worker) for worker in eligible)
    one = min(speeds) * terms.work
    p50 = (work + running) / rate
    return Estimate(count, p50, 2 * p50 + one, len(eligible), ineligible)


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
    ahead = [job for its, ticket, job in looked if job.ticket == ticket and its < tag]
    return len(ahead) * scale, sum(job.generation.terms.work for job in ahead) * scale
