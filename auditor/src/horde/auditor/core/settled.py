"""What the scheduler has settled, as the auditor reads it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum


@dataclass(frozen=True, slots=True)
class Settled:
    """An image that is done: where it must lie, and what it is."""

    job_id: str
    object_name: str
    shared: bool
    sha256: str
    size_bytes: int
    format: str
    """As records name it, for example `WEBP`."""
    ended_at: datetime
    expires_at: datetime | None
    """None: never."""
    withdrawn: bool = False
    settling: bool = False
    """It may be in place, and need not yet."""


class State(Enum):
    """How far a job is."""

    UNKNOWN = "unknown"
    """There is none of this id, or it is forgotten."""
    OPEN = "open"
    """It has not ended: its image may be in place already."""
    DONE = "done"
    OVER = "over"
    """It ended without an image."""


@dataclass(frozen=True, slots=True)
class Job:
    """What is durable of a job."""

    state: State
    shared: bool = False
    image: Settled | None = None
    """Where it is done, or about to be."""


NO_JOB = Job(State.UNKNOWN)
