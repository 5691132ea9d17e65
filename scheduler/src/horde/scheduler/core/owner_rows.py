"""Workers, what is known of their owners, and strikes, as they are written; and reading them back."""

from __future__ import annotations

import json

from horde.scheduler.core.board import Board
from horde.scheduler.core.fleet import Worker
from horde.scheduler.core.job import AccountId, JobId, WorkerId
from horde.scheduler.core.leases import Fault
from horde.scheduler.core.rows import Changes, Moment, Row
from horde.scheduler.core.standing import Standing
from horde.scheduler.core.strikes import Strike, StrikeReason


def take_changed(board: Board, changes: Changes, moment: Moment) -> None:
    """Have written what has changed of workers and owners; of an owner that has left, only what is here still."""
    fleet, left = board.fleet, board.left
    changes.workers = [
        worker_row(worker, board.speeds.of(worker.worker_id))
        for worker in board.dirty_workers
        if worker.owner not in left or fleet.workers.get(worker.worker_id) is worker
    ]
    changes.owners = [
        owner_row(standing, moment.now_ms)
        for standing in board.dirty_owners
        if standing.owner not in left or fleet.standings.get(standing.owner) is standing
    ]
    changes.strikes = [strike_row(strike, moment) for strike in board.dirty_strikes if strike.owner not in left]
    changes.gone_workers, changes.gone_owners = list(board.gone_workers), list(board.gone_owners)
    for taken in (board.dirty_workers, board.dirty_owners, board.dirty_strikes, board.gone_workers, board.gone_owners):
        taken.clear()


def worker_row(worker: Worker, speeds: dict[tuple[str, int], float]) -> Row:
    return {
        "worker_id": worker.worker_id,
        "owner": worker.owner,
        "name": worker.name,
        "agent": worker.agent,
        "capabilities": worker.declared.words,
        "paused": worker.paused,
        "description": worker.description,
        "images_done": worker.images_done,
        "paid_images": worker.paid_images,
        "jobs_failed": worker.jobs_failed,
        "last_seen_ms": worker.last_seen_ms,
        "speeds": json.dumps([[model, kind, value] for (model, kind), value in speeds.items()]),
    }


def owner_row(standing: Standing, now_ms: int) -> Row:
    record = {
        "verified": standing.verified,
        "refuted": standing.refuted,
        "doubt": standing.doubt,
        "doubted": list(standing.doubted),
        "caught": standing.caught,
        "contradicted": standing.contradicted,
        "verdicts": list(standing.verdicts),
        "faults": {int(fault): count for fault, count in standing.faults.items()},
    }
    return {"owner": standing.owner, "changed_ms": now_ms, "record": json.dumps(record)}


def restore_owner(standing: Standing, row: Row) -> None:
    """What was written of an owner."""
    record = json.loads(row["record"])
    standing.verified, standing.doubt, standing.caught = record["verified"], record["doubt"], record["caught"]
    standing.contradicted = record["contradicted"]
    # Records of before this was counted have what was in doubt then.
    standing.refuted = record.get("refuted", len(record["doubted"]))
    standing.doubted = dict.fromkeys(map(JobId, record["doubted"]))
    standing.verdicts = {(verdict, JobId(job_id)): None for verdict, job_id in record["verdicts"]}
    standing.faults.update({Fault(int(fault)): count for fault, count in record["faults"].items()})


def strike_row(strike: Strike, moment: Moment) -> Row:
    return {
        "strike_id": strike.strike_id,
        "owner": strike.owner,
        "worker_id": strike.worker_id,
        "worker_name": strike.worker_name,
        "reason": int(strike.reason),
        "at_ms": moment.wall(strike.at),
        "detail": strike.detail,
        "forgiven": strike.forgiven,
    }


def strike_from(row: Row, moment: Moment) -> Strike:
    """A strike as it was written."""
    return Strike(
        row["strike_id"],
        AccountId(row["owner"]),
        WorkerId(row["worker_id"]),
        row["worker_name"],
        StrikeReason(row["reason"]),
        moment.core(row["at_ms"]),
        row["detail"],
        row["forgiven"],
    )
