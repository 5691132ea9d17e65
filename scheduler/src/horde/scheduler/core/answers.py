"""What a neighbour answers for one item of a call, once what matters of it has been read."""

from __future__ import annotations

from dataclasses import dataclass

from horde.scheduler.core.likeness import Distance


@dataclass(frozen=True, slots=True)
class Done:
    """It is done, now or by an earlier sending; `words` are the contract's bytes where there are any."""

    words: bytes = b""


@dataclass(frozen=True, slots=True)
class Recorded(Done):
    """A job's end is in the books already, otherwise than it was asked for: that one counts."""

    ending: int = 0
    """A number of the contract; 0 where the books do not name it, for all that was held went back."""
    worker_id: str = ""
    earned: int = 0
    tax: int = 0
    surcharge: int = 0


@dataclass(frozen=True, slots=True)
class Committed:
    """The object is in its place."""

    size_bytes: int
    format: int
    expires_at_ms: int


@dataclass(frozen=True, slots=True)
class Compared:
    """How far pictures are from each other; none, where one of them is not there."""

    distances: tuple[Distance, ...] = ()


@dataclass(frozen=True, slots=True)
class Declined:
    """It will not be done, however often it is asked; `status` is the contract's bytes."""

    reason: str
    message: str
    status: bytes


@dataclass(frozen=True, slots=True)
class Again:
    """Not now, or not known: ask again."""

    message: str = ""


@dataclass(frozen=True, slots=True)
class Stuck(Again):
    """What was decided cannot be done, which is a defect somewhere: ask again, ever more seldom, until it is mended."""


Answer = Done | Declined | Again
CompareAnswer = Compared | Again
CommitAnswer = Committed | Declined | Again
