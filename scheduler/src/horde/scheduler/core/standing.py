"""What an owner's work so far says about it: how much it may hold at once, and how much its word counts.

Everybody may join, and a name costs nothing. So a new owner begins with few jobs at once and is lent more with each
image that somebody else paid for; from PROVEN images on it is *proven*: it is bounded by its own wishes alone, its word
that a picture must be withheld ends a job, and jobs that strangers gave back several times go to it first.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from horde.scheduler.core.job import AccountId, WorkerId
from horde.scheduler.core.leases import Fault

if TYPE_CHECKING:
    from horde.scheduler.core.fleet import Worker

PROVEN_FEATURE = 1 << 255
"""The bit of a feature mask that proven owners' offers have, so that the index of workers finds them; above all bits of
the contract's features."""
MAX_CONTRADICTED = 3
"""Times that others painted what an owner withheld, after which it is proven no more. One is forgiven with as many
images as prove."""


@dataclass(slots=True, eq=False)
class Standing:
    """One owner's."""

    owner: AccountId
    first_slots: int
    """Jobs that it may hold at once before any was paid."""
    proven_images: int
    """Paid images that prove it."""
    paid_images: int = 0
    """Images of its workers that somebody else paid for. Anonymous pays nothing and proves nothing."""
    contradicted: int = 0
    open_leases: int = 0
    """Of all its workers."""
    faults: Counter[Fault] = field(default_factory=Counter)
    """By class, since this leader began: what its owner is shown."""
    workers: dict[WorkerId, Worker] = field(default_factory=dict)
    """Those that are known."""

    @property
    def proven(self) -> bool:
        return self.paid_images >= self.proven_images and self.contradicted < MAX_CONTRADICTED

    def slots(self, most: int) -> int:
        """Jobs that one of its workers may hold, of as many as anybody may."""
        return most if self.proven else min(most, self.first_slots + self.paid_images)

    @property
    def full(self) -> bool:
        """It holds as many jobs as it may for now."""
        return self.open_leases >= self.first_slots + self.paid_images and not self.proven

    def paid(self) -> None:
        """Somebody else paid for an image."""
        self.paid_images += 1
        if self.contradicted and self.paid_images % max(1, self.proven_images) == 0:
            self.contradicted -= 1
