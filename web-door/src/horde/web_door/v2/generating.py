"""Requesters: asking for pictures, how far they are, the pictures, and giving up."""

from __future__ import annotations

import asyncio
import base64
import binascii
import secrets
import uuid
from collections.abc import Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from horde.api.generation.v1 import generation_pb2
from horde.api.generation.v1 import generation_service_pb2 as pb
from horde.api.job.v1 import job_pb2
from horde.api.model.v1 import model_service_pb2
from horde.api.worker.v1 import worker_service_pb2
from horde.services.shares import Tab
from horde.web_door.caller import Metadata, new_anonymous
from horde.web_door.core import names
from horde.web_door.core.asking import Asked, asked, request_id
from horde.web_door.core.bodies import GenerateBody, read
from horde.web_door.core.refusals import Refusal
from horde.web_door.neighbours.storage import put_input
from horde.web_door.room import read_body
from horde.web_door.v2 import wire
from horde.web_door.v2.context import Context, parsed


class Generating:
    """`generate/async`."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def ask(self, request: Request) -> Response:
        """POST generate/async."""
        context = self._context
        caller = context.caller(request)
        with context.room.tab(caller.address) as tab:
            raw = await read_body(request, tab, context.settings.max_body_bytes)
            body = read(GenerateBody, parsed(raw))
            wish = asked(body)
            # One token for each request: it lives in the pass that the answer is made of.
            shown = caller.metadata(new_anonymous() if caller.anonymous else "")
            # Programs there have seeds of 32 bits, and some can hold no more.
            wish.image.setdefault("seed", str(secrets.randbelow(2**32)))
            await self._choose_model(wish)
            await self._check_workers(body, shown)
            spec = wire.spec_of(wish.spec)
            await self._put_inputs(wish, spec, shown, tab)
            if body.dry_run:
                # Inputs that no generation names are forgotten after an hour.
                quote = (await self._quote(spec, shown)).quote
                return JSONResponse({"kudos": quote.total_mkudos / 1_000})
        asked_as = request_id(uuid.uuid4(), base64=not body.r2)
        created = await context.mesh.generations.CreateGeneration(
            pb.CreateGenerationRequest(request_id=asked_as, spec=spec), metadata=shown
        )
        for notice in created.generation.quote.notices:
            if notice.code == generation_pb2.NOTICE_CODE_SHARED_ANONYMOUS and not body.shared:
                wish.note(notice.text)
        kudos = created.generation.quote.total_mkudos / 1_000
        return JSONResponse({"id": created.pass_id, "kudos": kudos, **wish.told()}, 202)

    async def _quote(self, spec: generation_pb2.GenerationSpec, shown: Metadata) -> pb.QuoteGenerationResponse:
        answer: pb.QuoteGenerationResponse = await self._context.mesh.generations.QuoteGeneration(
            pb.QuoteGenerationRequest(spec=spec), metadata=shown
        )
        return answer

    async def _choose_model(self, wish: Asked) -> None:
        """One of those that were named, or any: where it would begin soonest. And what nobody there offers of it."""
        models = [model for model in await self._context.models() if model.kind in _IMAGES]
        known = {name.lower(): model for model in models for name in (model.name, *model.catalogue.aliases)}
        wanted = [known[name.lower()] for name in wish.models if name.lower() in known] if wish.models else models
        if not wanted:
            if wish.models:
                # The gateway says it better: with the nearest names.
                wish.spec["job"]["model"] = wish.models[0]
                return
            raise Refusal(400, "NoValidWorkers", "There is no model here, and no worker that has one.")
        chosen = min(wanted, key=_soonest)
        wish.spec["job"]["model"] = chosen.name
        if not chosen.workers:
            wish.warn("NoAvailableWorker", f"Nobody who is here paints with {chosen.name}; it waits for somebody.")
            return
        _settle_for(wish, "sampler", "SAMPLER_", chosen.samplers, job_pb2.Sampler, "SamplerMismatch")
        _settle_for(wish, "schedule", "NOISE_SCHEDULE_", chosen.schedules, job_pb2.NoiseSchedule, "SchedulerMismatch")

    async def _check_workers(self, body: GenerateBody, shown: Metadata) -> None:
        for worker_id in body.workers[:32]:
            request = worker_service_pb2.GetWorkerRequest(worker_id=worker_id)
            await self._context.mesh.workers.GetWorker(request, metadata=shown)

    async def _put_inputs(self, wish: Asked, spec: generation_pb2.GenerationSpec, shown: Metadata, tab: Tab) -> None:
        image = spec.job.image
        if wish.source is None:
            return
        source = await self._put(wish.source, shown, tab)
        if wish.control_type is not None:
            image.controls.add(image=source, type=wish.control_type)
            return
        image.source_image.CopyFrom(source)
        if wish.mask is not None:
            image.mask.CopyFrom(await self._put(wish.mask, shown, tab))

    async def _put(self, text: str, shown: Metadata, tab: Tab) -> job_pb2.InputImage:
        tab.take(len(text) * 3 // 4)
        content = await asyncio.to_thread(_decoded, text)
        named = str(uuid.uuid4())
        ticket = await self._context.mesh.generations.CreateInputTicket(
            pb.CreateInputTicketRequest(input_id=named), metadata=shown
        )
        if ticket.max_bytes and len(content) > ticket.max_bytes:
            raise Refusal(400, "SourceImageSizeExceeded", f"A picture has at most {ticket.max_bytes} bytes.")
        storage = await self._context.mesh.storage(ticket.address)
        stored = await put_input(storage, ticket.ticket, content, shown)
        return job_pb2.InputImage(input_id=stored.input_id, sha256=stored.sha256)


_IMAGES = (job_pb2.JOB_KIND_IMAGE, job_pb2.JOB_KIND_UNSPECIFIED)


def _soonest(model: model_service_pb2.Model) -> tuple[bool, float, str]:
    wait = wire.seconds(model.wait.p50) if model.HasField("wait") else float("inf")
    return not model.workers, wait, model.name


def _settle_for(wish: Asked, field: str, prefix: str, offered: Sequence[int], kind: Any, code: str) -> None:
    """Leave to the model what none of its workers can be asked for: clients name a sampler without a thought."""
    wanted = wish.image.get(field)
    if wanted is not None and kind.Value(wanted) not in offered:
        del wish.image[field]
        here = wanted.removeprefix(prefix)
        name = names.SAMPLER_NAMES.get(here, here.lower())
        wish.warn(code, f"Nobody who is here can be asked for {name}; the model's own is taken.")


def _decoded(text: str) -> bytes:
    """The bytes of a picture that was sent as base64, with or without what browsers put before it."""
    if text[:7].lower() in ("http://", "https:/"):
        raise Refusal(
            400, "ImageValidationFailed", "Nothing is fetched for callers: send the picture itself, as base64."
        )
    if text.startswith("data:"):
        text = text.partition(",")[2]
    try:
        return base64.b64decode(text, validate=False)
    except (binascii.Error, ValueError):
        raise Refusal(400, "ImageValidationFailed", "The picture is no base64.") from None
