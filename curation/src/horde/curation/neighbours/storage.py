"""The storage router, as this service asks it: that shared images go."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from horde.api.job.v1 import job_pb2
from horde.internal.storage.v1 import object_service_pb2 as pb
from horde.internal.storage.v1.object_service_pb2_grpc import ObjectServiceStub


class Withdrawer(Protocol):
    """Who takes shared images away."""

    async def withdraw(self, image_ids: Sequence[str]) -> list[str]:
        """Have shared images deleted, with a sign that they are withdrawn; those that are gone. Raises ServiceError."""


class StorageRouter:
    """The storage router over the wire."""

    def __init__(self, channel: Any) -> None:
        self._stub: Any = ObjectServiceStub(channel)

    async def withdraw(self, image_ids: Sequence[str]) -> list[str]:
        shared = job_pb2.PLACEMENT_SHARED
        request = pb.WithdrawObjectsRequest(
            withdrawals=[
                pb.WithdrawObject(job_id=image_id, object_name=image_id, placement=shared) for image_id in image_ids
            ]
        )
        answer: pb.WithdrawObjectsResponse = await self._stub.WithdrawObjects(request)
        return [image_id for image_id, outcome in zip(image_ids, answer.outcomes, strict=True) if not outcome.code]
