"""What the scheduler knows of owners of workers."""

from __future__ import annotations

from typing import Any

from grpc import aio

from horde.internal.scheduler.v1 import owner_service_pb2 as pb
from horde.internal.scheduler.v1.owner_service_pb2_grpc import OwnerServiceStub


class OwnersClient:
    """The scheduler's OwnerService. Every method raises its ServiceErrors, and Unavailable."""

    def __init__(self, channel: aio.Channel) -> None:
        self._stub: Any = OwnerServiceStub(channel)

    async def owner(self, account_id: str) -> pb.GetOwnerResponse:
        """What an owner's work so far says about it."""
        answer: pb.GetOwnerResponse = await self._stub.GetOwner(pb.GetOwnerRequest(owner_account_id=account_id))
        return answer

    async def strikes(self, account_id: str, page_size: int, page_token: str) -> pb.ListStrikesResponse:
        """A page of an owner's strikes, newest first."""
        request = pb.ListStrikesRequest(owner_account_id=account_id, page_size=page_size, page_token=page_token)
        answer: pb.ListStrikesResponse = await self._stub.ListStrikes(request)
        return answer

    async def forgive(self, request: pb.ForgiveStrikesRequest) -> pb.ForgiveStrikesResponse:
        """Take back everybody's strikes of a window of time."""
        answer: pb.ForgiveStrikesResponse = await self._stub.ForgiveStrikes(request)
        return answer
