"""The group-committing writer: one at a time for a ledger, and it alone writes.

It takes what is queued, up to a bound, as soon as the commit before has returned: no timer, so a lone event is
committed at once and under load batches grow by themselves. An answer is given after the commit that makes it durable.

What it keeps in memory is valid for its epoch and only as long as every transaction of it ended in a commit. After
anything else the memory is thrown away, and the events are worked again: those that did get through are found by their
ids, so an unknown outcome is resolved by repeating.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from datetime import timedelta
from types import TracebackType
from typing import Final, Self

from horde.ledger import failpoints
from horde.ledger.economy import Economy
from horde.ledger.errors import WriterReplaced
from horde.ledger.journal import Answer, Journal
from horde.ledger.operations import Event
from horde.ledger.store import LedgerStore, LedgerTransaction
from horde.services.clock import Clock
from horde.services.errors import Aborted, Internal, ResourceExhausted, Unavailable
from horde.services.failpoints import failpoint
from horde.services.telemetry import get_logger

log = get_logger(__name__)

MAX_BATCH: Final = 256
"""Events in one commit. More would gain little and make everybody wait longer."""
MAX_WAITING: Final = 20_000
"""Events that wait for a commit; the next one is refused."""
RETRY_PAUSES_S: Final = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6)
"""Pauses between attempts while the database is away; then the callers are told, and repeat with the same ids."""

_Waiting = tuple[Sequence[Event], "asyncio.Future[list[Answer]]"]


class Writer:
    """Applies events in groups, for as long as the block. Entering it takes over from every writer before."""

    def __init__(self, store: LedgerStore, economy: Economy, clock: Clock, max_batch: int = MAX_BATCH) -> None:
        self._store = store
        self._economy = economy
        self._clock = clock
        self._max_batch = max_batch
        self._queue: deque[_Waiting] = deque()
        self._queued = 0
        self._arrived = asyncio.Event()
        self._journal: Journal | None = None
        self._epoch = 0
        self._task: asyncio.Task[None] | None = None
        self._open = False
        self._moved: asyncio.Future[None] | None = None
        self.sequence = 0
        """Of the last entry that is durable."""
        self.following = False
        """Whether more entries may come."""
        self.replaced = asyncio.Event()
        """Set once another writer has taken over."""

    async def apply(self, events: Sequence[Event]) -> list[Answer]:
        """Apply events, at most `max_batch`, in order, each by itself; the answers are durable."""
        if self.replaced.is_set():
            raise WriterReplaced
        if not self._open:
            raise Unavailable("It is stopping.")
        if self._queued + len(events) > MAX_WAITING:
            retry_after = timedelta(milliseconds=200)
            raise ResourceExhausted(metadata={"bound": "ledger.max_waiting"}, retry_after=retry_after)
        answers: asyncio.Future[list[Answer]] = asyncio.get_running_loop().create_future()
        self._queue.append((events, answers))
        self._queued += len(events)
        self._arrived.set()
        return await answers

    async def wait_past(self, sequence: int) -> None:
        """Wait until an entry after this sequence is durable, or until nothing is followed any more."""
        while self.sequence <= sequence and self.following:
            if self._moved is None or self._moved.done():
                self._moved = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._moved)

    async def farewell(self) -> None:
        """End the feeds, which never end by themselves. Events are still taken: the server has calls to finish."""
        self.following = False
        self._wake()

    def close(self) -> None:
        """Take no more; what waits is still done."""
        self._open = self.following = False
        self._arrived.set()
        self._wake()

    async def __aenter__(self) -> Self:
        head = await self._store.take_over()
        self._epoch, self.sequence = head.epoch, head.sequence
        self._open = self.following = True
        self._task = asyncio.create_task(self._run())
        log.info("ledger.took_over", epoch=head.epoch, sequence=head.sequence, block=head.block)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.close()
        if self._task is not None:
            await self._task

    async def _run(self) -> None:
        while self._open or self._queue:
            if not self._queue:
                self._arrived.clear()
                await self._arrived.wait()
                continue
            taken = self._take()
            await self._do(taken)

    def _take(self) -> list[_Waiting]:
        """What is committed next: whole calls, in order, up to the bound. A caller that gave up may still be served."""
        taken: list[_Waiting] = []
        count = 0
        while self._queue and (not taken or count + len(self._queue[0][0]) <= self._max_batch):
            waiting = self._queue.popleft()
            taken.append(waiting)
            count += len(waiting[0])
        self._queued -= count
        return taken

    async def _do(self, taken: list[_Waiting]) -> None:
        events = [event for group, _ in taken for event in group]
        try:
            answers = await self._commit_through(events)
        except Exception as error:  # noqa: BLE001 - it is the callers' to handle
            if isinstance(error, WriterReplaced):
                self._stop_for_good()
            if not isinstance(error, (Unavailable, Aborted)):
                await self._one_by_one(taken, error)
                return
            for _, future in taken:
                if not future.done():
                    future.set_exception(error)
            return
        self._answer(taken, answers)

    def _answer(self, taken: list[_Waiting], answers: list[Answer]) -> None:
        start = 0
        for group, future in taken:
            if not future.done():
                future.set_result(answers[start : start + len(group)])
            start += len(group)

    async def _one_by_one(self, taken: list[_Waiting], error: Exception) -> None:
        """One event broke the batch by a defect of ours: spare the others."""
        log.error("ledger.batch_failed", error=repr(error), events=sum(len(group) for group, _ in taken))
        for group, future in taken:
            answers: list[Answer] = []
            for event in group:
                try:
                    answers += await self._commit_through([event])
                except (Unavailable, Aborted) as late:
                    if not future.done():
                        future.set_exception(late)
                    break
                except Exception as defect:
                    log.error("ledger.event_failed", event_id=event.event_id, exc_info=defect)
                    answers.append(Answer(Internal()))
            else:
                self._answer([(group, future)], answers)

    async def _commit_through(self, events: Sequence[Event]) -> list[Answer]:
        """Commit, outlasting short absences of the database."""
        for pause in RETRY_PAUSES_S:
            try:
                return await self._commit(events)
            except WriterReplaced:
                raise
            except (Unavailable, Aborted) as error:
                log.warning("ledger.commit_failed", error=str(error), events=len(events), retry_in_s=pause)
                await self._clock.sleep(pause)
        return await self._commit(events)

    async def _commit(self, events: Sequence[Event]) -> list[Answer]:
        now = self._clock.now()
        now_us = int(now.timestamp() * 1_000_000)
        journal, self._journal = self._journal, None

        def work(tx: LedgerTransaction) -> tuple[Journal, list[Answer]]:
            # Only in a transaction is it certain how far the journal goes.
            current = journal if journal is not None and journal.head == tx.head else Journal(self._economy, tx.head)
            return current, current.work(tx, events, now_us)

        committed, answers = await self._store.write(self._epoch, work)
        await failpoint(failpoints.AFTER_COMMIT)
        self._journal = committed
        if committed.head.sequence != self.sequence:
            self.sequence = committed.head.sequence
            self._wake()
        await failpoint(failpoints.BEFORE_ANSWER)
        return answers

    def _wake(self) -> None:
        if self._moved is not None and not self._moved.done():
            self._moved.set_result(None)

    def _stop_for_good(self) -> None:
        log.error("ledger.replaced", epoch=self._epoch)
        self.replaced.set()
        self._open = self.following = False
        self._wake()
        while self._queue:
            _, future = self._queue.popleft()
            if not future.done():
                future.set_exception(WriterReplaced())
        self._queued = 0
