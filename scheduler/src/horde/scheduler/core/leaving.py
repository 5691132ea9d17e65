"""Who leaves: workers, and owners with all that their work has said about them.

An owner that has left is never written again, whatever comes late: an outcome, a verdict, a strike, a session that a
gateway let in with a key that it had not heard of yet. Such a session ends as at the gateway, with API_KEY_UNKNOWN.
"""

from __future__ import annotations

from horde.scheduler.core import attaching
from horde.scheduler.core.board import Board
from horde.scheduler.core.effects import EndSession
from horde.scheduler.core.fleet import Worker
from horde.scheduler.core.job import AccountId


def owner_leaves(board: Board, owner: AccountId, now: float, now_ms: int) -> int:
    """Forget an owner with its workers, strikes and record, their rows too; how much of it is left for now.

    Its sessions end. What they held waits for its grace, and the record for looks that are not over and for what the
    ledger is still to be told.
    """
    board.has_left(owner)
    for strike in board.strikes.of(owner):
        board.dirty_strikes.pop(strike, None)
    board.strikes.forget(owner)
    standing = board.fleet.standings.get(owner)
    for worker in list(standing.workers.values()) if standing is not None else ():
        route = board.route_of(worker)
        if route is not None:
            board.emit(EndSession(route, "API_KEY_UNKNOWN"))
            attaching.closed(board, route, now, now_ms)
        if worker.away:
            worker_leaves(board, worker)
    if standing is not None and (standing.workers or standing.open_checks or standing.verdicts):
        return max(1, len(standing.workers))
    board.fleet.standings.pop(owner, None)
    board.gone_owners[owner] = None
    return 0


def worker_leaves(board: Board, worker: Worker) -> None:
    """Forget a worker that is away, its row too."""
    board.fleet.forget(worker)
    board.dirty_workers.pop(worker, None)
    board.gone_workers[worker.worker_id] = None
