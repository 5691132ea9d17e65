"""Every refusal of this door, by the reasons that the contract lists.

Refusals of the neighbours that mean something to a requester (a lack of kudos, for one) pass as they are; see
`neighbours.py`.
"""

from __future__ import annotations

from datetime import timedelta
from typing import ClassVar

from horde.services.errors import (
    Aborted,
    AlreadyExists,
    FailedPrecondition,
    Internal,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
    Unauthenticated,
    Unavailable,
)

ACCOUNT = "horde.api.account.v1"
GENERATION = "horde.api.generation.v1"
WORKER = "horde.api.worker.v1"
MODEL = "horde.api.model.v1"
STATISTICS = "horde.api.statistics.v1"
OVERLOADED_FOR = timedelta(seconds=5)


class CredentialsMissing(Unauthenticated):
    """No `authorization` came with the call."""

    domain: ClassVar[str] = ACCOUNT
    reason: ClassVar[str] = "CREDENTIALS_MISSING"


class CredentialsMalformed(Unauthenticated):
    """The `authorization` is neither `Bearer <API key>` nor `Anonymous <32 hex digits>`."""

    domain: ClassVar[str] = ACCOUNT
    reason: ClassVar[str] = "CREDENTIALS_MALFORMED"


class ApiKeyUnknown(Unauthenticated):
    """There is no such API key, or it was revoked."""

    domain: ClassVar[str] = ACCOUNT
    reason: ClassVar[str] = "API_KEY_UNKNOWN"


class PassUnknown(Unauthenticated):
    """No generation has this pass, or not any more."""

    domain: ClassVar[str] = ACCOUNT
    reason: ClassVar[str] = "PASS_UNKNOWN"


class ScopeMissing(PermissionDenied):
    """The API key may not be used for this."""

    domain: ClassVar[str] = ACCOUNT
    reason: ClassVar[str] = "SCOPE_MISSING"


class AccountRequired(PermissionDenied):
    """This is not for anonymous, nor for shared keys: it needs an account."""

    domain: ClassVar[str] = ACCOUNT
    reason: ClassVar[str] = "ACCOUNT_REQUIRED"


class RoleMissing(PermissionDenied):
    """The account lacks the role that this needs."""

    domain: ClassVar[str] = ACCOUNT
    reason: ClassVar[str] = "ROLE_MISSING"


class AccountNotFound(NotFound):
    """There is no such account."""

    domain: ClassVar[str] = ACCOUNT
    reason: ClassVar[str] = "ACCOUNT_NOT_FOUND"


class ApiKeyNotFound(NotFound):
    """The account has no such API key."""

    domain: ClassVar[str] = ACCOUNT
    reason: ClassVar[str] = "API_KEY_NOT_FOUND"


class InvalidAccountField(InvalidArgument):
    """The request is not valid."""

    domain: ClassVar[str] = ACCOUNT
    reason: ClassVar[str] = "INVALID_FIELD"


class AccountRequestConflict(AlreadyExists):
    """This request_id, or this key, was used for something else."""

    domain: ClassVar[str] = ACCOUNT
    reason: ClassVar[str] = "REQUEST_CONFLICT"


class RegistrationClosed(PermissionDenied):
    """An operator opens accounts here."""

    domain: ClassVar[str] = ACCOUNT
    reason: ClassVar[str] = "REGISTRATION_CLOSED"


class TooManyApiKeys(ResourceExhausted):
    """The account has as many API keys as it may have; revoke one."""

    domain: ClassVar[str] = ACCOUNT
    reason: ClassVar[str] = "TOO_MANY_API_KEYS"


class SharedKeyNotFound(NotFound):
    """The account has no such shared key."""

    domain: ClassVar[str] = ACCOUNT
    reason: ClassVar[str] = "SHARED_KEY_NOT_FOUND"


class SharedKeyExpired(Unauthenticated):
    """The shared key has expired."""

    domain: ClassVar[str] = ACCOUNT
    reason: ClassVar[str] = "SHARED_KEY_EXPIRED"


class SharedKeyBudgetSpent(FailedPrecondition):
    """The shared key's budget does not reach."""

    domain: ClassVar[str] = ACCOUNT
    reason: ClassVar[str] = "SHARED_KEY_BUDGET_SPENT"


class SharedKeyBound(FailedPrecondition):
    """More than one generation with this shared key may be."""

    domain: ClassVar[str] = ACCOUNT
    reason: ClassVar[str] = "SHARED_KEY_BOUND"


class ExportRequired(FailedPrecondition):
    """Export the account first, and read the export to its end."""

    domain: ClassVar[str] = ACCOUNT
    reason: ClassVar[str] = "EXPORT_REQUIRED"


class AccountBusy(FailedPrecondition):
    """The account has generations or leases that have not ended."""

    domain: ClassVar[str] = ACCOUNT
    reason: ClassVar[str] = "ACCOUNT_BUSY"


class InvalidField(InvalidArgument):
    """The request is not valid."""

    domain: ClassVar[str] = GENERATION
    reason: ClassVar[str] = "INVALID_FIELD"


class GenerationNotFound(NotFound):
    """There is no such generation of this requester."""

    domain: ClassVar[str] = GENERATION
    reason: ClassVar[str] = "GENERATION_NOT_FOUND"


class PriceAboveMaximum(FailedPrecondition):
    """It would cost more than the request allows."""

    domain: ClassVar[str] = GENERATION
    reason: ClassVar[str] = "PRICE_ABOVE_MAXIMUM"


class InputUnusable(FailedPrecondition):
    """An input is not there, not this requester's, or of other content; put it again."""

    domain: ClassVar[str] = GENERATION
    reason: ClassVar[str] = "INPUT_UNUSABLE"


class RateLimited(ResourceExhausted):
    """Too many calls; wait."""

    domain: ClassVar[str] = GENERATION
    reason: ClassVar[str] = "RATE_LIMITED"


class ImageNotFound(NotFound):
    """The generation has no such image."""

    domain: ClassVar[str] = GENERATION
    reason: ClassVar[str] = "IMAGE_NOT_FOUND"


class GenerationNotFinished(FailedPrecondition):
    """It has not ended; cancel it first, or wait."""

    domain: ClassVar[str] = GENERATION
    reason: ClassVar[str] = "GENERATION_NOT_FINISHED"


class ModelUnknown(NotFound):
    """The catalogue has no such model, and no worker here offers one."""

    domain: ClassVar[str] = GENERATION
    reason: ClassVar[str] = "MODEL_UNKNOWN"


class PromptRefused(PermissionDenied):
    """The prompt meets a rule of this mesh."""

    domain: ClassVar[str] = GENERATION
    reason: ClassVar[str] = "PROMPT_REFUSED"


class HelloExpected(FailedPrecondition):
    """A worker's first message is `hello`."""

    domain: ClassVar[str] = WORKER
    reason: ClassVar[str] = "HELLO_EXPECTED"


class InvalidWorkerField(InvalidArgument):
    """The request is not valid."""

    domain: ClassVar[str] = WORKER
    reason: ClassVar[str] = "INVALID_FIELD"


class ProtocolViolation(FailedPrecondition):
    """This message must not come here."""

    domain: ClassVar[str] = WORKER
    reason: ClassVar[str] = "PROTOCOL_VIOLATION"


class TooManySessions(ResourceExhausted):
    """Too many workers are attached; wait."""

    domain: ClassVar[str] = WORKER
    reason: ClassVar[str] = "TOO_MANY_SESSIONS"


class SessionSuperseded(Aborted):
    """A newer session of this worker is open."""

    domain: ClassVar[str] = WORKER
    reason: ClassVar[str] = "SESSION_SUPERSEDED"


class WorkerNotFound(NotFound):
    """There is no such worker."""

    domain: ClassVar[str] = WORKER
    reason: ClassVar[str] = "WORKER_NOT_FOUND"


class WorkerBusy(FailedPrecondition):
    """The worker is here, or holds leases."""

    domain: ClassVar[str] = WORKER
    reason: ClassVar[str] = "WORKER_BUSY"


class ModelNotFound(NotFound):
    """No worker offers such a model, and no job waits for it."""

    domain: ClassVar[str] = MODEL
    reason: ClassVar[str] = "MODEL_NOT_FOUND"


class InvalidModelField(InvalidArgument):
    """The request is not valid."""

    domain: ClassVar[str] = MODEL
    reason: ClassVar[str] = "INVALID_FIELD"


class InvalidStatisticsField(InvalidArgument):
    """The request is not valid."""

    domain: ClassVar[str] = STATISTICS
    reason: ClassVar[str] = "INVALID_FIELD"


class Overloaded(ResourceExhausted):
    """As much is being done as can be; nothing was begun. Wait."""

    domain: ClassVar[str] = "mesh"
    reason: ClassVar[str] = "OVERLOADED"

    @classmethod
    def by(cls, limit: str, message: str | None = None, retry_after: timedelta | None = None) -> Overloaded:
        """What is full; for how long, where that is known."""
        return cls(message, metadata={"limit": limit}, retry_after=retry_after or OVERLOADED_FOR)


class NeighbourUnavailable(Unavailable):
    """A part of the mesh is away; repeat the call with the same ids."""


class Defect(Internal):
    """Something is broken here."""
