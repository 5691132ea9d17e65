"""Workers: asking for a job, bringing its picture, and saying what became of it."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import AsyncIterator
from typing import Any

from google.protobuf import json_format
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from horde.api.generation.v1 import generation_pb2
from horde.api.job.v1 import job_pb2
from horde.api.worker.v1 import worker_pb2
from horde.api.worker.v1 import worker_service_pb2 as pb
from horde.services.errors import ServiceError
from horde.web_door.caller import Metadata
from horde.web_door.core.bodies import PopBody, SubmitBody, read
from horde.web_door.core.payloads import censored_as, deviations, payload, source_processing
from horde.web_door.core.refusals import Refusal
from horde.web_door.core.rest_worker import End, Lent, gone
from horde.web_door.neighbours.storage import Download, upload_image
from horde.web_door.remembering import Remembered
from horde.web_door.room import read_body
from horde.web_door.v2 import wire
from horde.web_door.v2.bytes_out import streamed
from horde.web_door.v2.context import Context, parsed
from horde.web_door.v2.session import WorkerSession
from horde.web_door.v2.sessions import Sessions

POP_SECONDS = 1.0
"""How long a pop waits for a job where the mesh has just been told that one is wanted."""
SETTLE_SECONDS = 20.0
STATE_SECONDS = 15.0
LEAST_TTL = 150
UPLOADED = "R2"
"""What a worker says instead of a picture that it has uploaded."""
NOTHING_SKIPPED: dict[str, int] = {}
SKIPPED = {
    generation_pb2.INELIGIBLE_REASON_MODEL: "models",
    generation_pb2.INELIGIBLE_REASON_SIZE: "max_pixels",
    generation_pb2.INELIGIBLE_REASON_FEATURE: "img2img",
    generation_pb2.INELIGIBLE_REASON_DENIED: "worker_id",
    generation_pb2.INELIGIBLE_REASON_SLOW: "performance",
    generation_pb2.INELIGIBLE_REASON_TRIED_BEFORE: "worker_id",
}


class Working:
    """`generate/pop`, `generate/submit`, and the bytes."""

    def __init__(self, context: Context, sessions: Sessions) -> None:
        self._context = context
        self._sessions = sessions
        self._states: Remembered[int] = Remembered(context.clock, STATE_SECONDS)

    async def pop(self, request: Request) -> Response:
        """POST generate/pop."""
        caller = self._context.caller(request)
        if caller.anonymous:
            raise Refusal(403, "AnonForbiddenWorker", "Anonymous is not permitted to have workers.")
        body = await self._context.body(request, PopBody, caller)
        session = await self._sessions.session(caller, body)
        lent = await session.pop(POP_SECONDS)
        if lent is not None:
            return JSONResponse(self._job(request, lent))
        if session.worker_id and await self._paused(session):
            raise Refusal(403, "WorkerMaintenance", "This worker has been put into maintenance mode by its owner.")
        return JSONResponse({"id": None, "ids": [], "payload": {}, "skipped": _skipped(session), "messages": []})

    def forget_state(self, worker_id: str) -> None:
        """Whether this worker is paused has changed."""
        self._states.forget(worker_id)

    async def _paused(self, session: WorkerSession) -> bool:
        async def ask() -> int:
            request = pb.GetWorkerRequest(worker_id=session.worker_id)
            answer: pb.GetWorkerResponse = await self._context.mesh.workers.GetWorker(request)
            return answer.worker.state

        try:
            return await self._states.get(session.worker_id, ask) == worker_pb2.WORKER_STATE_PAUSED
        except ServiceError:
            # Only for its message: a job comes without it.
            return False

    def _job(self, request: Request, lent: Lent) -> dict[str, Any]:
        assignment: pb.Assignment = lent.assignment
        image = json_format.MessageToDict(assignment.spec.image, preserving_proto_field_name=True)
        fields, _ = payload(image)
        upload = self._context.url(request, f"uploads/{assignment.grant}")
        tickets = {input_.input_id: input_.ticket for input_ in assignment.inputs}
        pictures = {
            field: self._context.url(request, f"inputs/{tickets[image[name]['input_id']]}")
            for field, name in (("source_image", "source_image"), ("source_mask", "mask"))
            if name in image
        }
        return {
            "id": lent.job_id,
            "ids": [lent.job_id],
            "payload": fields,
            "skipped": NOTHING_SKIPPED,
            "model": assignment.spec.model,
            "source_processing": source_processing(image),
            "source_image": pictures.get("source_image"),
            "source_mask": pictures.get("source_mask"),
            "r2_upload": upload,
            "r2_uploads": [upload],
            "ttl": max(LEAST_TTL, int(wire.seconds(assignment.lease_ttl))),
            "messages": [],
        }

    async def submit(self, request: Request) -> Response:
        """POST generate/submit."""
        context = self._context
        caller = context.caller(request)
        with context.room.tab(caller.address) as tab:
            body = read(SubmitBody, parsed(await read_body(request, tab, context.settings.max_body_bytes)))
            session, lent = self._sessions.find(caller, body.id)
            try:
                outcome = await self._outcome(body, lent, caller.whereabouts())
            except BaseException:
                lent.submitting = False
                raise
        settled = await session.report(lent, outcome, SETTLE_SECONDS)
        return JSONResponse({"reward": _reward(lent, outcome, settled)})

    async def _outcome(self, body: SubmitBody, lent: Lent, whereabouts: Metadata) -> pb.Outcome:
        outcome = pb.Outcome(lease_id=lent.lease_id, job_id=lent.job_id)
        if body.state == "faulted":
            outcome.failed.reason, outcome.failed.detail = pb.FAILURE_REASON_BACKEND, "The worker said that it faulted."
        elif body.censored or body.state in ("censored", "csam"):
            outcome.censored.category = censored_as(body.gen_metadata, body.state)
        elif body.state != "ok":
            raise Refusal(400, "BadRequest", f"There is no state '{body.state[:32]}'.")
        else:
            if not lent.receipt and body.generation and body.generation != UPLOADED:
                lent.receipt = await self._upload_text(body.generation, lent, whereabouts)
            if not lent.receipt:
                raise Refusal(400, "BadRequest", "The picture has not arrived: upload it, then submit.")
            outcome.painted.receipt = lent.receipt
            for entry in deviations(body.gen_metadata):
                outcome.painted.deviations.append(json_format.ParseDict(entry, job_pb2.Deviation()))
            _, chosen = payload(json_format.MessageToDict(lent.assignment.spec.image, preserving_proto_field_name=True))
            if chosen.sampler:
                outcome.painted.making.sampler = job_pb2.Sampler.Value(f"SAMPLER_{chosen.sampler}")
            if chosen.guidance is not None:
                outcome.painted.making.guidance_scale = chosen.guidance
        return outcome

    async def _upload_text(self, text: str, lent: Lent, whereabouts: Metadata) -> str:
        try:
            content = base64.b64decode(text)
        except (binascii.Error, ValueError):
            raise Refusal(400, "BadRequest", "The picture is no base64.") from None

        async def whole() -> AsyncIterator[bytes]:
            yield content

        storage = await self._context.mesh.storage(lent.assignment.storage_address)
        return await upload_image(storage, lent.assignment.grant, whole(), whereabouts)

    async def upload(self, request: Request) -> Response:
        """PUT uploads/{grant}: the bytes of a picture. The grant is the right to bring them. Only 200 counts there."""
        grant = request.path_params["grant"]
        caller = self._context.caller(request)
        if not (lease := _lease_of(grant)):
            # What is no grant at all costs the router nothing.
            raise Refusal(401, "InvalidAPIKey", "This is no link that a picture may be put to.")
        about = await self._context.about()
        storage = await self._context.mesh.storage(about.storage_address)
        receipt = await upload_image(storage, grant, request.stream(), caller.whereabouts())
        if not self._sessions.arrived(lease, receipt):
            raise Refusal(404, "InvalidJobID", "This picture's job was not lent through this door, or is over.")
        return Response(status_code=200)

    async def input(self, request: Request) -> Response:
        """GET inputs/{ticket}: the bytes of a source image or a mask, for the worker that a job was lent to."""
        caller = self._context.caller(request)
        about = await self._context.about()
        storage = await self._context.mesh.storage(about.storage_address)
        download = Download(storage, request.path_params["ticket"], caller.whereabouts())
        return await streamed(download, head=request.method == "HEAD")


def _reward(lent: Lent, outcome: pb.Outcome, settled: pb.Settled | None) -> float:
    """What the worker's owner has earned; raises Refusal where the mesh did not take what was brought."""
    if settled is None:
        # It has not said so yet; it is said again until it does.
        return lent.assignment.price_mkudos / 1_000 if outcome.WhichOneof("result") == "painted" else 0.0
    if settled.disposition == pb.DISPOSITION_ACCEPTED:
        earned = settled.settlement
        return (earned.to_spend_mkudos + earned.to_escrow_mkudos) / 1_000
    if settled.disposition == pb.DISPOSITION_UNKNOWN_JOB:
        raise gone(lent.job_id, None)
    raise gone(lent.job_id, End.ABORTED)


def _skipped(session: WorkerSession) -> dict[str, int]:
    """Jobs that wait and are not for this worker, as far as the mesh says so."""
    counts: dict[str, int] = {}
    for cause in session.skipped.causes if session.skipped is not None else ():
        name = SKIPPED.get(cause.reason, "performance")
        counts[name] = counts.get(name, 0) + cause.jobs
    return counts


def _lease_of(grant: str) -> str:
    """The lease that a grant says it is for, which the router checks when it takes bytes; empty: it is no grant."""
    try:
        claims = json.loads(base64.urlsafe_b64decode(grant.split(".")[1] + "=="))
        return str(claims["lease_id"])
    except (ValueError, IndexError, KeyError, TypeError):
        return ""
