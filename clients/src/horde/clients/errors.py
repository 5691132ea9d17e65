"""Every error that a caller of the mesh may want to decide on, as a class of its own.

A class is named after its reason in the contract and carries that reason's metadata keys in `metadata`, wrong fields in
`violations` and how long to wait in `retry_after`. An error whose reason is not listed here arrives as its kind
(NotFound, Unavailable, ...), with `domain` and `reason` set: decide on those, never on the message.

Those about accounts and kudos are written down in errors_accounts.py; import all of them from here.
"""

from __future__ import annotations

from typing import ClassVar

from horde.clients import errors_accounts
from horde.clients.errors_accounts import (
    AccountNotFound,
    AccountRequestConflict,
    AccountRequired,
    AmountLimitReached,
    ApiKeyNotFound,
    ApiKeyUnknown,
    BudgetSpent,
    CredentialsMalformed,
    CredentialsMissing,
    EventConflict,
    InsufficientKudos,
    InvalidAccountField,
    RegistrationClosed,
    RoleMissing,
    ScopeMissing,
    SelfGift,
    TooManyApiKeys,
)
from horde.services.errors import (
    Aborted,
    AlreadyExists,
    DeadlineExceeded,
    FailedPrecondition,
    FieldViolation,
    Internal,
    InvalidArgument,
    NotFound,
    OutOfRange,
    PermissionDenied,
    ResourceExhausted,
    ServiceError,
    Unauthenticated,
    Unavailable,
    Unimplemented,
)

__all__ = [
    "ALL",
    "Aborted",
    "AccountNotFound",
    "AccountRequestConflict",
    "AccountRequired",
    "AlreadyExists",
    "AmountLimitReached",
    "ApiKeyNotFound",
    "ApiKeyUnknown",
    "BadProof",
    "BudgetSpent",
    "CallerNotAllowed",
    "ContentConflict",
    "CredentialsMalformed",
    "CredentialsMissing",
    "DamagedImage",
    "DeadlineExceeded",
    "DigestMismatch",
    "EventConflict",
    "FailedPrecondition",
    "FieldViolation",
    "GenerationNotFound",
    "ImageNotFinished",
    "InputUnusable",
    "InsufficientKudos",
    "Internal",
    "InvalidAccountField",
    "InvalidArgument",
    "InvalidField",
    "InvalidInput",
    "LinksUnsupported",
    "ModelNotFound",
    "NotAnImage",
    "NotFound",
    "ObjectNotFound",
    "OutOfRange",
    "PermissionDenied",
    "PriceAboveMaximum",
    "RateLimited",
    "RefusedBefore",
    "RegistrationClosed",
    "RequestConflict",
    "ResourceExhausted",
    "RoleMissing",
    "ScopeMissing",
    "SelfGift",
    "ServiceError",
    "TokenExpired",
    "TokenForged",
    "TokenMalformed",
    "TooLarge",
    "TooManyApiKeys",
    "TooManyGenerations",
    "TooSlow",
    "Unauthenticated",
    "Unavailable",
    "Unimplemented",
    "WorkerNotFound",
]

_GENERATION = "horde.api.generation.v1"
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
    """Only an image that is done can be withdrawn."""

    domain: ClassVar[str] = _GENERATION
    reason: ClassVar[str] = "IMAGE_NOT_FINISHED"


class RefusedBefore(Aborted):
    """This request was refused for lack of kudos before: use a new request_id."""

    domain: ClassVar[str] = _GENERATION
    reason: ClassVar[str] = "REFUSED_BEFORE"


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


class LinksUnsupported(FailedPrecondition):
    """This store makes no links: download instead."""

    domain: ClassVar[str] = _STORAGE
    reason: ClassVar[str] = "LINKS_UNSUPPORTED"


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
    cls for cls in _named(ServiceError) if cls.__module__ in (__name__, errors_accounts.__name__) and cls.reason
)
"""What is handed to a channel, so that each of these comes out of a call as itself."""
