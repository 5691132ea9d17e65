"""SchedulerService: decode, ask, encode."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Protocol

from horde.internal.scheduler.v1 import scheduler_service_pb2 as pb
from horde.internal.scheduler.v1.scheduler_service_pb2_grpc import (
    SchedulerServiceServicer,
    add_SchedulerServiceServicer_to_server,
)
from horde.scheduler.doors import owners, scaling
from horde.scheduler.doors.deleting import Deleting
from horde.scheduler.doors.fleet_reading import FleetReading
from horde.scheduler.doors.reading import Reading
from horde.scheduler.doors.relay import Relays
from horde.scheduler.doors.settled_reading import SettledReading
from horde.scheduler.doors.submitting import Submitting
from horde.services.identity import AllowList
from horde.services.server import Registration

SERVICE = "horde.internal.scheduler.v1.SchedulerService"
ALLOW = AllowList(
    {
        **{f"/{service}/*": {"gateway"} for service in (SERVICE, owners.SERVICE)},
        f"/{SERVICE}/ListSettledImages": {"auditor"},
        f"/{SERVICE}/DescribeJobs": {"auditor"},
        f"/{SERVICE}/Follow": {"gateway", "webhooks"},
        f"/{scaling.SERVICE}/*": {"keda"},
    }
)


class Parts(Protocol):
    """Who answers what: the engine has them all."""

    submitting: Submitting
    reading: Reading
    deleting: Deleting
    fleet_reading: FleetReading
    relays: Relays
    settled_reading: SettledReading


def scheduler_registration(parts: Parts) -> Registration:
    """What is to be served."""
    return Registration(add_SchedulerServiceServicer_to_server, Servicer(parts), SERVICE)


class Servicer(SchedulerServiceServicer):
    """The service."""

    def __init__(self, parts: Parts) -> None:
        self._submitting = parts.submitting
        self._reading = parts.reading
        self._deleting = parts.deleting
        self._fleet = parts.fleet_reading
        self._relays = parts.relays
        self._settled = parts.settled_reading

    async def SubmitGenerations(
        self, request: pb.SubmitGenerationsRequest, context: Any
    ) -> pb.SubmitGenerationsResponse:
        return pb.SubmitGenerationsResponse(outcomes=await self._submitting.submit(request.submissions))

    async def GetGenerations(self, request: pb.GetGenerationsRequest, context: Any) -> pb.GetGenerationsResponse:
        return pb.GetGenerationsResponse(outcomes=await self._reading.get(request.refs))

    async def ListGenerations(self, request: pb.ListGenerationsRequest, context: Any) -> pb.ListGenerationsResponse:
        return await self._reading.page(request)

    async def CancelGenerations(
        self, request: pb.CancelGenerationsRequest, context: Any
    ) -> pb.CancelGenerationsResponse:
        return pb.CancelGenerationsResponse(outcomes=await self._reading.cancel(request.refs))

    async def WithdrawImages(self, request: pb.WithdrawImagesRequest, context: Any) -> pb.WithdrawImagesResponse:
        return pb.WithdrawImagesResponse(outcomes=await self._reading.withdraw(request.ref, request.job_ids))

    async def DeleteGenerations(
        self, request: pb.DeleteGenerationsRequest, context: Any
    ) -> pb.DeleteGenerationsResponse:
        return pb.DeleteGenerationsResponse(outcomes=await self._deleting.generations(request.refs))

    async def SurveyAccount(self, request: pb.SurveyAccountRequest, context: Any) -> pb.SurveyAccountResponse:
        return await self._deleting.survey(request.account_id)

    async def ForgetAccount(self, request: pb.ForgetAccountRequest, context: Any) -> pb.ForgetAccountResponse:
        return pb.ForgetAccountResponse(left=await self._deleting.account(request))

    async def EstimateWaits(self, request: pb.EstimateWaitsRequest, context: Any) -> pb.EstimateWaitsResponse:
        return pb.EstimateWaitsResponse(outcomes=[self._reading.estimate(estimate) for estimate in request.estimates])

    async def ListWorkers(self, request: pb.ListWorkersRequest, context: Any) -> pb.ListWorkersResponse:
        return self._fleet.workers(request)

    async def GetWorker(self, request: pb.GetWorkerRequest, context: Any) -> pb.GetWorkerResponse:
        return pb.GetWorkerResponse(worker=self._fleet.show_worker(self._fleet.worker(request.worker_id)))

    async def SetWorkerPaused(self, request: pb.SetWorkerPausedRequest, context: Any) -> pb.SetWorkerPausedResponse:
        return pb.SetWorkerPausedResponse(worker=await self._fleet.pause(request))

    async def UpdateWorker(self, request: pb.UpdateWorkerRequest, context: Any) -> pb.UpdateWorkerResponse:
        return pb.UpdateWorkerResponse(worker=await self._fleet.update(request))

    async def DeleteWorker(self, request: pb.DeleteWorkerRequest, context: Any) -> pb.DeleteWorkerResponse:
        await self._deleting.worker(request)
        return pb.DeleteWorkerResponse()

    async def ListModels(self, request: pb.ListModelsRequest, context: Any) -> pb.ListModelsResponse:
        return self._fleet.models(request)

    async def GetWaits(self, request: pb.GetWaitsRequest, context: Any) -> pb.GetWaitsResponse:
        return self._fleet.waits()

    async def ListSettledImages(
        self, request: pb.ListSettledImagesRequest, context: Any
    ) -> pb.ListSettledImagesResponse:
        return await self._settled.page(request)

    async def DescribeJobs(self, request: pb.DescribeJobsRequest, context: Any) -> pb.DescribeJobsResponse:
        return pb.DescribeJobsResponse(jobs=await self._settled.describe(request.job_ids))

    def Follow(
        self, request_iterator: AsyncIterator[pb.FollowRequest], context: Any
    ) -> AsyncIterator[pb.FollowResponse]:
        return self._reading.follow(request_iterator)

    def Relay(self, request_iterator: AsyncIterator[pb.RelayRequest], context: Any) -> AsyncIterator[pb.RelayResponse]:
        return self._relays.serve(request_iterator)
