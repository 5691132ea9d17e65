"""Leases that came to nothing: the job goes back to its old place, to somebody else first, or is faulted.

Who is to blame has a class (`leases.Fault`), and only what was the worker's own fault counts: against the job as an
attempt of its owner, and against the worker as a strike.
"""

from __future__ import annotations

from horde.scheduler.core import idling, settling
from horde.scheduler.core.board import Board
from horde.scheduler.core.checks import Opinion
from horde.scheduler.core.effects import INVALID_RECEIPT, DiscardObject, SaySettled
from horde.scheduler.core.fitting import signature_of_terms
from horde.scheduler.core.fleet import Worker
from horde.scheduler.core.job import NOTHING, Ending, Job, JobState, WorkerId
from horde.scheduler.core.leases import MAX_ATTEMPTS, MAX_LEASES, Fault, Lease, LeaseState
from horde.scheduler.core.standing import PROVEN_FEATURE, Returned
from horde.scheduler.core.strikes import MAX_DETAIL, Strike, StrikeReason, strike_id_of

RETRY_AFTER = 10.0
"""Seconds after which those who had a job may have it again, where nobody else can; twice as long with each lease."""
MOST_DOUBLINGS = 6
WARY_AFTER = 4
"""Leases that came to nothing after which a job goes to proven owners first."""
DECLINED_IN_A_ROW = 5
"""Of one model, until it paints with it."""
FIRST_WITHHOLDING = 1.0
LONGEST_WITHHOLDING = 900.0
"""Seconds for which a worker is not offered a model that it gave back; twice as long each time."""


def void(board: Board, job: Job, now: float, detail: str) -> None:
    """Storage cannot commit the winner's object: it did not win. Another attempt, or the end."""
    winner = job.winner
    if job.state is not JobState.SETTLING or job.ending is not Ending.DONE or job.committed or winner is None:
        return
    winner.state, winner.fault = LeaseState.VOID, Fault.WORKER
    job.leavings.add(winner.lease_id)
    worker = board.fleet.workers.get(winner.worker_id)
    if worker is not None:
        strike(board, worker, winner, StrikeReason.MISBEHAVIOUR, now, detail)
    route = board.route_of(worker)
    if route is not None:
        board.emit(SaySettled(route, winner.lease_id, job.job_id, INVALID_RECEIPT, detail=detail))
    generation = job.generation
    job.winner, job.amounts, job.ending = None, NOTHING, Ending.NONE
    if generation.cancelled:
        ending = Ending.CANCELLED
    elif generation.expired or now >= generation.deadline:
        ending = Ending.EXPIRED
    elif exhausted(board, job):
        ending = Ending.FAULTED
    else:
        requeue(board, job, now)
        board.emit_after_save(DiscardObject(job, winner.lease_id))
        return
    job.touch()
    settling.decide(board, job, ending, now, None, NOTHING, detail)


def give_back(
    board: Board, lease: Lease, state: LeaseState, now: float, detail: str = "", *, fault: Fault = Fault.NONE
) -> None:
    """A lease ended without an end for its job: another attempt, or FAULTED after the last."""
    lease.state, lease.fault, lease.hedged = state, fault, False
    worker = settling.free(board, lease, now)
    if worker is not None and fault is not Fault.NONE:
        worker.standing.faults[fault] += 1
        board.dirty_owners[worker.standing] = None
    job = lease.job
    if job.state is not JobState.LEASED or job.leases[-1] is not lease:
        return
    if exhausted(board, job):
        _forgive(board, job)
        settling.end(board, job, Ending.FAULTED, now, detail=detail or "Workers of three owners could not paint it.")
    else:
        requeue(board, job, now)


def exhausted(board: Board, job: Job) -> bool:
    """It has been tried often enough: by three owners, one of them proven if a proven one is here who could; or three
    times by those who are left, if nobody else is here who could."""
    if len(job.leases) >= MAX_LEASES:
        return True
    failed = job.failed_owners
    if len(failed) >= MAX_ATTEMPTS:
        return not proven_left(board, job)
    failures = sum(lease.fault is Fault.WORKER for lease in job.leases)
    return failures >= MAX_ATTEMPTS and not _others_left(board, job)


def _others_left(board: Board, job: Job) -> bool:
    """Whether somebody is here who could paint it, of an owner that has not failed at it."""
    terms = job.generation.terms
    fitting = board.fleet.here.fitting(terms.model, signature_of_terms(terms, terms.denied), board.speeds)
    return any(worker.willing and worker.owner not in job.failed_owners for worker in fitting)


def proven_left(board: Board, job: Job) -> bool:
    """Whether a proven owner's word about a job can still be had: one is here who could paint it, and none has failed
    at it. Strangers may all be one."""
    standings = board.fleet.standings
    if any(owner in standings and standings[owner].proven for owner in job.failed_owners):
        return False
    terms = job.generation.terms
    signature = signature_of_terms(terms, terms.denied, terms.features | PROVEN_FEATURE)
    return any(worker.willing for worker in board.fleet.here.fitting(terms.model, signature, board.speeds))


def _forgive(board: Board, job: Job) -> None:
    """Where a proven owner failed at it, too, it was the job's fault: the others are not punished for it."""
    standings = board.fleet.standings
    proven = {owner for owner in job.failed_owners if owner in standings and standings[owner].proven}
    for lease in job.leases:
        worker = board.fleet.workers.get(lease.worker_id)
        if lease.fault is Fault.WORKER and worker is not None and proven - {lease.owner}:
            _forgive_one(board, worker)


def may_decline(worker: Worker, job: Job) -> bool:
    """Count a job that is given back for what it asks for. Some in a row cost nothing but that job: then it is the same
    whether a worker will not have what is asked for or will not have anything."""
    model, counted = job.generation.terms.model, worker.returned
    counted.declined[model] += 1
    return counted.declined[model] <= DECLINED_IN_A_ROW


def withhold(board: Board, worker: Worker, model: str, now: float) -> None:
    """Do not offer a worker a model that it gave back, for a while that grows until it paints with it; nor any other
    name of a stranger."""
    returned = worker.returned
    _forget_long_over(returned, now)
    returned.refused[model] += 1
    doublings = min(returned.refused[model] - 1, 30)
    returned.withheld[model] = now + min(LONGEST_WITHHOLDING, FIRST_WITHHOLDING * 2.0**doublings)
    for name in worker.names:
        if name is worker or name.session is not None:
            _withhold(board, name, model, returned.withheld[model], now)


def _forget_long_over(returned: Returned, now: float) -> None:
    """Who invents models does not make us remember them: what was withheld long ago grows from its beginning again."""
    for model in [model for model, until in returned.withheld.items() if until + LONGEST_WITHHOLDING <= now]:
        del returned.withheld[model], returned.refused[model]
        returned.declined.pop(model, None)


def hold_to_owner(board: Board, worker: Worker, now: float) -> None:
    """A worker comes: what other names of its owner gave back, who is a stranger, is not offered to it either; and it
    rests with them."""
    if worker.standing.proven:
        return
    worker.rests_until = max(worker.rests_until, worker.standing.rests_until)
    _rest(board, worker, now)
    _forget_long_over(worker.returned, now)
    for model, until in worker.returned.withheld.items():
        if until > now:
            _withhold(board, worker, model, until, now)


def _withhold(board: Board, worker: Worker, model: str, until: float, now: float) -> None:
    worker.withheld[model] = until
    board.deadlines.add(until, worker)
    if worker.session is not None:
        board.fleet.refit(worker)
    idling.tell(board, worker, now)


def requeue(board: Board, job: Job, now: float) -> None:
    """Back to its old place in the queue."""
    job.move(JobState.QUEUED)
    board.dirty_jobs[job] = None
    bar(board, job, now)
    board.queue.push(job, now, again=True)
    board.fresh.append(job)


def bar(board: Board, job: Job, now: float) -> None:
    """Those who had a job do not get it for a while, so that others may try."""
    job.barred = barred(board, job)
    often = sum(lease.fault is not Fault.MESH for lease in job.leases)
    suspicious = often >= WARY_AFTER or len(job.failed_owners) >= MAX_ATTEMPTS - 1 or bool(job.doubters)
    job.wary = suspicious and proven_left(board, job)
    if often:
        job.retry_at = now + RETRY_AFTER * 2.0 ** min(often - 1, MOST_DOUBLINGS)
        look_later(board, job, now)


def look_later(board: Board, job: Job, now: float) -> None:
    """Look again who may have a job: often, while it waits for a proven owner, who may leave."""
    job.look_at = min(job.retry_at, now + RETRY_AFTER) if job.wary else job.retry_at
    board.deadlines.add(job.look_at, job)


def barred(board: Board, job: Job) -> frozenset[WorkerId]:
    """Workers that had a job; of a stranger all, for one more name is nobody else."""
    had = [lease for lease in job.leases if lease.fault is not Fault.MESH]
    workers = {lease.worker_id for lease in had}
    for owner in {lease.owner for lease in had}:
        if (standing := board.fleet.standings.get(owner)) is not None and not standing.proven:
            workers.update(standing.workers)
    return frozenset(workers)


def had(job: Job, worker: Worker) -> bool:
    """Whether a worker counts among those who had a job: by a name that nobody knew to bar."""
    return not worker.standing.proven and any(
        lease.owner == worker.owner and lease.fault is not Fault.MESH for lease in job.leases
    )


def holders(job: Job) -> frozenset[WorkerId]:
    """Workers that paint a waiting job still, though they fell behind: once is enough."""
    return frozenset(lease.worker_id for lease in job.leases if lease.hedged)


def strike(
    board: Board, worker: Worker, lease: Lease | Opinion, reason: StrikeReason, now: float, detail: str = ""
) -> None:
    """A worker has failed at a lease; after some failures in a row it rests, and a stranger with all his names."""
    detail = detail[:MAX_DETAIL]
    struck = Strike(strike_id_of(lease), worker.owner, worker.worker_id, worker.name, reason, now, detail)
    board.strikes.add(struck)
    board.dirty_strikes[struck] = None
    worker.failed(now)
    for name in worker.names:
        _rest(board, name, now)


def _rest(board: Board, worker: Worker, now: float) -> None:
    """A worker that rests is given nothing until it has rested."""
    if worker.rests_until > now:
        board.deadlines.add(worker.rests_until, worker)
        board.fleet.changed(worker)
        idling.tell(board, worker, now)


def _forgive_one(board: Board, worker: Worker) -> None:
    """Take a failure back: it was not the worker's, so that its names may be given something again."""
    worker.forgive()
    for name in worker.names:
        board.fleet.changed(name)


def pardon(board: Board, since: float, until: float, because: str) -> tuple[int, int]:
    """Forgive everybody's strikes of a window of time, with what follows from them; how many, of how many owners."""
    forgiven = board.strikes.forgive(since, until, because)
    for struck in forgiven:
        _pardoned(board, struck)
    return len(forgiven), len({struck.owner for struck in forgiven})


def forgive_lease(board: Board, lease: Lease, because: str) -> None:
    """Forgive the strike of a lease: it was not the worker's fault after all."""
    strike_id = strike_id_of(lease)
    for struck in board.strikes.of(lease.owner):
        if struck.strike_id == strike_id and not struck.forgiven:
            struck.forgiven = because
            _pardoned(board, struck)


def _pardoned(board: Board, struck: Strike) -> None:
    board.dirty_strikes[struck] = None
    worker = board.fleet.workers.get(struck.worker_id)
    if worker is None:
        return
    _forgive_one(board, worker)
    worker.jobs_failed = max(0, worker.jobs_failed - 1)
    faults = worker.standing.faults
    faults[Fault.WORKER] = max(0, faults[Fault.WORKER] - 1)
    if struck.reason in (StrikeReason.WRONG_PICTURE, StrikeReason.BLANK_PICTURE):
        worker.standing.pardon()
        board.fleet.rejudged(worker.standing)
    board.dirty_owners[worker.standing] = None
    board.dirty_workers[worker] = None
    board.fleet.changed(worker)
