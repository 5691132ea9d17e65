"""The caller's account and its API keys."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterable, AsyncIterator, Sequence
from typing import NamedTuple

from horde.api.account.v1 import account_service_pb2 as pb
from horde.api.account.v1.account_service_pb2_grpc import AccountServiceStub
from horde.clients.credentials import new_api_key
from horde.clients.doors import Doors
from horde.clients.specs import new_request_id


class OpenedAccount(NamedTuple):
    """A new account, and the key that opens it: the mesh cannot show that again."""

    account: pb.Account
    key: pb.ApiKey
    api_key: str


class OpenedKey(NamedTuple):
    """A new key of an account, and its secret: the mesh cannot show that again."""

    key: pb.ApiKey
    api_key: str


class Export:
    """An export that is being read; at its end, `export_id` proves that it was."""

    def __init__(self, messages: AsyncIterable[pb.ExportAccountResponse]) -> None:
        self._messages = messages
        self.export_id = ""

    async def __aiter__(self) -> AsyncIterator[pb.ExportItem]:
        digest, items = hashlib.sha256(), 0
        async for message in self._messages:
            if message.HasField("item"):
                digest.update(message.item.json.encode() + b"\n")
                items += 1
                yield message.item
            elif (message.end.items, message.end.sha256) == (items, digest.digest()):
                self.export_id = message.end.export_id
                return
        raise ValueError("the export is not whole: ask for it again")


class Accounts:
    """Opening an account, looking at one's own, and its keys."""

    def __init__(self, doors: Doors) -> None:
        self._doors = doors
        self._stub = AccountServiceStub(doors.gateway)

    async def create(
        self, display_name: str, *, request_id: str | None = None, api_key: str | None = None
    ) -> OpenedAccount:
        """Open an account with its first API key, which is drawn here. Needs no credential. Raises RegistrationClosed.

        Whoever wants to repeat it after a crash keeps `request_id` and `api_key` (`credentials.new_api_key`) first.
        """
        key = api_key or new_api_key()
        request = pb.CreateAccountRequest(
            request_id=request_id or new_request_id(), display_name=display_name, api_key=key
        )
        answer = await self._doors.ask(self._stub.CreateAccount, request)
        return OpenedAccount(answer.account, answer.key, key)

    async def show(self) -> pb.GetAccountResponse:
        """The caller's account and balances. Raises AccountRequired for anonymous."""
        return await self._doors.ask(self._stub.GetAccount, pb.GetAccountRequest())

    async def update(
        self, *, display_name: str | None = None, public: bool | None = None, contact: str | None = None
    ) -> pb.Account:
        """Change what is given of the account."""
        given = {"display_name": display_name, "public": public, "contact": contact}
        request = pb.UpdateAccountRequest(
            account=pb.Account(display_name=display_name or "", public=bool(public), contact=contact or "")
        )
        request.update_mask.paths.extend(field for field, value in given.items() if value is not None)
        return (await self._doors.ask(self._stub.UpdateAccount, request)).account

    def export(self) -> Export:
        """Everything that the mesh keeps about the caller, item by item. Ends with ValueError if some was lost."""
        return Export(self._doors.stream(self._stub.ExportAccount, pb.ExportAccountRequest()))

    async def delete(self, export_id: str, *, withdraw_shared: bool = False) -> pb.DeleteAccountResponse:
        """End the caller's account, for good; `export_id` is that of an `export` of the last hour, read to its end.

        Shared images stay shared, without a way back, unless `withdraw_shared`. May be repeated for an hour. Raises
        ExportRequired, AccountBusy.
        """
        request = pb.DeleteAccountRequest(export_id=export_id, withdraw_shared=withdraw_shared)
        return await self._doors.ask(self._stub.DeleteAccount, request)

    async def create_key(
        self,
        label: str,
        scopes: Sequence[pb.ApiKeyScope.ValueType],
        *,
        request_id: str | None = None,
        api_key: str | None = None,
    ) -> OpenedKey:
        """Make another key good, with no more scopes than the one used. It is drawn here."""
        key = api_key or new_api_key()
        request = pb.CreateApiKeyRequest(
            request_id=request_id or new_request_id(), label=label, scopes=scopes, api_key=key
        )
        answer = await self._doors.ask(self._stub.CreateApiKey, request)
        return OpenedKey(answer.key, key)

    async def keys(self) -> list[pb.ApiKey]:
        """All keys, oldest first, without their secrets."""
        return list((await self._doors.ask(self._stub.ListApiKeys, pb.ListApiKeysRequest())).keys)

    async def revoke_key(self, api_key_id: str) -> pb.ApiKey:
        """Make a key useless within five seconds. Raises ApiKeyNotFound."""
        request = pb.RevokeApiKeyRequest(api_key_id=api_key_id)
        return (await self._doors.ask(self._stub.RevokeApiKey, request)).key
