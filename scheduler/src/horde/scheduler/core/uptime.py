"""Kudos for being there: one reward for each worker that was ready through a whole bucket of ten minutes."""

from __future__ import annotations

from horde.scheduler.core.board import Board
from horde.scheduler.core.effects import RewardUptime

BUCKET_MS = 600_000


def reward(board: Board, now_ms: int) -> None:
    """Reward the bucket that has just ended. Repeating it is harmless: the ledger pays a bucket once."""
    bucket = now_ms // BUCKET_MS - 1
    for worker in board.fleet.workers.values():
        session = worker.session
        if worker.ready and session is not None and 0 < session.ready_since_ms <= bucket * BUCKET_MS:
            board.emit(RewardUptime(worker.worker_id, worker.owner, bucket, len(worker.capabilities.offers)))


def until_next(now_ms: int) -> float:
    """Seconds until a bucket ends."""
    return (BUCKET_MS - now_ms % BUCKET_MS) / 1000
