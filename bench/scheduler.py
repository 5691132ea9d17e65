"""How fast the scheduler's pure core matches, beside a walk through all kinds of waiting jobs. `make bench-scheduler`.

    python bench/scheduler.py [--quick]

A mesh of 20 models (Zipf), 3,000 signatures, 10,000 workers of 16 sets of features and 40 sizes, each with one to five
models; 2 % of the jobs come with a deny list of their own. One operation is one job queued and one worker served, in
steady state. The yardstick is measured in the same run on the same queue: what a take costs that asks every kind of
waiting job of one model whether it fits, as this scheduler did before it had an index. So ratios can be compared
between machines, where operations a second cannot.
"""

from __future__ import annotations

import argparse
import gc
import random
import sys
import time
import tracemalloc
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count

from horde.scheduler.core import attaching, lending
from horde.scheduler.core.attaching import Restatement
from horde.scheduler.core.board import Board, Limits
from horde.scheduler.core.capability import Entry
from horde.scheduler.core.fitting import why_not
from horde.scheduler.core.fleet import Capabilities, Offer, Worker
from horde.scheduler.core.job import (
    AccountId,
    Generation,
    GenerationId,
    Job,
    JobId,
    JobState,
    Mkudos,
    Price,
    Terms,
)
from horde.scheduler.core.sessions import Route
from horde.scheduler.core.shares import weight_of

MODELS, SIGNATURES, FLOWS, FEATURE_BITS = 20, 3_000, 2_000, 6
PRICE = Price(Mkudos(10_000), Mkudos(0), Mkudos(1_000))
SIDES = (256, 384, 448, 512, 576, 640, 704, 768, 832, 896, 1024, 1152, 1280, 1536, 2048)
BUDGET = 0.020
"""Seconds that the loop may be held."""


@dataclass(frozen=True)
class Result:
    """Of one size of mesh."""

    queued: int
    workers: int
    rate: float
    p50: float
    p99: float
    yardstick: float
    """Seconds of one take by a walk."""

    def line(self) -> str:
        return (
            f"{self.queued:>9,} queued {self.workers:>7,} workers: {self.rate:>8,.0f}/s, "
            f"p50 {1e6 * self.p50:>5.0f} us, p99 {1e6 * self.p99:>5.0f} us; "
            f"{self.yardstick * self.rate:>6.1f} times a walk ({1e6 * self.yardstick:,.0f} us)"
        )


class Mesh:
    """A board with workers, and jobs without end."""

    def __init__(self, seed: int, workers: int) -> None:
        self.random = random.Random(seed)
        limits = Limits(max_jobs=10_000_000, max_sessions=10_000_000)
        self.board = Board(1, limits)
        self.numbers = count(1)
        self.models = [f"model{number}" for number in range(MODELS)]
        self.popularity = [1 / (1 + number) for number in range(MODELS)]
        self.kinds = list(self._kinds())
        self.workers = [self._worker(number) for number in range(workers)]

    def _kinds(self) -> Iterator[Terms]:
        seen: set[tuple[str, int, int, int]] = set()
        while len(seen) < SIGNATURES:
            model = self.random.choices(self.models, self.popularity)[0]
            features = self.random.getrandbits(FEATURE_BITS) & self.random.getrandbits(FEATURE_BITS)
            width, height = self.random.choice(SIDES), self.random.choice(SIDES)
            kind = (model, width, height, features)
            if kind not in seen:
                seen.add(kind)
                yield Terms(model, width, height, self.random.randint(10, 40), features, PRICE)

    def _worker(self, number: int) -> Worker:
        chosen = self.random.choices(self.models, self.popularity, k=self.random.randint(1, 5))
        side = self.random.choice(SIDES[3:]) + 8 * self.random.randint(0, 2)
        # Half of the workers can do everything; the others lack something.
        features = (1 << FEATURE_BITS) - 1
        if number % 2:
            features &= ~(1 << self.random.randrange(FEATURE_BITS)) & ~(1 << self.random.randrange(FEATURE_BITS))
        offers = {model: Offer(index == 0, side * side, features) for index, model in enumerate(dict.fromkeys(chosen))}
        capabilities = Capabilities(offers)
        route = Route(1, number)
        owner = AccountId(f"00000000-0000-4000-8000-{number // 8:012x}")
        attaching.opened(self.board, route, owner, f"w{number}", "", capabilities, "", 0.0, 0)
        session = self.board.sessions[route]
        worker = self.board.fleet.workers[session.worker_id]
        attaching.restated(self.board, session, worker, Restatement(0, 0, draining=False), 0.0, 0)
        self.board.effects.clear()
        return worker

    def job(self) -> Job:
        number = next(self.numbers)
        terms = self.random.choice(self.kinds)
        if number % 50 == 0 and self.workers:
            denied = frozenset(worker.worker_id for worker in self.random.choices(self.workers, k=3))
            terms = Terms(terms.model, terms.width, terms.height, terms.steps, terms.features, PRICE, denied=denied)
        flow = self.random.randrange(FLOWS)
        account = AccountId("anonymous" if flow % 3 == 0 else f"account{flow}")
        weight = 0.25 if flow % 3 == 0 else weight_of(flow * 1000)
        generation = Generation(
            GenerationId(str(number)), "", account, b"", b"", b"", terms, 0, f"flow{flow}", weight, number, 0, 0.0
        )
        return Job(JobId(str(number)), 0, generation, "", state=JobState.QUEUED)

    def fill(self, jobs: int) -> None:
        for _ in range(jobs):
            self.board.queue.push(self.job(), 0.0)


def walk(mesh: Mesh, worker: Worker) -> Entry | None:
    """The yardstick: ask every kind of waiting job of the worker's first model, as was done before the index."""
    best: Entry | None = None
    for model in worker.capabilities.offers:
        queue = mesh.board.queue.models.get(model)
        if queue is None:
            continue
        for lane in (queue.named, queue.anonymous):
            for bucket in lane.buckets.values():
                if bucket.head is None or why_not(bucket.signature, worker, model, mesh.board.speeds) is not None:
                    continue
                if best is None or bucket.head < best:
                    best = bucket.head
        if best is not None:
            break
    return best


def steady(queued: int, workers: int, operations: int) -> Result:
    """One job queued and one worker served, again and again."""
    mesh = Mesh(1, workers)
    mesh.fill(queued)
    board, speeds = mesh.board, mesh.board.speeds
    served = [mesh.random.choice(mesh.workers) for _ in range(operations)]
    arriving = [mesh.job() for _ in range(operations)]
    for worker in served[: operations // 10]:  # Warm: the classes of those who ask.
        job = board.queue.take(worker, 1.0, speeds)
        if job is not None:
            board.queue.push(job, 1.0)
    gc.collect()
    gc.freeze()
    gc.disable()
    took = []
    done = 0
    for worker, job in zip(served, arriving, strict=True):
        began = time.thread_time()
        board.queue.push(job, 1.0)
        done += board.queue.take(worker, 2.0, speeds) is not None
        took.append(time.thread_time() - began)
    gc.enable()
    walked = served[:100]
    began = time.thread_time()
    for worker in walked:
        walk(mesh, worker)
    yardstick = (time.thread_time() - began) / len(walked)
    gc.unfreeze()
    if done < 0.9 * operations:
        raise SystemExit(f"only {done} of {operations} workers found a job: this measures nothing")
    rate = operations / sum(took)
    took.sort()
    return Result(queued, workers, rate, took[operations // 2], took[operations * 99 // 100], yardstick)


def all_at_once(workers: int, queued: int) -> tuple[int, float, float]:
    """All workers become free in one moment, in slices; how many were served, the longest slice, the whole time."""
    mesh = Mesh(2, workers)
    mesh.fill(queued)
    board = mesh.board
    for worker in mesh.workers:
        assert worker.session is not None
        attaching.demanded(board, worker.session, worker, 1, draining=False, now=0.0)
    gc.collect()
    gc.freeze()
    longest, began = 0.0, time.thread_time()
    while board.fleet.hungry or board.fresh:
        slice_began = time.thread_time()
        lending.match(board, 1.0)
        longest = max(longest, time.thread_time() - slice_began)
    total = time.thread_time() - began
    gc.unfreeze()
    return sum(bool(worker.leases) for worker in mesh.workers), longest, total


def memory(jobs: int, workers: int) -> tuple[float, float]:
    """Bytes of one queued job, and of one worker that is here."""
    tracemalloc.start()
    mesh = Mesh(3, workers)
    of_workers = tracemalloc.get_traced_memory()[0]
    mesh.fill(jobs)
    of_jobs = tracemalloc.get_traced_memory()[0] - of_workers
    tracemalloc.stop()
    return of_jobs / jobs, of_workers / workers


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="up to 100,000 queued")
    args = parser.parse_args()
    sizes = (1_000, 10_000, 100_000) if args.quick else (1_000, 10_000, 100_000, 1_000_000)
    print("match + enqueue, pure core, one thread")
    results = []
    for queued in sizes:
        results.append(steady(queued, 10_000, 20_000))
        print(results[-1].line(), flush=True)
    flat = max(result.rate for result in results) / min(result.rate for result in results)
    served, longest, total = all_at_once(10_000, 100_000)
    print(f"from {sizes[0]:,} to {sizes[-1]:,} queued: {flat:.1f} times")
    print(
        f"10,000 workers become free at once: {served:,} served in {total:.2f} s, "
        f"the longest slice {1000 * longest:.1f} ms of {1000 * BUDGET:.0f}"
    )
    job_bytes, worker_bytes = memory(20_000, 5_000)
    print(f"memory: {job_bytes:,.0f} bytes a queued job, {worker_bytes:,.0f} a worker")
    return 0 if longest <= BUDGET else 1


if __name__ == "__main__":
    sys.exit(main())
