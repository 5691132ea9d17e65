"""What a worker says on its stream."""

from __future__ import annotations

from dataclasses import dataclass

from horde.worker_agent.core.jobs import Capabilities, JobId, LeaseId, Outcome
from horde.worker_agent.core.leases import Stage


@dataclass(frozen=True, slots=True)
class Hello:
    worker_name: str
    capabilities: Capabilities
    agent: str


@dataclass(frozen=True, slots=True)
class Demand:
    slots: int
    draining: bool


@dataclass(frozen=True, slots=True)
class HeldLease:
    lease_id: LeaseId
    job_id: JobId
    step: int
    stage: Stage = Stage.UPLOADING


@dataclass(frozen=True, slots=True)
class Restatement:
    epoch: int
    demand: Demand
    leases: tuple[HeldLease, ...]
    outcomes: tuple[Outcome, ...]


@dataclass(frozen=True, slots=True)
class Progress:
    lease_id: LeaseId
    step: int
    stage: Stage = Stage.PAINTING


@dataclass(frozen=True, slots=True)
class Preview:
    lease_id: LeaseId
    step: int
    image: bytes


@dataclass(frozen=True, slots=True)
class IdleQuestion:
    """Why does nobody ask us?"""


Message = Hello | Restatement | Demand | Capabilities | Progress | Preview | Outcome | IdleQuestion
