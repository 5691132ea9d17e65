"""Pictures that are looked at: part of what is painted is painted a second time by somebody trusted, and compared.

    a picture is paid -> sampled? -> check job (an ordinary job of the mesh's own) -> compared by the router
        near: right        far: a third opinion, by another trusted owner -> who is alone with his picture was wrong

Who asked for the picture has it already and hears of nothing. To workers a check looks like any job: same spec, same
grant, same price. What cannot be painted again the same way (it has inputs, or its painter had to deviate) is not; its
painter is given a *canary* instead, a job whose picture is known. The check's pictures are discarded with the verdict.
"""

from __future__ import annotations

from horde.scheduler.core import asking, judging
from horde.scheduler.core.board import Board
from horde.scheduler.core.checks import MAX_OPEN_OF_ONE, Case, Opinion, PictureRef, opinion_of
from horde.scheduler.core.effects import TellVerdict
from horde.scheduler.core.job import (
    ANONYMOUS,
    MESH,
    AccountId,
    Ending,
    Generation,
    Job,
    JobId,
    LeaseId,
    Phase,
    WorkerId,
)
from horde.scheduler.core.leases import Lease


def paid(board: Board, job: Job, now: float, now_ms: int) -> None:
    """A job has just ended and was paid for."""
    if job.generation.check is not None:
        judging.ended(board, job)
    elif job.ending is Ending.DONE and job.winner is not None:
        _painted(board, job, job.winner, now, now_ms)


def _painted(board: Board, job: Job, lease: Lease, now: float, now_ms: int) -> None:
    """A picture is in place: it is looked at, or it is believed."""
    generation, standing = job.generation, board.fleet.standings.get(lease.owner)
    counts = generation.account_id not in (ANONYMOUS, MESH, lease.owner)
    checks = board.checks
    checks.painted(generation.terms.work)
    if standing is None:
        return
    suspicious = lease.suspicious
    if not checks.part or not (suspicious or checks.chance() < standing.rate):
        _believe(board, lease, counts=counts)
        return
    urgent = suspicious or standing.rate >= 1.0
    if standing.open_checks >= MAX_OPEN_OF_ONE or not checks.afford(generation.terms.work, urgent=urgent):
        # It is not believed for that there is no room: who fills the room would be believed for it.
        if standing.proven:
            _believe(board, lease, counts=counts)
        return
    placement = generation.terms.placement
    subject = opinion_of(lease, PictureRef(job.job_id, object_name=job.object_name, placement=placement))
    case = Case(job.job_id, lease.owner, subject, generation.terms.model, generation.terms.work, counts, urgent)
    if generation.terms.input_ids or lease.deviated:
        begun = asking.give_canary(board, case, standing, now, now_ms)
    else:
        begun = asking.ask(board, case, generation, job.index, now, now_ms)
    if not begun:
        # Nobody trusted is here who could look: it is as where nobody looks.
        _believe(board, lease, counts=counts)


def _believe(board: Board, lease: Lease, *, counts: bool) -> None:
    """A picture speaks for its owner, if somebody else paid for it."""
    worker = board.fleet.workers.get(lease.worker_id)
    if counts and worker is not None:
        judging.count(board, worker)


def restore(board: Board) -> None:
    """After a restart: put the cases together again that were read back with their generations."""
    live = [generation for generation in board.generations.values() if generation.check is not None]
    by_id = {generation.generation_id: generation for generation in live}
    for generation in sorted(
        live, key=lambda candidate: candidate.check is not None and candidate.check.first is not None
    ):
        check = generation.check
        assert check is not None
        first = by_id.get(check.first) if check.first else generation
        if first is None or first.check is None:
            # The case was over, and its generation with it: this one's picture is for nobody.
            nobody = Opinion(PictureRef(JobId("")), AccountId(""), WorkerId(""), LeaseId(""))
            check.case = Case(JobId(""), AccountId(""), nobody, "", 0.0, counts=False, over=True)
            check.case.generations.append(generation)
        else:
            check.case = first.check.case
            if check.case.over:
                check.case.generations.append(generation)
            else:
                asking.opened(board, check.case, generation)
    for case in list(board.checks.open.values()):
        if not any(_goes_on(generation) for generation in case.generations):
            judging.close(board, case, judging.OPEN)
    for standing in board.fleet.standings.values():
        for verdict, job_id in standing.verdicts:
            board.emit_after_save(TellVerdict(standing, verdict, job_id))


def _goes_on(generation: Generation) -> bool:
    return generation.phase is not Phase.REFUSED and any(job.live and not job.committed for job in generation.jobs)
