"""The SDK's errors are those of the contract."""

import importlib

import pytest

from horde.cli.commands.exits import Exit, exit_of
from horde.clients.errors import (
    ALL,
    ApiKeyUnknown,
    BudgetSpent,
    GenerationNotFound,
    InsufficientKudos,
    InvalidField,
    PriceAboveMaximum,
    RateLimited,
    RequestConflict,
    RoleMissing,
    ServiceError,
    Unavailable,
)
from horde.services.errors import NotFound
from horde.services.status import from_status, to_status

NOUNS = {
    "horde.api.generation.v1": ("generation_service_pb2", "GenerationErrorReason", "GENERATION_ERROR_REASON_"),
    "horde.api.account.v1": ("account_service_pb2", "AccountErrorReason", "ACCOUNT_ERROR_REASON_"),
    "horde.api.ledger.v1": ("ledger_pb2", "LedgerErrorReason", "LEDGER_ERROR_REASON_"),
    "horde.api.storage.v1": ("storage_service_pb2", "StorageErrorReason", "STORAGE_ERROR_REASON_"),
    "horde.api.worker.v1": ("worker_service_pb2", "WorkerErrorReason", "WORKER_ERROR_REASON_"),
    "horde.api.model.v1": ("model_service_pb2", "ModelErrorReason", "MODEL_ERROR_REASON_"),
    "horde.api.standing.v1": ("standing_service_pb2", "StandingErrorReason", "STANDING_ERROR_REASON_"),
    "horde.api.webhook.v1": ("webhook_service_pb2", "WebhookErrorReason", "WEBHOOK_ERROR_REASON_"),
    "mesh": ("mesh_pb2", "MeshErrorReason", "MESH_ERROR_REASON_"),
}


def reasons(domain: str) -> set[str]:
    module, enum, prefix = NOUNS[domain]
    package = "horde.api.mesh.v1" if domain == "mesh" else domain
    values = getattr(importlib.import_module(f"{package}.{module}"), enum).keys()
    return {value.removeprefix(prefix) for value in values} - {"UNSPECIFIED"}


@pytest.mark.parametrize("error", ALL, ids=lambda error: error.__name__)
def test_every_class_names_a_reason_of_the_contract_and_comes_back_as_itself(error: type[ServiceError]) -> None:
    assert error.reason in reasons(error.domain)
    assert type(from_status(to_status(error()), ALL)) is error


@pytest.mark.parametrize("domain", ["horde.api.generation.v1", "horde.api.account.v1"])
def test_every_reason_of_the_requesters_door_has_a_class(domain: str) -> None:
    assert reasons(domain) == {error.reason for error in ALL if error.domain == domain}


def test_no_two_classes_name_the_same_reason() -> None:
    named = [(error.domain, error.reason) for error in ALL]
    assert len(named) == len(set(named))


def test_a_reason_of_a_newer_mesh_falls_back_to_its_kind() -> None:
    class Newer(NotFound):
        """Of next year."""

        domain = "horde.api.generation.v1"
        reason = "OF_NEXT_YEAR"

    error = from_status(to_status(Newer()), ALL)
    assert type(error) is NotFound
    assert error.reason == "OF_NEXT_YEAR"
    assert exit_of(error) is Exit.NOT_FOUND


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (InvalidField(), Exit.USAGE),
        (InsufficientKudos(), Exit.KUDOS),
        (BudgetSpent(), Exit.KUDOS),
        (PriceAboveMaximum(), Exit.KUDOS),
        (ApiKeyUnknown(), Exit.AUTH),
        (RoleMissing(), Exit.AUTH),
        (GenerationNotFound(), Exit.NOT_FOUND),
        (Unavailable(), Exit.UNAVAILABLE),
        (RateLimited(), Exit.UNAVAILABLE),
        (RequestConflict(), Exit.FAILED),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, ServiceError) else "",
)
def test_scripts_can_tell_errors_apart(error: ServiceError, status: Exit) -> None:
    assert exit_of(error) is status
