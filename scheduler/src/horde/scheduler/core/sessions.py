"""A worker's session: its stream, as a machine of a few states.

    OPENED ---restated---> READY ---relay or stream broke---> ADRIFT ---came back---> OPENED
                                                                |
                                                                +---grace ran out---> gone, its leases lost

A session is numbered by the leader (epoch and counter); a newer one of the same worker fences the older. Until a
session has restated it is given nothing, for what it holds is not known.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

from horde.scheduler.core.job import WorkerId


class Route(NamedTuple):
    """Where a session's messages go: a relay's stream, and the gateway's number on it."""

    relay: int
    number: int


class SessionState(IntEnum):
    OPENED = 1
    READY = 2
    ADRIFT = 3
    ENDED = 4


@dataclass(slots=True, eq=False)
class Session:
    """One session of one worker."""

    session_id: str
    order: tuple[int, int]
    """What fences: a greater one is newer."""
    worker_id: WorkerId
    route: Route | None
    opened_at: float
    state: SessionState = SessionState.OPENED
    slots: int = 0
    draining: bool = False
    grace_until: float = 0.0
    """While adrift or not yet restated: until then its leases wait for it."""
    stated_at: float = float("inf")
    """When it restated first on this route."""
    lost_by_mesh: bool = False
    """Adrift since its gateway is away; not through anything that its worker did."""
    hears_idle: bool = False
    """It reads why it is given nothing."""
    idle_told_at: float = float("-inf")
    idle_told: tuple[tuple[int, str], ...] = ()
    """What kept jobs from it when it was told last; see `idling`."""
    idle_answered_at: float = float("-inf")
    ready_since_ms: int = 0
    """Wall time, for uptime rewards; 0 while not ready."""

    @property
    def ready(self) -> bool:
        return self.state is SessionState.READY
