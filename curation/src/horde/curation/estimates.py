"""What data releases would hold: counted one at a time, while who asked asks again. Counting takes as long as reading
every new record, and no call may."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Final

from horde.curation.core.errors import ReleaseRunning
from horde.curation.core.releases import Estimate, Terms
from horde.curation.neighbours.builders import Builder, BuilderFailed
from horde.services.clock import Clock
from horde.services.errors import ServiceError, Unavailable
from horde.services.telemetry import get_logger

log = get_logger(__name__)

KEPT_SECONDS: Final = 600.0
"""So long what was counted waits for who asked for it; then it is counted anew."""
WAIT_SECONDS: Final = 4.0
"""So long a call waits for its answer: less than the gateway does."""


@dataclass(slots=True, eq=False)
class _Count:
    """One that is asked for, under way, or done and not fetched yet."""

    name: str
    terms: Terms
    done: asyncio.Event = field(default_factory=asyncio.Event)
    found: Estimate | None = None
    error: ServiceError | None = None
    done_at: float = 0.0
    """Of the monotonic clock."""


class Estimates:
    """Has a builder count."""

    def __init__(self, builder: Builder, clock: Clock) -> None:
        self._builder = builder
        self._clock = clock
        self._count: _Count | None = None
        self._asked = asyncio.Event()

    async def ask(self, name: str, terms: Terms) -> Estimate | None:
        """What the release would hold; None: it is being counted, ask again. Raises ReleaseRunning while another is."""
        count = self.count(name, terms)
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                await count.done.wait()
        except TimeoutError:
            return None
        if self._count is count:
            # Told once: who asks after that has it counted anew.
            self._count = None
        if count.error is not None:
            raise count.error
        return count.found

    def count(self, name: str, terms: Terms) -> _Count:
        """The count of a release, begun unless it is under way or was done a moment ago. Raises ReleaseRunning."""
        count = self._count
        if count is None or (
            count.done.is_set() and (self._is_old(count) or (count.name, count.terms) != (name, terms))
        ):
            count = self._count = _Count(name, terms)
            self._asked.set()
        elif (count.name, count.terms) != (name, terms):
            raise ReleaseRunning(metadata={"name": count.name})
        return count

    def _is_old(self, count: _Count) -> bool:
        return self._clock.monotonic() - count.done_at >= KEPT_SECONDS

    async def run(self) -> None:
        """Count what is asked for. Until cancelled, which ends the builder, too."""
        while True:
            await self._asked.wait()
            self._asked.clear()
            if (count := self._count) is not None:
                await self._run(count)

    async def _run(self, count: _Count) -> None:
        try:
            count.found = await self._builder.estimate(count.name, count.terms)
        except ServiceError as error:
            count.error = error
        except BuilderFailed as error:
            log.error("it could not be counted what a release would hold", release=count.name, why=str(error))
            count.error = Unavailable("The builder could not look.")
        finally:
            count.done_at = self._clock.monotonic()
            count.done.set()
