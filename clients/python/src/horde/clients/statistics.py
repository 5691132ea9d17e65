"""Statistics: what the mesh has made, and how busy it is."""

from __future__ import annotations

from horde.api.statistics.v1 import statistics_service_pb2 as pb
from horde.api.statistics.v1.statistics_service_pb2_grpc import StatisticsServiceStub
from horde.clients.doors import Doors


class Statistics:
    """Numbers of the whole mesh."""

    def __init__(self, doors: Doors) -> None:
        self._doors = doors
        self._stub = StatisticsServiceStub(doors.gateway)

    async def totals(self) -> pb.GetTotalsResponse:
        """What was made in the last minute, hour, day and month, and ever."""
        return await self._doors.ask(self._stub.GetTotals, pb.GetTotalsRequest())

    async def performance(self) -> pb.GetPerformanceResponse:
        """How much waits and is painted now, and how many workers there are."""
        return await self._doors.ask(self._stub.GetPerformance, pb.GetPerformanceRequest())
