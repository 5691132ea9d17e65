"""Everything that will be due, in one heap: leases, generations, sessions' graces, jobs to be tried again.

An entry is only a reminder to look again. What it is about may have moved its deadline or be over; so entries are never
removed, and the heap is swept when most of it is about nothing any more.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count

from horde.scheduler.core.fleet import Worker
from horde.scheduler.core.job import Generation, Job, JobState
from horde.scheduler.core.leases import Lease, LeaseState
from horde.scheduler.core.sessions import Session, SessionState


@dataclass(slots=True, eq=False)
class Relook:
    """The slow second look at those who are idle."""

    armed: bool = False


Subject = Lease | Generation | Session | Worker | Job | Relook

SLACK = 1024
"""Entries about nothing that are always borne."""


class Deadlines:
    """The heap."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Subject]] = []
        self._order = count()
        self._sweep_at = SLACK

    def __len__(self) -> int:
        return len(self._heap)

    def add(self, at: float, subject: Subject) -> None:
        """Look at the subject at that time."""
        if len(self._heap) >= self._sweep_at:
            self._heap = [entry for entry in self._heap if matters(entry[2])]
            heapq.heapify(self._heap)
            self._sweep_at = 2 * len(self._heap) + SLACK
        heapq.heappush(self._heap, (at, next(self._order), subject))

    def next(self) -> float | None:
        """When something is due next."""
        return self._heap[0][0] if self._heap else None

    def due(self, now: float, look: Callable[[Subject], None], at_most: int) -> None:
        """Take out what is due and look at it; what is beyond `at_most` stays due."""
        while at_most and self._heap and self._heap[0][0] <= now:
            at_most -= 1
            _, _, subject = heapq.heappop(self._heap)
            if matters(subject):
                look(subject)


def matters(subject: Subject) -> bool:
    """Whether anything could still fall due for it."""
    match subject:
        case Lease():
            return subject.state is LeaseState.OPEN or subject.hedged
        case Generation():
            return not subject.closed
        case Session():
            return subject.state in (SessionState.OPENED, SessionState.ADRIFT)
        case Worker():
            return bool(subject.leases or subject.rests_until or subject.withheld or subject.news)
        case Job():
            return subject.state is JobState.QUEUED and bool(subject.barred or subject.wary)
        case Relook():
            return subject.armed
