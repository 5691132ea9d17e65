"""What must be true once everything is over: all has ended, as the books, the database and the buckets say alike."""

from __future__ import annotations

from typing import Any

from faults.services import Mesh
from faults.truth import Asked
from faults.virtual import START
from horde.ledger.core.audit import audit
from horde.scheduler.core.job import Ending, JobState

ENOUGH_SECONDS = 700.0
"""A job that has so long left when everything is well again must not run out of time."""


def compare(mesh: Mesh, healed_at: float) -> None:
    """Look at everything that is durable, and at what the leader still has in memory."""
    truth, durable = mesh.truth, mesh.durable
    journal = durable.ledger
    truth.must(not journal._holds, f"holds without a job: {list(journal._holds)[:3]}")
    truth.must(truth.held == truth.ends.keys(), "what was held and what was ended differ")
    report = audit(journal.auditing(), 0)
    truth.must(report.finding is None and report.sum_mkudos == 0, f"the journal: {report.finding}")
    for asked in truth.asked.values():
        _compare_generation(mesh, asked, healed_at)
    kept = [key for key in durable.private.under("claims/", "inputs/") if not _unclaimed(mesh, key)]
    truth.must(not kept, f"inputs are kept of what is over: {kept[:2]}")
    _compare_memory(mesh)


def _compare_generation(mesh: Mesh, asked: Asked, healed_at: float) -> None:
    truth = mesh.truth
    rows = [mesh.durable.scheduler.jobs.get(asked.job_id(index)) for index in range(asked.count)]
    if asked.deleted:
        left = [key for key in asked.gone if mesh.durable.private.there(key) is not None]
        truth.must(not left, f"{asked.generation_id}: deleted, and its pictures are there: {left}")
    elif asked.accepted:
        ended = all(row is not None and row["state"] == JobState.ENDED for row in rows)
        truth.must(ended, f"{asked.generation_id}: accepted, and not ended")
    elif asked.refused:
        truth.must(not any(rows), f"{asked.generation_id}: refused, and its jobs are there")
        held = any(asked.job_id(index) in truth.held for index in range(asked.count))
        truth.must(not held, f"{asked.generation_id}: refused, and held")
    for row in rows:
        if row is not None:
            _compare_row(mesh, row, asked, healed_at)


def _compare_row(mesh: Mesh, row: Any, asked: Asked, healed_at: float) -> None:
    truth = mesh.truth
    generation = mesh.durable.scheduler.generations[row["generation_id"]]
    left = (generation["accepted_at_ms"] + generation["ttl_ms"]) / 1000 - (START.timestamp() + healed_at)
    starved = row["ending"] == Ending.EXPIRED and left > ENOUGH_SECONDS
    truth.must(not starved, f"{row['job_id']}: ran out of time, {left:.0f} s after all was well")
    truth.must(row["ending"] != Ending.CANCELLED or asked.cancelled, f"{row['job_id']}: cancelled by nobody")
    if row["ending"] == Ending.DONE:
        truth.ended(row)


def _unclaimed(mesh: Mesh, key: str) -> bool:
    """Of an input whose generation never was: those are swept after an hour."""
    return key.startswith("inputs/") and mesh.durable.private.there("claimed/" + key[7:]) is None


def _compare_memory(mesh: Mesh) -> None:
    """Everything is as it was before anybody asked."""
    engine, truth = mesh.engine, mesh.truth
    assert engine is not None
    board = engine.board
    truth.must(board.live_jobs == 0, f"{board.live_jobs} jobs live in memory, and none in the database")
    truth.must(not board.live_by_requester, f"requesters have live generations: {dict(board.live_by_requester)}")
    truth.must(not board.queue.models, f"queues: {list(board.queue.models)}")
    # The list itself is looked through when the next is hedged.
    truth.must(not any(lease.hedged for lease in board.hedged), "leases are hedged")
    truth.must(not board.parked, "outcomes are parked")
    lent = [worker.name for worker in board.fleet.workers.values() if worker.leases]
    truth.must(not lent, f"workers hold leases: {lent}")
    stuck = [courier.name for courier in engine.errands.couriers() if courier.stuck]
    truth.must(not stuck, f"asked for ever: {stuck}")
