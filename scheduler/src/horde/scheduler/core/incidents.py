"""An incident: a part of the mesh refuses everybody, and it looks as if everybody had failed.

Whose picture the router refuses has brought something that is none: a failure of the worker. Where it refuses owner
after owner, at job after job, and no picture passes in between, the router is broken, and it is nobody's failure. One
of those owners must be proven, for strangers may all be one.
"""

from __future__ import annotations

from horde.scheduler.core import returning
from horde.scheduler.core.board import Board
from horde.scheduler.core.job import AccountId
from horde.scheduler.core.leases import Fault, Lease

OWNERS = 3
"""Owners, or all that are here if they are fewer, and as many jobs; two at least."""
WINDOW = 600.0
"""Seconds in which their pictures were refused."""
MAX_REMEMBERED = 256
BECAUSE = "The storage router refused everybody's pictures then."


def upload_refused(board: Board, lease: Lease, now: float) -> bool:
    """Count an upload that was refused; whether it is the mesh's fault. Then those before it are forgiven."""
    refused = board.refused_uploads
    refused.append((lease, now))
    refused[:] = [(other, at) for other, at in refused[-MAX_REMEMBERED:] if at > now - WINDOW]
    owners = {other.owner for other, _ in refused}
    needed = max(2, _owners_here(board))
    standings = board.fleet.standings
    if (
        len(owners) < needed
        or len({other.job.job_id for other, _ in refused}) < needed
        or not any(owner in standings and standings[owner].proven for owner in owners)
    ):
        return False
    for other, _ in refused:
        if other.fault is Fault.WORKER:
            other.fault = Fault.NETWORK
            board.dirty_jobs[other.job] = None
            returning.forgive_lease(board, other, BECAUSE)
    return True


def _owners_here(board: Board) -> int:
    """How many owners are here, as far as that matters: anybody may have it asked, with each refused picture."""
    found: set[AccountId] = set()
    for worker in board.fleet.here:
        found.add(worker.owner)
        if len(found) == OWNERS:
            break
    return len(found)


def passed(board: Board) -> None:
    """A picture passed: the router works."""
    board.refused_uploads.clear()
