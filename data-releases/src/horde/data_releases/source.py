"""What a release is made from: the journal's entries of its hours, and what was withdrawn or decided since."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import datetime, timedelta

from horde.data_releases.catalogue import Catalogue
from horde.data_releases.chain import Chain
from horde.data_releases.core.plan import Plan, hour_name, hours_between
from horde.data_releases.core.records import Verdict
from horde.data_releases.shared_side import SharedSide


class Source:
    """The shared bucket, as one release looks at it."""

    def __init__(self, plan: Plan, chain: Chain, shared: SharedSide, now: Callable[[], datetime]) -> None:
        self._plan = plan
        self._chain = chain
        self._shared = shared
        self._now = now

    async def batches(self) -> AsyncIterator[list[str]]:
        """Ids that may be in it, in their order, as many at a time as a part has."""
        ids: list[str] = []
        async for identifier in self._candidates():
            ids.append(identifier)
            if len(ids) == self._plan.samples:
                yield ids
                ids = []
        if ids:
            yield ids

    async def cooling_off(self) -> int:
        """How many entries there are that are too young for it."""
        hours = hours_between(self._plan.until, self._now() + timedelta(hours=1))
        return len([identifier async for identifier in self._shared.shared(hours)])

    async def note_withdrawals(self, catalogue: Catalogue) -> None:
        """Tell the catalogue what was withdrawn, and what moderators decided, since the release before."""
        since = self._plan.since if self._chain.last is None else self._chain.last.plan.as_of
        hours = list(hours_between(since - timedelta(hours=1), self._now() + timedelta(hours=1)))
        batch: list[tuple[str, str]] = []
        async for identifier, hour in self._shared.withdrawn(hours):
            batch.append((identifier, hour_name(hour)))
        catalogue.note_withdrawn(batch)
        decided = [
            (identifier, hour_name(hour), verdict is Verdict.UNSAFE)
            async for identifier, hour, verdict in self._shared.decided(hours)
        ]
        catalogue.note_decided(decided)

    async def _candidates(self) -> AsyncIterator[str]:
        for identifier in await self._chain.undecided():
            yield identifier
        async for identifier in self._shared.shared(self._plan.hours()):
            yield identifier
