"""The code and the contract name the same reasons; keys cannot leave their folders."""

from __future__ import annotations

from functools import partial

import pytest

from horde.api.storage.v1 import storage_service_pb2 as storage
from horde.services.errors import InvalidArgument, ServiceError
from horde.services.status import CODES, code_of
from horde.storage_router.core import errors, keys
from horde.storage_router.core.errors import ERRORS

PREFIX = "STORAGE_ERROR_REASON_"


def test_each_reason_of_the_contract_has_one_class_with_its_code() -> None:
    documented = {
        "NOT_AN_IMAGE": "INVALID_ARGUMENT",
        "WRONG_DIMENSIONS": "INVALID_ARGUMENT",
        "TOO_LARGE": "INVALID_ARGUMENT",
        "CONTENT_CONFLICT": "ALREADY_EXISTS",
        "DIGEST_MISMATCH": "INVALID_ARGUMENT",
        "PROTOCOL_VIOLATION": "FAILED_PRECONDITION",
        "TOO_SLOW": "ABORTED",
        "OBJECT_NOT_FOUND": "NOT_FOUND",
        "PLACEMENT_MISMATCH": "FAILED_PRECONDITION",
        "LINKS_UNSUPPORTED": "FAILED_PRECONDITION",
        "INPUT_UNUSABLE": "FAILED_PRECONDITION",
        "INPUTS_FULL": "RESOURCE_EXHAUSTED",
        "INVALID_FIELD": "INVALID_ARGUMENT",
        "LEASE_CLOSED": "FAILED_PRECONDITION",
        "NOT_TEXT": "INVALID_ARGUMENT",
        "INPUT_IN_USE": "FAILED_PRECONDITION",
        "TOO_MANY_FAILURES": "FAILED_PRECONDITION",
        "SHARE_EXCEEDED": "RESOURCE_EXHAUSTED",
    }
    names = {name.removeprefix(PREFIX) for name in storage.StorageErrorReason.keys()} - {"UNSPECIFIED"}  # noqa: SIM118
    assert {error.reason: code_of(error).name for error in ERRORS} == documented
    assert names == set(documented)
    assert {error.domain for error in ERRORS} == {storage.DESCRIPTOR.package}
    assert InvalidArgument in CODES


def test_no_error_names_a_reason_that_the_contract_has_not() -> None:
    classes = [var for var in vars(errors).values() if isinstance(var, type) and issubclass(var, ServiceError)]
    own = {class_ for class_ in classes if class_.__module__ == errors.__name__}
    assert {each for each in own if each.reason or each.domain} == set(ERRORS)


@pytest.mark.parametrize(
    "name", ["", "..", "a/b", "a\\b", ".hidden", "-x", "a\0b", "a b", "é", "a" * 129, "a..b", "a!b"]
)
def test_what_is_not_a_plain_name_is_no_part_of_a_key(name: str) -> None:
    assert not keys.is_name(name)
    for make in (
        keys.private_image,
        partial(keys.input_image, "alice"),
        keys.shared_record,
        partial(keys.claims_on, "a"),
    ):
        with pytest.raises(ValueError, match="part of a key"):
            make(name)
