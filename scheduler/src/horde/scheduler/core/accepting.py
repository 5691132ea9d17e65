"""The first part of a job's life: written, inputs claimed, kudos held, queued. Or refused, and nothing is left.

Whatever happens, the holds must be known before anything else is decided: a cancel or a deadline that comes while the
ledger is being asked only leaves a mark, for a release that overtook its hold would leave the kudos held for ever.
"""

from __future__ import annotations

from datetime import timedelta

from horde.scheduler.core import reporting, settling
from horde.scheduler.core.board import Board
from horde.scheduler.core.effects import Answer, ClaimInputs, Forgotten, PlaceHolds, ReleaseInputs
from horde.scheduler.core.errors import TooManyGenerations
from horde.scheduler.core.job import Ending, Generation, JobState, Phase


def submit(board: Board, generation: Generation) -> None:
    """Accept a generation for accepting. Raises QueueFull or TooManyGenerations, and then nothing has happened."""
    limits = board.limits
    if board.live_by_requester[generation.account_id, generation.digest] >= limits.max_generations:
        raise TooManyGenerations(metadata={"limit": str(limits.max_generations)}, retry_after=timedelta(seconds=10))
    generation.unpaintable = not board.paintable(generation.terms)
    board.places.check(generation)
    generation.phase = Phase.CLAIMING if generation.terms.input_ids else Phase.HOLDING
    generation.claimed = bool(generation.terms.input_ids)
    board.add(generation)
    board.dirty_generations[generation] = None
    board.dirty_jobs.update(dict.fromkeys(generation.jobs))
    board.deadlines.add(generation.deadline, generation)
    drive(board, generation)


def drive(board: Board, generation: Generation) -> None:
    """Ask for what its phase needs, for the first time or again."""
    if generation.phase is Phase.CLAIMING:
        board.emit_after_save(ClaimInputs(generation))
    elif generation.phase is Phase.HOLDING:
        board.emit_after_save(PlaceHolds(generation))


def claimed(board: Board, generation: Generation, refusal: bytes | None = None) -> None:
    """Storage has answered for the inputs; `refusal` is its words, opaque."""
    if generation.phase is not Phase.CLAIMING:
        return
    if refusal is not None and not generation.reloaded:
        board.deleted[generation] = None
        board.dirty_generations.pop(generation, None)
        for job in generation.jobs:
            board.dirty_jobs.pop(job, None)
        board.forget(generation)
        generation.closed = True
        board.emit_after_save(ReleaseInputs(generation))
        board.emit_after_save(Forgotten(generation, refusal))
        return
    # Read back: an earlier process may have placed holds already, so it must be accepted before it can end.
    generation.unusable = refusal or b""
    generation.phase = Phase.HOLDING
    board.emit(PlaceHolds(generation))


def held(board: Board, generation: Generation, now: float, refusal: bytes | None = None) -> None:
    """The ledger has answered for the holds; `refusal` is its words, opaque, and remembered."""
    if generation.phase is Phase.HOLDING:
        if refusal is not None:
            _refuse(board, generation, refusal)
        else:
            _accept(board, generation, now)
    # Outcomes that came while the accepting was being repeated.
    for route, lease_id, job_id, result in board.parked.pop(generation.generation_id, ()):
        session = board.sessions.get(route)
        if session is not None:
            worker = board.fleet.workers[session.worker_id]
            reporting.outcome(board, worker, route, lease_id, job_id, result, now)


def _accept(board: Board, generation: Generation, now: float) -> None:
    generation.phase = Phase.ACCEPTED
    board.dirty_generations[generation] = None
    ending = _ending_already_due(generation, now)
    for job in generation.jobs:
        board.dirty_jobs[job] = None
        if ending is not Ending.NONE:
            settling.end(board, job, ending, now)
            continue
        job.move(JobState.QUEUED)
        board.queue.push(job, now)
        board.fresh.append(job)
    # That it is queued may be told at once: whoever reads it back accepts it again. What has ended already may not.
    (board.emit if ending is Ending.NONE else board.emit_after_save)(Answer(generation))


def _ending_already_due(generation: Generation, now: float) -> Ending:
    if generation.unusable:
        return Ending.FAULTED
    if generation.cancelled:
        return Ending.CANCELLED
    if generation.expired or now >= generation.deadline:
        return Ending.EXPIRED
    return Ending.NONE


def _refuse(board: Board, generation: Generation, refusal: bytes) -> None:
    generation.phase = Phase.REFUSED
    generation.refusal = refusal
    board.deleted[generation] = None
    board.dirty_generations[generation] = None
    for job in generation.jobs:
        board.dirty_jobs.pop(job, None)
    board.disown(generation)
    release(board, generation)
    board.emit_after_save(Answer(generation))


def release(board: Board, generation: Generation) -> None:
    """A refused generation lets go of its inputs; then nothing is left but the refusal."""
    if generation.claimed:
        board.emit_after_save(ReleaseInputs(generation))
    else:
        board.close(generation)
