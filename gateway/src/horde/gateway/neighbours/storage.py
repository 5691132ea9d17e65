"""What the gateway asks of the storage router: what an input is, and that one goes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from grpc import aio

from horde.api.job.v1 import job_pb2
from horde.api.storage.v1 import storage_service_pb2 as storage_pb2
from horde.internal.storage.v1 import object_service_pb2 as object_pb2
from horde.internal.storage.v1.object_service_pb2_grpc import ObjectServiceStub
from horde.services.errors import ServiceError
from horde.services.status import from_status


class StorageClient:
    """The storage router, as the gateway sees it."""

    def __init__(self, channel: aio.Channel) -> None:
        self._stub: Any = ObjectServiceStub(channel)

    async def describe(
        self, requester: job_pb2.Requester, inputs: Sequence[job_pb2.InputImage]
    ) -> list[storage_pb2.StoredInput | ServiceError]:
        """What each input is, or why it cannot be used by this requester. Raises Unavailable."""
        request = object_pb2.DescribeInputsRequest(requester=requester, inputs=inputs)
        answer: object_pb2.DescribeInputsResponse = await self._stub.DescribeInputs(request)
        return [
            outcome.input if outcome.WhichOneof("result") == "input" else from_status(outcome.error)
            for outcome in answer.outcomes
        ]

    async def forget(self, requester: job_pb2.Requester) -> int:
        """Delete a requester's inputs, some of them; how many are left. Raises Unavailable."""
        answer: object_pb2.ForgetRequesterResponse = await self._stub.ForgetRequester(
            object_pb2.ForgetRequesterRequest(requester=requester)
        )
        return answer.left

    async def delete(self, requester: job_pb2.Requester, input_id: str) -> None:
        """Delete a requester's input. Raises INPUT_IN_USE of the storage, and Unavailable."""
        request = object_pb2.DeleteInputsRequest(requester=requester, input_ids=[input_id])
        answer: object_pb2.DeleteInputsResponse = await self._stub.DeleteInputs(request)
        for outcome in answer.outcomes:
            if outcome.code:
                raise from_status(outcome)
