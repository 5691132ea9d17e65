"""WebhookService: decode, ask, encode."""

from __future__ import annotations

from typing import Any

from horde.api.webhook.v1 import webhook_service_pb2 as pb
from horde.api.webhook.v1.webhook_service_pb2_grpc import WebhookServiceServicer
from horde.webhooks.doors.visitors import account_of, visitor_of
from horde.webhooks.doors.wire import delivery_message, webhook_message
from horde.webhooks.hooks import Hooks


class WebhookServicer(WebhookServiceServicer):
    """The service."""

    def __init__(self, hooks: Hooks) -> None:
        self._hooks = hooks

    async def CreateWebhook(self, request: pb.CreateWebhookRequest, context: Any) -> pb.CreateWebhookResponse:
        return pb.CreateWebhookResponse(webhook=webhook_message(await self._hooks.create(account_of(context), request)))

    async def ListWebhooks(self, request: pb.ListWebhooksRequest, context: Any) -> pb.ListWebhooksResponse:
        return pb.ListWebhooksResponse(webhooks=map(webhook_message, await self._hooks.all_of(account_of(context))))

    async def UpdateWebhook(self, request: pb.UpdateWebhookRequest, context: Any) -> pb.UpdateWebhookResponse:
        return pb.UpdateWebhookResponse(webhook=webhook_message(await self._hooks.update(account_of(context), request)))

    async def DeleteWebhook(self, request: pb.DeleteWebhookRequest, context: Any) -> pb.DeleteWebhookResponse:
        await self._hooks.delete(account_of(context), request.webhook_id)
        return pb.DeleteWebhookResponse()

    async def TestWebhook(self, request: pb.TestWebhookRequest, context: Any) -> pb.TestWebhookResponse:
        delivery = await self._hooks.test(visitor_of(context), request.webhook_id)
        return pb.TestWebhookResponse(delivery=delivery_message(delivery))

    async def ListDeliveries(self, request: pb.ListDeliveriesRequest, context: Any) -> pb.ListDeliveriesResponse:
        page, token = await self._hooks.log(account_of(context), request)
        return pb.ListDeliveriesResponse(deliveries=map(delivery_message, page), next_page_token=token)

    async def RetryDelivery(self, request: pb.RetryDeliveryRequest, context: Any) -> pb.RetryDeliveryResponse:
        delivery = await self._hooks.retry(visitor_of(context), request.webhook_id, request.delivery_id)
        return pb.RetryDeliveryResponse(delivery=delivery_message(delivery))
