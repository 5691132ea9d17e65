"""Strikes: what was held against a worker and its owner, as people are shown it, and the amnesty that takes it back.

A strike decides nothing by itself: what follows from failures is in `fleet` (a worker rests) and `standing` (an owner
is not proven any more). It is the record of why.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING
from uuid import UUID, uuid5

from horde.scheduler.core.job import AccountId, WorkerId
from horde.scheduler.core.leases import Lease

if TYPE_CHECKING:
    from horde.scheduler.core.checks import Opinion

COUNTS_FOR = 7 * 86_400.0
"""Seconds for which a strike counts."""
MAX_OF_ONE = 200
"""Of one owner that are remembered, the newest."""
MAX_OWNERS = 50_000
"""Those struck longest ago are forgotten."""
MAX_DETAIL = 500


class StrikeReason(IntEnum):
    """What a strike is for; numbers of the contract."""

    FAILURES = 1
    STALLED = 2
    WRONG_PICTURE = 3
    BLANK_PICTURE = 4
    IMPOSSIBLE_SPEED = 5
    FALSE_CENSORSHIP = 6
    MISBEHAVIOUR = 7


@dataclass(slots=True, eq=False)
class Strike:
    """One of them."""

    strike_id: str
    owner: AccountId
    worker_id: WorkerId
    worker_name: str
    reason: StrikeReason
    at: float
    """On the core's clock, seconds."""
    detail: str = ""
    forgiven: str = ""
    """Why it counts no more; empty: it counts."""

    @property
    def counts_until(self) -> float:
        """On the core's clock, seconds."""
        return self.at + COUNTS_FOR

    def counts(self, now: float) -> bool:
        """Whether it counts now."""
        return not self.forgiven and now < self.counts_until


def strike_id_of(lease: Lease | Opinion) -> str:
    """The id of the strike for a lease: there is one at most."""
    return str(uuid5(UUID(lease.lease_id), "strike"))


class Strikes:
    """The newest of every owner."""

    def __init__(self) -> None:
        self._of: OrderedDict[AccountId, deque[Strike]] = OrderedDict()

    def add(self, strike: Strike) -> None:
        """Remember one; they come in the order of their time."""
        self._of.setdefault(strike.owner, deque(maxlen=MAX_OF_ONE)).append(strike)
        self._of.move_to_end(strike.owner)
        if len(self._of) > MAX_OWNERS:
            self._of.popitem(last=False)

    def restore(self, strikes: Iterable[Strike]) -> None:
        """Remember what was written."""
        for strike in sorted(strikes, key=lambda strike: strike.at):
            self.add(strike)

    def forget(self, owner: AccountId) -> None:
        """Forget an owner's."""
        self._of.pop(owner, None)

    def of(self, owner: AccountId) -> list[Strike]:
        """An owner's, newest first."""
        return list(reversed(self._of.get(owner, ())))

    def counting(self, owner: AccountId, now: float) -> int:
        """How many of an owner's count now."""
        return sum(strike.counts(now) for strike in self._of.get(owner, ()))

    def forgive(self, since: float, until: float, because: str) -> list[Strike]:
        """Take back everybody's of a window of time, `until` not included; those that were not forgiven before."""
        found = [
            strike
            for strikes in self._of.values()
            for strike in strikes
            if since <= strike.at < until and not strike.forgiven
        ]
        for strike in found:
            strike.forgiven = because
        return found
