"""The group-committing writer: one at a time for a ledger, and it alone writes.

While one batch is being committed, the next is being decided: what comes in goes into the open batch, up to a bound,
and that is given to the store as soon as the one before is durable. No timer: a lone event is committed at once, and
under load batches grow by themselves. A batch that is full before its turn is given to the store at once, to stand
behind the one that is being committed, and one more is opened: so neither the database nor this process stands still
for the other. An answer is given after the commit that makes it durable.

What the journal keeps in memory is valid for its epoch and only as long as every batch of it was committed. After
anything else it is thrown away, and the events are decided again: those that did get through are found by their ids,
so an unknown outcome is resolved by repeating.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from datetime import timedelta
from types import TracebackType
from typing import Final, Self

from horde.ledger import failpoints, metrics
from horde.ledger.calls import Call
from horde.ledger.core.economy import Economy
from horde.ledger.core.errors import WriterReplaced
from horde.ledger.core.journal import Answer, Journal
from horde.ledger.core.operations import Event
from horde.ledger.store.port import Batch, Head, LedgerStore
from horde.services.clock import Clock
from horde.services.errors import Aborted, Internal, ResourceExhausted, Unavailable
from horde.services.failpoints import failpoint
from horde.services.loops import Loops
from horde.services.telemetry import get_logger

log = get_logger(__name__)

MAX_BATCH: Final = 512
"""Events in one commit. More would gain little and make everybody wait longer."""
MAX_WRITING: Final = 2
"""Batches that the store has been given: one that it commits, and one behind it."""
MAX_WAITING: Final = 20_000
"""Events that wait to be decided; the next one is refused."""
RETRY_PAUSES_S: Final = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6)
"""Pauses between attempts while the database is away; then callers are told, and repeat with the same ids."""


class Writer:
    """Applies events in groups, for as long as the block. Entering it takes over from every writer before."""

    def __init__(self, store: LedgerStore, economy: Economy, clock: Clock, max_batch: int = MAX_BATCH) -> None:
        self._store = store
        self._economy = economy
        self._clock = clock
        self._max_batch = max_batch
        self._queue: deque[Call] = deque()
        self._queued = 0
        self._deciding: list[Call] = []
        """Which are being looked up."""
        self._decided: list[Call] = []
        """Of the open batch."""
        self._decided_events = 0
        self._loops = Loops()
        self._writes: deque[asyncio.Task[None]] = deque()
        """Of the closed batches, oldest first."""
        self._failed: list[Call] = []
        """Whose batch was not committed, or may not have been; they wait for the one behind it to end."""
        self._failure: Exception = Unavailable()
        """Why."""
        self._journal: Journal | None = None
        self._epoch = 0
        self._news = asyncio.Event()
        self._open = False
        self._moved: asyncio.Future[None] | None = None
        self.sequence = 0
        """Of the last entry that is durable."""
        self.following = False
        """Whether more entries may come."""
        self._replaced = False
        """Another writer has taken over."""

    async def apply(self, events: Sequence[Event]) -> list[Answer]:
        """Apply events, at most `max_batch`, in order, each by itself; the answers are durable."""
        if self._replaced:
            raise WriterReplaced
        if not self._open:
            raise Unavailable("It is stopping.")
        if self._queued + len(events) > MAX_WAITING:
            retry_after = timedelta(milliseconds=200)
            raise ResourceExhausted(metadata={"bound": "ledger.max_waiting"}, retry_after=retry_after)
        call = Call(events, asyncio.get_running_loop().create_future())
        self._queue.append(call)
        self._queued += len(events)
        self._news.set()
        return await call.future

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

    async def __aenter__(self) -> Self:
        head = await self._store.take_over()
        self._epoch, self.sequence = head.epoch, head.sequence
        self._journal = Journal(self._economy, head)
        self._open = self.following = True
        await self._loops.__aenter__()
        self._preparing = self._loops.start("writer", self._prepare())
        log.info("this ledger leads now", epoch=head.epoch, sequence=head.sequence, block=head.block)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._open = self.following = False
        self._loops.leave()
        self._news.set()
        self._wake()
        await asyncio.wait([self._preparing])
        await self._loops.__aexit__(kind, error, tb)

    # Deciding, ahead of the commits.

    async def _prepare(self) -> None:
        """Decide what comes in, until the block is left and all is done. Raises WriterReplaced."""
        try:
            while self._open or self._queue or self._decided or self._writes:
                self._hand_over()
                if not self._fits(self._decided_events):
                    await self._sleep()
                elif self._journal is None or self._journal.crowded:
                    await self._begin_anew()
                else:
                    await self._decide_next(self._journal)
            if self._replaced:
                raise WriterReplaced
        except BaseException:
            # Whoever waits for an answer must not wait for ever: his event may be in, and repeating it finds out.
            self._end(WriterReplaced() if self._replaced else Unavailable("The ledger's writer has ended."))
            raise

    async def _begin_anew(self) -> None:
        """Make the journal from what is durable. Nothing may be decided or on its way meanwhile."""
        if self._writes or self._decided:
            await self._sleep()
            return
        if self._journal is not None:
            self._journal.forget()
            return
        try:
            head = await self._store.head()
        except (Unavailable, Aborted) as error:
            await self._put_back(self._take(), error)
            return
        if head.epoch != self._epoch:
            self._stop_for_good()
            return
        self._journal = Journal(self._economy, head)

    def _fits(self, count: int) -> bool:
        """Whether the next call fits into a batch of so many events; into an empty one every call does."""
        return bool(self._queue) and (not count or count + len(self._queue[0].events) <= self._max_batch)

    def _full(self) -> bool:
        """Whether nothing more can come into the open batch: it has all it may, or no room for the next call."""
        return self._decided_events >= self._max_batch or (bool(self._queue) and not self._fits(self._decided_events))

    def _take(self) -> list[Call]:
        """Whole calls, in order, for which the open batch has room."""
        taken: list[Call] = []
        count = self._decided_events
        while self._fits(count):
            taken.append(self._queue.popleft())
            count += len(taken[-1].events)
            self._queued -= len(taken[-1].events)
        return taken

    async def _decide_next(self, journal: Journal) -> None:
        calls = self._deciding = self._take()
        events = [event for call in calls for event in call.events]
        try:
            asked_us = self._now_us()
            known = await self._store.look_up(lambda ask: journal.look_up(ask, events, asked_us))
        except (Unavailable, Aborted) as error:
            await self._put_back(calls, error)
            return
        if journal is not self._journal:
            # It was thrown away meanwhile, and with it what was looked up.
            self._requeue(calls)
            return
        journal.learn(known)
        now_us = self._now_us()
        for call in calls:
            call.answers = []
            for place, event in enumerate(call.events):
                if place in call.broken:
                    call.answers.append(Answer(Internal()))
                    continue
                try:
                    call.answers.append(journal.decide(event, known, now_us))
                except Exception as defect:
                    log.error("ledger.event_failed", event_id=event.event_id, exc_info=defect)
                    call.broken.add(place)
                    self._throw_away(calls)
                    return
        self._deciding = []
        self._decided += calls
        self._decided_events += len(events)
        self._news.set()

    def _now_us(self) -> int:
        return int(self._clock.now().timestamp() * 1_000_000)

    def _throw_away(self, calls: Sequence[Call] = ()) -> None:
        """Forget what was decided and is not being committed; decide on that again, and then on these calls."""
        self._journal = None
        self._requeue([*self._take_decided(), *calls])

    def _take_decided(self) -> list[Call]:
        calls, self._decided, self._decided_events = self._decided, [], 0
        return calls

    def _give_up(self, calls: Sequence[Call], defect: Exception) -> None:
        log.error("ledger.batch_failed", exc_info=defect)
        self._throw_away()
        for call in calls:
            call.fail(Internal())

    def _requeue(self, calls: Sequence[Call]) -> None:
        self._queue.extendleft(reversed(calls))
        self._queued += sum(len(call.events) for call in calls)
        self._news.set()

    async def _put_back(self, calls: Sequence[Call], error: Exception) -> None:
        """Try again a little later, some times; then tell the callers."""
        again = []
        for call in calls:
            call.attempts += 1
            if call.attempts > len(RETRY_PAUSES_S):
                call.fail(error)
            else:
                again.append(call)
        self._requeue(again)
        if again:
            pause = RETRY_PAUSES_S[again[0].attempts - 1]
            log.warning("ledger.retry", error=str(error), in_s=pause, calls=len(again))
            await self._clock.sleep(pause)

    # Committing what was decided.

    def _hand_over(self) -> None:
        """Close the open batch and give it to the store, if it is its turn, or if it is full and may wait there."""
        while self._decided and (not self._writes or (len(self._writes) < MAX_WRITING and self._full())):
            journal, calls = self._journal, self._take_decided()
            assert journal is not None
            previous = journal.head
            try:
                batch = journal.seal()
                if batch is not None:
                    self._store.encode(batch)
            except Exception as defect:  # noqa: BLE001 - whatever it is, the callers are told
                self._give_up(calls, defect)
                return
            before = self._writes[-1] if self._writes else None
            self._writes.append(self._loops.spawn("commit", self._commit(calls, previous, batch, before)))

    async def _commit(
        self, calls: list[Call], previous: Head, batch: Batch | None, before: asyncio.Task[None] | None
    ) -> None:
        try:
            if batch is not None:
                await self._store.write(previous, batch)
                await failpoint(failpoints.AFTER_COMMIT)
                self._durable(batch)
            elif before is not None:
                # Nothing to write: these repeat what is durable, or what is being written.
                await asyncio.wait([before])
                if self._journal is None:
                    raise Aborted("What was repeated may not have been committed.")
            await failpoint(failpoints.BEFORE_ANSWER)
        except asyncio.CancelledError:
            for call in calls:
                call.fail(Unavailable("The ledger's writer has ended."))
            raise
        except WriterReplaced:
            self._requeue(calls)
            self._stop_for_good()
        except (Unavailable, Aborted) as error:
            self._throw_away()
            self._failed += calls
            self._failure = error
        except Exception as defect:  # noqa: BLE001 - whatever it is, the callers are told
            self._give_up(calls, defect)
        else:
            metrics.tell(calls)
            for call in calls:
                if not call.future.done():
                    call.future.set_result(call.answers)
        if self._failed and len(self._writes) == 1:
            again, self._failed = self._failed, []
            await self._put_back(again, self._failure)
        self._writes = deque(write for write in self._writes if write is not asyncio.current_task())
        self._hand_over()
        self._news.set()

    def _durable(self, batch: Batch) -> None:
        if batch.head.sequence > self.sequence:
            self.sequence = batch.head.sequence
            self._wake()

    async def _sleep(self) -> None:
        """Until something has changed. Whoever wakes looks again at what it waits for."""
        self._news.clear()
        await self._news.wait()

    def _wake(self) -> None:
        if self._moved is not None and not self._moved.done():
            self._moved.set_result(None)

    def _stop_for_good(self) -> None:
        if not self._replaced:
            log.error("ledger.replaced", epoch=self._epoch)
        self._replaced = True
        self._end(WriterReplaced())

    def _end(self, error: Exception) -> None:
        """Take nothing more, and tell everybody who waits. Those whose batch is at the store hear from there."""
        self._open = self.following = False
        self._journal = None
        for call in [*self._failed, *self._take_decided(), *self._deciding, *self._queue]:
            call.fail(error)
        self._queue.clear()
        self._queued = 0
        self._news.set()
        self._wake()
