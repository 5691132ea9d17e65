"""Carries items to a neighbour until each is answered, in batches, in the order they came.

Batches are cut by bytes too, and what a neighbour finds too large is halved: else one large batch would be made again
and again, and stop everything behind it.

Not the chassis' Batcher: there a caller waits for his own item, here nobody does. What is answered comes back to the
core as an event, and what is not is asked again, for as long as it takes: items come from rows, so they are as many as
the live jobs at most, and a restart finds them again.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from opentelemetry import metrics

from horde.scheduler.core.answers import Again, Stuck
from horde.scheduler.neighbours.pairs import pairs
from horde.services import telemetry
from horde.services.clock import Clock
from horde.services.errors import ResourceExhausted, ServiceError
from horde.services.streams import take

T = TypeVar("T")
A = TypeVar("A")

log = telemetry.get_logger(__name__)

MAX_ITEMS = 256
FIRST_PAUSE = 0.1
LONGEST_PAUSE = 5.0
ITEM_PAUSE = 1.0
"""Seconds until an item that alone was not answered is asked again."""
LONGEST_STUCK_PAUSE = 300.0
"""Of an item that should be possible and is not: each asking waits twice as long as the one before, up to this."""

STUCK = metrics.get_meter("horde.scheduler").create_up_down_counter(
    "horde.scheduler.stuck", unit="{item}", description="Decided ends that a neighbour calls impossible: a defect."
)


class Courier(Generic[T, A]):
    """One kind of call to one neighbour."""

    def __init__(
        self,
        name: str,
        call: Callable[[Sequence[T]], Awaitable[Sequence[A]]],
        answered: Callable[[Sequence[tuple[T, A]]], Awaitable[None]],
        clock: Clock,
        max_items: int = MAX_ITEMS,
        size: Callable[[T], int] = lambda _: 0,
        trace: Callable[[T], str] = lambda _: "",
    ) -> None:
        """`size` is how many bytes an item takes up in the call, at most; `trace` the trace that it belongs to."""
        self.name = name
        self._size = size
        self._trace = trace
        self._call = call
        self._answered = answered
        self._clock = clock
        self._max_items = max_items
        self._items: deque[T] = deque()
        self._waiting: set[T] = set()
        """The same: who has an item carried again and again has it carried once."""
        self._stuck: dict[T, float] = {}
        """Items that a person must look at, and how long each waited last; as many as are asked again and again."""
        self._wanted = asyncio.Event()

    def __len__(self) -> int:
        return len(self._items)

    @property
    def stuck(self) -> int:
        """How many items are asked again and again for what should be possible."""
        return len(self._stuck)

    def send(self, item: T) -> None:
        """Have an item carried; one that waits already is not carried twice."""
        if item in self._waiting:
            return
        self._waiting.add(item)
        self._items.append(item)
        self._wanted.set()

    async def run(self) -> None:
        """Carry for ever; to be cancelled."""
        pause, at_most = FIRST_PAUSE, self._max_items
        while True:
            if not self._items:
                self._wanted.clear()
                await self._wanted.wait()
            batch = take(self._items, at_most, self._size)
            self._waiting.difference_update(batch)
            try:
                with telemetry.span_of_all(lambda batch=batch: map(self._trace, batch), self.name):  # type: ignore[misc]
                    answers = await self._call(batch)
                await self._take(pairs(batch, answers))
                pause, at_most = FIRST_PAUSE, min(2 * at_most, self._max_items)
            except ServiceError as error:
                if isinstance(error, ResourceExhausted) and len(batch) == 1:
                    # Too large by itself, perhaps: it must not keep all others from going.
                    self._later(batch[0])
                else:
                    again = [item for item in batch if item not in self._waiting]
                    self._items.extendleft(reversed(again))
                    self._waiting.update(again)
                if isinstance(error, ResourceExhausted):
                    at_most = max(1, len(batch) // 2)
                if not error.remote:
                    # Of what came over the wire the channel says when it begins and when it is over.
                    log.warning("an answer is of no use", call=self.name, items=len(batch), error=str(error))
                await self._clock.sleep(pause * random.uniform(0.5, 1.0))
                pause = min(2 * pause, LONGEST_PAUSE)

    async def _take(self, answered: Sequence[tuple[T, A]]) -> None:
        done = []
        for item, answer in answered:
            if isinstance(answer, Stuck):
                self._ask_seldom(item, answer.message)
            elif isinstance(answer, Again):
                log.warning("to be asked again", call=self.name, why=answer.message)
                self._later(item)
            else:
                if self._stuck and self._stuck.pop(item, 0):
                    STUCK.add(-1, {"call": self.name})
                done.append((item, answer))
        if done:
            await self._answered(done)

    def _later(self, item: T, pause: float = ITEM_PAUSE) -> None:
        self._clock.call_later(pause, lambda: self.send(item))

    def _ask_seldom(self, item: T, why: str) -> None:
        pause = min(2 * self._stuck.get(item, ITEM_PAUSE / 2), LONGEST_STUCK_PAUSE)
        if item not in self._stuck:
            STUCK.add(1, {"call": self.name})
        self._stuck[item] = pause
        log.error("stuck", call=self.name, why=why, again_in=pause, stuck=len(self._stuck))
        self._later(item, pause)
