"""ExternalScaler: tells KEDA how many workers of an operator's own a model's queue is worth just now.

What waits for a model is *worker-seconds*: its megapixel-steps times the median worker's seconds for one. Volunteers
take their part of it; what they cannot do within the target is what the operator's own workers are for. So the measure
divided by the target is how many of them are wanted, whoever else comes or goes.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from horde.internal.keda import externalscaler_pb2 as pb
from horde.internal.keda.externalscaler_pb2_grpc import (
    ExternalScalerServicer,
    add_ExternalScalerServicer_to_server,
)
from horde.scheduler.core.board import Board
from horde.scheduler.core.errors import InvalidField
from horde.services.clock import Clock
from horde.services.errors import FieldViolation
from horde.services.server import Registration

SERVICE: Final = pb.DESCRIPTOR.services_by_name["ExternalScaler"].full_name
METRIC: Final = "queued-worker-seconds"
TARGET_SECONDS: Final = 300.0
"""Within which a queue should be painted, unless the ScaledObject says otherwise."""
LOOK_SECONDS: Final = 1.0
"""How often a stream looks whether somebody is wanted."""
METADATA: Final = ("model", "owner", "targetSeconds")
"""What a trigger may say to us; what else stands there is KEDA's own."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What a ScaledObject is about."""

    model: str
    owner: str
    """The account that the scaled workers belong to; empty: nobody is taken for a volunteer."""
    target_seconds: float

    @classmethod
    def read(cls, metadata: Mapping[str, str]) -> Wish:
        """Raises InvalidField."""
        model, text = metadata.get("model", ""), metadata.get("targetSeconds", "")
        violations = []
        if not model:
            violations.append(FieldViolation("scalerMetadata.model", "names the model whose queue counts"))
        try:
            target = float(text or TARGET_SECONDS)
        except ValueError:
            target = math.nan
        if not 0 < target < math.inf:
            violations.append(FieldViolation("scalerMetadata.targetSeconds", "is a number of seconds, more than 0"))
        if violations:
            raise InvalidField(violations=violations)
        return cls(model, metadata.get("owner", ""), target)


class Scaler(ExternalScalerServicer):
    """The service."""

    def __init__(self, board: Board, clock: Clock) -> None:
        self._board = board
        self._clock = clock
        self._leaving = False

    @property
    def registration(self) -> Registration:
        """What is to be served."""
        return Registration(add_ExternalScalerServicer_to_server, self, SERVICE)

    def leave(self) -> None:
        """End all streams at their next look: KEDA then asks whoever leads."""
        self._leaving = True

    def wanted(self, wish: Wish) -> float:
        """Worker-seconds that volunteers leave undone within the target."""
        queue = self._board.queue.models.get(wish.model)
        if queue is None or not queue.count:
            return 0.0
        volunteers = self._volunteers(wish)
        pace = self._board.speeds.median(wish.model)
        if pace is None:
            # Nobody was measured: one worker, who will be.
            return 0.0 if volunteers else wish.target_seconds
        return max(0.0, queue.work * pace - volunteers * wish.target_seconds)

    def _volunteers(self, wish: Wish) -> int:
        """Workers of others that take jobs of the model now. A stranger's word that he will paint counts nothing: who
        only sits there would keep the operator's workers away for everybody."""
        return wish.owner != "" and sum(
            worker.willing
            and not worker.paused
            and worker.owner != wish.owner
            and worker.standing.proven
            and wish.model in worker.capabilities.offers
            for worker in self._board.fleet.workers.values()
        )

    def paints(self, wish: Wish) -> bool:
        """Whether a scaled worker is at a job of the model: to have none of them would end it."""
        return any(
            lease.job.generation.terms.model == wish.model
            for worker in self._board.fleet.workers.values()
            if wish.owner in ("", worker.owner)
            for lease in worker.leases.values()
        )

    def active(self, wish: Wish) -> bool:
        """Whether there should be any scaled worker at all."""
        return self.wanted(wish) > 0 or self.paints(wish)

    async def IsActive(self, request: pb.ScaledObjectRef, context: Any) -> pb.IsActiveResponse:
        return pb.IsActiveResponse(result=self.active(Wish.read(request.scalerMetadata)))

    async def StreamIsActive(self, request: pb.ScaledObjectRef, context: Any) -> AsyncIterator[pb.IsActiveResponse]:
        wish, last = Wish.read(request.scalerMetadata), None
        while not self._leaving:
            if (now := self.active(wish)) != last:
                yield pb.IsActiveResponse(result=now)
                last = now
            await self._clock.sleep(LOOK_SECONDS)

    async def GetMetricSpec(self, request: pb.ScaledObjectRef, context: Any) -> pb.GetMetricSpecResponse:
        target = Wish.read(request.scalerMetadata).target_seconds
        spec = pb.MetricSpec(metricName=METRIC, targetSize=math.ceil(target), targetSizeFloat=target)
        return pb.GetMetricSpecResponse(metricSpecs=[spec])

    async def GetMetrics(self, request: pb.GetMetricsRequest, context: Any) -> pb.GetMetricsResponse:
        # Called as it was asked for: there is one measure.
        wanted = self.wanted(Wish.read(request.scaledObjectRef.scalerMetadata))
        value = pb.MetricValue(metricName=request.metricName, metricValue=math.ceil(wanted), metricValueFloat=wanted)
        return pb.GetMetricsResponse(metricValues=[value])
