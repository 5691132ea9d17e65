"""Pictures that are looked at: part of what is painted is painted a second time by somebody trusted, and compared.

    a picture is paid -> sampled? -> check job (an ordinary job of the mesh's own) -> compared by the router
        near: right        far: a third opinion, by another trusted owner -> who is alone with his picture was wrong

Who asked for the picture has it already and hears of nothing. To workers a check looks like any job: same spec, same
grant, same price. What cannot be painted again the same way (it has inputs, or its painter had to deviate) is not; its
painter is given a *canary* instead, a job whose picture is known. The check's pictures are discarded with the verdict.
"""

from __future__ import annotations

from itertools import islice
from uuid import UUID, uuid5

from horde.scheduler.core import accepting, returning, settling
from horde.scheduler.core.board import Board
from horde.scheduler.core.checks import MAX_OPEN_OF_ONE, Case, Check, Known, Opinion, PictureRef, check_terms
from horde.scheduler.core.effects import DiscardObject, TellVerdict
from horde.scheduler.core.errors import QueueFull, TooManyGenerations
from horde.scheduler.core.fitting import signature_of_terms
from horde.scheduler.core.fleet import Worker
from horde.scheduler.core.job import (
    ANONYMOUS,
    MESH,
    SEED_SPACE,
    AccountId,
    Ending,
    Generation,
    Job,
    JobId,
    Phase,
    WorkerId,
    generation_id_of,
    make_jobs,
)
from horde.scheduler.core.leases import Fault, Lease
from horde.scheduler.core.likeness import Allowed, Distance, nothing_in_common
from horde.scheduler.core.shares import ANONYMOUS_WEIGHT
from horde.scheduler.core.standing import Standing

SHARED = 2
"""`job_pb2.PLACEMENT_SHARED`."""
LOOKED_THROUGH = 64
"""Workers that could paint a check, of whom some are chosen by chance."""
CHOSEN = 8
"""Workers that may have a check job, each of another owner."""
RIGHT, WRONG, CHECKER_WRONG, OPEN = "right", "wrong", "checker wrong", "undecided"


def paid(board: Board, job: Job, now: float, now_ms: int) -> None:
    """A job has just ended and was paid for."""
    if job.generation.check is not None:
        _ended(board, job)
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
    if standing.open_checks >= MAX_OPEN_OF_ONE or not checks.afford(
        generation.terms.work, urgent=suspicious or standing.rate >= 1.0
    ):
        # It is not believed for that there is no room: who fills the room would be believed for it.
        if standing.proven:
            _believe(board, lease, counts=counts)
        return
    subject = Opinion(
        PictureRef(job.job_id, object_name=job.object_name, placement=generation.terms.placement),
        lease.owner, lease.worker_id, lease.device, lease.digest.hex(),
    )  # fmt: skip
    case = Case(job.job_id, lease.owner, subject, generation.terms.model, generation.terms.work, counts)
    if generation.terms.input_ids or job.deviations:
        begun = _canary(board, case, standing, now, now_ms)
    else:
        begun = _ask(board, case, generation, job.index, now, now_ms)
    if not begun:
        # Nobody trusted is here who could look: it is as where nobody looks.
        _believe(board, lease, counts=counts)


def _believe(board: Board, lease: Lease, *, counts: bool) -> None:
    """A picture speaks for its owner, if somebody else paid for it."""
    worker = board.fleet.workers.get(lease.worker_id)
    if counts and worker is not None:
        _count(board, worker)


def _count(board: Board, worker: Worker) -> None:
    board.fleet.image_paid(worker)
    if worker.standing.paid_images <= worker.standing.proven_images:
        # Until it is proven each of them matters; later they are written a few at a time.
        board.dirty_workers[worker] = None


def _ask(board: Board, case: Case, like: Generation, index: int, now: float, now_ms: int) -> bool:
    """Have a picture painted once more, by somebody who is trusted and had nothing to do with it; whether it is."""
    painters = {case.subject.owner, *(opinion.owner for opinion in case.opinions)}
    terms = check_terms(like.terms, frozenset(), canary=False)
    signature = signature_of_terms(terms, frozenset())
    chosen: dict[AccountId, WorkerId] = {}
    here = list(islice(board.fleet.here.fitting(terms.model, signature, board.speeds), LOOKED_THROUGH))
    here.sort(key=lambda _: board.checks.chance())
    for worker in here:
        digest = worker.capabilities.offers[terms.model].digest.hex()
        others = not (digest and case.subject.digest) or digest == case.subject.digest
        if worker.owner not in painters and worker.willing and others and len(chosen) < CHOSEN:
            chosen.setdefault(worker.owner, worker.worker_id)
    return _submit(board, case, like, index, frozenset(chosen.values()), now, now_ms)


def _canary(board: Board, case: Case, suspect: Standing, now: float, now_ms: int) -> bool:
    """Have a picture that is known painted by somebody whose own cannot be compared; whether it is."""
    known = [each for each in board.checks.known.get(case.model, ()) if each.subject.owner != suspect.owner]
    workers = frozenset(
        worker.worker_id for worker in islice(suspect.workers.values(), CHOSEN) if worker.session is not None
    )
    if not known:
        return False
    chosen = known[int(board.checks.chance() * len(known))]
    case.canary, case.subject = True, chosen.subject
    return _submit(board, case, chosen.generation, chosen.index, workers, now, now_ms)


def _submit(
    board: Board, case: Case, like: Generation, index: int, allowed: frozenset[WorkerId], now: float, now_ms: int
) -> bool:
    """Ask for a picture as the mesh; whether it is asked for."""
    if not allowed:
        return False
    number = len(case.generations)
    request_id = f"{case.key}/{number}"
    generation_id = generation_id_of(MESH, request_id)
    if generation_id in board.generations:
        return False
    generation = Generation(
        generation_id, request_id, MESH, b"", like.spec, like.quote,
        check_terms(like.terms, allowed, canary=case.canary), (like.seed + index) % SEED_SPACE, MESH, ANONYMOUS_WEIGHT,
        now_ms, like.ttl_ms, now + like.ttl_ms / 1000, traceparent=_traceparent(like.traceparent, request_id),
    )  # fmt: skip
    # Whose work is looked at has a share of the day's budget for it.
    generation.address_bucket = case.suspect
    generation.check = Check(case, allowed, case.generations[0].generation_id if number else None)
    make_jobs(generation, (uuid5(UUID(generation_id), "object").hex,))
    try:
        accepting.submit(board, generation)
    except (QueueFull, TooManyGenerations):
        return False
    _opened(board, case, generation)
    board.checks.spend(case.work)
    return True


def _opened(board: Board, case: Case, generation: Generation) -> None:
    if not case.generations:
        board.checks.open[case.key] = case
        board.fleet.standing_of(case.suspect).open_checks += 1
    case.generations.append(generation)


def _traceparent(like: str, name: str) -> str:
    """A trace of its own, where the first picture's job had one."""
    parts, trace = like.split("-"), uuid5(UUID(int=0), name).hex
    return "-".join((parts[0], trace, trace[:16], parts[3])) if len(parts) == 4 else like


def pairs(job: Job) -> tuple[tuple[PictureRef, PictureRef], ...]:
    """What is to be compared with a check's picture: the first, and one that was far from it."""
    check, winner = job.generation.check, job.winner
    assert check is not None
    assert winner is not None
    mine = PictureRef(job.job_id, winner.lease_id)
    earlier = [opinion.picture for opinion in check.case.opinions if opinion.picture != mine]
    return tuple((ref, mine) for ref in (check.case.subject.picture, *earlier))


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
    case.opinions.append(
        Opinion(PictureRef(job.job_id, lease.lease_id), lease.owner, lease.worker_id, lease.device, lease.digest.hex())
    )
    board.dirty_generations[case.generations[0]] = None
    if len(distances) != len(case.opinions):
        _close(board, case, OPEN)
    elif case.canary:
        _judge_canary(board, case, job.job_id, distances[0], now)
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
    standings = [board.fleet.standings.get(each.owner) for each in (one, other)]
    if all(standing is not None and standing.checker for standing in standings):
        board.checks.tolerances.learn(case.model, one.device, other.device, distance)


def _judge_first(board: Board, case: Case, job: Job, distance: Distance, now: float, now_ms: int) -> None:
    subject, checker = case.subject, case.opinions[0]
    if not _same_weights(subject, checker):
        _close(board, case, OPEN)
    elif _allowed(board, case, subject, checker).holds(distance):
        _learn(board, case, subject, checker, distance)
        _right(board, case, job)
    elif not _ask(board, case, job.generation, 0, now, now_ms):
        _close(board, case, OPEN)


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
        _wrong(board, subject.owner, subject.worker_id, subject.picture.job_id, with_subject, now)
        _close(board, case, WRONG)
    elif subject_right:
        _wrong(board, checker.owner, checker.worker_id, checker.picture.job_id, with_checker, now)
        _right(board, case, verdict=CHECKER_WRONG)
    else:
        _close(board, case, OPEN)


def _judge_canary(board: Board, case: Case, job_id: JobId, distance: Distance, now: float) -> None:
    """Two trusted owners have painted it alike already."""
    subject, suspect = case.subject, case.opinions[0]
    if not _same_weights(subject, suspect):
        _close(board, case, OPEN)
    elif _allowed(board, case, subject, suspect).holds(distance):
        _right(board, case)
    else:
        _wrong(board, suspect.owner, suspect.worker_id, job_id, distance, now)
        _close(board, case, WRONG)


def _right(board: Board, case: Case, like: Job | None = None, verdict: str = RIGHT) -> None:
    """What was looked at is what it should be."""
    standing = board.fleet.standing_of(case.suspect)
    fleet, was = board.fleet, (standing.proven, standing.checker)
    standing.was_right()
    board.dirty_owners[standing] = None
    worker = fleet.workers.get(case.opinions[0].worker_id if case.canary else case.subject.worker_id)
    if case.counts and worker is not None:
        _count(board, worker)
    if (standing.proven, standing.checker) != was:
        fleet.rejudged(standing)
    _tell(board, standing, "verify", case.key if not case.canary else case.opinions[0].picture.job_id)
    if like is not None and case.subject.picture.placement == SHARED and standing.checker:
        board.checks.learn(case.model, Known(case.subject, like.generation, 0))
    _close(board, case, verdict)


def _wrong(board: Board, owner: AccountId, worker_id: WorkerId, job_id: JobId, distance: Distance, now: float) -> None:
    """Somebody is alone with his picture."""
    fleet, standing = board.fleet, board.fleet.standing_of(owner)
    board.dirty_owners[standing] = None
    standing.faults[Fault.WORKER] += 1
    worker = fleet.workers.get(worker_id)
    if worker is not None:
        returning.strike(board, worker, now)
    if standing.was_wrong(job_id, strange=nothing_in_common(distance)):
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


def _ended(board: Board, job: Job) -> None:
    """A check job without a picture says nothing."""
    check = job.generation.check
    if check is not None and not check.case.over and job.ending is not Ending.DONE:
        board.checks.give_back(check.case.work)
        _close(board, check.case, OPEN)


def refused(board: Board, generation: Generation) -> None:
    """The ledger has nothing left for checks today."""
    if generation.check is not None and not generation.check.case.over:
        board.checks.give_back(generation.check.case.work)
        _close(board, generation.check.case, OPEN)


def _close(board: Board, case: Case, verdict: str) -> None:
    """A case is over: nothing is kept of its pictures."""
    if case.over:
        return
    case.over = True
    checks = board.checks
    checks.over[verdict] = checks.over.get(verdict, 0) + 1
    if checks.open.pop(case.key, None) is not None:
        board.fleet.standing_of(case.suspect).open_checks -= 1
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


def restore(board: Board) -> None:
    """After a restart: put the cases together again that were read back with their generations."""
    live = [generation for generation in board.generations.values() if generation.check is not None]
    by_id = {generation.generation_id: generation for generation in live}
    for generation in sorted(live, key=lambda each: each.check is not None and each.check.first is not None):
        check = generation.check
        assert check is not None
        first = by_id.get(check.first) if check.first else generation
        if first is None or first.check is None:
            # The case was over, and its generation with it: this one's picture is for nobody.
            nobody = Opinion(PictureRef(JobId("")), AccountId(""), WorkerId(""))
            check.case = Case(JobId(""), AccountId(""), nobody, "", 0.0, counts=False, over=True)
            check.case.generations.append(generation)
        else:
            check.case = first.check.case
            if check.case.over:
                check.case.generations.append(generation)
            else:
                _opened(board, check.case, generation)
    for case in list(board.checks.open.values()):
        if not any(_goes_on(generation) for generation in case.generations):
            _close(board, case, OPEN)
    for standing in board.fleet.standings.values():
        for verdict, job_id in standing.verdicts:
            board.emit_after_save(TellVerdict(standing, verdict, job_id))


def _goes_on(generation: Generation) -> bool:
    return generation.phase is not Phase.REFUSED and any(job.live and not job.committed for job in generation.jobs)
