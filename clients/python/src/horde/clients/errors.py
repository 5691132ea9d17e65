"""Every error that a caller of the mesh may want to decide on, as a class of its own.

A class is named after its reason in the contract and carries that reason's metadata keys in `metadata`, wrong fields in
`violations` and how long to wait in `retry_after`. An error whose reason is not listed here arrives as its kind
(NotFound, Unavailable, ...), with `domain` and `reason` set: decide on those, never on the message.
"""

from __future__ import annotations

from typing import ClassVar

from horde.services.errors import Aborted as Aborted
from horde.services.errors import AlreadyExists as AlreadyExists
from horde.services.errors import DeadlineExceeded as DeadlineExceeded
from horde.services.errors import FailedPrecondition as FailedPrecondition
from horde.services.errors import FieldViolation as FieldViolation
from horde.services.errors import Internal as Internal
from horde.services.errors import InvalidArgument as InvalidArgument
from horde.services.errors import NotFound as NotFound
from horde.services.errors import OutOfRange as OutOfRange
from horde.services.errors import PermissionDenied as PermissionDenied
from horde.services.errors import ResourceExhausted as ResourceExhausted
from horde.services.errors import ServiceError as ServiceError
from horde.services.errors import Unauthenticated as Unauthenticated
from horde.services.errors import Unavailable as Unavailable
from horde.services.errors import Unimplemented as Unimplemented

_GENERATION = "horde.api.generation.v1"
_ACCOUNT = "horde.api.account.v1"
_LEDGER = "horde.api.ledger.v1"
_STORAGE = "horde.api.storage.v1"
_MESH = "mesh"


# What was asked for.


class InvalidField(InvalidArgument):
    """Some fields of the request are wrong; `violations` lists them all."""

    domain: ClassVar[str] = _GENERATION
    reason: ClassVar[str] = "INVALID_FIELD"


class RequestConflict(AlreadyExists):
    """This request_id was used for something else: use a new one."""

    domain: ClassVar[str] = _GENERATION
    reason: ClassVar[str] = "REQUEST_CONFLICT"


class GenerationNotFound(NotFound):
    """There is no such generation of yours."""

    domain: ClassVar[str] = _GENERATION
    reason: ClassVar[str] = "GENERATION_NOT_FOUND"


class PriceAboveMaximum(FailedPrecondition):
    """It would cost more than you allowed."""

    domain: ClassVar[str] = _GENERATION
    reason: ClassVar[str] = "PRICE_ABOVE_MAXIMUM"


class InputUnusable(FailedPrecondition):
    """An input picture is not there (any more), or not yours: put it again."""

    domain: ClassVar[str] = _GENERATION
    reason: ClassVar[str] = "INPUT_UNUSABLE"


class TooManyGenerations(ResourceExhausted):
    """You have as many generations open as you may: wait until some have ended."""

    domain: ClassVar[str] = _GENERATION
    reason: ClassVar[str] = "TOO_MANY_GENERATIONS"


class RateLimited(ResourceExhausted):
    """Too many calls in a short time: wait for `retry_after`."""

    domain: ClassVar[str] = _GENERATION
    reason: ClassVar[str] = "RATE_LIMITED"


class ImageNotFinished(FailedPrecondition):
    """The image has no picture: it is not finished, or ended without one."""

    domain: ClassVar[str] = _GENERATION
    reason: ClassVar[str] = "IMAGE_NOT_FINISHED"


class RefusedBefore(Aborted):
    """This request was refused for lack of kudos before: use a new request_id."""

    domain: ClassVar[str] = _GENERATION
    reason: ClassVar[str] = "REFUSED_BEFORE"


# Who asks.


class CredentialsMissing(Unauthenticated):
    """No API key and no anonymous token was sent."""

    domain: ClassVar[str] = _ACCOUNT
    reason: ClassVar[str] = "CREDENTIALS_MISSING"


class CredentialsMalformed(Unauthenticated):
    """The API key or anonymous token is not of a known form."""

    domain: ClassVar[str] = _ACCOUNT
    reason: ClassVar[str] = "CREDENTIALS_MALFORMED"


class ApiKeyUnknown(Unauthenticated):
    """No such API key, or it was revoked."""

    domain: ClassVar[str] = _ACCOUNT
    reason: ClassVar[str] = "API_KEY_UNKNOWN"


class ScopeMissing(PermissionDenied):
    """The API key may not be used for this."""

    domain: ClassVar[str] = _ACCOUNT
    reason: ClassVar[str] = "SCOPE_MISSING"


class AccountRequired(PermissionDenied):
    """This is not for anonymous: open an account."""

    domain: ClassVar[str] = _ACCOUNT
    reason: ClassVar[str] = "ACCOUNT_REQUIRED"


class RoleMissing(PermissionDenied):
    """This needs a role that the account does not have."""

    domain: ClassVar[str] = _ACCOUNT
    reason: ClassVar[str] = "ROLE_MISSING"


class AccountNotFound(NotFound):
    """There is no such account."""

    domain: ClassVar[str] = _ACCOUNT
    reason: ClassVar[str] = "ACCOUNT_NOT_FOUND"


class ApiKeyNotFound(NotFound):
    """The account has no such API key."""

    domain: ClassVar[str] = _ACCOUNT
    reason: ClassVar[str] = "API_KEY_NOT_FOUND"


class InvalidAccountField(InvalidArgument):
    """Some fields of the request are wrong; `violations` lists them all."""

    domain: ClassVar[str] = _ACCOUNT
    reason: ClassVar[str] = "INVALID_FIELD"


class AccountRequestConflict(AlreadyExists):
    """This request_id was used for something else: use a new one."""

    domain: ClassVar[str] = _ACCOUNT
    reason: ClassVar[str] = "REQUEST_CONFLICT"


class RegistrationClosed(PermissionDenied):
    """Accounts are opened by an operator here."""

    domain: ClassVar[str] = _ACCOUNT
    reason: ClassVar[str] = "REGISTRATION_CLOSED"


class TooManyApiKeys(ResourceExhausted):
    """The account has as many API keys as it may: revoke one."""

    domain: ClassVar[str] = _ACCOUNT
    reason: ClassVar[str] = "TOO_MANY_API_KEYS"


# Kudos.


class InsufficientKudos(FailedPrecondition):
    """The account cannot pay for this."""

    domain: ClassVar[str] = _LEDGER
    reason: ClassVar[str] = "INSUFFICIENT_KUDOS"


class BudgetSpent(ResourceExhausted):
    """What the mesh gives to anonymous requesters in a day is spent."""

    domain: ClassVar[str] = _LEDGER
    reason: ClassVar[str] = "BUDGET_SPENT"


class SelfGift(InvalidArgument):
    """Nobody gives to himself."""

    domain: ClassVar[str] = _LEDGER
    reason: ClassVar[str] = "SELF_GIFT"


class AmountLimitReached(FailedPrecondition):
    """A limit on gifts is reached."""

    domain: ClassVar[str] = _LEDGER
    reason: ClassVar[str] = "LIMIT_REACHED"


class EventConflict(AlreadyExists):
    """This request_id was used for another gift or award: use a new one."""

    domain: ClassVar[str] = _LEDGER
    reason: ClassVar[str] = "EVENT_CONFLICT"


# Bytes.


class NotAnImage(InvalidArgument):
    """These bytes are not one whole PNG, JPEG or WebP."""

    domain: ClassVar[str] = _STORAGE
    reason: ClassVar[str] = "NOT_AN_IMAGE"


class TooLarge(InvalidArgument):
    """The picture is over a limit."""

    domain: ClassVar[str] = _STORAGE
    reason: ClassVar[str] = "TOO_LARGE"


class ContentConflict(AlreadyExists):
    """Other bytes are stored under this id."""

    domain: ClassVar[str] = _STORAGE
    reason: ClassVar[str] = "CONTENT_CONFLICT"


class DigestMismatch(InvalidArgument):
    """What arrived is not what was announced."""

    domain: ClassVar[str] = _STORAGE
    reason: ClassVar[str] = "DIGEST_MISMATCH"


class TooSlow(Aborted):
    """The upload stayed below the minimum rate."""

    domain: ClassVar[str] = _STORAGE
    reason: ClassVar[str] = "TOO_SLOW"


class ObjectNotFound(NotFound):
    """The picture is expired, deleted or withdrawn."""

    domain: ClassVar[str] = _STORAGE
    reason: ClassVar[str] = "OBJECT_NOT_FOUND"


class InvalidInput(InvalidArgument):
    """Some fields of the request to storage are wrong."""

    domain: ClassVar[str] = _STORAGE
    reason: ClassVar[str] = "INVALID_FIELD"


# Workers and models.


class WorkerNotFound(NotFound):
    """There is no such worker of yours."""

    domain: ClassVar[str] = "horde.api.worker.v1"
    reason: ClassVar[str] = "WORKER_NOT_FOUND"


class ModelNotFound(NotFound):
    """Nobody offers this model and nothing waits for it."""

    domain: ClassVar[str] = "horde.api.model.v1"
    reason: ClassVar[str] = "MODEL_NOT_FOUND"


# The mesh.


class BadProof(Unauthenticated):
    """What should prove which service calls does not hold."""

    domain: ClassVar[str] = _MESH
    reason: ClassVar[str] = "BAD_PROOF"


class CallerNotAllowed(PermissionDenied):
    """Whoever calls may not call this."""

    domain: ClassVar[str] = _MESH
    reason: ClassVar[str] = "CALLER_NOT_ALLOWED"


class TokenMalformed(Unauthenticated):
    """A ticket is not one."""

    domain: ClassVar[str] = _MESH
    reason: ClassVar[str] = "TOKEN_MALFORMED"


class TokenForged(Unauthenticated):
    """A ticket's signature is wrong."""

    domain: ClassVar[str] = _MESH
    reason: ClassVar[str] = "TOKEN_FORGED"


class TokenExpired(Unauthenticated):
    """A ticket was good once: the SDK gets a new one by itself."""

    domain: ClassVar[str] = _MESH
    reason: ClassVar[str] = "TOKEN_EXPIRED"


class DamagedImage(Exception):
    """The bytes that came are not those that were promised, even when fetched again."""


def _named(kind: type[ServiceError]) -> list[type[ServiceError]]:
    return [cls for sub in kind.__subclasses__() for cls in (sub, *_named(sub))]


ALL: tuple[type[ServiceError], ...] = tuple(
    cls for cls in _named(ServiceError) if cls.__module__ == __name__ and cls.reason
)
"""What is handed to a channel, so that each of these comes out of a call as itself."""
