"""What the gateway itself tells the webhooks service; calls of others it passes on (`doors/curated.py`)."""

from __future__ import annotations

from typing import Any

from grpc import aio

from horde.api.standing.v1 import standing_service_pb2 as standing_pb2
from horde.internal.webhook.v1 import news_service_pb2 as pb
from horde.internal.webhook.v1.news_service_pb2_grpc import NewsServiceStub


class WebhooksClient:
    """The webhooks service's NewsService. Every method raises its ServiceErrors, and Unavailable."""

    def __init__(self, channel: aio.Channel) -> None:
        self._stub: Any = NewsServiceStub(channel)

    async def tell_restriction(self, owner_account_id: str, restriction: standing_pb2.Restriction) -> None:
        """Have an owner's webhooks told of a restriction; durable on return, and harmless to repeat."""
        request = pb.TellRestrictionRequest(owner_account_id=owner_account_id, restriction=restriction)
        await self._stub.TellRestriction(request)

    async def forget_account(self, account_id: str) -> int:
        """Take a step in forgetting an account; how much is left."""
        answer: pb.ForgetAccountResponse = await self._stub.ForgetAccount(
            pb.ForgetAccountRequest(account_id=account_id)
        )
        return answer.left
