"""AccountService on the wire."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

from horde.api.account.v1 import account_service_pb2 as pb
from horde.api.account.v1.account_service_pb2_grpc import AccountServiceServicer
from horde.gateway.core.requesters import Role, Scope
from horde.gateway.doors import wire
from horde.gateway.doors.account_closing import AccountClosing
from horde.gateway.doors.account_life import AccountLife
from horde.gateway.doors.account_operating import AccountOperating
from horde.gateway.doors.accounts import Accounts
from horde.gateway.doors.reception import Reception
from horde.gateway.doors.shared_keys import SharedKeys

Context = Any


class AccountServicer(AccountServiceServicer):
    """Decode, call, encode."""

    def __init__(
        self,
        reception: Reception,
        accounts: Accounts,
        life: AccountLife,
        closing: AccountClosing,
        operating: AccountOperating,
        shared_keys: SharedKeys,
    ) -> None:
        self._reception = reception
        self._accounts = accounts
        self._life = life
        self._closing = closing
        self._operating = operating
        self._shared_keys = shared_keys

    async def CreateAccount(self, request: pb.CreateAccountRequest, context: Context) -> pb.CreateAccountResponse:
        await self._reception.count_registration(context)
        return await self._accounts.create(request)

    async def GetAccount(self, request: pb.GetAccountRequest, context: Context) -> pb.GetAccountResponse:
        return await self._accounts.get(await self._reception.account(context))

    async def UpdateAccount(self, request: pb.UpdateAccountRequest, context: Context) -> pb.UpdateAccountResponse:
        principal = await self._reception.account(context, Scope.MANAGE)
        return pb.UpdateAccountResponse(account=await self._life.update(principal, request))

    async def ExportAccount(
        self, request: pb.ExportAccountRequest, context: Context
    ) -> AsyncIterator[pb.ExportAccountResponse]:
        principal = await self._reception.account(context, Scope.MANAGE, restricted=True)
        async with aclosing(self._life.export(principal)) as items:
            async for item in items:
                yield item

    async def DeleteAccount(self, request: pb.DeleteAccountRequest, context: Context) -> pb.DeleteAccountResponse:
        principal = await self._reception.leaver(context)
        return await self._closing.delete(principal, request)

    async def CreateSharedKey(self, request: pb.CreateSharedKeyRequest, context: Context) -> pb.CreateSharedKeyResponse:
        principal = await self._reception.account(context, Scope.MANAGE)
        key = await self._shared_keys.create(principal, request)
        return pb.CreateSharedKeyResponse(key=wire.shared_key_message(key))

    async def ListSharedKeys(self, request: pb.ListSharedKeysRequest, context: Context) -> pb.ListSharedKeysResponse:
        principal = await self._reception.account(context, Scope.MANAGE)
        keys = await self._shared_keys.page(principal)
        return pb.ListSharedKeysResponse(keys=map(wire.shared_key_message, keys))

    async def GetSharedKey(self, request: pb.GetSharedKeyRequest, context: Context) -> pb.GetSharedKeyResponse:
        principal = await self._reception.owner_or_holder(context, Scope.MANAGE)
        key = await self._shared_keys.get(principal, request.shared_key_id)
        return pb.GetSharedKeyResponse(key=wire.shared_key_message(key))

    async def UpdateSharedKey(self, request: pb.UpdateSharedKeyRequest, context: Context) -> pb.UpdateSharedKeyResponse:
        principal = await self._reception.account(context, Scope.MANAGE)
        key = await self._shared_keys.update(principal, request)
        return pb.UpdateSharedKeyResponse(key=wire.shared_key_message(key))

    async def RevokeSharedKey(self, request: pb.RevokeSharedKeyRequest, context: Context) -> pb.RevokeSharedKeyResponse:
        principal = await self._reception.account(context, Scope.MANAGE)
        key = await self._shared_keys.revoke(principal, request.shared_key_id)
        return pb.RevokeSharedKeyResponse(key=wire.shared_key_message(key))

    async def CreateApiKey(self, request: pb.CreateApiKeyRequest, context: Context) -> pb.CreateApiKeyResponse:
        principal = await self._reception.account(context, Scope.MANAGE)
        return await self._accounts.create_key(principal, request)

    async def ListApiKeys(self, request: pb.ListApiKeysRequest, context: Context) -> pb.ListApiKeysResponse:
        principal = await self._reception.account(context, Scope.MANAGE)
        return pb.ListApiKeysResponse(keys=await self._accounts.list_keys(principal))

    async def RevokeApiKey(self, request: pb.RevokeApiKeyRequest, context: Context) -> pb.RevokeApiKeyResponse:
        principal = await self._reception.account(context, Scope.MANAGE)
        return pb.RevokeApiKeyResponse(key=await self._accounts.revoke_key(principal, request.api_key_id))

    async def GiftKudos(self, request: pb.GiftKudosRequest, context: Context) -> pb.GiftKudosResponse:
        principal = await self._reception.account(context, Scope.MANAGE)
        return pb.GiftKudosResponse(entry=await self._accounts.gift(principal, request))

    async def AwardKudos(self, request: pb.AwardKudosRequest, context: Context) -> pb.AwardKudosResponse:
        principal = await self._reception.account(context, Scope.MANAGE, Role.OPERATOR)
        return pb.AwardKudosResponse(entry=await self._accounts.award(principal, request))

    async def ListStatementEntries(
        self, request: pb.ListStatementEntriesRequest, context: Context
    ) -> pb.ListStatementEntriesResponse:
        principal = await self._reception.account(context, Scope.MANAGE)
        return await self._accounts.statement(principal, request)

    async def ListAccounts(self, request: pb.ListAccountsRequest, context: Context) -> pb.ListAccountsResponse:
        await self._reception.account(context, Scope.MANAGE, Role.OPERATOR)
        return await self._operating.page(request)

    async def SetRoles(self, request: pb.SetRolesRequest, context: Context) -> pb.SetRolesResponse:
        principal = await self._reception.account(context, Scope.MANAGE, Role.OPERATOR)
        return pb.SetRolesResponse(account=await self._operating.set_roles(principal, request))

    async def AuditLedger(self, request: pb.AuditLedgerRequest, context: Context) -> pb.AuditLedgerResponse:
        await self._reception.account(context, Scope.MANAGE, Role.OPERATOR)
        return await self._accounts.audit(request)
