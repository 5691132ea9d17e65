"""Workers' sessions: opened, restated, adrift, back, gone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from horde.scheduler.core import idling, lending, reporting, returning, settling
from horde.scheduler.core.board import Board
from horde.scheduler.core.effects import EndSession, Revoke, SayTerms, Welcome
from horde.scheduler.core.fitting import signature_of, why_not
from horde.scheduler.core.fleet import (
    FORGOTTEN_AT_ONCE,
    MAX_WORKERS,
    MAX_WORKERS_OF_ONE,
    Capabilities,
    Worker,
    worker_id_of,
)
from horde.scheduler.core.job import AccountId, Job, JobId, JobState, LeaseId
from horde.scheduler.core.leases import Fault, Lease, LeaseState, Revoked, Stage, order_of
from horde.scheduler.core.outcomes import Result
from horde.scheduler.core.sessions import Route, Session, SessionState

CAPABLE_PAUSE = 1.0
"""Seconds."""


@dataclass(frozen=True, slots=True)
class HeldLease:
    """A lease that a worker says it still works on."""

    lease_id: LeaseId
    job_id: JobId
    step: int
    stage: Stage = Stage.UNSAID


def opened(
    board: Board,
    route: Route,
    owner: AccountId,
    name: str,
    agent: str,
    capabilities: Capabilities,
    session_id: str,
    now: float,
    now_ms: int,
    *,
    hears_idle: bool = False,
) -> None:
    """A gateway has a stream of a worker: a new one, or (with `session_id`) one that goes on."""
    try:
        worker_id = worker_id_of(owner, name)
    except ValueError:
        board.emit(EndSession(route, "INVALID_FIELD", "The owner is not an account."))
        return
    if owner in board.left:
        board.emit(EndSession(route, "API_KEY_UNKNOWN"))
        return
    worker = board.fleet.workers.get(worker_id)
    known = worker.session if worker is not None else None
    resumed = bool(session_id)
    order = order_of(session_id) if resumed else (board.epoch, board.session_ids.count + 1)
    if known is not None and known.order > order:
        board.emit(EndSession(route, "SESSION_SUPERSEDED", name))
        return
    full = len(board.sessions) >= board.limits.max_sessions
    if (full and known is None) or (worker is None and not _make_room(board, owner)):
        board.emit(EndSession(route, "TOO_MANY_SESSIONS", str(board.limits.max_sessions)))
        return
    if worker is None:
        worker = Worker(worker_id, owner, name)
        board.fleet.add(worker)
    session = Session(session_id if resumed else board.session_ids.next(), order, worker_id, route, now)
    session.hears_idle = hears_idle
    if known is not None:
        _replace(board, known, session, name)
    worker.session, worker.agent, worker.declared, worker.news = session, agent, capabilities, None
    worker.name = name  # A restart may have known it by its leases alone.
    worker.last_seen_ms = now_ms
    board.sessions[route] = session
    board.dirty_workers[worker] = None
    board.fleet.refit(worker)
    returning.hold_to_owner(board, worker, now)
    session.grace_until = now + board.limits.resume_grace
    board.deadlines.add(session.grace_until, session)
    board.emit(SayTerms(route, worker) if resumed else Welcome(route, session.session_id, worker))


def _make_room(board: Board, owner: AccountId) -> bool:
    """Whether one more worker of this owner may be known; who has been away longest is forgotten for it."""
    fleet = board.fleet
    if fleet.owned(owner) >= MAX_WORKERS_OF_ONE:
        return _forget_one(board, owner)
    return len(fleet.workers) < MAX_WORKERS or _forget_one(board)


def _forget_one(board: Board, owner: AccountId | None = None) -> bool:
    fleet = board.fleet
    # Of one owner they are few; to look through all for each new name of his would hold up everybody.
    workers = fleet.workers if owner is None else fleet.standings[owner].workers
    away = [worker for worker in workers.values() if worker.away]
    if not away:
        return False
    # Never painted first: names are free, so whoever would push others out brings only such.
    away.sort(key=lambda worker: (worker.images_done > 0, worker.last_seen_ms))
    for worker in away[: 1 if owner else FORGOTTEN_AT_ONCE]:
        board.fleet.forget(worker)
    return True


def _replace(board: Board, old: Session, new: Session, name: str) -> None:
    if old.order == new.order:
        # The same session by another way: it goes on.
        new.ready_since_ms = old.ready_since_ms
    elif old.route is not None:
        board.emit(EndSession(old.route, "SESSION_SUPERSEDED", name))
    new.lost_by_mesh = old.lost_by_mesh
    if old.route is not None:
        board.sessions.pop(old.route, None)
    old.state = SessionState.ENDED


@dataclass(frozen=True, slots=True)
class Restatement:
    """Everything that a worker holds; what it does not name, it does not have."""

    epoch: int
    slots: int
    draining: bool
    held: tuple[HeldLease, ...] = ()
    outcomes: tuple[tuple[LeaseId, JobId, Result], ...] = ()


def restated(board: Board, session: Session, worker: Worker, stated: Restatement, now: float, now_ms: int) -> None:
    """From here on the session may be given jobs."""
    route = session.route
    if route is None or stated.epoch not in (0, board.epoch):
        return
    session.state = SessionState.READY
    session.ready_since_ms = session.ready_since_ms or now_ms
    named = {held.lease_id for held in stated.held} | {lease_id for lease_id, _, _ in stated.outcomes}
    for lease_id, job_id, result in stated.outcomes:
        reporting.outcome(board, worker, route, lease_id, job_id, result, now)
    for lease in list(worker.leases.values()):
        # What was lent since its first restatement here may have crossed a second one, which a relay that broke twice
        # asks for: if it never came, it makes no progress.
        if lease.lease_id not in named and lease.granted_at < session.stated_at:
            # It may never have heard of what it was lent shortly before its gateway or the scheduler was away.
            by_mesh = session.lost_by_mesh or order_of(lease.lease_id)[0] < board.epoch
            fault = Fault.MESH if by_mesh else Fault.WORKER
            returning.give_back(board, lease, LeaseState.LAPSED, now, fault=fault)
    session.lost_by_mesh = False
    session.stated_at = min(session.stated_at, now)
    session.slots = max(0, min(stated.slots, board.limits.max_slots))
    for held in stated.held:
        _keep(board, worker, route, held, now)
    demanded(board, session, worker, stated.slots, stated.draining, now)


def _keep(board: Board, worker: Worker, route: Route, held: HeldLease, now: float) -> None:
    lease = worker.leases.get(held.lease_id)
    if lease is None:
        lease = _come_back(board, worker, held, now)
    if lease is None:
        job = board.jobs.get(held.job_id)
        reason = Revoked.UNKNOWN
        if job is not None and job.state in (JobState.SETTLING, JobState.ENDED):
            reason = settling.REVOKED_FOR[job.ending]
        elif job is not None and job.lease(held.lease_id) is not None:
            reason = Revoked.LAPSED
        board.emit(Revoke(route, held.lease_id, reason))
        return
    lending.progressed(board, worker, lease.lease_id, held.step, now, held.stage)
    lease.touched_at = max(lease.touched_at, now + board.limits.resume_grace - lease.ttl)


def _come_back(board: Board, worker: Worker, held: HeldLease, now: float) -> Lease | None:
    """A lease that lapsed goes on if its job is still waiting; so does one whose row a crash has lost."""
    job = board.jobs.get(held.job_id)
    if job is None or job.state is not JobState.QUEUED or not job.ticket:
        return None
    lease = job.lease(held.lease_id)
    if lease is None:
        lost = 0 < order_of(held.lease_id)[0] < board.epoch
        if not lost or returning.exhausted(board, job) or not _could_have(board, worker, job):
            return None
        board.queue.remove(job)
        lease = Lease(held.lease_id, job, worker.worker_id, worker.owner, granted_at=now)
        lease.ttl = lending.time_to_progress(board, worker, job)
        job.leases.append(lease)
    elif lease.worker_id != worker.worker_id or lease.state is not LeaseState.LAPSED or job.leases[-1] is not lease:
        return None
    elif worker.standing.full:
        return None  # Its owner holds as much as he may by now.
    else:
        board.queue.remove(job)
    lease.touched_at = now
    lending.lend(board, worker, lease, now)
    return lease


def _could_have(board: Board, worker: Worker, job: Job) -> bool:
    """Whether this worker may be lent this job now: a lease that nobody remembers is believed no further than that."""
    terms, session = job.generation.terms, worker.session
    return (
        session is not None
        and len(worker.leases) < session.slots
        and not worker.standing.full
        and why_not(signature_of(job), worker, terms.model, board.speeds) is None
    )


def demanded(board: Board, session: Session, worker: Worker, slots: int, draining: bool, now: float) -> None:
    """How many assignments the worker wants to hold."""
    session.slots = max(0, min(slots, board.limits.max_slots))
    session.draining = draining
    board.fleet.changed(worker)
    idling.tell(board, worker, now)


def capable(board: Board, worker: Worker, read: Callable[[], Capabilities], now: float) -> None:
    """What the worker can do now. Who says that again and again is believed once in CAPABLE_PAUSE, with what it said
    last: to list a worker anew costs more than to say so."""
    waits = worker.news is not None  # Then it is looked at already: however often it is said, it is one deadline.
    worker.news = read
    if now >= worker.capable_from:
        _take_news(board, worker, now)
    elif not waits:
        board.deadlines.add(worker.capable_from, worker)


def _take_news(board: Board, worker: Worker, now: float) -> None:
    """Read what it said last, if that is not done yet."""
    read, worker.news = worker.news, None
    if read is not None:
        worker.capable_from = now + CAPABLE_PAUSE
        worker.declared = read()
        board.dirty_workers[worker] = None
        board.fleet.refit(worker)


def closed(board: Board, route: Route, now: float, now_ms: int, *, by_mesh: bool = False) -> None:
    """A worker's stream has ended, or its relay has (`by_mesh`): the session may come back within the grace."""
    session = board.sessions.pop(route, None)
    if session is None or session.route != route:
        return
    worker = board.fleet.workers[session.worker_id]
    worker.news = None  # Who comes back says it anew; who is forgotten meanwhile must not be written again for it.
    session.route = None
    session.state = SessionState.ADRIFT
    session.lost_by_mesh = by_mesh
    session.grace_until = now + board.limits.resume_grace
    worker.last_seen_ms = now_ms
    board.dirty_workers[worker] = None
    board.fleet.changed(worker)
    if not worker.leases:
        _gone(board, session, worker)
        return
    board.deadlines.add(session.grace_until, session)


def look_at(board: Board, session: Session, now: float) -> None:
    """A session's grace may be over: what it held is lent to others."""
    if session.grace_until > now:
        board.deadlines.add(session.grace_until, session)
        return
    worker = board.fleet.workers[session.worker_id]
    if worker.session is not session:
        return
    # Who came back and does not say what it holds is not away because of the mesh.
    by_mesh = session.lost_by_mesh and session.state is SessionState.ADRIFT
    for lease in list(worker.leases.values()):
        lending.lapse(board, lease, now, fault=Fault.MESH if by_mesh else Fault.WORKER)
    if session.state is SessionState.ADRIFT:
        _gone(board, session, worker)


def look_at_worker(board: Board, worker: Worker, now: float) -> None:
    """It has rested; or, after a restart, it has not come back for its leases; or it has said anew what it can do."""
    if now >= worker.capable_from:
        _take_news(board, worker, now)
    if worker.rests_until and worker.rests_until <= now:
        worker.rests_until = 0.0
        board.fleet.changed(worker)
    ended = [model for model, until in worker.withheld.items() if until <= now]
    for model in ended:
        del worker.withheld[model]
    if ended and worker.session is not None:
        board.fleet.refit(worker)
    idling.tell(board, worker, now)
    if worker.session is None:
        for lease in list(worker.leases.values()):
            lending.lapse(board, lease, now, fault=Fault.MESH)


def pause(board: Board, worker: Worker, paused: bool, now: float, now_ms: int) -> None:
    """Its owner's wish: a paused worker keeps its leases and gets no new ones."""
    worker.paused = paused
    if worker.session is not None and worker.session.ready:
        worker.session.ready_since_ms = 0 if paused else worker.session.ready_since_ms or now_ms
    board.dirty_workers[worker] = None
    board.fleet.changed(worker)
    idling.tell(board, worker, now)


def _gone(board: Board, session: Session, worker: Worker) -> None:
    session.state = SessionState.ENDED
    if worker.session is session:
        worker.session = None
    board.fleet.present(worker)
