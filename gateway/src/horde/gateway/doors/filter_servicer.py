"""The prompt filters of ModerationService on the wire; the rest of that service is answered by another one."""

from __future__ import annotations

from typing import Any

from horde.api.moderation.v1 import moderation_service_pb2 as pb
from horde.api.moderation.v1.moderation_service_pb2_grpc import ModerationServiceServicer
from horde.gateway.core.requesters import Role, Scope
from horde.gateway.doors.filtering import Filters
from horde.gateway.doors.reception import Reception

Context = Any


class FilterServicer(ModerationServiceServicer):
    """Decode, call, encode."""

    def __init__(self, reception: Reception, filters: Filters) -> None:
        self._reception = reception
        self._filters = filters

    async def ListFilters(self, request: pb.ListFiltersRequest, context: Context) -> pb.ListFiltersResponse:
        await self._reception.account(context, Scope.MANAGE, Role.MODERATOR)
        return await self._filters.page(request)

    async def CreateFilter(self, request: pb.CreateFilterRequest, context: Context) -> pb.CreateFilterResponse:
        principal = await self._reception.account(context, Scope.MANAGE, Role.MODERATOR)
        return pb.CreateFilterResponse(filter=await self._filters.create(principal, request))

    async def DeleteFilter(self, request: pb.DeleteFilterRequest, context: Context) -> pb.DeleteFilterResponse:
        principal = await self._reception.account(context, Scope.MANAGE, Role.MODERATOR)
        await self._filters.delete(principal, request.filter_id)
        return pb.DeleteFilterResponse()

    async def TestFilters(self, request: pb.TestFiltersRequest, context: Context) -> pb.TestFiltersResponse:
        await self._reception.account(context, Scope.MANAGE, Role.MODERATOR)
        return self._filters.test(request.prompt)
