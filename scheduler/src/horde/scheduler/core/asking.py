"""Check jobs: having a picture painted once more, by somebody trusted, as an ordinary job of the mesh's own.

Who may have it is chosen by chance among those who can, one worker of an owner, and none of an owner who has painted it
already. A *canary* is the other way round: a job whose picture is known, for somebody whose own cannot be compared.
"""

from __future__ import annotations

from itertools import islice
from uuid import UUID, uuid5

from horde.scheduler.core import accepting
from horde.scheduler.core.board import Board
from horde.scheduler.core.checks import Case, Check, PictureRef, check_terms
from horde.scheduler.core.errors import QueueFull, TooManyGenerations
from horde.scheduler.core.fitting import signature_of_terms
from horde.scheduler.core.fleet import MAX_WORKERS_OF_ONE
from horde.scheduler.core.job import (
    MESH,
    SEED_SPACE,
    AccountId,
    Generation,
    Job,
    WorkerId,
    generation_id_of,
    make_jobs,
)
from horde.scheduler.core.shares import ANONYMOUS_WEIGHT
from horde.scheduler.core.standing import Standing

LOOKED_THROUGH = 8 * MAX_WORKERS_OF_ONE
"""Workers that could paint a check, of whom some are chosen by chance: so many that no few owners, with all the names
that they may have, are all that is looked at."""
CHOSEN = 8
"""Workers that may have a check job, each of another owner."""


def ask(board: Board, case: Case, like: Generation, index: int, now: float, now_ms: int) -> bool:
    """Have a picture painted once more, by somebody who is trusted and had nothing to do with it; whether it is."""
    painters = {case.subject.owner, *(opinion.owner for opinion in case.opinions)}
    terms = check_terms(like.terms, frozenset(), canary=False)
    signature = signature_of_terms(terms, frozenset())
    able: dict[AccountId, list[WorkerId]] = {}
    for worker in islice(board.fleet.here.fitting(terms.model, signature, board.speeds), LOOKED_THROUGH):
        digest = worker.capabilities.offers[terms.model].digest.hex()
        same = not (digest and case.subject.digest) or digest == case.subject.digest
        if worker.owner not in painters and worker.willing and same:
            able.setdefault(worker.owner, []).append(worker.worker_id)
    chance = board.checks.chance
    owners = sorted(able, key=lambda _: chance())[:CHOSEN]
    chosen = frozenset(able[owner][int(chance() * len(able[owner]))] for owner in owners)
    return _submit(board, case, like, index, chosen, now, now_ms)


def give_canary(board: Board, case: Case, suspect: Standing, now: float, now_ms: int) -> bool:
    """Have a picture that is known painted by somebody whose own cannot be compared; whether it is."""
    known = [
        known_check
        for known_check in board.checks.known.get(case.model, ())
        if known_check.subject.owner != suspect.owner
    ]
    here = (worker.worker_id for worker in suspect.workers.values() if worker.session is not None)
    workers = frozenset(islice(here, CHOSEN))
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
    opened(board, case, generation)
    board.checks.spend(case.work, urgent=case.urgent or number > 0)
    return True


def opened(board: Board, case: Case, generation: Generation) -> None:
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
