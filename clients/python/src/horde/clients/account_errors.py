"""Errors about who asks and about kudos; see `errors`, which has them all."""

from __future__ import annotations

from typing import ClassVar

from horde.services.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
    Unauthenticated,
)

_ACCOUNT = "horde.api.account.v1"
_LEDGER = "horde.api.ledger.v1"


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


class PassUnknown(Unauthenticated):
    """No generation has this pass, or not any more."""

    domain: ClassVar[str] = _ACCOUNT
    reason: ClassVar[str] = "PASS_UNKNOWN"


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


class SharedKeyNotFound(NotFound):
    """The account has no such shared key."""

    domain: ClassVar[str] = _ACCOUNT
    reason: ClassVar[str] = "SHARED_KEY_NOT_FOUND"


class SharedKeyExpired(Unauthenticated):
    """The shared key has expired."""

    domain: ClassVar[str] = _ACCOUNT
    reason: ClassVar[str] = "SHARED_KEY_EXPIRED"


class SharedKeyBudgetSpent(FailedPrecondition):
    """The shared key's budget does not reach."""

    domain: ClassVar[str] = _ACCOUNT
    reason: ClassVar[str] = "SHARED_KEY_BUDGET_SPENT"


class SharedKeyBound(FailedPrecondition):
    """More than one generation with this shared key may be."""

    domain: ClassVar[str] = _ACCOUNT
    reason: ClassVar[str] = "SHARED_KEY_BOUND"


class ExportRequired(FailedPrecondition):
    """Export the account first, and read the export to its end."""

    domain: ClassVar[str] = _ACCOUNT
    reason: ClassVar[str] = "EXPORT_REQUIRED"


class AccountBusy(FailedPrecondition):
    """The account has generations or leases that have not ended."""

    domain: ClassVar[str] = _ACCOUNT
    reason: ClassVar[str] = "ACCOUNT_BUSY"


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
