"""Webhooks: addresses that the mesh calls when something happened to what is yours."""

from __future__ import annotations

import base64
import secrets
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from typing import Final

from horde.api.webhook.v1 import webhook_service_pb2 as pb
from horde.api.webhook.v1.webhook_service_pb2_grpc import WebhookServiceStub
from horde.clients.doors import Doors
from horde.clients.specs import new_request_id

SECRET_BYTES: Final = 32
TRY: Final = timedelta(seconds=30)
"""A receiver has 15 s for its answer."""


def new_secret() -> str:
    """A secret in the Standard Webhooks form, by which the receiver knows the mesh's word."""
    return f"whsec_{base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()}"


class Webhooks:
    """The account's webhooks. Needs an API key that may manage the account."""

    def __init__(self, doors: Doors) -> None:
        self._doors = doors
        self._stub = WebhookServiceStub(doors.gateway)

    async def create(
        self,
        url: str,
        events: Sequence[pb.WebhookEvent.ValueType],
        secret: str,
        *,
        label: str = "",
        request_id_prefix: str = "",
        request_id: str | None = None,
    ) -> pb.Webhook:
        """Have an address told. Keep the secret: nobody shows it again. Raises InvalidWebhookField, AddressNotAllowed,
        TooManyWebhooks, WebhookConflict."""
        request = pb.CreateWebhookRequest(
            request_id=request_id or new_request_id(),
            url=url,
            label=label,
            events=events,
            request_id_prefix=request_id_prefix,
            secret=secret,
        )
        return (await self._doors.ask(self._stub.CreateWebhook, request)).webhook

    async def all(self) -> Sequence[pb.Webhook]:
        """The account's, oldest first."""
        return list((await self._doors.ask(self._stub.ListWebhooks, pb.ListWebhooksRequest())).webhooks)

    async def update(self, request: pb.UpdateWebhookRequest) -> pb.Webhook:
        """Change what is present in the request. Raises as `create`, and WebhookNotFound."""
        return (await self._doors.ask(self._stub.UpdateWebhook, request)).webhook

    async def delete(self, webhook_id: str) -> None:
        """Remove one, with its log; one that is not there is no error."""
        await self._doors.ask(self._stub.DeleteWebhook, pb.DeleteWebhookRequest(webhook_id=webhook_id))

    async def test(self, webhook_id: str) -> pb.Delivery:
        """Have it called now, once, and see what came of it. Raises WebhookNotFound, TooManyTries."""
        request = pb.TestWebhookRequest(webhook_id=webhook_id)
        return (await self._doors.ask(self._stub.TestWebhook, request, timeout=TRY)).delivery

    async def log(self, webhook_id: str, *, page_size: int = 100) -> AsyncIterator[pb.Delivery]:
        """What it was told in the last seven days, newest first. Raises WebhookNotFound."""
        request = pb.ListDeliveriesRequest(webhook_id=webhook_id, page_size=page_size)
        while True:
            page = await self._doors.ask(self._stub.ListDeliveries, request)
            for delivery in page.deliveries:
                yield delivery
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    async def retry(self, webhook_id: str, delivery_id: str) -> pb.Delivery:
        """Have a delivery tried once more, now. Raises WebhookNotFound, DeliveryNotFound, TooManyTries."""
        request = pb.RetryDeliveryRequest(webhook_id=webhook_id, delivery_id=delivery_id)
        return (await self._doors.ask(self._stub.RetryDelivery, request, timeout=TRY)).delivery
