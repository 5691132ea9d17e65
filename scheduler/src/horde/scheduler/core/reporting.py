"""Outcomes: what a worker says became of a lease, and what it is told in return.

While a job is open, the first valid outcome of any lease ever granted for it wins, lapsed or not. A repeat by the
winner gets the same answer; every other gets DUPLICATE.
"""

from __future__ import annotations

from horde.scheduler.core import incidents, returning, settling
from horde.scheduler.core.board import Board
from horde.scheduler.core.effects import (
    ACCEPTED,
    DUPLICATE,
    INVALID_RECEIPT,
    OUTCOME_INVALID,
    UNKNOWN_JOB,
    DiscardObject,
    SaySettled,
)
from horde.scheduler.core.endings import amounts
from horde.scheduler.core.fitting import size_class
from horde.scheduler.core.fleet import Worker
from horde.scheduler.core.job import NOTHING, Ending, Job, JobId, JobState, LeaseId, Phase
from horde.scheduler.core.leases import Fault, Lease, LeaseState, Stage
from horde.scheduler.core.outcomes import Broken, Cancelled, Censored, Failed, Invalid, Painted, Refused, Result
from horde.scheduler.core.sessions import Route
from horde.scheduler.core.strikes import StrikeReason

TINY_BYTES, TINY_PART = 200, 100
"""A picture with fewer bytes than this and a hundredth of its pixels has one colour, or next to nothing in it."""
TOO_FAST = 20.0
"""Times faster than the fleet's median is not painted."""

LONG_UPLOAD = 30.0
"""Seconds after which an upload is not usual any more."""


def outcome(
    board: Board, worker: Worker, route: Route, lease_id: LeaseId, job_id: JobId, result: Result, now: float
) -> None:
    """Take in an outcome of a job that is in memory, or of one that does not exist."""
    job = board.jobs.get(job_id)
    if job is None:
        _answer(board, route, lease_id, job_id, UNKNOWN_JOB)
        return
    if job.generation.phase is not Phase.ACCEPTED:
        _park(board, job, route, lease_id, result)
        return
    lease = job.lease(lease_id)
    if lease is None and isinstance(result, Painted) and result.worker_id == worker.worker_id:
        # Signed, so it was granted: its row was lost in a crash, as write-behind rows may be.
        lease = Lease(lease_id, job, result.worker_id, result.owner, state=LeaseState.LAPSED)
        lease.granted_at = lease.touched_at = now
        job.leases.append(lease) if job.state is not JobState.LEASED else job.leases.insert(-1, lease)
        board.dirty_jobs[job] = None
    if lease is None or lease.worker_id != worker.worker_id:
        disposition = INVALID_RECEIPT if isinstance(result, (Painted, Invalid)) else UNKNOWN_JOB
        _answer(board, route, lease_id, job_id, disposition, "The mesh knows no such lease of this worker.")
    elif job.open and (
        lease.state in (LeaseState.OPEN, LeaseState.LAPSED)
        or (lease.state is LeaseState.RETURNED and isinstance(result, Painted))
    ):
        _first(board, worker, route, lease, result, now)
    else:
        _late(board, route, lease, result)


def _first(board: Board, worker: Worker, route: Route, lease: Lease, result: Result, now: float) -> None:
    """An outcome while nothing is decided."""
    job = lease.job
    match result:
        case Painted():
            incidents.passed(board)
            _measure(board, worker, lease, now)
            lease.device, lease.digest, lease.deviated = result.device, result.digest, result.deviated
            lease.suspicious = _suspicious(board, lease, result, now)
            _overtake(board, job, lease, now)
            worker.painted()
            for counted in (worker.returned.refused, worker.returned.declined):
                counted.pop(job.generation.terms.model, None)
            _contradict(board, job, lease)
            job.sha256, job.size_bytes, job.format = result.sha256, result.size_bytes, result.format
            job.deviations = result.deviations
            divided = amounts(Ending.DONE, job.generation.terms.price)
            settling.end(board, job, Ending.DONE, now, winner=lease, divided=divided)
        case Censored(category) if not _believed(board, worker, job):
            detail = "Somebody else looks at it, too, before it is withheld."
            returning.give_back(board, lease, LeaseState.RETURNED, now, category, fault=Fault.DOUBT)
            _answer(board, route, lease.lease_id, job.job_id, ACCEPTED, detail)
        case Censored(category):
            # Strangers who are of one mind may be one: they end it, and are not paid for it.
            divided = amounts(Ending.CENSORED, job.generation.terms.price) if worker.standing.proven else NOTHING
            settling.end(board, job, Ending.CENSORED, now, winner=lease, divided=divided, detail=category)
        case Invalid(detail):
            returning.strike(board, worker, lease, StrikeReason.MISBEHAVIOUR, now, detail)
            job.leavings.add(lease.lease_id)
            returning.give_back(board, lease, LeaseState.VOID, now, detail, fault=Fault.WORKER)
            _answer(board, route, lease.lease_id, job.job_id, INVALID_RECEIPT, detail)
        case Broken(detail, words):
            returning.strike(board, worker, lease, StrikeReason.MISBEHAVIOUR, now, detail)
            returning.give_back(board, lease, LeaseState.RETURNED, now, detail, fault=Fault.WORKER)
            _answer(board, route, lease.lease_id, job.job_id, OUTCOME_INVALID, detail, invalid=words)
        case Failed(detail, refused_upload=True) if incidents.upload_refused(board, lease, now):
            returning.withhold(board, worker, job.generation.terms.model, now)
            _returned(board, worker, route, lease, now, detail, Fault.NETWORK)
        case Failed(detail, by_network=False):
            returning.strike(board, worker, lease, StrikeReason.FAILURES, now, detail)
            _returned(board, worker, route, lease, now, detail, Fault.WORKER)
        case Failed(detail):
            returning.withhold(board, worker, job.generation.terms.model, now)
            _returned(board, worker, route, lease, now, detail, Fault.NETWORK)
        case Refused(detail, leaving, of_job):
            if not leaving and not (of_job and returning.may_decline(worker, job)):
                returning.withhold(board, worker, job.generation.terms.model, now)
            _returned(board, worker, route, lease, now, detail, Fault.REFUSED)
        case Cancelled() if lease.state is not LeaseState.OPEN and not lease.hedged:
            # The answer to its revocation: what became of the lease is settled.
            lease.state = LeaseState.RETURNED
            board.dirty_jobs[job] = None
            _answer(board, route, lease.lease_id, job.job_id, DUPLICATE)
        case Cancelled():
            # Nobody asked it to: it gives the job back.
            returning.withhold(board, worker, job.generation.terms.model, now)
            _returned(board, worker, route, lease, now, "The worker stopped.", Fault.REFUSED)


def _returned(board: Board, worker: Worker, route: Route, lease: Lease, now: float, detail: str, fault: Fault) -> None:
    """A worker gave a job back."""
    was_open = lease.state is LeaseState.OPEN
    returning.give_back(board, lease, LeaseState.RETURNED, now, detail, fault=fault)
    _answer(board, route, lease.lease_id, lease.job.job_id, ACCEPTED if was_open else DUPLICATE)


def _believed(board: Board, worker: Worker, job: Job) -> bool:
    """Whether a worker's word that a picture must be withheld ends the job: a proven owner's does, and where none is
    here the second one's."""
    second = any(owner != worker.owner for owner in job.doubters)
    return worker.standing.proven or (second and not returning.proven_left(board, job))


def _contradict(board: Board, job: Job, lease: Lease) -> None:
    """Somebody painted what others had withheld."""
    for owner in job.doubters:
        standing = board.fleet.standings.get(owner)
        if standing is not None and owner != lease.owner:
            board.fleet.contradict(standing)
            board.dirty_owners[standing] = None


def _late(board: Board, route: Route, lease: Lease, result: Result) -> None:
    """An outcome when the job's end is decided, or a second one of the same lease."""
    job = lease.job
    if isinstance(result, Broken):
        _answer(board, route, lease.lease_id, job.job_id, OUTCOME_INVALID, result.detail, invalid=result.words)
        return
    if lease is job.winner:
        if job.state is JobState.ENDED:
            _answer(board, route, lease.lease_id, job.job_id, ACCEPTED, settlement=job.settlement)
        # Else it is told when the ledger has answered.
        return
    if lease.state is LeaseState.VOID:
        _answer(board, route, lease.lease_id, job.job_id, INVALID_RECEIPT)
        return
    if lease.state is LeaseState.RETURNED and not isinstance(result, Painted):
        _answer(board, route, lease.lease_id, job.job_id, ACCEPTED)
        return
    if isinstance(result, Painted):
        # It was uploaded after all, perhaps after its leavings were discarded.
        board.emit_after_save(DiscardObject(job, lease.lease_id))
    _answer(board, route, lease.lease_id, job.job_id, DUPLICATE)


def _park(board: Board, job: Job, route: Route, lease_id: LeaseId, result: Result) -> None:
    """Its accepting is being repeated after a restart: the outcome waits. Beyond the bound it will be sent again."""
    waiting = board.parked.setdefault(job.generation.generation_id, [])
    if len(waiting) < board.limits.max_parked:
        waiting.append((route, lease_id, job.job_id, result))


def _measure(board: Board, worker: Worker, lease: Lease, now: float) -> None:
    """Learn from a painted image how fast its worker is."""
    terms = lease.job.generation.terms
    uploading = lease.stage is Stage.UPLOADING
    if uploading and now - lease.painted_at > LONG_UPLOAD:
        return  # Storage was away: that says nothing of its speed, and that it was painted before is its own word.
    began = lease.began_at if uploading else max(lease.granted_at, worker.freed_at)
    if lease.state is LeaseState.OPEN and now > began:
        seconds = now - began
        if not worker.standing.proven and (median := board.speeds.median(terms.model)) is not None:
            # Whose work nobody has paid for yet is not preferred for its speed: a black picture is painted fast.
            seconds = max(seconds, median * terms.work)
        board.speeds.measure(worker.worker_id, terms.model, size_class(terms.pixels), seconds, terms.work)
        board.fleet.measured(terms.model)


def _suspicious(board: Board, lease: Lease, result: Painted, now: float) -> bool:
    """Whether nothing can have been painted: next to no bytes, as a picture of one colour has, or next to no time."""
    terms = lease.job.generation.terms
    median = board.speeds.median(terms.model)
    quick = median is not None and (now - lease.granted_at) * TOO_FAST < median * terms.work
    return quick or result.size_bytes < TINY_BYTES + terms.pixels // TINY_PART


def _overtake(board: Board, job: Job, winner: Lease, now: float) -> None:
    """Whoever was overtaken with a lease that fell behind is not offered the model for a while: places for those who
    fall behind are few."""
    for lease in job.leases:
        worker = board.fleet.workers.get(lease.worker_id)
        if lease.hedged and lease is not winner and worker is not None:
            returning.withhold(board, worker, job.generation.terms.model, now)


def _answer(
    board: Board,
    route: Route,
    lease_id: LeaseId,
    job_id: JobId,
    disposition: int,
    detail: str = "",
    settlement: bytes = b"",
    invalid: bytes = b"",
) -> None:
    board.emit(SaySettled(route, lease_id, job_id, disposition, settlement, detail, invalid))
