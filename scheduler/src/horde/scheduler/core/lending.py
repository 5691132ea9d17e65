"""Lending jobs to workers, and taking them back when nothing comes of it."""

from __future__ import annotations

from itertools import islice

from horde.scheduler.core import settling
from horde.scheduler.core.board import Board
from horde.scheduler.core.effects import Assign, Progressed, Revoke
from horde.scheduler.core.fitting import size_class
from horde.scheduler.core.fleet import Worker
from horde.scheduler.core.job import Job, JobState, LeaseId
from horde.scheduler.core.leases import Lease, LeaseState, Revoked

LOADING = 12.0
"""Seconds that loading a model is expected to take, when workers are compared."""
SAMPLE = 8
"""Idle workers that are compared for one job, all of whom can paint it."""
LOOKS = 4
"""Of one slice of matching: the engine does other things between two slices."""
RELOOK_PAUSE = 15.0
"""Seconds between two looks at a part of those who are idle."""
RELOOK_MOST = 256


def match(board: Board, now: float, looks: int = LOOKS) -> None:
    """Bring free workers and queued jobs together, for one slice; to be called until nobody is hungry and no job fresh.

    Before and after, nothing that waits is for an idle worker, but for fresh jobs.
    """
    fleet, fresh = board.fleet, board.fresh
    # The hungry first: until they were looked at, nobody knows whether they are idle.
    while looks > 0 and fleet.hungry:
        looks -= 1
        worker = fleet.next_hungry()
        due = board.queue.take(worker, now, board.speeds) if worker.free else None
        if due is None:
            fleet.looked_at(worker)
        else:
            # One at a time: who has more slots comes again after the others who are hungry.
            grant(board, worker, due, now)
    while looks > 0 and fresh and not fleet.hungry:
        looks -= 1
        if not fresh[0].ticket or not _seek(board, fresh[0], now):
            fresh.popleft()
    if not board.relook.armed and board.queue.models:
        board.relook.armed = True
        board.deadlines.add(now + RELOOK_PAUSE, board.relook)


def _seek(board: Board, job: Job, now: float) -> bool:
    """Look for a worker for a fresh job; the worker takes what is due for it, which may be another fresh one."""
    worker = best_worker(board, job, now)
    if worker is None:
        return False
    due = board.queue.take(worker, now, board.speeds)
    if due is None:
        board.missed += 1
        return False
    grant(board, worker, due, now)
    # It is no hungrier than before: all that could be for it is fresh, and will be looked at.
    board.fleet.looked_at(worker)
    return True


def look_again(board: Board, now: float) -> None:
    """Make sure that nothing waits for those who have been idle longest: if so, matching has a defect."""
    # While something is fresh or hungry, who is idle may have something to look for, rightly: a little later, then.
    busy = bool(board.fresh or board.fleet.hungry)
    board.relook.armed = bool(board.queue.models)
    if board.relook.armed:
        board.deadlines.add(now + (1.0 if busy else RELOOK_PAUSE), board.relook)
    if busy:
        return
    board.queue.review()
    idle = board.fleet.idle
    for worker in list(islice(idle, min(RELOOK_MOST, 1 + len(idle) // 4))):
        if board.queue.first(worker, now, board.speeds) is not None:
            board.missed += 1
            board.fleet.changed(worker)
        else:
            board.fleet.looked_at(worker)


def best_worker(board: Board, job: Job, now: float) -> Worker | None:
    """The idle worker that is expected to finish this job first, of a sample of those who can paint it."""
    assert job.signature is not None
    fitting = board.fleet.idle.fitting(job.generation.terms.model, job.signature, board.speeds)
    return min(islice(fitting, SAMPLE), key=lambda worker: _expected_finish(board, worker, job), default=None)


def try_again(board: Board, job: Job, now: float) -> None:
    """Those who had this job may have it again, if nobody else here can paint it."""
    if job.retry_at > now:
        board.deadlines.add(job.retry_at, job)
        return
    assert job.signature is not None
    others = board.fleet.here.fitting(job.generation.terms.model, job.signature, board.speeds)
    if any(worker.willing for worker in others):
        job.retry_at = now + settling.RETRY_AFTER
        board.deadlines.add(job.retry_at, job)
        return
    board.queue.remove(job)
    job.barred = frozenset()
    board.queue.push(job, now, again=True)
    board.fresh.append(job)


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


def lapse(board: Board, lease: Lease, now: float, *, lost_by_mesh: bool = False) -> None:
    """Take a lease back for lack of progress, or with its lost session; what the mesh lost counts against nobody."""
    worker = board.fleet.workers.get(lease.worker_id)
    lease.lost_by_mesh = lost_by_mesh
    if worker is not None:
        if not lost_by_mesh:
            settling.strike(board, worker, now)
        route = board.route_of(worker)
        if route is not None:
            board.emit(Revoke(route, lease.lease_id, Revoked.LAPSED))
    settling.give_back(board, lease, LeaseState.LAPSED, now, "The workers that had it fell silent.")
