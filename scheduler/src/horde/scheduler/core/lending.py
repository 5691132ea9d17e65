"""Lending jobs to workers, and taking them back when nothing comes of it."""

from __future__ import annotations

from horde.scheduler.core import settling
from horde.scheduler.core.board import Board
from horde.scheduler.core.effects import Assign, Progressed, Revoke
from horde.scheduler.core.fleet import Worker
from horde.scheduler.core.job import Job, JobState, LeaseId
from horde.scheduler.core.leases import Lease, LeaseState, Revoked
from horde.scheduler.core.matching import size_class, why_not

LOADING = 12.0
"""Seconds that loading a model is expected to take, when workers are compared."""


def match(board: Board, now: float) -> None:
    """Bring free workers and queued jobs together; to be called after whatever may have changed either."""
    hungry = board.fleet.hungry
    while hungry:
        worker_id = next(iter(hungry))
        del hungry[worker_id]
        _feed(board, board.fleet.workers[worker_id], now)
    fresh, board.fresh = board.fresh, []
    for job in fresh:
        # The worker that suits this job best takes what is due for it, which may be another job; so once more.
        while job.ticket and (worker := best_worker(board, job, now)) is not None:
            due = board.queue.take(worker, now, board.speeds)
            if due is None:
                break
            grant(board, worker, due, now)


def _feed(board: Board, worker: Worker, now: float) -> None:
    while worker.free and board.queue.models:
        job = board.queue.take(worker, now, board.speeds)
        if job is None:
            return
        grant(board, worker, job, now)


def best_worker(board: Board, job: Job, now: float) -> Worker | None:
    """The free worker that is expected to finish this job first."""
    terms, signature = job.generation.terms, job.signature
    if signature is None:
        return None
    best: tuple[float, Worker] | None = None
    for worker in board.fleet.free_for(terms.model):
        if why_not(signature, worker, terms.model, board.speeds) is not None:
            continue
        if terms.pixels > worker.capabilities.limit(terms.model):
            continue
        finish = _expected_finish(board, worker, job)
        if best is None or finish < best[0]:
            best = (finish, worker)
    return best[1] if best else None


def _expected_finish(board: Board, worker: Worker, job: Job) -> float:
    terms = job.generation.terms
    seconds = 0.0 if worker.capabilities.offers[terms.model].loaded or worker.model == terms.model else LOADING
    for held in worker.leases.values():
        theirs = held.job.generation.terms
        speed = board.speeds.expected(worker.worker_id, theirs.model, size_class(theirs.pixels))
        seconds += speed * theirs.work * (1 - held.step / theirs.steps)
    return seconds + board.speeds.expected(worker.worker_id, terms.model, size_class(terms.pixels)) * terms.work


def grant(board: Board, worker: Worker, job: Job, now: float) -> None:
    """Lend a job that has just left the queue."""
    lease = Lease(
        LeaseId(board.lease_ids.next()),
        job,
        worker.worker_id,
        worker.owner,
        worker.name,
        granted_at=now,
        touched_at=now,
        ttl=time_to_progress(board, worker, job),
    )
    job.leases.append(lease)
    lend(board, worker, lease, now)
    route = board.route_of(worker)
    if route is not None:
        board.emit(Assign(route, lease))


def lend(board: Board, worker: Worker, lease: Lease, now: float) -> None:
    """Enter an open lease; it is a new one, or one that came back."""
    job = lease.job
    lease.state = LeaseState.OPEN
    worker.leases[lease.lease_id] = lease
    job.move(JobState.LEASED)
    board.dirty_jobs[job] = None
    model = job.generation.terms.model
    if worker.model != model:
        worker.model, worker.model_since = model, now
    board.fleet.changed(worker)
    board.deadlines.add(lease.lapses_at, lease)


def time_to_progress(board: Board, worker: Worker, job: Job) -> float:
    """How long this worker may be silent about this job, in seconds."""
    terms, limits = job.generation.terms, board.limits
    offer = worker.capabilities.offers.get(terms.model)
    seconds = board.speeds.expected(worker.worker_id, terms.model, size_class(terms.pixels))
    silence = limits.lease_ttl + 3 * seconds * terms.pixels / 1e6
    if offer is not None and not offer.loaded:
        silence += limits.load_allowance
    return min(silence, limits.max_lease_ttl)


def progressed(board: Board, worker: Worker, lease_id: LeaseId, step: int, now: float) -> None:
    """A worker has got further; less or the same is no progress."""
    lease = worker.leases.get(lease_id)
    if lease is None or step <= lease.step:
        return
    lease.step = min(step, lease.job.generation.terms.steps)
    lease.touched_at = now
    for other in worker.leases.values():
        if other.step == 0:
            other.touched_at = now
    board.emit(Progressed(lease))


def look_at(board: Board, lease: Lease, now: float) -> None:
    """A lease's time may be over."""
    if lease.lapses_at > now:
        board.deadlines.add(lease.lapses_at, lease)
    else:
        lapse(board, lease, now)


def lapse(board: Board, lease: Lease, now: float) -> None:
    """Take a lease back for lack of progress, or with its lost session."""
    worker = board.fleet.workers.get(lease.worker_id)
    if worker is not None:
        settling.strike(board, worker, now)
        route = board.route_of(worker)
        if route is not None:
            board.emit(Revoke(route, lease.lease_id, Revoked.LAPSED))
    settling.give_back(board, lease, LeaseState.LAPSED, now, "The workers that had it fell silent.")
