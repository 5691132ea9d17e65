"""The last part of a job's life: its end is decided, written, carried out, told.

    decided (SETTLING, durable) -> CommitObject if DONE -> Settle or Release -> ENDED -> told to the worker

A decision is made once. What follows it may be repeated by anybody, after any crash. Only if storage turns out to have
nothing under the winning lease is a decision taken back.
"""

from __future__ import annotations

from horde.scheduler.core import deleting
from horde.scheduler.core.board import Board
from horde.scheduler.core.effects import (
    ACCEPTED,
    DUPLICATE,
    CommitObject,
    ComparePictures,
    DiscardObject,
    Release,
    ReleaseInputs,
    Revoke,
    SaySettled,
    Settle,
)
from horde.scheduler.core.endings import amounts, counted_steps
from horde.scheduler.core.fitting import size_class
from horde.scheduler.core.fleet import Worker
from horde.scheduler.core.job import (
    NOTHING,
    Amounts,
    Deletion,
    Ending,
    Generation,
    Job,
    JobState,
    LeaseId,
    Phase,
    WorkerId,
)
from horde.scheduler.core.leases import Lease, LeaseState, Revoked, Stage

COUNTED = 16
"""Images after which a worker's counters are written."""
REVOKED_FOR = {
    Ending.DONE: Revoked.SUPERSEDED,
    Ending.CENSORED: Revoked.SUPERSEDED,
    Ending.CANCELLED: Revoked.CANCELLED,
    Ending.FAULTED: Revoked.LAPSED,
    Ending.EXPIRED: Revoked.EXPIRED,
}


def end(
    board: Board,
    job: Job,
    ending: Ending,
    now: float,
    *,
    winner: Lease | None = None,
    divided: Amounts = NOTHING,
    detail: str = "",
) -> None:
    """Decide how a job ends."""
    if job.ticket:
        board.queue.remove(job)
    job.move(JobState.SETTLING)
    decide(board, job, ending, now, winner, divided, detail)


def decide(
    board: Board, job: Job, ending: Ending, now: float, winner: Lease | None, divided: Amounts, detail: str
) -> None:
    job.ending, job.winner, job.amounts, job.detail = ending, winner, divided, detail
    for lease in job.leases:
        if lease is winner and ending in (Ending.DONE, Ending.CENSORED):
            lease.state, lease.hedged = LeaseState.WON, False
            free(board, lease, now)
        elif lease.state is LeaseState.OPEN or lease.hedged:
            revoke(board, lease, REVOKED_FOR[ending], now)
        if ending is not Ending.DONE or lease is not winner:
            job.leavings.add(lease.lease_id)
    board.dirty_jobs[job] = None
    carry_out(board, job)


def carry_out(board: Board, job: Job) -> None:
    """Have done, after the next save, what is still to be done of a decision. Also after a restart."""
    if job.state is JobState.SETTLING:
        if job.ending is Ending.DONE and not job.committed:
            board.emit_after_save(CommitObject(job) if job.generation.check is None else ComparePictures(job))
        else:
            board.emit_after_save(_payment(job))
    for lease_id in sorted(job.leavings):
        board.emit_after_save(DiscardObject(job, lease_id))


def _payment(job: Job) -> Settle | Release:
    # A withheld picture may be unpaid: it ended by a worker's word nevertheless, which the books say.
    return Release(job) if job.amounts == NOTHING and job.ending is not Ending.CENSORED else Settle(job)


def committed(board: Board, job: Job, size_bytes: int, image_format: int, expires_at_ms: int) -> None:
    """The object is in its place for good."""
    if job.state is not JobState.SETTLING or job.committed:
        return
    job.committed = True
    job.size_bytes, job.format, job.expires_at_ms = size_bytes, image_format, expires_at_ms
    # Written before it is paid: a private object may expire before a restart asks again, and storage would say that
    # there is none. What is paid for must never be taken for void.
    board.dirty_jobs[job] = None
    board.emit_after_save(_payment(job))


def as_recorded(board: Board, job: Job, ending: Ending, worker_id: WorkerId, divided: Amounts) -> None:
    """The ledger ended the job otherwise, by an earlier asking: so it ended. NONE: it gave everything back."""
    ours = job.winner
    if job.state is not JobState.SETTLING:
        return
    if ending is Ending.NONE:
        ending = Ending.FAULTED if job.ending in (Ending.DONE, Ending.CENSORED) else job.ending
        job.detail = job.detail or "The ledger had given everything back already."
    job.ending, job.amounts = ending, divided
    job.winner = next((lease for lease in job.leases if worker_id and lease.worker_id == worker_id), None)
    if ours is None or ours is job.winner:
        return
    route = board.route_of(board.fleet.workers.get(ours.worker_id))
    if route is not None:
        board.emit(SaySettled(route, ours.lease_id, job.job_id, DUPLICATE, detail=job.detail))


def paid(board: Board, job: Job, now_ms: int, settlement: bytes) -> bool:
    """The ledger has settled or released; `settlement` is its words, opaque, empty if there was nothing to release.
    Whether the job has ended with that."""
    if job.state is not JobState.SETTLING:
        return False
    job.settlement = settlement
    job.ended_at_ms = now_ms
    job.move(JobState.ENDED)
    board.record.paid(job, now_ms)
    board.places.count(job.generation, -1)
    board.dirty_jobs[job] = None
    if job.winner is not None:
        worker = board.fleet.workers.get(job.winner.worker_id)
        if worker is not None and job.ending is not Ending.CANCELLED:
            worker.images_done += 1
            if worker.images_done % COUNTED == 0:
                worker.last_seen_ms = now_ms
                board.dirty_workers[worker] = None
        route = board.route_of(worker)
        if route is not None:
            board.emit(SaySettled(route, job.winner.lease_id, job.job_id, ACCEPTED, settlement))
    wind_up(board, job.generation)
    return True


def wind_up(board: Board, generation: Generation) -> None:
    """After the last job: let go of the inputs; after the last leaving is gone: close. A check stays until its case is
    over, for its picture may be compared with a further one."""
    if not generation.finished or generation.closed:
        return
    if generation.check is not None and not generation.check.case.over:
        return
    if generation.claimed:
        board.emit_after_save(ReleaseInputs(generation))
    elif any(job.leavings for job in generation.jobs):
        return
    elif generation.deletion is Deletion.NONE:
        board.close(generation)
    else:
        deleting.go_on(board, generation)


def discarded(board: Board, job: Job, lease_id: LeaseId) -> None:
    """A lease's leavings are gone."""
    if lease_id in job.leavings:
        job.leavings.discard(lease_id)
        board.dirty_jobs[job] = None
        wind_up(board, job.generation)


def inputs_released(board: Board, generation: Generation) -> None:
    """Storage keeps the inputs no longer for this generation's sake."""
    if generation.closed or not generation.claimed:
        return
    generation.claimed = False
    board.dirty_generations[generation] = None
    if generation.phase is Phase.REFUSED:
        board.close(generation)
    else:
        wind_up(board, generation)


def cancel(board: Board, generation: Generation, now: float) -> None:
    """End what has not ended; what is being settled keeps its end. Repeating it is harmless."""
    if generation.closed or generation.finished or generation.phase is Phase.REFUSED:
        return
    if not generation.cancelled:
        generation.cancelled = True
        board.dirty_generations[generation] = None
    # All are looked at before the first ends: which frees its worker, as if only then the next had been begun.
    ends = [(job, *_cancelled_at(board, job, now)) for job in generation.jobs if job.open]
    for job, winner, divided in ends:
        end(board, job, Ending.CANCELLED, now, winner=winner, divided=divided)


def _cancelled_at(board: Board, job: Job, now: float) -> tuple[Lease | None, Amounts]:
    """What the steps that were painted already are worth, and to whom."""
    lease = current(job)
    if lease is None:
        return None, NOTHING
    terms, worker = job.generation.terms, board.fleet.workers.get(lease.worker_id)
    if worker is None:
        return None, NOTHING
    seconds = board.paces.of_others(board, terms.model, size_class(terms.pixels), lease.owner)
    per_step = None if seconds is None else seconds * terms.pixels / 1e6
    # Its time is divided among all that it says it paints.
    painting = sum(other.step > 0 for other in worker.leases.values())
    elapsed = (now - max(lease.granted_at, worker.freed_at)) / max(1, painting)
    done = counted_steps(lease.step, terms.steps, elapsed, per_step)
    divided = amounts(Ending.CANCELLED, terms.price, done, terms.steps)
    return (None, NOTHING) if divided == NOTHING else (lease, divided)


def expire(board: Board, generation: Generation, now: float) -> None:
    """Its time to live is over."""
    generation.expired = True
    for job in generation.jobs:
        if job.open:
            end(board, job, Ending.EXPIRED, now)


def current(job: Job) -> Lease | None:
    """The lease that a LEASED job is lent under."""
    if job.state is not JobState.LEASED or not job.leases:
        return None
    lease = job.leases[-1]
    return lease if lease.state is LeaseState.OPEN else None


def revoke(board: Board, lease: Lease, reason: Revoked, now: float) -> None:
    """Take an open lease back and tell the worker, if it is here."""
    lease.state, lease.hedged = LeaseState.REVOKED, False
    worker = free(board, lease, now)
    route = board.route_of(worker)
    if route is not None:
        board.emit(Revoke(route, lease.lease_id, reason))


def free(board: Board, lease: Lease, now: float) -> Worker | None:
    """A lease no longer takes up one of its worker's slots."""
    worker = board.fleet.workers.get(lease.worker_id)
    if worker is None or not board.fleet.gave_back(worker, lease):
        return worker
    if lease.stage is not Stage.UPLOADING:
        worker.freed_at = now
    for other in worker.leases.values():
        if other.step == 0:
            other.touched_at = now
    board.fleet.changed(worker)
    return worker
