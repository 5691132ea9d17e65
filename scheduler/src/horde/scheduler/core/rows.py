"""What is written, and reading it back: values of columns, without knowing of any database.

Spec and quote are opaque bytes beside the few columns that the core needs; leases are a JSON list within their job's
row, for there are few (MAX_LEASES) and they change together.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

from horde.scheduler.core.checks import check_of, check_terms
from horde.scheduler.core.job import (
    AccountId,
    Amounts,
    Deletion,
    Ending,
    Generation,
    GenerationId,
    Job,
    JobId,
    JobState,
    LeaseId,
    Mkudos,
    Phase,
    Terms,
    WorkerId,
)
from horde.scheduler.core.leases import Fault, Lease, LeaseState

Row = dict[str, Any]


@dataclass(slots=True)
class Stored:
    """A generation as it was written, with its jobs by index."""

    generation: Row
    jobs: list[Row] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Survey:
    """How much there is of an account; images that are done, and neither withdrawn nor expired."""

    generations: int = 0
    private_images: int = 0
    shared_images: int = 0


class SettledOrder(IntEnum):
    """An order in which settled images are listed; equal to the contract's."""

    BY_END = 1
    BY_JOB = 2
    """Only those that do not expire: the shared ones."""
    BY_OBJECT = 3
    """Only those that expire, which are the private ones; and those of which it is decided that they are done."""


@dataclass(frozen=True, slots=True)
class SettledQuery:
    """A page of what is done, in an order that has an index."""

    order: SettledOrder
    after: tuple[int, str] = (0, "")
    """The place before the first: of BY_END the moment and the job; else 0 and the id or name."""
    until: str = ""
    """BY_JOB and BY_OBJECT: the last id or name. Empty: no end."""
    ended_before_ms: int = 0
    """BY_END: what ended then or later is left out."""
    limit: int = 1_000


@dataclass(slots=True)
class Changes:
    """One transaction: all of it or nothing."""

    new_generations: list[Row] = field(default_factory=list)
    generations: list[Row] = field(default_factory=list)
    """Only the columns that change."""
    new_jobs: list[Row] = field(default_factory=list)
    jobs: list[Row] = field(default_factory=list)
    forgotten: list[GenerationId] = field(default_factory=list)
    """Generations to be deleted with their jobs."""
    refused: list[GenerationId] = field(default_factory=list)
    """Generations of which only the jobs are to be deleted."""
    emptied: list[GenerationId] = field(default_factory=list)
    """Those of the refused whose spec and quote are to be deleted, too."""
    given: list[GenerationId] = field(default_factory=list)
    """Generations of which nothing is to stay but their shared images: those are listed as long as they are there."""
    workers: list[Row] = field(default_factory=list)
    owners: list[Row] = field(default_factory=list)
    strikes: list[Row] = field(default_factory=list)
    gone_workers: list[WorkerId] = field(default_factory=list)
    """Workers whose rows are to be deleted, unless they are among `workers` again."""
    gone_owners: list[AccountId] = field(default_factory=list)
    """Owners whose records and strikes are to be deleted, unless there are newer ones."""

    def __bool__(self) -> bool:
        return bool(
            self.new_generations
            or self.generations
            or self.new_jobs
            or self.jobs
            or self.forgotten
            or self.refused
            or self.given
            or self.workers
            or self.owners
            or self.strikes
            or self.gone_workers
            or self.gone_owners
        )


@dataclass(frozen=True, slots=True)
class Moment:
    """The same moment on both clocks: the core's seconds, and milliseconds of the wall."""

    now: float
    now_ms: int

    def wall(self, at: float) -> int:
        return self.now_ms + int((at - self.now) * 1000)

    def core(self, at_ms: int) -> float:
        return self.now + (at_ms - self.now_ms) / 1000


def changing(generation: Generation) -> Row:
    """The columns of a generation that change."""
    return {
        "generation_id": generation.generation_id,
        "phase": int(generation.phase),
        "refusal": generation.refusal,
        "claimed": generation.claimed,
        "unusable": generation.unusable,
        "cancelled": generation.cancelled,
        "closed": generation.closed,
        "deletion": int(generation.deletion),
        "over_at_ms": over_at_ms(generation),
        "checks": generation.check.text() if generation.check is not None else "",
    }


def over_at_ms(generation: Generation) -> int | None:
    """When the last image of a closed generation is gone, and at the earliest when it was accepted.

    None while it is open, for ever where an image is shared and not withdrawn, and for a tombstone: those are not to be
    forgotten.
    """
    if not generation.closed or not generation.spec:
        return None
    if generation.check is not None:
        # With the next sweep: it holds the words of somebody who may have his own deleted, and nobody asks for it.
        return 0
    expiries = [job.expires_at_ms for job in generation.jobs if job.ending is Ending.DONE and not job.withdrawn]
    return (
        None if 0 in expiries else max(generation.accepted_at_ms, *expiries) if expiries else generation.accepted_at_ms
    )


def generation_row(generation: Generation) -> Row:
    return {
        **changing(generation),
        "request_id": generation.request_id,
        "account_id": generation.account_id,
        "digest": generation.digest,
        "spec": generation.spec,
        "quote": generation.quote,
        "seed": generation.seed,
        "flow": generation.flow,
        "weight": generation.weight,
        "accepted_at_ms": generation.accepted_at_ms,
        "ttl_ms": generation.ttl_ms,
        "traceparent": generation.traceparent,
    }


def job_row(job: Job, moment: Moment) -> Row:
    return {
        "job_id": job.job_id,
        "generation_id": job.generation.generation_id,
        "position": job.index,
        "object_name": job.object_name,
        "state": int(job.state),
        "ending": int(job.ending),
        "version": job.version,
        "leases": _leases_text(job, moment) if job.leases else "",
        "winner": job.winner.lease_id if job.winner is not None else "",
        "earned_mkudos": job.amounts.earned,
        "tax_mkudos": job.amounts.tax,
        "surcharge_mkudos": job.amounts.surcharge,
        "sha256": job.sha256,
        "size_bytes": job.size_bytes,
        "format": job.format,
        "expires_at_ms": job.expires_at_ms,
        "deviations": job.deviations,
        "committed": job.committed,
        "settlement": job.settlement,
        "detail": job.detail,
        "withdrawn": job.withdrawn,
        "ended_at_ms": job.ended_at_ms,
        "leavings": " ".join(sorted(job.leavings)),
    }


def _lease_values(lease: Lease, moment: Moment) -> tuple[str | int | float, ...]:
    return (
        lease.lease_id,
        lease.worker_id,
        lease.owner,
        lease.state,
        lease.step,
        lease.ttl,
        moment.wall(lease.granted_at),
        int(lease.fault),
    )


def _leases_text(job: Job, moment: Moment) -> str:
    return json.dumps([_lease_values(lease, moment) for lease in job.leases], separators=(",", ":"))


def generation_from(stored: Stored, terms: Terms, moment: Moment) -> Generation:
    """A generation as it was written. However the clock was changed meanwhile, it lives no longer than it may."""
    row = stored.generation
    check = check_of(row["checks"]) if row["checks"] else None
    if check is not None:
        terms = check_terms(terms, check.allowed, canary=check.first is None and check.case.canary)
    deadline = min(moment.core(row["accepted_at_ms"] + row["ttl_ms"]), moment.now + row["ttl_ms"] / 1000)
    generation = Generation(
        generation_id=GenerationId(row["generation_id"]),
        request_id=row["request_id"],
        account_id=AccountId(row["account_id"]),
        digest=row["digest"],
        spec=row["spec"],
        quote=row["quote"],
        terms=terms,
        seed=row["seed"],
        flow=row["flow"],
        weight=row["weight"],
        accepted_at_ms=row["accepted_at_ms"],
        ttl_ms=row["ttl_ms"],
        deadline=deadline,
        traceparent=row["traceparent"],
        phase=Phase(row["phase"]),
        refusal=row["refusal"],
        claimed=bool(row["claimed"]),
        unusable=row["unusable"],
        cancelled=bool(row["cancelled"]),
        closed=bool(row["closed"]),
        deletion=Deletion(row["deletion"]),
        written=True,
        reloaded=True,
        check=check,
    )
    generation.jobs = [_job_from(job, generation, moment) for job in stored.jobs]
    generation.version = max((job.version for job in generation.jobs), default=0)
    return generation


def _job_from(row: Row, generation: Generation, moment: Moment) -> Job:
    job = Job(
        JobId(row["job_id"]),
        row["position"],
        generation,
        row["object_name"],
        state=JobState(row["state"]),
        ending=Ending(row["ending"]),
        version=row["version"],
        amounts=Amounts(Mkudos(row["earned_mkudos"]), Mkudos(row["tax_mkudos"]), Mkudos(row["surcharge_mkudos"])),
        sha256=row["sha256"],
        size_bytes=row["size_bytes"],
        format=row["format"],
        expires_at_ms=row["expires_at_ms"],
        deviations=row["deviations"],
        committed=bool(row["committed"]),
        settlement=row["settlement"],
        detail=row["detail"],
        withdrawn=bool(row["withdrawn"]),
        ended_at_ms=row["ended_at_ms"],
        leavings={LeaseId(lease_id) for lease_id in row["leavings"].split()},
    )
    # Of most that waits after a restart nobody had a lease. Rows of before say the worker's name, too, after its owner.
    leases = json.loads(row["leases"]) if len(row["leases"] or "") > len("[]") else ()
    for lease_id, worker_id, owner, *_, state, step, ttl, granted_ms, fault in leases:
        lease = Lease(LeaseId(lease_id), job, WorkerId(worker_id), AccountId(owner))
        lease.fault = Fault(fault)
        lease.state, lease.step, lease.ttl = LeaseState(state), step, ttl
        lease.granted_at, lease.touched_at = min(moment.now, moment.core(granted_ms)), moment.now
        job.leases.append(lease)
    job.winner = job.lease(LeaseId(row["winner"])) if row["winner"] else None
    return job
