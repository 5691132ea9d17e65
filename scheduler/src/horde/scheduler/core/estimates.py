"""How long a job would wait, answered from the workers that could do it, with reasons from those that could not.

    wait = (work ahead + work begun) / rate of the eligible workers; at once if one of them is free
    p50, p90 = the wait as it is corrected by how long earlier ones were (`promises.py`); p90 and one job more

Only workers that are here count, whether they are looked at one by one or, where very many could do it, as a sample.
Work ahead is what has smaller tags in the buckets that somebody here can paint, found by looking at MAX_LOOK jobs at
most and scaling up; so an estimate costs the same however long the queue is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable
from dataclasses import dataclass
from itertools import islice

from horde.scheduler.core.board import Board
from horde.scheduler.core.capability import Bucket, Entry
from horde.scheduler.core.fitting import Signature, WhyNot, signature_of, signature_of_terms, size_class, why_not
from horde.scheduler.core.fleet import Worker
from horde.scheduler.core.job import ANONYMOUS, AccountId, Job, Terms, WorkerId
from horde.scheduler.core.lanes import Lane
from horde.scheduler.core.promises import Promise

MAX_LOOK = 512
MAX_WORKERS_LOOKED_AT = 2_000
"""Of those who have what a job needs."""
MAX_SUPPLIES = 1_024
LASTS = 1.0
"""Seconds."""
MAX_LOOKS = 64
"""In LASTS seconds, at all workers of a model: anybody may ask about as many kinds of jobs as he likes. Beyond it what
was seen earlier is told, of the same kind or of the model."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """Seconds until a job is begun."""

    jobs_ahead: int
    p50: float
    p90: float
    eligible: int
    ineligible: tuple[tuple[int, int], ...]
    """Reason and how many workers, most frequent first."""
    painting: tuple[float, float] = (0.0, 0.0)
    """Seconds that a usual worker then takes, and one that is slower than nine of ten."""
    computed: float = 0.0
    """The p50 before it was corrected by how earlier ones held."""
    held: float | None = None
    """The part of earlier waits that were within their p90; None: not known yet."""


@dataclass(frozen=True, slots=True)
class Supply:
    """Who could do a kind of job, as of some moment."""

    at: float
    eligible: int
    rate: float
    """Megapixel-steps in a second, all together."""
    begun: float
    """Megapixel-steps that they are at."""
    ineligible: tuple[tuple[int, int], ...]
    fastest: float
    """Seconds for a megapixel-step; `usual` is the median, `slow` the ninth of ten."""
    usual: float
    slow: float


class Estimates:
    """Answers for one board; who could do a kind of job is looked up once in LASTS seconds."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._supplies: dict[Hashable, Supply] = {}
        self._latest: dict[str, Supply] = {}
        """By model, of whichever kind of job."""
        self._looks = 0
        self._looks_since = float("-inf")
        self._paintable: dict[str, tuple[float, list[Bucket], list[Bucket]]] = {}

    def for_job(self, job: Job, now: float) -> Estimate:
        """For a job that is queued."""
        signature = job.signature or signature_of(job)
        found = self._estimate(job.generation.terms, signature, job.generation.anonymous, job.tag, job.barred, now)
        if job.promise is None and found.p50:
            promise = job.promise = Promise(now, found.computed, found.p50, found.p90)
            kind = job.generation.terms.model, job.generation.anonymous
            self._board.promises.watch(kind, promise, lambda: job.promise is promise and bool(job.ticket))
        return found

    def for_terms(self, terms: Terms, account_id: AccountId, now: float) -> Estimate:
        """For something that was not asked for yet: it comes after all that its like wait for."""
        signature = signature_of_terms(terms, terms.denied)
        return self._estimate(terms, signature, account_id == ANONYMOUS, float("inf"), frozenset(), now)

    def _estimate(
        self,
        terms: Terms,
        signature: Signature,
        anonymous: bool,
        tag: float,
        barred: frozenset[WorkerId],
        now: float,
    ) -> Estimate:
        self._board.promises.look(now)
        supply = self._supply(terms, signature, barred, now)
        if not supply.eligible:
            return Estimate(0, 0.0, 0.0, 0, supply.ineligible)
        painting = (supply.usual * terms.work, supply.slow * terms.work)
        count, work = self._ahead(terms.model, anonymous, tag, now)
        if count == 0 and self._somebody_is_free(terms.model, signature):
            return Estimate(0, 0.0, 1.0, supply.eligible, supply.ineligible, painting)
        computed = (work + supply.begun) / supply.rate
        p50, p90 = self._board.promises.correct((terms.model, anonymous), computed)
        p90 += supply.fastest * terms.work
        held = self._board.promises.held((terms.model, anonymous))
        return Estimate(count, p50, p90, supply.eligible, supply.ineligible, painting, computed, held)

    def _somebody_is_free(self, model: str, signature: Signature) -> bool:
        fitting = self._board.fleet.idle.fitting(model, signature, self._board.speeds)
        return next(fitting, None) is not None

    def _supply(self, terms: Terms, signature: Signature, barred: frozenset[WorkerId], now: float) -> Supply:
        key = (terms.model, signature)
        known = self._supplies.get(key)
        if known is not None and now - known.at < LASTS:
            return known
        if now - self._looks_since >= LASTS:
            self._looks, self._looks_since = 0, now
        if self._looks >= MAX_LOOKS and (earlier := known or self._latest.get(terms.model)) is not None:
            return earlier
        self._looks += 1
        for seen in (self._supplies, self._latest):
            if len(seen) >= MAX_SUPPLIES:
                seen.clear()
        found = self._supplies[key] = self._latest[terms.model] = _look(self._board, terms, signature, barred, now)
        return found

    def _ahead(self, model: str, anonymous: bool, tag: float, now: float) -> tuple[int, float]:
        """About how many jobs that somebody here can paint come before this tag, and their work."""
        queue = self._board.queue.models.get(model)
        if queue is None:
            return 0, 0.0
        known = self._paintable.get(model)
        if known is None or now - known[0] >= LASTS:
            if len(self._paintable) >= MAX_SUPPLIES:
                self._paintable.clear()
            known = now, self._can_be_painted(model, queue.named), self._can_be_painted(model, queue.anonymous)
            self._paintable[model] = known
        _, named, unnamed = known
        budget = max(1, MAX_LOOK // max(1, len(named) + len(unnamed)))
        count, work = 0.0, 0.0
        # An account passes the anonymous; the anonymous wait for everybody.
        for buckets, before in ((named, float("inf") if anonymous else tag), (unnamed, tag)):
            if buckets is unnamed and not anonymous:
                break
            for bucket in buckets:
                jobs, megapixel_steps = _sample(bucket.heap, budget, before)
                count, work = count + jobs, work + megapixel_steps
        return round(count), work

    def _can_be_painted(self, model: str, lane: Lane) -> list[Bucket]:
        here, speeds = self._board.fleet.here, self._board.speeds
        return [
            bucket
            for bucket in islice(lane.buckets.values(), MAX_LOOK)
            if bucket.live and next(here.fitting(model, bucket.signature, speeds), None) is not None
        ]


def _look(board: Board, terms: Terms, signature: Signature, barred: frozenset[WorkerId], now: float) -> Supply:
    here = board.fleet.here
    reasons: Counter[int] = Counter()
    have_what_it_needs: list[Worker] = []
    offering = 0
    for kind, limit, workers in here.groups(terms.model):
        offering += len(workers)
        if signature.features & ~kind.features:
            reasons[WhyNot.FEATURE] += len(workers)
        elif signature.pixels > limit:
            reasons[WhyNot.SIZE] += len(workers)
        else:
            have_what_it_needs += workers
    gave_back = sum(terms.model in worker.withheld for worker in board.fleet.withholding)
    reasons[WhyNot.MODEL] = len(here) - offering - gave_back
    reasons[WhyNot.REFUSED_MODEL] = gave_back
    stride = 1 + len(have_what_it_needs) // MAX_WORKERS_LOOKED_AT
    speeds: list[float] = []
    begun = 0.0
    kind_of_size = size_class(terms.pixels)
    for worker in have_what_it_needs[::stride]:
        reason = _reason(board, worker, terms.model, signature, barred)
        if reason is None:
            speeds.append(board.speeds.expected(worker.worker_id, terms.model, kind_of_size))
            begun += _left(worker)
        else:
            reasons[reason] += stride
    rate = stride * sum(1 / speed for speed in speeds)
    ineligible = tuple((reason, count) for reason, count in reasons.most_common() if count)
    speeds.sort()
    fastest, usual, slow = (speeds[len(speeds) * tenths // 10] if speeds else 0.0 for tenths in (0, 5, 9))
    return Supply(now, stride * len(speeds), rate, stride * begun, ineligible, fastest, usual, slow)


def _reason(board: Board, worker: Worker, model: str, signature: Signature, barred: frozenset[WorkerId]) -> int | None:
    reason = why_not(signature, worker, model, board.speeds)
    if reason == WhyNot.DENIED and worker.worker_id in barred:
        return WhyNot.TRIED_BEFORE
    session = worker.session
    if reason is not None or session is None:
        return reason
    if worker.paused or session.draining:
        return WhyNot.PAUSED
    if worker.rests_until:
        return WhyNot.RESTING
    return WhyNot.NO_SLOTS if session.ready and not session.slots else None


def _left(worker: Worker) -> float:
    """Megapixel-steps that a worker still has to do."""
    total = 0.0
    for lease in worker.leases.values():
        terms = lease.job.generation.terms
        total += terms.work * (1 - lease.step / terms.steps)
    return total


def _sample(heap: list[Entry], budget: int, tag: float) -> tuple[float, float]:
    """About how many live entries have a smaller tag, and their work."""
    stride = max(1, len(heap) // budget)
    looked = heap[::stride]
    if not looked:
        return 0.0, 0.0
    scale = len(heap) / len(looked)
    ahead = [job for its, _, ticket, job, _ in looked if job.ticket == ticket and its < tag]
    return len(ahead) * scale, sum(job.generation.terms.work for job in ahead) * scale
