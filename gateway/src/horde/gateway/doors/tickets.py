"""Permission to move bytes at the second door: tickets for inputs and for finished images.

A ticket is a signature, and a signature costs more than all else about an answer. So an image's ticket is kept, and
given out again until half of its time is over.
"""

from __future__ import annotations

from collections import OrderedDict
from datetime import datetime, timedelta

from google.protobuf.duration_pb2 import Duration

from horde.api.generation.v1 import generation_pb2
from horde.api.generation.v1 import generation_service_pb2 as service_pb2
from horde.api.job.v1 import job_pb2
from horde.gateway.core.requesters import Requester
from horde.gateway.doors import wire
from horde.internal.scheduler.v1 import scheduler_service_pb2 as scheduler_pb2
from horde.services.clock import Clock
from horde.services.errors import Internal
from horde.services.tokens import Signer

AUDIENCE = "storage-router"
MAX_CACHED = 20_000


class Tickets:
    """Makes tickets of requesters. `address` is where the storage router is reached from outside."""

    def __init__(
        self,
        signer: Signer,
        clock: Clock,
        *,
        address: str,
        image_lifetime: timedelta,
        input_lifetime: timedelta,
        max_input_bytes: int,
    ) -> None:
        self._signer = signer
        self._clock = clock
        self._address = address
        self._image_lifetime = image_lifetime
        self._input_lifetime = input_lifetime
        self._max_input_bytes = max_input_bytes
        self._cached: OrderedDict[tuple[str, bytes], tuple[str, datetime]] = OrderedDict()

    def fill_in(self, known: scheduler_pb2.SchedulerGeneration) -> generation_pb2.Generation:
        """The generation with a ticket at each image that can be fetched. Changes the message."""
        requester = wire.requester_of(known.requester)
        for image in known.generation.images:
            if image.index < len(known.object_names):
                self.fill_in_image(image, requester, known.object_names[image.index])
        return known.generation

    def fill_in_image(self, image: generation_pb2.Image, requester: Requester, object_name: str) -> None:
        """Put a ticket at an image, if it can be fetched. `requester` is whose it is, as the scheduler says."""
        now = self._clock.now()
        if image.ending != job_pb2.JOB_ENDING_DONE or image.withdrawn:
            image.ClearField("download")
            return
        if image.HasField("expires_at") and image.expires_at.seconds <= now.timestamp():
            image.ClearField("download")
            return
        # The requester is in the key, though a job has but one: a mistake elsewhere must not hand out another's ticket.
        name = (f"{image.job_id} {requester}", image.sha256)
        cached = self._cached.get(name)
        if cached is None or cached[1] - now < self._image_lifetime / 2:
            cached = self._cached[name] = (
                self._sign_image(image, requester, object_name, now),
                now + self._image_lifetime,
            )
            self._cached.move_to_end(name)
            if len(self._cached) > MAX_CACHED:
                self._cached.popitem(last=False)
        image.download.address = self._address
        image.download.ticket = cached[0]
        image.download.expires_in.seconds = int((cached[1] - now).total_seconds())

    def _sign_image(self, image: generation_pb2.Image, requester: Requester, object_name: str, now: datetime) -> str:
        placement = wire.PLACEMENT_NAMES.get(image.placement)
        if placement is None:
            # A word of a scheduler that is newer, or wrong: no defect of this side.
            raise Internal(f"The image {image.job_id} is done, and stored in no place that is known here.")
        claims = {
            "act": "get_image",
            "job_id": image.job_id,
            "object_name": object_name,
            "placement": placement,
            "sha256": image.sha256.hex(),
            "requester": str(requester),
        }
        return self._signer.sign(AUDIENCE, claims, self._image_lifetime, now)

    def input_ticket(self, requester: Requester, input_id: str) -> service_pb2.CreateInputTicketResponse:
        """Permission to put one input."""
        claims = {
            "act": "put_input",
            "input_id": input_id,
            "requester": str(requester),
            "max_bytes": self._max_input_bytes,
        }
        lifetime = self._input_lifetime
        return service_pb2.CreateInputTicketResponse(
            address=self._address,
            ticket=self._signer.sign(AUDIENCE, claims, lifetime, self._clock.now()),
            max_bytes=self._max_input_bytes,
            expires_in=Duration(seconds=int(lifetime.total_seconds())),
        )
