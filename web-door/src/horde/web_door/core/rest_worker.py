"""A worker that asks for work from time to time, as seen by the session that the door holds for it.

The mesh pushes; such a worker pulls. So the mesh is told of a free slot only while the worker is sure to ask again
soon: when it has asked and got nothing. What is lent and not fetched is given back. Pure: told what happens and when,
it says what is to be done.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from horde.web_door.core.refusals import Refusal

HUNGRY_SECONDS = 15.0
"""After a pop that got nothing: the slowest of the workers that are known asks every 10 seconds."""
UNCLAIMED_SECONDS = 20.0
"""How long a job that was lent may wait for the next pop."""
SILENT_SECONDS = 180.0
"""After the last pop, with nothing in hands, until the session is over."""
MOST_CLOSED = 256
"""Jobs that are remembered after their end, so that a late word gets a telling answer."""
MOST_IN_HANDS = 60


class End(Enum):
    """How a job ended for the worker."""

    SUBMITTED = "submitted"
    ABORTED = "aborted"


@dataclass
class Lent:
    """A job that was lent to the worker."""

    job_id: str
    lease_id: str
    assignment: Any
    """As the mesh sent it."""
    at: float
    receipt: str = ""
    """The router's word that its picture has arrived."""
    submitting: bool = False


@dataclass
class RestWorker:
    """What the worker holds, and whether it wants more."""

    last_pop: float
    waiting: deque[Lent] = field(default_factory=deque)
    """Lent by the mesh, and not fetched yet."""
    hands: OrderedDict[str, Lent] = field(default_factory=OrderedDict)
    """Fetched and not submitted, by job."""
    closed: OrderedDict[str, End] = field(default_factory=OrderedDict)
    hungry_until: float = 0.0

    def pop(self, now: float) -> Lent | None:
        """The worker asks for a job."""
        self.last_pop = now
        if not self.waiting:
            self.hungry_until = now + HUNGRY_SECONDS if len(self.hands) < MOST_IN_HANDS else 0.0
            return None
        self.hungry_until = 0.0
        lent = self.waiting.popleft()
        self.hands[lent.job_id] = lent
        return lent

    def slots(self, now: float) -> int:
        """How many assignments the mesh may have out: what is here, and one more for a worker that will ask again."""
        held = len(self.hands) + len(self.waiting)
        return held + (now < self.hungry_until and not self.waiting)

    def lent(self, lent: Lent) -> None:
        """The mesh lends a job. One that is lent again takes the place of what there was of it."""
        self.closed.pop(lent.job_id, None)
        self.hands.pop(lent.job_id, None)
        self.waiting.append(lent)

    def revoked(self, lease_id: str) -> None:
        """The mesh takes a lease back."""
        self.waiting = deque(lent for lent in self.waiting if lent.lease_id != lease_id)
        for lent in [lent for lent in self.hands.values() if lent.lease_id == lease_id]:
            self._close(lent, End.ABORTED)

    def unclaimed(self, now: float) -> list[Lent]:
        """What was lent and not fetched for too long; it is the worker's no more."""
        late = [lent for lent in self.waiting if now - lent.at >= UNCLAIMED_SECONDS]
        if late:
            self.waiting = deque(lent for lent in self.waiting if now - lent.at < UNCLAIMED_SECONDS)
            self.hungry_until = 0.0
        return late

    def submitting(self, job_id: str) -> Lent:
        """The worker says what became of a job; raises Refusal in the words that such workers look for."""
        lent = self.hands.get(job_id)
        if lent is None:
            raise gone(job_id, self.closed.get(job_id))
        if lent.submitting:
            raise gone(job_id, End.SUBMITTED)
        lent.submitting = True
        return lent

    def ended(self, lent: Lent, end: End) -> None:
        """A job is over."""
        if self.hands.get(lent.job_id) is lent:
            self._close(lent, end)

    def arrived(self, lease_id: str, receipt: str) -> bool:
        """The router has the picture of a lease. Says whether anybody here holds it."""
        for lent in (*self.hands.values(), *self.waiting):
            if lent.lease_id == lease_id:
                lent.receipt = receipt
                return True
        return False

    def over(self, now: float) -> bool:
        """Whether the worker has been silent for so long that the session is over."""
        return not self.hands and not self.waiting and now - self.last_pop >= SILENT_SECONDS

    def held(self) -> list[Lent]:
        """Everything that was lent and has not ended."""
        return [*self.hands.values(), *self.waiting]

    def _close(self, lent: Lent, end: End) -> None:
        del self.hands[lent.job_id]
        self.closed[lent.job_id] = end
        self.closed.move_to_end(lent.job_id)
        while len(self.closed) > MOST_CLOSED:
            self.closed.popitem(last=False)


def gone(job_id: str, end: End | None) -> Refusal:
    """Why a job cannot be submitted (any more)."""
    name = job_id[:64]
    if end is End.SUBMITTED:
        return Refusal(400, "DuplicateGen", f"Processing Generation with ID {name} already submitted.")
    if end is End.ABORTED:
        words = "was taken back, for it took too long or was cancelled. Please check your worker speed."
        return Refusal(400, "AbortedGen", f"Processing Generation with ID {name} {words}")
    return Refusal(404, "InvalidJobID", f"Processing Job with ID {name} does not exist.")
