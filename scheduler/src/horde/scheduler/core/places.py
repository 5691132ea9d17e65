"""Places in the queue, which is bounded for all: who has how many, so that no few take it.

A job has one place from its accepting to its end. A job that nobody here could paint when it came has another, too, in
a small room of its own: whoever asks for what nobody has cannot fill the queue with it, nor, anonymous, hold the day's
budget of everybody with it.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from horde.scheduler.core.errors import QueueFull, TooManyGenerations
from horde.scheduler.core.job import Generation
from horde.services.errors import ServiceError
from horde.services.shares import Pot, Taker

SHARES = {"requester": 0.25, "address": 1.0}
"""Of what is free in the queue."""
UNPAINTABLE_SHARES = {"requester": 0.1, "address": 0.5}
KEPT = 0.25
"""Of the queue, for accounts."""
SURELY = 20
"""Places that a requester may have whatever the share, while there is room: one generation."""
SURELY_MKUDOS = 30_000
RETRY_AFTER = timedelta(seconds=10)


class Places:
    """Those of one queue."""

    def __init__(self, jobs: int, unpaintable: int, anonymous_mkudos: int) -> None:
        """So many jobs; of them so many, and of anonymous only so many milli-kudos, that nobody here can paint."""
        full = QueueFull(metadata={"limit": str(jobs)}, retry_after=timedelta(seconds=5))
        self.jobs = Pot(jobs, SHARES, _refusal(f"a share of {jobs} jobs", full), kept=int(jobs * KEPT), least=SURELY)
        text = f"a share of {unpaintable} jobs that no worker here can paint"
        self.unpaintable = Pot(unpaintable, UNPAINTABLE_SHARES, _refusal(text), least=SURELY)
        text = f"a share of {anonymous_mkudos} mkudos for what no worker here can paint"
        self.held = Pot(anonymous_mkudos, UNPAINTABLE_SHARES, _refusal(text), least=SURELY_MKUDOS)

    def check(self, generation: Generation) -> None:
        """Raise QueueFull or TooManyGenerations unless there is a place for each of its jobs."""
        taker = taker_of(generation)
        for pot, amount in self._wanted(generation, len(generation.jobs)):
            pot.take(taker, amount)
            pot.give_back(taker, amount)

    def count(self, generation: Generation, jobs: int) -> None:
        """So many of its jobs, which live, have places; or had, where it is negative."""
        if jobs:
            taker = taker_of(generation)
            for pot, amount in self._wanted(generation, jobs):
                pot.count(taker, amount)

    def _wanted(self, generation: Generation, jobs: int) -> list[tuple[Pot, int]]:
        wanted = [(self.jobs, jobs)]
        if generation.unpaintable:
            wanted.append((self.unpaintable, jobs))
            if generation.anonymous:
                wanted.append((self.held, jobs * generation.terms.price.price))
        return wanted


def taker_of(generation: Generation) -> Taker:
    """Who asked: the account or the token, and the address of an anonymous one."""
    requester = f"{generation.account_id}:{generation.digest.hex()}"
    address = generation.flow if generation.anonymous else ""
    return Taker((("requester", requester), ("address", address)), known=not generation.anonymous)


def _refusal(text: str, full: ServiceError | None = None) -> Callable[[str], ServiceError]:
    def refuse(kind: str) -> ServiceError:
        if not kind and full is not None:
            return full
        limit = f"{text}, by {kind}" if kind else text
        return TooManyGenerations(metadata={"limit": limit}, retry_after=RETRY_AFTER)

    return refuse
