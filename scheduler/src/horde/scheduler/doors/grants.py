"""What a lease holder is given to prove himself to storage, and what storage's receipts say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any

from horde.api.generation.v1 import generation_pb2
from horde.api.job.v1 import job_pb2
from horde.api.storage.v1 import storage_service_pb2
from horde.api.worker.v1 import worker_service_pb2
from horde.internal.scheduler.v1 import scheduler_service_pb2 as pb
from horde.scheduler.core.job import ANONYMOUS, AccountId, JobId, LeaseId, WorkerId, requester_text
from horde.scheduler.core.leases import Lease
from horde.scheduler.core.outcomes import Invalid, Painted, Result
from horde.scheduler.core.sessions import Route
from horde.scheduler.doors import wire
from horde.services import telemetry
from horde.services.errors import ServiceError
from horde.services.tokens import Signer, Verifier

STORAGE = "storage-router"
SCHEDULER = "scheduler"
OUTLIVES = timedelta(minutes=10)
"""How long a grant is good after its lease can have ended."""
MAX_IMAGE_BYTES = 64 * 1024 * 1024
BYTES_PER_PIXEL = 5
MAX_DEVICE = 96
MIN_IMAGE_BYTES = 1024 * 1024

_SCALES = {job_pb2.POST_PROCESSOR_UPSCALE_2X: 2, job_pb2.POST_PROCESSOR_UPSCALE_4X: 4}
_PLACEMENTS = {job_pb2.PLACEMENT_PRIVATE: "PRIVATE", job_pb2.PLACEMENT_SHARED: "SHARED"}
_FORMATS = {
    name.removeprefix("IMAGE_FORMAT_"): number for name, number in storage_service_pb2.ImageFormat.items()
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Grants:
    """Signs for workers, and reads what storage signed."""

    signer: Signer
    verifier: Verifier
    storage_address: str

    def assignment(self, route: Route, lease: Lease, now: datetime, left: timedelta) -> pb.SessionResponse:
        """The message that lends a job; what it carries is good until OUTLIVES after the `left` of its deadline."""
        with telemetry.span_from(lease.job.generation.traceparent, "lend", job=lease.job.job_id):
            return self._assignment(route, lease, now, left)

    def _assignment(self, route: Route, lease: Lease, now: datetime, left: timedelta) -> pb.SessionResponse:
        job, generation = lease.job, lease.job.generation
        spec = generation_pb2.GenerationSpec.FromString(generation.spec)
        quote = generation_pb2.Quote.FromString(generation.quote)
        lifetime = left + OUTLIVES
        response = pb.SessionResponse(relay_session_id=route.number)
        message = response.worker.assignment
        message.lease_id, message.job_id = lease.lease_id, job.job_id
        message.generation_id = generation.generation_id
        spec.job.image.seed = wire.seed_of(generation, job.index)
        message.spec.CopyFrom(spec.job)
        message.grant = self.signer.sign(STORAGE, _claims(lease, spec.job.image, quote), lifetime, now)
        message.storage_address = self.storage_address
        for reference in wire.inputs_of(spec.job):
            claims = {
                "act": "get_input",
                "input_id": reference.input_id,
                "sha256": reference.sha256.hex(),
                "whose": self._sealed(whose(generation.account_id, generation.digest), lease, reference.input_id, now),
                "lease_id": lease.lease_id,
            }
            message.inputs.add(input_id=reference.input_id, ticket=self.signer.sign(STORAGE, claims, lifetime, now))
        message.lease_ttl.FromMilliseconds(int(lease.ttl * 1000))
        message.traceparent = telemetry.current_traceparent() or generation.traceparent
        message.price_mkudos = generation.terms.price.price
        return response

    def _sealed(self, name: str, lease: Lease, input_id: str, now: datetime) -> Mapping[str, str] | str:
        """A name for the router alone: a worker could tell by it who else has asked for the same person."""
        sealed = self.verifier.seal(name.encode(), STORAGE, f"{lease.lease_id} {input_id}".encode(), now)
        # Before a router's key is known nothing was put in, and no receipt could be read.
        return sealed or name

    def read(self, outcome: worker_service_pb2.Outcome, now: datetime) -> Result:
        """What an outcome of `painted` says, if storage signed it for this very lease."""
        try:
            claims = self.verifier.verify(outcome.painted.receipt, SCHEDULER, STORAGE, now)
            return _painted(claims, outcome)
        except (ServiceError, KeyError, ValueError, TypeError) as error:
            return Invalid(f"The receipt is not valid: {error}")


def whose(account_id: AccountId, digest: bytes) -> str:
    """Whose an input is, as the storage router names the place. It is the same for all inputs of one payer, so that
    workers, who can read their tickets, get it sealed."""
    name = sha256(b"key " + requester_text(account_id, digest).encode()).hexdigest()[:32]
    return f"stranger-{name}" if account_id == ANONYMOUS else f"account-{name}"


def output_size(image: job_pb2.ImageSpec) -> tuple[int, int]:
    """Width and height of the finished picture: upscaling enlarges it."""
    scale = 1
    for post_processor in image.post_processors:
        scale *= _SCALES.get(post_processor, 1)
    return image.width * scale, image.height * scale


def _claims(lease: Lease, image: job_pb2.ImageSpec, quote: generation_pb2.Quote) -> Mapping[str, Any]:
    width, height = output_size(image)
    return {
        "act": "upload_image",
        "job_id": lease.job.job_id,
        "lease_id": lease.lease_id,
        "generation_id": lease.job.generation.generation_id,
        "worker_id": lease.worker_id,
        "owner": lease.owner,
        "width": width,
        "height": height,
        "max_bytes": min(MAX_IMAGE_BYTES, MIN_IMAGE_BYTES + BYTES_PER_PIXEL * width * height),
        "placement": _PLACEMENTS.get(quote.placement, ""),
        "facts": {
            "anonymous": quote.facts.anonymous,
            "asked": quote.facts.asked,
            "has_input": quote.facts.has_input,
            "consent_text_version": quote.facts.consent_text_version,
        },
    }


def _painted(claims: Mapping[str, Any], outcome: worker_service_pb2.Outcome) -> Result:
    if claims["act"] != "receipt" or claims["job_id"] != outcome.job_id or claims["lease_id"] != outcome.lease_id:
        return Invalid("The receipt is for something else.")
    kept = worker_service_pb2.Painted()
    kept.CopyFrom(outcome.painted)
    kept.ClearField("receipt")
    kept.DiscardUnknownFields()
    named = claims["format"]
    return Painted(
        bytes.fromhex(claims["sha256"]),
        int(claims["size_bytes"]),
        named if isinstance(named, int) else _FORMATS.get(str(named).upper().removeprefix("IMAGE_FORMAT_"), 0),
        WorkerId(claims["worker_id"]),
        AccountId(claims["owner"]),
        kept.SerializeToString(),
        device_of(outcome.painted.making),
        outcome.painted.making.model_sha256[:32],
        deviated=bool(outcome.painted.deviations),
    )


def device_of(making: job_pb2.Making) -> str:
    """What a picture was painted on, as far as that decides how it differs from others'."""
    return f"{making.device_class} {making.precision}".strip()[:MAX_DEVICE]


def ids_of(outcome: worker_service_pb2.Outcome) -> tuple[LeaseId, JobId]:
    return LeaseId(outcome.lease_id), JobId(outcome.job_id)
