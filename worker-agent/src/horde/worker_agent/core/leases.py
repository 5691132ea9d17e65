"""What the worker holds, lease by lease. Knows no streams and no clock."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

from horde.worker_agent.core.jobs import Assignment, JobId, LeaseId, Picture


class Stage(IntEnum):
    """How far the work on a lease is; it only rises. Numbered as the contract's LeaseState."""

    WAITING = 1
    PREPARING = 2
    PAINTING = 3
    UPLOADING = 4


@dataclass(slots=True)
class Held:
    """A lease that is worked on."""

    lease_id: LeaseId
    job_id: JobId
    stage: Stage = Stage.WAITING
    step: int = 0
    preview_wanted: bool = False
    picture: Picture | None = None
    """None: it was painted before a restart."""


class LeaseBook:
    """The leases without an outcome. It never forgets one by itself: each is added once and removed once."""

    def __init__(self) -> None:
        self._held: dict[LeaseId, Held] = {}

    def __len__(self) -> int:
        return len(self._held)

    def __contains__(self, lease_id: LeaseId) -> bool:
        return lease_id in self._held

    def __iter__(self) -> Iterator[Held]:
        return iter(list(self._held.values()))

    def get(self, lease_id: LeaseId) -> Held | None:
        return self._held.get(lease_id)

    def add(self, assignment: Assignment) -> Held:
        held = Held(assignment.lease_id, assignment.job_id, picture=assignment.picture)
        return self._held.setdefault(assignment.lease_id, held)

    def restore(self, lease_id: LeaseId, job_id: JobId, step: int) -> Held:
        """Take up again a lease whose image was painted before a restart."""
        return self._held.setdefault(lease_id, Held(lease_id, job_id, Stage.UPLOADING, step))

    def remove(self, lease_id: LeaseId) -> Held | None:
        return self._held.pop(lease_id, None)

    def advance(self, lease_id: LeaseId, stage: Stage) -> bool:
        """Note a later stage; False if the lease is not held or is already there or further."""
        held = self._held.get(lease_id)
        if held is None or stage <= held.stage:
            return False
        held.stage = stage
        return True

    def step(self, lease_id: LeaseId, step: int) -> bool:
        """Note a step; False if the lease is not held or the step is not higher than before."""
        held = self._held.get(lease_id)
        if held is None or step <= held.step:
            return False
        held.step = step
        held.stage = max(held.stage, Stage.PAINTING)
        return True
