"""What the scheduler says of generations of which an image has ended."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import Any

from grpc import aio

from horde.api.job.v1 import job_pb2
from horde.internal.scheduler.v1 import scheduler_service_pb2 as pb
from horde.internal.scheduler.v1.scheduler_service_pb2_grpc import SchedulerServiceStub


def wish(generation_id: str, account_id: str) -> pb.FollowRequest:
    """To be told of a generation, as its requester."""
    ref = pb.GenerationRef(generation_id=generation_id, requester=job_pb2.Requester(account_id=account_id))
    return pb.FollowRequest(follow=ref, durable_only=True)


class Scheduler:
    """Listens to the scheduler. Raises Unavailable."""

    def __init__(self, channel: aio.Channel) -> None:
        self._stub: Any = SchedulerServiceStub(channel)

    async def follow(self, wishes: AsyncIterator[pb.FollowRequest]) -> AsyncGenerator[Sequence[pb.FollowedEvent]]:
        """What happens to the generations that are named."""
        async for response in self._stub.Follow(wishes):
            yield response.events
