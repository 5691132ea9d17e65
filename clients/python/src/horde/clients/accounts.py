"""The caller's account and its API keys."""

from __future__ import annotations

from collections.abc import Sequence

from horde.api.account.v1 import account_service_pb2 as pb
from horde.api.account.v1.account_service_pb2_grpc import AccountServiceStub
from horde.clients.doors import Doors
from horde.clients.specs import new_request_id


class Accounts:
    """Opening an account, looking at one's own, and its keys."""

    def __init__(self, doors: Doors) -> None:
        self._doors = doors
        self._stub = AccountServiceStub(doors.gateway)

    async def create(self, display_name: str, *, request_id: str | None = None) -> pb.CreateAccountResponse:
        """Open an account. Its `api_key` is shown this once. Needs no credential. Raises RegistrationClosed."""
        request = pb.CreateAccountRequest(request_id=request_id or new_request_id(), display_name=display_name)
        return await self._doors.ask(self._stub.CreateAccount, request)

    async def show(self) -> pb.GetAccountResponse:
        """The caller's account and balances. Raises AccountRequired for anonymous."""
        return await self._doors.ask(self._stub.GetAccount, pb.GetAccountRequest())

    async def create_key(
        self, label: str, scopes: Sequence[pb.ApiKeyScope.ValueType], *, request_id: str | None = None
    ) -> pb.CreateApiKeyResponse:
        """Make another key, with no more scopes than the one used. Its `api_key` is shown this once."""
        request = pb.CreateApiKeyRequest(request_id=request_id or new_request_id(), label=label, scopes=scopes)
        return await self._doors.ask(self._stub.CreateApiKey, request)

    async def keys(self) -> list[pb.ApiKey]:
        """All keys, oldest first, without their secrets."""
        return list((await self._doors.ask(self._stub.ListApiKeys, pb.ListApiKeysRequest())).keys)

    async def revoke_key(self, api_key_id: str) -> pb.ApiKey:
        """Make a key useless within five seconds. Raises ApiKeyNotFound."""
        request = pb.RevokeApiKeyRequest(api_key_id=api_key_id)
        return (await self._doors.ask(self._stub.RevokeApiKey, request)).key
