"""Every refusal of WebhookService, by the reasons that the contract lists."""

from __future__ import annotations

from datetime import timedelta
from typing import ClassVar

from horde.services.errors import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound, ResourceExhausted

DOMAIN = "horde.api.webhook.v1"


class InvalidField(InvalidArgument):
    """The request is not valid."""

    domain: ClassVar[str] = DOMAIN
    reason: ClassVar[str] = "INVALID_FIELD"


class WebhookNotFound(NotFound):
    """You have no such webhook."""

    domain: ClassVar[str] = DOMAIN
    reason: ClassVar[str] = "WEBHOOK_NOT_FOUND"


class DeliveryNotFound(NotFound):
    """This webhook has no such delivery, or has it no more."""

    domain: ClassVar[str] = DOMAIN
    reason: ClassVar[str] = "DELIVERY_NOT_FOUND"


class AddressNotAllowed(FailedPrecondition):
    """The mesh does not call this address."""

    domain: ClassVar[str] = DOMAIN
    reason: ClassVar[str] = "ADDRESS_NOT_ALLOWED"


class TooManyWebhooks(ResourceExhausted):
    """You have as many webhooks as there may be; delete one first."""

    domain: ClassVar[str] = DOMAIN
    reason: ClassVar[str] = "TOO_MANY_WEBHOOKS"


class RequestConflict(AlreadyExists):
    """This request_id was used for something else."""

    domain: ClassVar[str] = DOMAIN
    reason: ClassVar[str] = "REQUEST_CONFLICT"


class TooManyTries(ResourceExhausted):
    """As many calls are under way as may be; try again in a moment."""

    domain: ClassVar[str] = DOMAIN
    reason: ClassVar[str] = "TOO_MANY_TRIES"


def too_many(limit: int, seconds: float) -> TooManyTries:
    """So many are under way; when it is worth trying again."""
    return TooManyTries(metadata={"limit": str(limit)}, retry_after=timedelta(seconds=seconds))
