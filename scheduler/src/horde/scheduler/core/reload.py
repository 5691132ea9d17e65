"""After a restart: everything that was written and is not over goes on from where it was. What may be much is taken in
one by one, so that others can have their turns in between."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator

from horde.scheduler.core import accepting, checking, lending, returning, settling
from horde.scheduler.core.board import Board
from horde.scheduler.core.fleet import MAX_WORKERS, MAX_WORKERS_OF_ONE, Capabilities, Worker
from horde.scheduler.core.job import AccountId, Generation, Job, JobState, Phase, WorkerId
from horde.scheduler.core.leases import Lease, LeaseState
from horde.scheduler.core.owner_rows import restore_owner
from horde.scheduler.core.rows import Row


def owners(board: Board, rows: Iterable[Row]) -> None:
    """What was found of owners' work."""
    for row in rows:
        restore_owner(board.fleet.standing_of(AccountId(row["owner"])), row)


def workers(board: Board, rows: Iterable[Row], read: Callable[[bytes], Capabilities]) -> Iterator[None]:
    """Know workers of the last weeks again, as many as may be known, one by one."""
    for row in sorted(rows, key=lambda row: -row["last_seen_ms"]):
        if board.fleet.owned(AccountId(row["owner"])) >= MAX_WORKERS_OF_ONE or len(board.fleet.workers) >= MAX_WORKERS:
            continue  # Their rows outlive those that were forgotten to make room.
        worker = Worker(
            WorkerId(row["worker_id"]),
            AccountId(row["owner"]),
            row["name"],
            agent=row["agent"],
            declared=read(row["capabilities"]),
            paused=bool(row["paused"]),
            description=row["description"],
            images_done=row["images_done"],
            paid_images=row["paid_images"],
            jobs_failed=row["jobs_failed"],
            last_seen_ms=row["last_seen_ms"],
        )
        board.fleet.add(worker)
        known = {(model, kind): value for model, kind, value in json.loads(row["speeds"])}
        board.speeds.restore(worker.worker_id, known)
        yield
    board.speeds.restored()


def generations(board: Board, stored: Iterable[Generation], now: float) -> Iterator[None]:
    """Drive on everything that is not closed, one by one. Leases wait one grace for their workers to say that they hold
    them."""
    read = []
    for generation in stored:
        read.append(generation)
        board.add(generation)
        yield
    checking.restore(board)
    for generation in read:
        yield
        board.deadlines.add(generation.deadline, generation)
        accepting.drive(board, generation)
        if generation.phase is Phase.REFUSED:
            accepting.release(board, generation)
        if generation.phase is not Phase.ACCEPTED:
            continue
        for job in generation.jobs:
            _go_on(board, job, now)
        settling.wind_up(board, generation)


def _go_on(board: Board, job: Job, now: float) -> None:
    settling.carry_out(board, job)
    if job.state is JobState.QUEUED:
        if job.leases:
            returning.bar(board, job, now)
        board.queue.push(job, now)
        board.fresh.append(job)
    elif job.state is JobState.LEASED:
        _wait_for(board, job.leases[-1], now)


def _wait_for(board: Board, lease: Lease, now: float) -> None:
    worker = board.fleet.workers.get(lease.worker_id)
    if worker is None:
        worker = Worker(lease.worker_id, lease.owner, "")
        board.fleet.add(worker)
    lease.state = LeaseState.OPEN
    lease.behind_at = lending.behind_at(board, worker, lease)
    board.fleet.took(worker, lease)
    board.deadlines.add(min(lease.lapses_at, lease.behind_at), lease)
    board.deadlines.add(now + board.limits.resume_grace, worker)
