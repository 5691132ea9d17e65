"""What an owner's work so far says about it: how much it may hold at once, and how much its word counts.

Everybody may join, and a name costs nothing. So a new owner begins with few jobs at once and is lent more with each
image that somebody else paid for; from PROVEN images on it is *proven*: it is bounded by its own wishes alone, its word
that a picture must be withheld ends a job, and jobs that strangers gave back several times go to it first.

Part of what it paints is painted a second time (`checking.py`). What that shows adds up as in Page's test: a picture
that was wrong adds the logarithm of how much likelier that is of a cheat than of an honest machine, one that was right
takes a little away, and below zero it does not go, so that nobody saves up good deeds. Nobody is punished for a single
picture: three wrong ones in a row reach CAUGHT, two if they had nothing in common with what was asked for.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from horde.scheduler.core.job import AccountId, JobId, WorkerId
from horde.scheduler.core.leases import Fault

if TYPE_CHECKING:
    from horde.scheduler.core.fleet import Worker

PROVEN_FEATURE = 1 << 255
"""The bit of a feature mask that proven owners' offers have, so that the index of workers finds them; above all bits of
the contract's features."""
CHECKER_FEATURE = 1 << 254
"""The same of those whose pictures others' are compared with."""
MAX_CONTRADICTED = 3
"""Times that others painted what an owner withheld, after which it is proven no more. One is forgiven with as many
images as prove."""
FALSE_OF_CHEATS = 0.1
"""The share of wrong pictures of whoever cheats now and then; more often is found sooner."""
FALSE_OF_HONEST = 0.005
"""The same of an honest machine, after two others have agreed against it: a driver's fault, a broken chip's mood."""
STRANGE_OF_HONEST = 0.0005
"""... of pictures that have nothing in common with what was asked for."""
WRONG = math.log(FALSE_OF_CHEATS / FALSE_OF_HONEST)
STRANGE = math.log(FALSE_OF_CHEATS / STRANGE_OF_HONEST)
RIGHT = math.log((1 - FALSE_OF_CHEATS) / (1 - FALSE_OF_HONEST))
CAUGHT = 8.9
"""Reached by chance about once in e^8.9, 7,300, looks at an honest owner."""
FIRST_LOOKS = 3
"""Pictures of a new owner that are all looked at; ten times as many once it was caught."""
WEARS_OFF = 2.0
"""The power of their part among those that were right with which the looks become fewer. Of those who cheat with every
tenth picture 89 in 100 are caught within 400 jobs; 96 with 1.5, which puts half as much again into looks at the honest,
and more than all looks may cost."""
STEADY_RATE = 0.01
"""The part of the pictures of an owner of good record that is looked at."""
MAX_DOUBTED = 64
MAX_STRIKES = 3
"""Failures one after the other after which a worker rests."""
LONGEST_REST = 60.0


def rest_after(strikes: int) -> float:
    """Seconds for which whoever has failed so often in a row is given nothing: one, then twice as long each time."""
    return 0.0 if strikes < MAX_STRIKES else min(LONGEST_REST, 2.0 ** (strikes - MAX_STRIKES))


@dataclass(slots=True, eq=False)
class Returned:
    """What was given back, by model, since something was last painted with it."""

    refused: Counter[str] = field(default_factory=Counter)
    declined: Counter[str] = field(default_factory=Counter)
    """Of them, those that were for what one job asked for."""
    withheld: dict[str, float] = field(default_factory=dict)
    """Until when the model is not offered."""


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
    open_checks: int = 0
    """Looks at its pictures that are not over."""
    verified: int = 0
    """Pictures that were looked at and were right, since it was caught last."""
    refuted: int = 0
    """Pictures that were wrong, but for those that were forgiven."""
    doubt: float = 0.0
    """How much speaks against its pictures; see above."""
    doubted: dict[JobId, None] = field(default_factory=dict)
    """Jobs whose pictures were wrong: their pay is taken when it is caught."""
    caught: int = 0
    """How often that was."""
    verdicts: dict[tuple[str, JobId], None] = field(default_factory=dict)
    """What the ledger is still to be told of its jobs: `verify` or `slash`."""
    faults: Counter[Fault] = field(default_factory=Counter)
    """By class: what its owner is shown."""
    workers: dict[WorkerId, Worker] = field(default_factory=dict)
    """Those that are known."""
    gave: Returned = field(default_factory=Returned)
    """What all of them gave back while it is not proven."""
    strikes: int = 0
    """Failures of all of them one after the other while it is not proven."""
    rests_until: float = 0.0
    """Until when none of them is given anything for that."""

    @property
    def proven(self) -> bool:
        return self.paid_images >= self.proven_images and self.contradicted < MAX_CONTRADICTED

    def slots(self, most: int) -> int:
        """Jobs that one of its workers may hold, of as many as anybody may."""
        return most if self.proven else min(most, self.first_slots + self.paid_images)

    @property
    def checker(self) -> bool:
        """Others' pictures are compared with its own. Whoever was wrong itself is trusted so far no more, until enough
        of its own were right."""
        return self.proven and not self.doubt

    @property
    def full(self) -> bool:
        """It holds as many jobs as it may for now."""
        return self.open_leases >= self.first_slots + self.paid_images and not self.proven

    @property
    def recorded(self) -> bool:
        """Something is known of it that must not be forgotten with its workers."""
        seen = self.verified or self.refuted or self.doubt or self.caught
        return bool(seen or self.contradicted or self.verdicts or self.faults)

    @property
    def rate(self) -> float:
        """The part of its pictures that is looked at."""
        if self.doubt or self.contradicted:
            return 1.0
        looks = FIRST_LOOKS * 10 ** min(self.caught, 2)
        return 1.0 if self.verified < looks else max(STEADY_RATE, (looks / (self.verified + 1)) ** WEARS_OFF)

    def failed(self, now: float) -> None:
        """A worker has failed, whichever: a broken one fails faster than others paint, and a name costs nothing."""
        self.strikes += 1
        if rest := rest_after(self.strikes):
            self.rests_until = now + rest

    def forgive(self) -> None:
        """Take a failure back."""
        self.strikes = max(0, self.strikes - 1)
        if not rest_after(self.strikes):
            self.rests_until = 0.0

    def paid(self) -> None:
        """Somebody else paid for an image."""
        self.paid_images += 1
        if self.contradicted and self.paid_images % max(1, self.proven_images) == 0:
            self.contradicted -= 1

    def was_right(self) -> None:
        """A picture of it was looked at, and is what it should be."""
        self.verified += 1
        self.doubt = max(0.0, self.doubt + RIGHT)
        if not self.doubt:
            self.doubted.clear()

    def was_wrong(self, job_id: JobId, *, strange: bool) -> bool:
        """A picture of it is not what it should be, by two others' pictures; whether it is caught by that."""
        self.refuted += 1
        self.doubt += STRANGE if strange else WRONG
        while len(self.doubted) >= MAX_DOUBTED:
            del self.doubted[next(iter(self.doubted))]
        self.doubted[job_id] = None
        return self.doubt >= CAUGHT

    def pardon(self) -> None:
        """One wrong picture is forgiven: what it added is taken back, or else that it was caught by it."""
        self.refuted = max(0, self.refuted - 1)
        if self.doubt:
            self.doubt = max(0.0, self.doubt - WRONG)
        else:
            self.caught = max(0, self.caught - 1)

    def convict(self) -> list[JobId]:
        """It begins anew, as somebody who is known to cheat; the jobs whose pay is taken."""
        jobs = list(self.doubted)
        self.doubted.clear()
        self.caught += 1
        self.paid_images = self.verified = 0
        self.doubt = 0.0
        for worker in self.workers.values():
            worker.paid_images = 0
        return jobs
