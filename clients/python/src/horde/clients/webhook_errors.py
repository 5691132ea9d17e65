"""Errors about webhooks; see `errors`, which has them all."""

from __future__ import annotations

from typing import ClassVar

from horde.services.errors import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound, ResourceExhausted

_WEBHOOK = "horde.api.webhook.v1"


class InvalidWebhookField(InvalidArgument):
    """Some fields of the request are wrong; `violations` lists them all."""

    domain: ClassVar[str] = _WEBHOOK
    reason: ClassVar[str] = "INVALID_FIELD"


class WebhookNotFound(NotFound):
    """You have no such webhook."""

    domain: ClassVar[str] = _WEBHOOK
    reason: ClassVar[str] = "WEBHOOK_NOT_FOUND"


class DeliveryNotFound(NotFound):
    """The webhook has no such delivery, or has it no more."""

    domain: ClassVar[str] = _WEBHOOK
    reason: ClassVar[str] = "DELIVERY_NOT_FOUND"


class AddressNotAllowed(FailedPrecondition):
    """The mesh does not call this address; `why` says why not."""

    domain: ClassVar[str] = _WEBHOOK
    reason: ClassVar[str] = "ADDRESS_NOT_ALLOWED"


class TooManyWebhooks(ResourceExhausted):
    """You have as many as there may be: delete one first."""

    domain: ClassVar[str] = _WEBHOOK
    reason: ClassVar[str] = "TOO_MANY_WEBHOOKS"


class WebhookConflict(AlreadyExists):
    """The request id was used for another webhook; `field` says in what it differs."""

    domain: ClassVar[str] = _WEBHOOK
    reason: ClassVar[str] = "REQUEST_CONFLICT"


class TooManyTries(ResourceExhausted):
    """As many calls of yours are under way as may be; in a moment again."""

    domain: ClassVar[str] = _WEBHOOK
    reason: ClassVar[str] = "TOO_MANY_TRIES"
