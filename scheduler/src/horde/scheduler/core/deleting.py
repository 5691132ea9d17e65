"""Forgetting what has ended because somebody asked for it: its images first, then all but its id.

    wished (durable) -> WithdrawObject for each image that is to go -> tombstone

The wish is a mark of the generation, written before anything is done; a restart finds it and goes on. From then on it
is shown to nobody. The id stays refused for ever, for the ledger never forgets ids either.
"""

from __future__ import annotations

from horde.scheduler.core.board import Board
from horde.scheduler.core.effects import WithdrawObject
from horde.scheduler.core.job import Deletion, Ending, Generation, Job, JobState, Phase


def delete(board: Board, generation: Generation, wish: Deletion, words: bytes) -> None:
    """Forget a finished generation. `words` will be answered, opaque, to whoever uses its id again."""
    if generation.deletion is not Deletion.NONE:
        return
    generation.deletion, generation.refusal = wish, words
    board.dirty_generations[generation] = None
    if generation.closed:
        board.reopen(generation)
        go_on(board, generation)


def go_on(board: Board, generation: Generation) -> None:
    """Nothing but its deletion is left to do for it."""
    going = [job for job in generation.jobs if _goes(job)]
    for job in going:
        board.emit_after_save(WithdrawObject(job))
    if not going:
        entomb(board, generation)


def withdrawn(board: Board, job: Job) -> None:
    """Storage has it no more."""
    generation = job.generation
    if generation.deletion is Deletion.NONE or job.withdrawn:
        return
    job.withdrawn = True
    board.dirty_jobs[job] = None
    if not any(_goes(job) for job in generation.jobs):
        entomb(board, generation)


def _goes(job: Job) -> bool:
    there = job.state is JobState.ENDED and job.ending is Ending.DONE and not job.withdrawn
    # What expires is private.
    return there and (bool(job.expires_at_ms) or job.generation.deletion is Deletion.ALL)


def entomb(board: Board, generation: Generation) -> None:
    """Leave nothing but the id, and what is answered for it."""
    for job in generation.jobs:
        board.dirty_jobs.pop(job, None)
    generation.phase = Phase.REFUSED
    generation.spec = generation.quote = b""
    board.dirty_generations[generation] = None
    board.deleted[generation] = None
    board.close(generation)
    board.drop(generation)
    generation.jobs = []


def refused(board: Board, generation: Generation) -> None:
    """Leave nothing of one that came to nothing but its refusal, which stays."""
    if generation.spec:
        board.reopen(generation)
        entomb(board, generation)
