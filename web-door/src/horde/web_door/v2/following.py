"""Requesters who have asked: how far it is, the pictures, and giving up. The id is the pass of a generation."""

from __future__ import annotations

import base64
import re
from typing import Any

from google.protobuf.field_mask_pb2 import FieldMask
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from horde.api.generation.v1 import generation_pb2
from horde.api.generation.v1 import generation_service_pb2 as pb
from horde.api.job.v1 import job_pb2
from horde.api.storage.v1 import storage_service_pb2
from horde.services.errors import NotFound
from horde.services.shares import Tab
from horde.web_door.caller import Caller, Metadata
from horde.web_door.core.asking import wants_base64
from horde.web_door.core.progress import metadata, progress
from horde.web_door.core.refusals import Refusal
from horde.web_door.neighbours.storage import Download
from horde.web_door.remembering import Remembered
from horde.web_door.v2 import wire
from horde.web_door.v2.bytes_out import streamed
from horde.web_door.v2.context import Context

CHECK_SECONDS = 1.0
PROGRESS_MASK = FieldMask(paths=["images", "quote", "finished", "version"])
EXTENSIONS = {
    storage_service_pb2.IMAGE_FORMAT_PNG: "png",
    storage_service_pb2.IMAGE_FORMAT_JPEG: "jpg",
    storage_service_pb2.IMAGE_FORMAT_WEBP: "webp",
}
NOT_THERE = "N/A"
"""Instead of a picture that was withheld, or that is not there any more."""


class Following:
    """`generate/check`, `generate/status` and the pictures."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._checks: Remembered[dict[str, Any]] = Remembered(context.clock, CHECK_SECONDS)

    async def check(self, request: Request) -> Response:
        """GET generate/check/{id}: asked by many, often; answered from memory within a second."""
        shown, name = self._shown(request)

        async def ask() -> dict[str, Any]:
            answer = await self._context.mesh.generations.GetGeneration(
                pb.GetGenerationRequest(read_mask=PROGRESS_MASK), metadata=shown
            )
            return progress(wire.all_facts(answer.generation))

        return JSONResponse(await self._checks.get(name, ask))

    async def status(self, request: Request) -> Response:
        """GET generate/status/{id}."""
        shown, _ = self._shown(request)
        answer = await self._context.mesh.generations.GetGeneration(pb.GetGenerationRequest(), metadata=shown)
        return await self._told(request, answer.generation)

    async def cancel(self, request: Request) -> Response:
        """DELETE generate/status/{id}: what is finished stays, and is told."""
        shown, name = self._shown(request)
        answer = await self._context.mesh.generations.CancelGeneration(pb.CancelGenerationRequest(), metadata=shown)
        self._checks.forget(name)
        return await self._told(request, answer.generation)

    def _shown(self, request: Request) -> tuple[Metadata, str]:
        name = request.path_params["id"].lower()
        if re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", name) is None:
            raise Refusal(404, "RequestNotFound", "Request with this id not found.")
        return self._context.caller(request).metadata(f"Pass {name}"), name

    async def _told(self, request: Request, generation: generation_pb2.Generation) -> Response:
        caller = self._context.caller(request)
        whole = wants_base64(generation.request_id)
        with self._context.room.tab(caller.address) as tab:
            shown = [image for image in generation.images if image.ending in wire.SHOWN]
            entries = [await self._image(request, caller, generation, image, tab, whole=whole) for image in shown]
            answer = progress(wire.all_facts(generation))
            answer["generations"] = entries
            answer["shared"] = generation.quote.placement == job_pb2.PLACEMENT_SHARED
            return JSONResponse(answer)

    async def _image(
        self,
        request: Request,
        caller: Caller,
        generation: generation_pb2.Generation,
        image: generation_pb2.Image,
        tab: Tab,
        *,
        whole: bool,
    ) -> dict[str, Any]:
        censored = image.ending == job_pb2.JOB_ENDING_CENSORED
        if censored or image.withdrawn or not image.HasField("download"):
            img = NOT_THERE
        elif whole:
            img = await self._as_text(caller, image, tab)
        else:
            name = f"{image.job_id}.{EXTENSIONS.get(image.format, 'webp')}"
            img = self._context.url(request, f"images/{image.download.ticket}/{name}")
        return {
            "img": img,
            "seed": str(image.seed),
            "id": image.job_id,
            "censored": censored,
            "state": "censored" if censored else "ok",
            "model": generation.spec.job.model,
            "worker_id": image.worker_id,
            "worker_name": image.worker_name or "unknown",
            "gen_metadata": metadata(
                wire.deviations_of(image), censored=(image.ending_detail or "nsfw") if censored else ""
            ),
        }

    async def _as_text(self, caller: Caller, image: generation_pb2.Image, tab: Tab) -> str:
        tab.take(image.size_bytes * 3)
        storage = await self._context.mesh.storage(image.download.address)
        download = Download(storage, image.download.ticket, caller.whereabouts())
        try:
            await download.header()
            content = b"".join([chunk async for chunk in download.chunks()])
        except NotFound:
            return NOT_THERE
        finally:
            download.cancel()
        return base64.b64encode(content).decode()

    async def image(self, request: Request) -> Response:
        """GET images/{ticket}/{name}: the bytes of a picture. The ticket is the right to them, and is short-lived."""
        caller = self._context.caller(request)
        about = await self._context.about()
        storage = await self._context.mesh.storage(about.storage_address)
        download = Download(storage, request.path_params["ticket"], caller.whereabouts())
        return await streamed(download, head=request.method == "HEAD")
