"""What the parts of a leader's term share: the board, the time, the store, and a way to say that the board changed."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from horde.scheduler.core import rows
from horde.scheduler.core.board import Board
from horde.scheduler.core.job import Generation, GenerationId, JobId
from horde.scheduler.doors import wire
from horde.scheduler.store.port import Store
from horde.services.clock import Clock

MAX_RECALLED = 256
"""Jobs of one query."""


class Term:
    """One leader's term. Who changes the board calls `flush` when it is whole again."""

    def __init__(self, board: Board, store: Store, clock: Clock) -> None:
        self.board = board
        self.store = store
        self.clock = clock
        self.flush: Callable[[], None] = lambda: None
        """Carries out what follows from what has changed: the engine's, once there is one."""

    def now(self) -> float:
        """The core's time, in seconds."""
        return self.clock.monotonic()

    def now_ms(self) -> int:
        """The time of day, in milliseconds since 1970."""
        return int(self.clock.now().timestamp() * 1000)

    async def find(self, generation_ids: Sequence[GenerationId]) -> dict[GenerationId, Generation]:
        """Those of the generations that exist, from memory or from the store."""
        generations = self.board.generations
        found = {wanted: generations[wanted] for wanted in generation_ids if wanted in generations}
        missing = [wanted for wanted in generation_ids if wanted not in found]
        if missing:
            for stored in await self.store.find(missing):
                generation = self.remember(stored)
                found[generation.generation_id] = generation
        return found

    async def recall(self, job_ids: Sequence[JobId]) -> frozenset[JobId]:
        """Have jobs in memory that are over, and say which of them are not remembered at all."""
        jobs = self.board.jobs
        unknown = [job_id for job_id in dict.fromkeys(job_ids) if job_id not in jobs]
        found: set[JobId] = set()
        for start in range(0, len(unknown), MAX_RECALLED):
            for stored in await self.store.find_by_jobs(unknown[start : start + MAX_RECALLED]):
                found.update(job.job_id for job in self.remember(stored).jobs)
        return frozenset(unknown) - found

    def remember(self, stored: rows.Stored) -> Generation:
        """Take in something read from the store, unless it is here already."""
        known = self.board.generations.get(stored.generation["generation_id"])
        if known is not None:
            return known
        terms = wire.terms_from_bytes(stored.generation["spec"], stored.generation["quote"])
        generation = rows.generation_from(stored, terms, rows.Moment(self.now(), self.now_ms()))
        self.board.remember(generation)
        return generation
