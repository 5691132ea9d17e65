"""Kudos for being there, in buckets of ten minutes: for models that were in demand, to workers whose work somebody paid
for, for the part of the time in which they really offered it.

Being there is claimed and not shown, so whatever pays for it alone pays farms. What counts here somebody else had to
pay for: a model is in demand, and a worker is proven, only by pictures that were paid for by an account that is not the
owner's. How much a reward is, and how much all rewards of a day may be, the ledger decides.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from horde.scheduler.core.effects import RewardUptime
from horde.scheduler.core.job import ANONYMOUS, MESH, AccountId, Ending, Job, WorkerId

if TYPE_CHECKING:
    from horde.scheduler.core.board import Board
    from horde.scheduler.core.fleet import Worker

BUCKET_MS = 600_000
LOOK_MS = 60_000
"""How often it is looked whether workers are there."""
DEMAND_MS = 3_600_000
"""How long a model is in demand after a picture that somebody paid for."""
PROVEN_MS = 24 * 3_600_000
"""How long a worker is proven after one."""


class Record:
    """What was painted and paid for lately, and who was there since the bucket began. It begins empty with each leader:
    what it says is at most a day old anyway."""

    __slots__ = ("_demand", "_proven", "bucket", "looks", "seen")

    def __init__(self) -> None:
        self._demand: dict[str, dict[AccountId, int]] = {}
        """When a picture of a model was last paid for, by the last two who did: one of them is somebody else."""
        self._proven: dict[WorkerId, int] = {}
        self.bucket = -1
        self.looks = 0
        """Since the bucket began."""
        self.seen: Counter[WorkerId] = Counter()
        """At how many of them a worker was there."""

    def paid(self, job: Job, now_ms: int) -> None:
        """A job has ended and the ledger has paid for it. Anonymous asks for nothing and pays nothing: it proves
        nothing."""
        payer, winner = job.generation.account_id, job.winner
        if job.ending is not Ending.DONE or winner is None or payer in (ANONYMOUS, MESH, winner.owner):
            return
        self._proven[winner.worker_id] = now_ms
        payers = self._demand.setdefault(job.generation.terms.model, {})
        payers.pop(payer, None)
        payers[payer] = now_ms
        while len(payers) > 2:
            del payers[next(iter(payers))]

    def wanted(self, owner: AccountId, now_ms: int) -> set[str]:
        """Models that somebody else than this owner wants."""
        return {
            model
            for model, payers in self._demand.items()
            if any(payer != owner and now_ms - paid_ms < DEMAND_MS for payer, paid_ms in payers.items())
        }

    def verified(self, now_ms: int) -> list[WorkerId]:
        """Workers whose work somebody else paid for lately."""
        return [worker_id for worker_id, paid_ms in self._proven.items() if now_ms - paid_ms < PROVEN_MS]

    def begin(self, bucket: int, now_ms: int) -> None:
        """A bucket begins: what is too old to count is forgotten."""
        self.bucket, self.looks = bucket, 0
        self.seen.clear()
        self._proven = {owner: self._proven[owner] for owner in self.verified(now_ms)}
        fresh = {
            m: {a: ms for a, ms in payers.items() if now_ms - ms < DEMAND_MS} for m, payers in self._demand.items()
        }
        self._demand = {model: payers for model, payers in fresh.items() if payers}


def look(board: Board, now_ms: int) -> None:
    """Note who is there, and reward the bucket that has just ended. After a jump of the clock nothing is rewarded."""
    record, bucket = board.record, now_ms // BUCKET_MS
    if bucket != record.bucket:
        if bucket == record.bucket + 1:
            _reward(board, now_ms)
        record.begin(bucket, now_ms)
    record.looks += 1
    checkers = (
        {standing.owner for standing in board.fleet.standings.values() if standing.checker}
        if board.checks.part
        else set()
    )
    for worker_id in record.verified(now_ms):
        worker = board.fleet.workers.get(worker_id)
        if worker is not None and _offers(worker) and _looked_at(worker, checkers):
            record.seen[worker_id] += 1


def _looked_at(worker: Worker, checkers: set[AccountId]) -> bool:
    """Whether pictures of its owner were looked at and were right; where nobody else could look, that they were paid
    for is enough."""
    standing = worker.standing
    return not standing.doubt and bool(standing.verified or not checkers - {standing.owner})


def _offers(worker: Worker) -> bool:
    """Whether it takes jobs now, or is busy with some."""
    session = worker.session
    return worker.ready and session is not None and session.slots > 0 and not worker.rests_until


def _reward(board: Board, now_ms: int) -> None:
    """Repeating it is harmless: the ledger pays a bucket once."""
    record = board.record
    began_ms = record.bucket * BUCKET_MS
    rewarded: list[tuple[Worker, int, int]] = []
    wanted: dict[AccountId, set[str]] = {}
    for worker_id, seen in record.seen.items():
        worker = board.fleet.workers.get(worker_id)
        session = worker.session if worker is not None else None
        if worker is None or session is None or not worker.ready or not 0 < session.ready_since_ms <= began_ms:
            continue
        if worker.owner not in wanted:
            wanted[worker.owner] = record.wanted(worker.owner, now_ms)
        models = len(wanted[worker.owner] & worker.capabilities.offers.keys())
        if models:
            rewarded.append((worker, models, seen * 1000 // record.looks))
    # Of each owner the same, however many workers he brings: among owners first, then among his workers.
    workers_of = Counter(worker.owner for worker, _, _ in rewarded)
    for worker, models, permille in rewarded:
        sharers = len(workers_of) * workers_of[worker.owner]
        board.emit(RewardUptime(worker.worker_id, worker.owner, record.bucket, models, permille, sharers))


def until_next(now_ms: int) -> float:
    """Seconds until the next look; one in ten of them ends a bucket."""
    return (LOOK_MS - now_ms % LOOK_MS) / 1000
