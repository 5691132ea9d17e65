"""What a comparison of pictures means: who was right, who is alone with his picture, and what follows from it.

Nobody is blamed before a third opinion, and nobody for what no two others agree on.
"""

from __future__ import annotations

from horde.scheduler.core import asking, returning, settling
from horde.scheduler.core.board import Board
from horde.scheduler.core.checks import Case, Known, Opinion, PictureRef, opinion_of
from horde.scheduler.core.effects import DiscardObject, SayTerms, TellVerdict
from horde.scheduler.core.fleet import Worker
from horde.scheduler.core.job import (
    Ending,
    Generation,
    Job,
    JobId,
    Phase,
)
from horde.scheduler.core.leases import Fault
from horde.scheduler.core.likeness import Allowed, Distance, nothing_in_common
from horde.scheduler.core.standing import Standing
from horde.scheduler.core.strikes import StrikeReason

SHARED = 2
"""`job_pb2.PLACEMENT_SHARED`."""
RIGHT, WRONG, CHECKER_WRONG, OPEN = "right", "wrong", "checker wrong", "undecided"
"""How a case ends."""
BLANK = 2_000
"""Thousandths of a level of contrast: one colour."""
NOTHING_IN_COMMON = "Two others painted the same job alike, and this picture has nothing in common with theirs."
NOT_ALIKE = "Two others painted the same job alike, and this picture is another one."


def compared(board: Board, job: Job, distances: tuple[Distance, ...], now: float, now_ms: int) -> None:
    """The router has compared a check's picture; nothing, where a picture is there no more."""
    check, lease = job.generation.check, job.winner
    if check is None or lease is None or job.committed or job.ending is not Ending.DONE:
        return
    settling.committed(board, job, job.size_bytes, job.format, 0)
    case = check.case
    if case.over:
        job.leavings.add(lease.lease_id)
        board.emit_after_save(DiscardObject(job, lease.lease_id))
        return
    case.opinions.append(opinion_of(lease, PictureRef(job.job_id, lease.lease_id)))
    board.dirty_generations[case.generations[0]] = None
    if len(distances) != len(case.opinions):
        close(board, case, OPEN)
    elif case.canary:
        _judge_canary(board, case, distances[0], now)
    elif len(case.opinions) == 1:
        _judge_first(board, case, job, distances[0], now, now_ms)
    else:
        _judge_third(board, case, distances, now)


def _same_weights(one: Opinion, other: Opinion) -> bool:
    return not (one.digest and other.digest) or one.digest == other.digest


def _allowed(board: Board, case: Case, one: Opinion, other: Opinion) -> Allowed:
    return board.checks.tolerances.allowed(case.model, one.device, other.device)


def _learn(board: Board, case: Case, one: Opinion, other: Opinion, distance: Distance) -> None:
    """Of trusted owners it is learned how far apart devices paint."""
    standings = [board.fleet.standings.get(opinion.owner) for opinion in (one, other)]
    if all(standing is not None and standing.checker for standing in standings):
        board.checks.tolerances.learn(case.model, one.device, other.device, distance)


def _judge_first(board: Board, case: Case, job: Job, distance: Distance, now: float, now_ms: int) -> None:
    subject, checker = case.subject, case.opinions[0]
    if not _same_weights(subject, checker):
        close(board, case, OPEN)
    elif _allowed(board, case, subject, checker).holds(distance):
        _learn(board, case, subject, checker, distance)
        _right(board, case, job)
    elif not asking.ask(board, case, job.generation, 0, now, now_ms):
        close(board, case, OPEN)


def _judge_third(board: Board, case: Case, distances: tuple[Distance, ...], now: float) -> None:
    subject, checker, third = case.subject, *case.opinions
    with_subject, with_checker = distances
    subject_right = _allowed(board, case, subject, third).holds(with_subject)
    checker_right = _allowed(board, case, checker, third).holds(with_checker)
    if checker_right:
        _learn(board, case, checker, third, with_checker)
    if subject_right and checker_right:
        _right(board, case)
    elif checker_right:
        _wrong(board, subject, with_subject, now)
        close(board, case, WRONG)
    elif subject_right:
        _wrong(board, checker, with_checker, now)
        _right(board, case, verdict=CHECKER_WRONG)
    else:
        close(board, case, OPEN)


def _judge_canary(board: Board, case: Case, distance: Distance, now: float) -> None:
    """Two trusted owners have painted it alike already."""
    subject, suspect = case.subject, case.opinions[0]
    if not _same_weights(subject, suspect):
        close(board, case, OPEN)
    elif _allowed(board, case, subject, suspect).holds(distance):
        _right(board, case)
    else:
        _wrong(board, suspect, distance, now)
        close(board, case, WRONG)


def _right(board: Board, case: Case, like: Job | None = None, verdict: str = RIGHT) -> None:
    """What was looked at is what it should be."""
    fleet, standing = board.fleet, board.fleet.standings.get(case.suspect)
    if standing is None:
        close(board, case, verdict)
        return
    was = (standing.proven, standing.checker)
    standing.was_right()
    board.dirty_owners[standing] = None
    worker = fleet.workers.get(case.opinions[0].worker_id if case.canary else case.subject.worker_id)
    if case.counts and worker is not None:
        count(board, worker)
    if (standing.proven, standing.checker) != was:
        fleet.rejudged(standing)
    _tell(board, standing, "verify", case.key if not case.canary else case.opinions[0].picture.job_id)
    if like is not None and case.subject.picture.placement == SHARED and standing.checker:
        board.checks.learn(case.model, Known(case.subject, like.generation, 0))
    close(board, case, verdict)


def _wrong(board: Board, alone: Opinion, distance: Distance, now: float) -> None:
    """Somebody is alone with his picture."""
    fleet, strange = board.fleet, nothing_in_common(distance)
    standing = fleet.standings.get(alone.owner)
    if standing is None:
        return  # Whoever it was has left.
    board.dirty_owners[standing] = None
    standing.faults[Fault.WORKER] += 1
    worker = fleet.workers.get(alone.worker_id)
    if worker is not None:
        blank = min(distance.contrast_one, distance.contrast_other) < BLANK
        reason = StrikeReason.BLANK_PICTURE if blank else StrikeReason.WRONG_PICTURE
        returning.strike(board, worker, alone, reason, now, NOTHING_IN_COMMON if strange else NOT_ALIKE)
    if standing.was_wrong(alone.picture.job_id, strange=strange):
        for doubted in standing.convict():
            _tell(board, standing, "slash", doubted)
        board.dirty_workers.update(dict.fromkeys(standing.workers.values()))
    fleet.rejudged(standing)


def _tell(board: Board, standing: Standing, verdict: str, job_id: JobId) -> None:
    """Have the ledger free or take a job's pay; written, for it must not be lost."""
    standing.verdicts[verdict, job_id] = None
    board.emit_after_save(TellVerdict(standing, verdict, job_id))


def told(board: Board, standing: Standing, verdict: str, job_id: JobId) -> None:
    """The ledger has heard."""
    if (verdict, job_id) in standing.verdicts:
        del standing.verdicts[verdict, job_id]
        board.dirty_owners[standing] = None


def ended(board: Board, job: Job) -> None:
    """A check job without a picture says nothing."""
    check = job.generation.check
    if check is not None and not check.case.over and job.ending is not Ending.DONE:
        board.checks.give_back(check.case.work)
        close(board, check.case, OPEN)


def refused(board: Board, generation: Generation) -> None:
    """The ledger has nothing left for checks today."""
    if generation.check is not None and not generation.check.case.over:
        board.checks.give_back(generation.check.case.work)
        close(board, generation.check.case, OPEN)


def count(board: Board, worker: Worker) -> None:
    """A picture speaks for its painter's owner."""
    most, before = board.limits.max_slots, worker.standing.slots(board.limits.max_slots)
    board.fleet.image_paid(worker)
    if worker.standing.slots(most) != before:
        for other in worker.standing.workers.values():
            if (route := board.route_of(other)) is not None:
                board.emit(SayTerms(route, other))
    if worker.standing.paid_images <= worker.standing.proven_images:
        # Until it is proven each of them matters; later they are written a few at a time.
        board.dirty_workers[worker] = None


def close(board: Board, case: Case, verdict: str) -> None:
    """A case is over: nothing is kept of its pictures."""
    if case.over:
        return
    case.over = True
    checks = board.checks
    checks.over[verdict] = checks.over.get(verdict, 0) + 1
    if checks.open.pop(case.key, None) is not None and (standing := board.fleet.standings.get(case.suspect)):
        standing.open_checks -= 1
    board.dirty_generations[case.generations[0]] = None
    for generation in case.generations:
        if generation.phase is not Phase.ACCEPTED:
            continue
        for job in generation.jobs:
            if job.winner is not None and job.ending is Ending.DONE:
                job.leavings.add(job.winner.lease_id)
                board.dirty_jobs[job] = None
                board.emit_after_save(DiscardObject(job, job.winner.lease_id))
        settling.wind_up(board, generation)
