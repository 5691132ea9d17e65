"""Errors as messages, there and back."""

from __future__ import annotations

from datetime import timedelta
from typing import ClassVar

import pytest
from google.rpc import status_pb2

from horde.services import errors
from horde.services.errors import FieldViolation, InvalidArgument, NotFound, ServiceError
from horde.services.status import CODES, MAX_DETAIL_BYTES, MAX_VIOLATIONS, code_of, from_status, to_abort, to_status


class Lost(NotFound):
    """The umbrella is lost.

    Look again.
    """

    domain: ClassVar[str] = "test.rain.v1"
    reason: ClassVar[str] = "LOST"


def test_the_docstrings_first_line_is_the_default_message() -> None:
    assert Lost().message == "The umbrella is lost."


def test_every_kind_has_a_code_and_every_code_a_kind() -> None:
    kinds = {kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, ServiceError)}
    assert kinds - {ServiceError} == CODES.keys()
    assert len(set(CODES.values())) == len(CODES)


@pytest.mark.parametrize("kind", CODES, ids=lambda kind: kind.__name__)
def test_a_kind_survives_the_way_there_and_back(kind: type[ServiceError]) -> None:
    error = kind("no", violations=[FieldViolation("a.b", "c")], retry_after=timedelta(seconds=1.5))
    back = from_status(to_status(error))
    assert type(back) is kind
    assert (back.message, back.violations, back.retry_after) == ("no", error.violations, error.retry_after)


def test_a_reason_makes_the_very_class_where_it_is_known() -> None:
    status = to_status(Lost(metadata={"where": "train"}))
    known, unknown = from_status(status, [Lost]), from_status(status)
    assert type(known) is Lost
    assert type(unknown) is NotFound
    assert unknown.reason == known.reason == "LOST"
    assert unknown.domain == "test.rain.v1"
    assert unknown.metadata == {"where": "train"}
    assert NotFound.reason == ""


def test_what_was_rebuilt_can_be_said_again() -> None:
    status = to_status(Lost(metadata={"where": "train"}))
    assert to_status(from_status(status)) == status


def test_a_code_from_the_future_is_unknown() -> None:
    assert type(from_status(status_pb2.Status(code=99))) is errors.Unknown


def test_a_subclass_has_its_kinds_code() -> None:
    assert code_of(Lost) is CODES[NotFound]


def test_violations_are_bounded_and_trailers_small() -> None:
    many = InvalidArgument(violations=[FieldViolation(f"field_{n}", "x" * 500) for n in range(100)])
    assert len(from_status(to_status(many)).violations) == MAX_VIOLATIONS
    _, message, trailers = to_abort(many)
    assert message == InvalidArgument().message
    assert sum(len(value) for _, value in trailers) <= MAX_DETAIL_BYTES
