"""NewsService: what gateways tell."""

from __future__ import annotations

from datetime import UTC, timedelta
from typing import Any, Final

from horde.api.webhook.v1 import webhook_service_pb2 as webhook_pb2
from horde.internal.webhook.v1 import news_service_pb2 as pb
from horde.internal.webhook.v1.news_service_pb2_grpc import NewsServiceServicer
from horde.services.clock import Clock
from horde.webhooks.core.deliveries import delivery_of
from horde.webhooks.core.webhooks import Event
from horde.webhooks.payloads import body_of
from horde.webhooks.sending import Sending
from horde.webhooks.store.port import Heard, WebhookStore

SKEW: Final = timedelta(minutes=1)
"""By how much the clock of whoever restricts may be behind ours."""
AT_ONCE: Final = 500
"""Deliveries that are deleted in one step."""


class NewsServicer(NewsServiceServicer):
    """Takes it in."""

    def __init__(self, store: WebhookStore, sending: Sending, clock: Clock) -> None:
        self._store = store
        self._sending = sending
        self._clock = clock

    async def TellRestriction(self, request: pb.TellRestrictionRequest, context: Any) -> pb.TellRestrictionResponse:
        now, event = self._clock.now(), Event.WORKER_RESTRICTED
        since = request.restriction.since.ToDatetime(UTC) if request.restriction.HasField("since") else now
        body = body_of(event, now, webhook_pb2.WorkerRestricted(restriction=request.restriction))
        account_id, subject = request.owner_account_id, request.restriction.restriction_id
        theirs = (await self._store.enabled_of([account_id])).get(account_id, ())
        deliveries = [
            delivery_of(webhook, event, subject, body, now)
            for webhook in theirs
            if webhook.wants(event) and since >= webhook.created_at - SKEW
        ]
        await self._store.hear(Heard(deliveries=deliveries))
        await self._sending.told(deliveries)
        return pb.TellRestrictionResponse()

    async def ForgetAccount(self, request: pb.ForgetAccountRequest, context: Any) -> pb.ForgetAccountResponse:
        return pb.ForgetAccountResponse(left=await self._store.forget(request.account_id, AT_ONCE))
