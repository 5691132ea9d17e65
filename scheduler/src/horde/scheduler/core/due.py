"""What is to be looked at again when its time has come."""

from __future__ import annotations

from functools import partial

from horde.scheduler.core import attaching, lending, settling
from horde.scheduler.core.board import Board
from horde.scheduler.core.deadlines import Relook, Subject
from horde.scheduler.core.fleet import Worker
from horde.scheduler.core.job import Generation, Job
from horde.scheduler.core.leases import Lease
from horde.scheduler.core.sessions import Session

AT_ONCE = 256
"""Things looked at before others have their turn: a gateway's workers may all be overdue in the same moment."""


def look(board: Board, now: float, at_most: int = AT_ONCE) -> None:
    """Look at what is due; more may be left that is due already."""
    board.deadlines.due(now, partial(_look_at, board, now), at_most)


def _look_at(board: Board, now: float, subject: Subject) -> None:
    match subject:
        case Lease():
            lending.look_at(board, subject, now)
        case Generation():
            settling.expire(board, subject, now)
        case Session():
            attaching.look_at(board, subject, now)
        case Worker():
            attaching.look_at_worker(board, subject, now)
        case Job():
            lending.try_again(board, subject, now)
        case Relook():
            lending.look_again(board, now)
