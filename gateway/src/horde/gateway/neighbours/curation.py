"""What the gateway itself asks of the curation service; calls of others it passes on (`doors/curated.py`)."""

from __future__ import annotations

from typing import Any

from grpc import aio

from horde.internal.curation.v1 import account_service_pb2 as pb
from horde.internal.curation.v1.account_service_pb2_grpc import AccountServiceStub


class CurationClient:
    """The curation service's AccountService. Every method raises its ServiceErrors, and Unavailable."""

    def __init__(self, channel: aio.Channel) -> None:
        self._stub: Any = AccountServiceStub(channel)

    async def forget_account(self, account_id: str, *, withdraw_shared: bool) -> int:
        """Take a step in forgetting an account; how many ratings and reports are left."""
        request = pb.ForgetAccountRequest(account_id=account_id, withdraw_shared=withdraw_shared)
        answer: pb.ForgetAccountResponse = await self._stub.ForgetAccount(request)
        return answer.left
