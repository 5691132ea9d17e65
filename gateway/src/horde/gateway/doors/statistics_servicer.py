"""StatisticsService on the wire."""

from __future__ import annotations

from typing import Any

from horde.api.statistics.v1 import statistics_service_pb2 as pb
from horde.api.statistics.v1.statistics_service_pb2_grpc import StatisticsServiceServicer
from horde.gateway.doors.reception import Reception
from horde.gateway.doors.statistics import Statistics

Context = Any


class StatisticsServicer(StatisticsServiceServicer):
    """Decode, call, encode."""

    def __init__(self, reception: Reception, statistics: Statistics) -> None:
        self._reception = reception
        self._statistics = statistics

    async def GetTotals(self, request: pb.GetTotalsRequest, context: Context) -> pb.GetTotalsResponse:
        await self._reception.visitor(context)
        return await self._statistics.totals()

    async def GetPerformance(self, request: pb.GetPerformanceRequest, context: Context) -> pb.GetPerformanceResponse:
        await self._reception.visitor(context)
        return await self._statistics.performance()

    async def ListModelTotals(self, request: pb.ListModelTotalsRequest, context: Context) -> pb.ListModelTotalsResponse:
        await self._reception.visitor(context)
        return await self._statistics.models(request)

    async def ListLeaders(self, request: pb.ListLeadersRequest, context: Context) -> pb.ListLeadersResponse:
        await self._reception.visitor(context)
        return await self._statistics.leaders(request)
