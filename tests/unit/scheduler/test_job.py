"""Jobs' moves and ids, and that our numbers are the contract's."""

from __future__ import annotations

from enum import IntEnum
from typing import Any
from uuid import UUID

import pytest
from tests.unit.scheduler.table import ANNA, Table

from horde.api.generation.v1 import generation_pb2
from horde.api.job.v1 import job_pb2
from horde.api.worker.v1 import worker_service_pb2
from horde.internal.scheduler.v1 import scheduler_service_pb2
from horde.scheduler.core import effects, errors
from horde.scheduler.core.fitting import WhyNot
from horde.scheduler.core.job import (
    MOVES,
    Ending,
    IllegalMove,
    JobState,
    generation_id_of,
    job_id_of,
    requester_text,
)
from horde.scheduler.core.leases import LEASE, Revoked, make_id, order_of
from horde.services.errors import ServiceError


@pytest.mark.parametrize(
    ("ours", "theirs", "prefix"),
    [
        (JobState, job_pb2.JobState, "JOB_STATE_"),
        (Ending, job_pb2.JobEnding, "JOB_ENDING_"),
        (Revoked, worker_service_pb2.RevocationReason, "REVOCATION_REASON_"),
    ],
)
def test_numbers_are_the_contracts(ours: type[IntEnum], theirs: Any, prefix: str) -> None:
    named = {name.removeprefix(prefix): number for name, number in theirs.items() if number}
    assert named == {our.name: our.value for our in ours if our.value}


def test_reasons_and_dispositions_are_the_contracts() -> None:
    reasons = {name.removeprefix("INELIGIBLE_REASON_"): n for name, n in generation_pb2.IneligibleReason.items() if n}
    assert reasons == {name: value for name, value in vars(WhyNot).items() if name.isupper()}
    for name, number in worker_service_pb2.Disposition.items():
        if number:
            assert getattr(effects, name.removeprefix("DISPOSITION_")) == number


def test_every_reason_of_the_contract_is_an_error_here() -> None:
    known = {cls.reason for cls in vars(errors).values() if isinstance(cls, type) and issubclass(cls, ServiceError)}
    for name, number in scheduler_service_pb2.SchedulerErrorReason.items():
        assert not number or name.removeprefix("SCHEDULER_ERROR_REASON_") in known


def test_no_state_is_left_but_as_the_table_says() -> None:
    generation = Table().submit()
    (job,) = generation.jobs
    for state in JobState:
        for target in JobState:
            job.state = state
            if target in MOVES[state]:
                before = job.version
                job.move(target)
                assert job.version == before + 1 == generation.version
            else:
                with pytest.raises(IllegalMove):
                    job.move(target)
    assert not MOVES[JobState.ENDED]


def test_ids_follow_from_what_they_name() -> None:
    generation_id = generation_id_of(requester_text(ANNA, b""), "r1")
    assert generation_id == generation_id_of(requester_text(ANNA, b""), "r1")
    assert UUID(generation_id).version == 5
    assert job_id_of(generation_id, 0) != job_id_of(generation_id, 1)


def test_a_made_id_is_a_uuid_and_tells_its_order() -> None:
    made = make_id(7, LEASE, 300)
    assert str(UUID(made)) == made
    assert UUID(made).version == 8
    assert order_of(made) == (7, 300)
    assert order_of("x") == order_of("g" * 8 + "-gggg-gggg-gggg-gggggggggggg") == (0, 0)
    assert order_of(make_id(7, LEASE, 301)) < order_of(make_id(8, LEASE, 1))
