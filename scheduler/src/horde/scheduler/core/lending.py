"""Lending jobs to workers, and taking them back when nothing comes of it."""

from __future__ import annotations

from itertools import islice

from horde.scheduler.core import returning
from horde.scheduler.core.board import Board
from horde.scheduler.core.effects import Assign, Progressed, Revoke
from horde.scheduler.core.fitting import signature_of_terms, size_class
from horde.scheduler.core.fleet import Pace, Worker
from horde.scheduler.core.job import AccountId, Job, JobState, LeaseId, Terms
from horde.scheduler.core.leases import MAX_LEASES, Fault, Lease, LeaseState, Revoked, Stage
from horde.scheduler.core.strikes import StrikeReason

LOADING = 12.0
"""Seconds that loading a model is expected to take, when workers are compared."""
SAMPLE = 8
"""Idle workers that are compared for one job, all of whom can paint it."""
LOOKS = 4
"""Of one slice of matching: the engine does other things between two slices."""
RELOOK_PAUSE = 15.0
"""Seconds between two looks at a part of those who are idle."""
RELOOK_MOST = 256
TOO_SLOW = 4.0
"""Times what was measured after which a lease is behind."""
SLOWEST = 10.0
"""Times the fleet's median that a worker's own pace counts at most: who was always slow is not believed for ever."""
NEWCOMER_SILENCE = 4.0
"""Seconds that a lease of an owner who is not proven may be late, beside what its work is expected to take."""
HEDGE_AGAIN = 1.0
"""Seconds after which it is looked again for an idle worker for a job whose lease is behind."""
HEDGED_PART = 10
"""One in so many workers at most holds a lease that was lent to somebody else as well."""


def match(board: Board, now: float, looks: int = LOOKS) -> None:
    """Bring free workers and queued jobs together, for one slice; to be called until nobody is hungry and no job fresh.

    Before and after, nothing that waits is for an idle worker, but for fresh jobs.
    """
    fleet, fresh = board.fleet, board.fresh
    # The hungry first: until they were looked at, nobody knows whether they are idle.
    while looks > 0 and fleet.hungry:
        looks -= 1
        worker = fleet.next_hungry()
        due = _take(board, worker, now) if worker.free else None
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
    due = _take(board, worker, now)
    if due is None:
        # Unless it is a new name of somebody who had it, and is barred now.
        board.missed += worker.worker_id not in job.barred
        return False
    grant(board, worker, due, now)
    # It is no hungrier than before: all that could be for it is fresh, and will be looked at.
    board.fleet.looked_at(worker)
    return True


def _take(board: Board, worker: Worker, now: float) -> Job | None:
    """What is due for a worker. A job that a stranger had is not for a new name of his, which nobody knew to bar."""
    while (found := board.queue.first(worker, now, board.speeds)) is not None:
        _, job = found
        # Once all may have it again, only those are barred who paint it still.
        if job.barred <= returning.holders(job) or not returning.had(job, worker):
            board.queue.serve(job)
            return job
        # Not served: the requester's share pays nothing for it.
        board.queue.remove(job)
        job.barred |= {worker.worker_id}
        board.queue.push(job, now, again=True)
    return None


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
    """Those who had this job may have it again, if nobody else here can paint it; and strangers may have it, if nobody
    proven is left."""
    if job.look_at > now:
        return  # A later reminder counts instead.
    wary = job.wary and returning.proven_left(board, job)
    barred = job.barred
    if job.retry_at <= now and wary is job.wary:
        assert job.signature is not None
        others = board.fleet.here.fitting(job.generation.terms.model, job.signature, board.speeds)
        if not any(_waited_for(job, worker) for worker in others):
            barred = returning.holders(job)
        job.retry_at = now + returning.RETRY_AFTER
    if (wary, barred) != (job.wary, job.barred):
        board.queue.remove(job)
        job.wary, job.barred = wary, barred
        board.queue.push(job, now, again=True)
        board.fresh.append(job)
    if barred or wary:
        returning.look_later(board, job, now)


def _waited_for(job: Job, worker: Worker) -> bool:
    """Whether those who had a job wait, since this worker will take it. Who has fallen behind may never."""
    stuck = any(lease.hedged for lease in worker.leases.values())
    return worker.willing and not stuck and not returning.had(job, worker)


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
    if not job.leases and job.generation.check is None:
        board.waits.begun(now - job.queued_at, now)
    if job.promise is not None:
        board.promises.begun((job.generation.terms.model, job.generation.anonymous), job.promise, now)
        job.promise = None
    lease = Lease(
        LeaseId(board.lease_ids.next()),
        job,
        worker.worker_id,
        worker.owner,
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
    lease.state, lease.fault, lease.hedged = LeaseState.OPEN, Fault.NONE, False
    lease.behind_at = behind_at(board, worker, lease)
    board.fleet.took(worker, lease)
    job.move(JobState.LEASED)
    board.dirty_jobs[job] = None
    model = job.generation.terms.model
    if worker.model != model:
        worker.model, worker.model_since = model, now
    board.fleet.changed(worker)
    board.deadlines.add(min(lease.lapses_at, lease.behind_at), lease)


def behind_at(board: Board, worker: Worker, lease: Lease) -> float:
    """When a lease that its worker does not hold yet would be behind: by when it was granted, however often it came
    back. Whom nobody has proven yet has less time where it is known how long it takes: only an idle worker is asked."""
    silence = lease.ttl
    standing = board.fleet.standings.get(lease.owner)
    if (standing is None or not standing.proven) and board.speeds.median(lease.job.generation.terms.model) is not None:
        silence -= max(0.0, board.limits.lease_ttl - NEWCOMER_SILENCE)
    return lease.granted_at + silence + TOO_SLOW * _expected_work(board, worker, lease.job)


def _expected_work(board: Board, worker: Worker, job: Job) -> float:
    """Seconds that this worker needs for all it holds and this job, as measured: its own pace, within what the fleet's
    allows."""
    seconds = 0.0
    for terms in _all_terms(worker, job):
        pace = board.speeds.expected(worker.worker_id, terms.model, size_class(terms.pixels))
        if (median := board.speeds.median(terms.model)) is not None:
            pace = min(pace, SLOWEST * median)
        seconds += pace * terms.work
    return seconds


def time_to_progress(board: Board, worker: Worker, job: Job) -> float:
    """How long this worker may be silent about this job, in seconds."""
    terms, limits = job.generation.terms, board.limits
    offer = worker.capabilities.offers.get(terms.model)
    seconds = board.speeds.expected(worker.worker_id, terms.model, size_class(terms.pixels))
    silence = limits.lease_ttl + 3 * seconds * terms.pixels / 1e6
    if offer is not None and not offer.loaded:
        silence += limits.load_allowance
    if worker.pace is not None:
        # It says nothing before it is done with this one and with all that it holds already.
        silence = max(silence, sum(_stated(worker.pace, terms_held) for terms_held in _all_terms(worker, job)))
    return min(silence, limits.max_lease_ttl)


def _all_terms(worker: Worker, job: Job) -> list[Terms]:
    return [held.job.generation.terms for held in worker.leases.values()] + [job.generation.terms]


def _stated(pace: Pace, terms: Terms) -> float:
    return pace.each_job + pace.megapixel_step * terms.pixels / 1e6 * terms.steps


def progressed(
    board: Board, worker: Worker, lease_id: LeaseId, step: int, now: float, stage: Stage = Stage.UNSAID
) -> None:
    """A worker has got further, by a step or by a stage; less or the same is no progress."""
    lease = worker.leases.get(lease_id)
    if lease is None or (step <= lease.step and stage <= lease.stage):
        return
    if stage > lease.stage:
        _enter(board, worker, lease, stage, now)
    if step > lease.step:
        lease.step = min(step, lease.job.generation.terms.steps)
        lease.touched_at = now
        for other in worker.leases.values():
            if other.step == 0:
                other.touched_at = now
    if not lease.hedged:  # Else two would be told of in turns, one ahead and one behind.
        board.emit(Progressed(lease))


def _enter(board: Board, worker: Worker, lease: Lease, stage: Stage, now: float) -> None:
    """A stage keeps a lease for a while, once: what is said again keeps it no longer."""
    lease.stage = stage
    if stage is Stage.PREPARING:
        lease.kept_until = lease.granted_at + board.limits.prepare_grace
    elif stage is Stage.UPLOADING:
        lease.kept_until = now + board.limits.upload_grace
        # Its worker paints the next one meanwhile.
        lease.began_at = max(lease.granted_at, worker.freed_at)
        lease.painted_at = worker.freed_at = now
        lease.behind_at = max(lease.behind_at, now + lease.ttl)


def look_at(board: Board, lease: Lease, now: float) -> None:
    """A lease's time may be over, or it may have fallen behind."""
    if lease.lapses_at <= now:
        # Who painted it did its work: that it could not be brought is no failure of the painting.
        lapse(board, lease, now, fault=Fault.NETWORK if lease.stage is Stage.UPLOADING else Fault.WORKER)
        return
    if lease.behind_at <= now and not lease.hedged:
        lease.behind_at = now + HEDGE_AGAIN
        _hedge(board, lease, now)
    board.deadlines.add(lease.lapses_at if lease.hedged else min(lease.lapses_at, lease.behind_at), lease)


def _hedge(board: Board, lease: Lease, now: float) -> None:
    """Lend the job of a lease that is behind to somebody else as well, if somebody is idle: the first outcome wins."""
    job = lease.job
    board.hedged = {hedged for hedged in board.hedged if hedged.hedged}
    if job.state is not JobState.LEASED or job.leases[-1] is not lease:
        return
    if len(job.leases) >= MAX_LEASES or not _room_to_hedge(board, lease):
        return
    terms, standing = job.generation.terms, board.fleet.standings.get(lease.owner)
    denied = terms.denied.union(returning.barred(board, job), standing.workers if standing is not None else ())
    idle = board.fleet.idle.fitting(terms.model, signature_of_terms(terms, denied), board.speeds)
    if next(idle, None) is None:
        return
    # It keeps its slot, and its late outcome may still win.
    lease.state, lease.hedged = LeaseState.LAPSED, True
    board.hedged.add(lease)
    returning.requeue(board, job, now)


def _room_to_hedge(board: Board, lease: Lease) -> bool:
    """Whether one more lease may be hedged: those who dawdle must not leave the others nothing. An owner has no more
    than what is free, and half of all is kept for leases of proven owners."""
    standings, hedged = board.fleet.standings, board.hedged
    most = 1 + len(board.fleet.here) // HEDGED_PART
    free = most - len(hedged)

    def proven(owner: AccountId) -> bool:
        return owner in standings and standings[owner].proven

    if not proven(lease.owner):
        free = min(free, most - most // 2 - sum(not proven(other.owner) for other in hedged))
    mine = sum(other.owner == lease.owner for other in hedged)
    return free > 0 and mine < max(1, free)


def lapse(board: Board, lease: Lease, now: float, *, fault: Fault = Fault.WORKER) -> None:
    """Take a lease back for lack of progress, or with its lost session; what the mesh lost counts against nobody."""
    worker = board.fleet.workers.get(lease.worker_id)
    if worker is not None:
        if fault is Fault.WORKER:
            returning.strike(board, worker, lease, StrikeReason.STALLED, now, "It made no progress any more.")
        route = board.route_of(worker)
        if route is not None:
            board.emit(Revoke(route, lease.lease_id, Revoked.LAPSED))
    returning.give_back(board, lease, LeaseState.LAPSED, now, "The workers that had it fell silent.", fault=fault)
