"""What the agent keeps of the work that is over: nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from horde.worker_agent.agent import Agent
from horde.worker_agent.core.jobs import (
    Assignment,
    Capabilities,
    Failed,
    FailureReason,
    JobId,
    LeaseId,
    ModelOffer,
    Picture,
)
from horde.worker_agent.core.session import Session
from horde.worker_agent.outcomes import OutcomeFolder
from horde.worker_agent.spool import Spool

OFFER = Capabilities((ModelOffer("paintbox", loaded=True, max_pixels=512 * 512),))
PICTURE = Picture("paintbox", "a cat", 64, 64, steps=4, seed=1)


class Idle:
    """A workshop in which nothing is done."""

    def begin(self, assignment: Assignment) -> None: ...
    def stop(self, lease_id: LeaseId) -> None: ...


async def test_nothing_of_a_job_that_is_over_stays_though_nobody_looks(tmp_path: Path) -> None:
    session, workshop = Session("anna", "test/1", OFFER, 2), Idle()
    made: Any = lambda listener: workshop  # noqa: E731
    agent = Agent(session, OutcomeFolder(tmp_path / "outcomes"), Spool(tmp_path / "spool"), made)
    session.connected()
    session.welcomed()
    for number in range(10):
        lease_id = LeaseId(f"1-{number}")
        agent._do(session.assigned(Assignment(lease_id, JobId(f"job-{number}"), PICTURE, "grant", "localhost:1")))
        assert len(session.leases) == 1
        agent.finished(lease_id, Failed(FailureReason.BACKEND, "no"))
    assert len(agent._began) <= 1
