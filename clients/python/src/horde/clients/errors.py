"""Every error that a caller of the mesh may want to decide on, as a class of its own.

A class is named after its reason in the contract and carries that reason's metadata keys in `metadata`, wrong fields in
`violations` and how long to wait in `retry_after`. An error whose reason is not listed here arrives as its kind
(NotFound, Unavailable, ...), with `domain` and `reason` set: decide on those, never on the message.
"""

from __future__ import annotations

from typing import ClassVar

from horde.clients import account_errors, standing_errors, webhook_errors
from horde.clients.account_errors import AccountBusy as AccountBusy
from horde.clients.account_errors import AccountNotFound as AccountNotFound
from horde.clients.account_errors import AccountRequestConflict as AccountRequestConflict
from horde.clients.account_errors import AccountRequired as AccountRequired
from horde.clients.account_errors import AmountLimitReached as AmountLimitReached
from horde.clients.account_errors import ApiKeyNotFound as ApiKeyNotFound
from horde.clients.account_errors import ApiKeyUnknown as ApiKeyUnknown
from horde.clients.account_errors import BudgetSpent as BudgetSpent
from horde.clients.account_errors import CredentialsMalformed as CredentialsMalformed
from horde.clients.account_errors import CredentialsMissing as CredentialsMissing
from horde.clients.account_errors import EventConflict as EventConflict
from horde.clients.account_errors import ExportRequired as ExportRequired
from horde.clients.account_errors import InsufficientKudos as InsufficientKudos
from horde.clients.account_errors import InvalidAccountField as InvalidAccountField
from horde.clients.account_errors import RegistrationClosed as RegistrationClosed
from horde.clients.account_errors import RoleMissing as RoleMissing
from horde.clients.account_errors import ScopeMissing as ScopeMissing
from horde.clients.account_errors import SelfGift as SelfGift
from horde.clients.account_errors import SharedKeyBound as SharedKeyBound
from horde.clients.account_errors import SharedKeyBudgetSpent as SharedKeyBudgetSpent
from horde.clients.account_errors import SharedKeyExpired as SharedKeyExpired
from horde.clients.account_errors import SharedKeyNotFound as SharedKeyNotFound
from horde.clients.account_errors import TooManyApiKeys as TooManyApiKeys
from horde.clients.standing_errors import InvalidStandingField as InvalidStandingField
from horde.clients.standing_errors import Restricted as Restricted
from horde.clients.standing_errors import RestrictionConflict as RestrictionConflict
from horde.clients.standing_errors import RestrictionNotFound as RestrictionNotFound
from horde.clients.webhook_errors import AddressNotAllowed as AddressNotAllowed
from horde.clients.webhook_errors import DeliveryNotFound as DeliveryNotFound
from horde.clients.webhook_errors import InvalidWebhookField as InvalidWebhookField
from horde.clients.webhook_errors import TooManyTries as TooManyTries
from horde.clients.webhook_errors import TooManyWebhooks as TooManyWebhooks
from horde.clients.webhook_errors import WebhookConflict as WebhookConflict
from horde.clients.webhook_errors import WebhookNotFound as WebhookNotFound
from horde.services.errors import Aborted as Aborted
from horde.services.errors import AlreadyExists as AlreadyExists
from horde.services.errors import Cancelled as Cancelled
from horde.services.errors import DataLoss as DataLoss
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
from horde.services.errors import Unknown as Unknown

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
    """The image has no picture: it is not finished, or ended without one."""

    domain: ClassVar[str] = _GENERATION
    reason: ClassVar[str] = "IMAGE_NOT_FINISHED"


class RefusedBefore(Aborted):
    """This request was refused for lack of kudos before: use a new request_id."""

    domain: ClassVar[str] = _GENERATION
    reason: ClassVar[str] = "REFUSED_BEFORE"


class ImageNotFound(NotFound):
    """The generation has no such image."""

    domain: ClassVar[str] = _GENERATION
    reason: ClassVar[str] = "IMAGE_NOT_FOUND"


class GenerationNotFinished(FailedPrecondition):
    """It has not ended; cancel it first, or wait."""

    domain: ClassVar[str] = _GENERATION
    reason: ClassVar[str] = "GENERATION_NOT_FINISHED"


class ModelUnknown(NotFound):
    """The catalogue has no such model, and no worker here offers one."""

    domain: ClassVar[str] = _GENERATION
    reason: ClassVar[str] = "MODEL_UNKNOWN"


class PromptRefused(PermissionDenied):
    """The prompt meets a rule of this mesh."""

    domain: ClassVar[str] = _GENERATION
    reason: ClassVar[str] = "PROMPT_REFUSED"


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


class WorkerBusy(FailedPrecondition):
    """The worker is here, or holds leases."""

    domain: ClassVar[str] = "horde.api.worker.v1"
    reason: ClassVar[str] = "WORKER_BUSY"


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
    cls
    for cls in _named(ServiceError)
    if cls.__module__ in (__name__, account_errors.__name__, standing_errors.__name__, webhook_errors.__name__)
    and cls.reason
)
"""What is handed to a channel, so that each of these comes out of a call as itself."""
