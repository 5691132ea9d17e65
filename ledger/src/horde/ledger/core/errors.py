"""What the ledger refuses, and why. The reasons are `LedgerErrorReason` of the contract."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Final

from horde.services.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    ResourceExhausted,
    ServiceError,
    Unavailable,
)
from horde.services.identity import CallerNotAllowed

DOMAIN: Final = "horde.api.ledger.v1"


class InsufficientKudos(FailedPrecondition):
    """The account has not enough kudos."""

    domain: ClassVar[str] = DOMAIN
    reason: ClassVar[str] = "INSUFFICIENT_KUDOS"


class BudgetSpent(ResourceExhausted):
    """Today's budget for anonymous requests is spent."""

    domain: ClassVar[str] = DOMAIN
    reason: ClassVar[str] = "BUDGET_SPENT"


class EventConflict(AlreadyExists):
    """This event id was used for other content."""

    domain: ClassVar[str] = DOMAIN
    reason: ClassVar[str] = "EVENT_CONFLICT"


class HoldNotFound(FailedPrecondition):
    """There is no open hold of this id."""

    domain: ClassVar[str] = DOMAIN
    reason: ClassVar[str] = "HOLD_NOT_FOUND"


class AmountExceedsHold(InvalidArgument):
    """More was asked for than was held."""

    domain: ClassVar[str] = DOMAIN
    reason: ClassVar[str] = "AMOUNT_EXCEEDS_HOLD"


class InvalidField(InvalidArgument):
    """The request has fields that cannot be."""

    domain: ClassVar[str] = DOMAIN
    reason: ClassVar[str] = "INVALID_FIELD"


class SelfGift(InvalidArgument):
    """Nobody gives to himself."""

    domain: ClassVar[str] = DOMAIN
    reason: ClassVar[str] = "SELF_GIFT"


class LimitReached(FailedPrecondition):
    """A limit on gifts is reached."""

    domain: ClassVar[str] = DOMAIN
    reason: ClassVar[str] = "LIMIT_REACHED"


class EntryNotFound(NotFound):
    """There is no entry of this event id."""

    domain: ClassVar[str] = DOMAIN
    reason: ClassVar[str] = "ENTRY_NOT_FOUND"


class NotCorrectable(FailedPrecondition):
    """This entry cannot be corrected."""

    domain: ClassVar[str] = DOMAIN
    reason: ClassVar[str] = "NOT_CORRECTABLE"


class WriterReplaced(Unavailable):
    """Another writer took over: nothing more is written here."""

    domain: ClassVar[str] = DOMAIN
    reason: ClassVar[str] = "WRITER_REPLACED"


class OperationNotAllowed(CallerNotAllowed):
    """This caller may call the method, but not for this operation."""


REMEMBERED: Final[Mapping[str, type[ServiceError]]] = {
    refusal.reason: refusal for refusal in (InsufficientKudos, BudgetSpent, LimitReached)
}
"""Refusals that depend on the state of things. They are written down with the event's id, and are its answer for
ever: a late repeat of a refused request cannot surprise anybody by succeeding."""

ALL: Final = (
    InsufficientKudos, BudgetSpent, EventConflict, HoldNotFound, AmountExceedsHold, InvalidField, SelfGift,
    LimitReached,
    EntryNotFound, NotCorrectable, WriterReplaced,
)  # fmt: skip
