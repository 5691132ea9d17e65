"""Every refusal of the mesh has a status and a code that AI Horde's clients understand."""

from __future__ import annotations

from datetime import timedelta

import pytest

from horde.services.errors import FieldViolation, InvalidArgument, ResourceExhausted, ServiceError, Unavailable
from horde.services.status import KINDS
from horde.testkit.contract import Reason, read_reasons
from horde.web_door.core.asking import FIELDS
from horde.web_door.core.refusals import BY_REASON, refusal_of

REASONS = [reason for reason in read_reasons() if not reason.domain.startswith("horde.internal")]


@pytest.mark.parametrize("reason", REASONS, ids=lambda reason: f"{reason.domain}/{reason.name}")
def test_a_reason_is_told_with_a_code(reason: Reason) -> None:
    (kind,) = [
        kind for kind in KINDS.values() if type(kind("x")).__name__.upper() == reason.code.replace("_", "").upper()
    ]
    error = kind("no")
    vars(error).update(domain=reason.domain, reason=reason.name)
    told = refusal_of(error)
    assert 400 <= told.status < 600
    assert told.rc
    assert told.message


def test_codes_are_named_for_reasons_that_there_are() -> None:
    assert BY_REASON.keys() <= {(reason.domain, reason.name) for reason in REASONS}


def test_fields_are_called_what_the_caller_calls_them() -> None:
    violations = [
        FieldViolation("spec.job.image.width", "too wide"),
        FieldViolation("spec.job.image.loras[0].name", "odd"),
        FieldViolation("spec.count", "too many"),
        FieldViolation("request_id", "none"),
    ]
    told = refusal_of(InvalidArgument("no", violations=violations), FIELDS)
    assert told.errors == {
        "params.width": "too wide",
        "params.loras[0].name": "odd",
        "params.n": "too many",
        "request_id": "none",
    }


def test_when_to_come_again_is_told_and_nothing_of_the_inside() -> None:
    told = refusal_of(ResourceExhausted("wait", retry_after=timedelta(seconds=1.2)))
    assert (told.status, told.retry_seconds) == (429, 2)
    broken: list[ServiceError] = [Unavailable("postgresql://secret")]
    for error in broken:
        assert "secret" not in refusal_of(error).message
