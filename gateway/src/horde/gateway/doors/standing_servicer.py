"""StandingService on the wire."""

from __future__ import annotations

from typing import Any

from horde.api.standing.v1 import standing_service_pb2 as pb
from horde.api.standing.v1.standing_service_pb2_grpc import StandingServiceServicer
from horde.gateway.core.requesters import Role, Scope
from horde.gateway.doors.reception import Reception
from horde.gateway.doors.standing import Standing
from horde.services.addresses import caller_peer

Context = Any


class StandingServicer(StandingServiceServicer):
    """Decode, call, encode."""

    def __init__(self, reception: Reception, standing: Standing) -> None:
        self._reception = reception
        self._standing = standing

    async def GetStanding(self, request: pb.GetStandingRequest, context: Context) -> pb.GetStandingResponse:
        principal = await self._reception.account(context, restricted=True)
        standing = await self._standing.show(principal, request.account_id, caller_peer(context))
        return pb.GetStandingResponse(standing=standing)

    async def ListStrikes(self, request: pb.ListStrikesRequest, context: Context) -> pb.ListStrikesResponse:
        principal = await self._reception.account(context, restricted=True)
        return await self._standing.strikes(principal, request)

    async def SetTrust(self, request: pb.SetTrustRequest, context: Context) -> pb.SetTrustResponse:
        principal = await self._reception.account(context, Scope.MANAGE, Role.OPERATOR)
        return pb.SetTrustResponse(standing=await self._standing.set_trust(principal, request, caller_peer(context)))

    async def Restrict(self, request: pb.RestrictRequest, context: Context) -> pb.RestrictResponse:
        principal = await self._reception.account(context, Scope.MANAGE, Role.MODERATOR)
        return pb.RestrictResponse(restriction=await self._standing.restrict(principal, request))

    async def LiftRestriction(self, request: pb.LiftRestrictionRequest, context: Context) -> pb.LiftRestrictionResponse:
        principal = await self._reception.account(context, Scope.MANAGE, Role.MODERATOR)
        return pb.LiftRestrictionResponse(restriction=await self._standing.lift(principal, request))

    async def ListRestrictions(
        self, request: pb.ListRestrictionsRequest, context: Context
    ) -> pb.ListRestrictionsResponse:
        await self._reception.account(context, Scope.MANAGE, Role.MODERATOR)
        return await self._standing.page(request)

    async def AppealRestriction(
        self, request: pb.AppealRestrictionRequest, context: Context
    ) -> pb.AppealRestrictionResponse:
        principal = await self._reception.account(context, restricted=True)
        restriction = await self._standing.appeal(principal, request, caller_peer(context))
        return pb.AppealRestrictionResponse(restriction=restriction)

    async def GrantAmnesty(self, request: pb.GrantAmnestyRequest, context: Context) -> pb.GrantAmnestyResponse:
        principal = await self._reception.account(context, Scope.MANAGE, Role.OPERATOR)
        return await self._standing.amnesty(principal, request)

    async def ListDecisions(self, request: pb.ListDecisionsRequest, context: Context) -> pb.ListDecisionsResponse:
        await self._reception.account(context, Scope.MANAGE, Role.OPERATOR)
        return await self._standing.decisions(request)
