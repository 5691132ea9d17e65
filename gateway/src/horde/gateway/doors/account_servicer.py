"""AccountService on the wire."""

from __future__ import annotations

from typing import Any

from horde.api.account.v1 import account_service_pb2 as pb
from horde.api.account.v1.account_service_pb2_grpc import AccountServiceServicer
from horde.gateway.core.requesters import Role, Scope
from horde.gateway.doors.accounts import Accounts
from horde.gateway.doors.authentication import Reception

Context = Any


class AccountServicer(AccountServiceServicer):
    """Decode, call, encode."""

    def __init__(self, reception: Reception, accounts: Accounts) -> None:
        self._reception = reception
        self._accounts = accounts

    async def CreateAccount(self, request: pb.CreateAccountRequest, context: Context) -> pb.CreateAccountResponse:
        await self._reception.count_registration(context)
        return await self._accounts.create(request)

    async def GetAccount(self, request: pb.GetAccountRequest, context: Context) -> pb.GetAccountResponse:
        return await self._accounts.get(await self._reception.account(context))

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

    async def AuditLedger(self, request: pb.AuditLedgerRequest, context: Context) -> pb.AuditLedgerResponse:
        await self._reception.account(context, Scope.MANAGE, Role.OPERATOR)
        return await self._accounts.audit(request)
