"""Group commit: whatever the core has changed is written in one transaction, then what had to wait for it happens.

Nothing is shown to a requester that is not durable. So events for followers are made when a batch is closed and sent
when it is committed; and whoever reads a generation with unsaved changes reads with the batch that holds them.

A batch closes as soon as somebody waits for it; changes that nobody waits for (a job was lent) stay WRITE_BEHIND for
company. Two batches are at least `pause` apart, for a commit costs the same however much it holds, and so does each
call to a neighbour that follows from it. Where many generations are under way the pause is longer, up to BUSY times:
they share the cost, and it is little beside what they wait for anyhow. Whoever is alone does not wait for company.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from horde.scheduler.core.board import Board
from horde.scheduler.core.effects import CommitObject, Effect, Release, Settle
from horde.scheduler.core.errors import NotLeader
from horde.scheduler.core.job import Deletion, Generation, GenerationId, Job, Phase
from horde.scheduler.core.owner_rows import take_changed
from horde.scheduler.core.rows import (
    Changes,
    Moment,
    Stored,
    changing,
    generation_row,
    job_row,
)
from horde.scheduler.store.port import Store
from horde.services import telemetry
from horde.services.clock import Clock
from horde.services.errors import ServiceError
from horde.services.failpoints import declare, failpoint

log = telemetry.get_logger(__name__)
R = TypeVar("R")

AFTER_ACCEPTING = declare("scheduler.after_accepting")
AFTER_SETTLING = declare("scheduler.after_settling")
WRITE_BEHIND = 0.005
BUSY = 4
"""How many generations of the last batch lengthen the pause before the next, each by once."""
FIRST_PAUSE = 0.05
LONGEST_PAUSE = 2.0
"""Between attempts to write while the store is away."""


class Publisher(Protocol):
    """Makes what followers are told, when a batch is closed; what it returns is called when it is durable."""

    def publish(self, jobs: list[Job]) -> Callable[[], None] | None: ...


Taken = Callable[[list[Generation], list[Stored]], None]
"""Is told which new generations' ids were used before, and what is stored under them."""


@dataclass(slots=True)
class Batch:
    """One transaction, and what waits for it."""

    changes: Changes = field(default_factory=Changes)
    generations: list[Generation] = field(default_factory=list)
    jobs: frozenset[Job] = frozenset()
    effects: list[Effect] = field(default_factory=list)
    then: list[Callable[[], None]] = field(default_factory=list)


class Saver:
    """Writes for one board."""

    def __init__(
        self,
        board: Board,
        store: Store,
        clock: Clock,
        publisher: Publisher,
        pause: float = 0.0,
        write_behind: float = WRITE_BEHIND,
    ) -> None:
        self._board = board
        self._store = store
        self._clock = clock
        self._publisher = publisher
        self._pause = pause
        self._write_behind = write_behind
        self._wanted = asyncio.Event()
        self._readers: list[Callable[[], Callable[[], None]]] = []
        self._writing: Batch | None = None
        self._closed_at = float("-inf")
        self._company = 1
        """Generations that the last batch was for."""
        self.replaced = False

    def wake(self) -> None:
        """Something may have to be written or done."""
        board = self._board
        if (
            board.effects_after_save
            or board.dirty_jobs
            or board.dirty_generations
            or board.dirty_workers
            or board.dirty_owners
            or board.dirty_strikes
            or board.deleted
            or board.gone_workers
            or board.gone_owners
            or self._readers
        ):
            self._wanted.set()

    def unsaved(self, generation: Generation) -> bool:
        """Whether what is in memory of it is ahead of what is durable."""
        board, writing = self._board, self._writing
        if generation in board.dirty_generations or any(job in board.dirty_jobs for job in generation.jobs):
            return True
        if writing is None:
            return False
        return generation in writing.generations or any(job in writing.jobs for job in generation.jobs)

    def read(self, generation: Generation, build: Callable[[], R]) -> asyncio.Future[R]:
        """Build something from a generation such that all of it is durable when it is there."""
        future: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self.read_then(generation, build, lambda result: None if future.done() else future.set_result(result))
        return future

    def read_then(self, generation: Generation, build: Callable[[], R], then: Callable[[R], None]) -> None:
        """The same, without waiting: what was built goes to `then`, in order with what is published."""
        if not self.unsaved(generation):
            then(build())
            return

        def at_close() -> Callable[[], None]:
            result = build()
            return lambda: then(result)

        self._readers.append(at_close)
        self._wanted.set()

    def saved(self) -> asyncio.Future[None]:
        """When all that was changed until now is durable."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._readers.append(lambda: lambda: None if future.done() else future.set_result(None))
        self._wanted.set()
        return future

    async def run(self, carry_out: Callable[[list[Effect]], None], taken: Taken) -> None:
        """Write for ever; to be cancelled. Raises NotLeader when this process was replaced.

        `carry_out` gets what had to wait until a batch was durable.
        """
        while True:
            await self._wanted.wait()
            if not self._board.effects_after_save and not self._readers and self._write_behind:
                await self._clock.sleep(self._write_behind)
            left = self._closed_at + pause_after(self._company, self._pause) - self._clock.monotonic()
            if left > 0:
                await self._clock.sleep(left)
            self._wanted.clear()
            await self._write(carry_out, taken)

    async def _write(self, carry_out: Callable[[list[Effect]], None], taken: Taken) -> None:
        """Write what has changed now."""
        batch = self._close()
        taken_ids: frozenset[GenerationId] = frozenset()
        if batch.changes:
            self._writing = batch
            try:
                taken_ids = await self._insist(lambda: self._store.write(batch.changes))
            finally:
                self._writing = None
        new = [generation for generation in batch.generations if not generation.written]
        for generation in new:
            generation.written = True
        if new:
            await _pass(AFTER_ACCEPTING)
        if taken_ids:
            stored = await self._insist(lambda: self._store.find(sorted(taken_ids)))
            lost = _lost([generation for generation in new if generation.generation_id in taken_ids], stored)
            batch.effects = [effect for effect in batch.effects if getattr(effect, "generation", None) not in lost]
            lost_ids = {generation.generation_id for generation in lost}
            taken(lost, [found for found in stored if found.generation["generation_id"] in lost_ids])
        if any(isinstance(effect, (CommitObject, Settle, Release)) for effect in batch.effects):
            await _pass(AFTER_SETTLING)
        for then in batch.then:
            then()
        carry_out(batch.effects)

    async def _insist(self, action: Callable[[], Awaitable[R]]) -> R:
        """Do it, however long the store is away: what was decided is in memory alone."""
        pause = FIRST_PAUSE
        while True:
            try:
                return await action()
            except NotLeader:
                self.replaced = True
                raise
            except ServiceError as error:
                log.debug("the store does not answer", error=str(error))
                await self._clock.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)

    def _close(self) -> Batch:
        board = self._board
        self._closed_at = self._clock.monotonic()
        moment = Moment(self._closed_at, int(self._clock.now().timestamp() * 1000))
        batch = Batch(generations=list(board.dirty_generations), jobs=frozenset(board.dirty_jobs))
        self._company = len({job.generation for job in board.dirty_jobs})
        changes = batch.changes
        for generation in board.dirty_generations:
            if not generation.written:
                changes.new_generations.append(generation_row(generation))
                changes.new_jobs += [job_row(job, moment) for job in generation.jobs]
            else:
                changes.generations.append(changing(generation))
        for generation in board.deleted:
            if generation.deletion is Deletion.PRIVATE:
                changes.given.append(generation.generation_id)
                continue
            among = changes.refused if generation.phase is Phase.REFUSED else changes.forgotten
            among.append(generation.generation_id)
            if not generation.spec:
                changes.emptied.append(generation.generation_id)
        changes.jobs = [job_row(job, moment) for job in board.dirty_jobs if job.generation.written]
        take_changed(board, changes, moment)
        batch.effects, board.effects_after_save = board.effects_after_save, []
        published = self._publisher.publish(list(board.dirty_jobs))
        if published is not None:
            batch.then.append(published)
        batch.then += [reader() for reader in self._readers]
        self._readers = []
        dirty: tuple[dict[Any, None], ...] = (board.dirty_generations, board.dirty_jobs, board.deleted)
        for taken in dirty:
            taken.clear()
        return batch


def pause_after(company: int, pause: float) -> float:
    """Seconds between a batch that was for so many generations and the next."""
    return pause * min(max(1, company), BUSY)


def _lost(generations: list[Generation], stored: list[Stored]) -> list[Generation]:
    """Those whose id something else has; where a commit's answer was lost, it may be they themselves."""
    names = {found.generation["generation_id"]: found.jobs[0]["object_name"] for found in stored if found.jobs}
    return [
        generation
        for generation in generations
        if names.get(generation.generation_id) != generation.jobs[0].object_name
    ]


async def _pass(name: str) -> None:
    """A failpoint where an error cannot be told to anybody: what is durable goes on anyhow."""
    try:
        await failpoint(name)
    except ServiceError as error:
        log.warning("failpoint", error=str(error))
