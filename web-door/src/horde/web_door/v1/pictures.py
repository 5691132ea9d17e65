"""Bytes: pictures out, to programs and to pages, part by part, and source images and masks in."""

from __future__ import annotations

from typing import Final

from google.protobuf.field_mask_pb2 import FieldMask
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from horde.api.generation.v1 import generation_pb2
from horde.api.generation.v1 import generation_service_pb2 as pb
from horde.api.job.v1 import job_pb2
from horde.api.storage.v1 import storage_service_pb2
from horde.services.errors import NotFound
from horde.web_door.core.ranges import NotSatisfiable, range_of
from horde.web_door.door import Door
from horde.web_door.neighbours.storage import MEDIA_TYPES, Download, put_input
from horde.web_door.room import read_body
from horde.web_door.v1.forms import file_of
from horde.web_door.v1.problems import HttpProblem
from horde.web_door.v1.wire import answered

PRIVATE: Final = "private, no-store"
SHARED: Final = "private, max-age=86400, immutable"
"""Bytes under one path never change, and who sees one has shared it; but it may be withdrawn, and the path is its
requester's alone: his browser keeps it for a day, and nobody on the way."""
FORM_BYTES: Final = 16 * 1024
TEXTS: Final = {
    storage_service_pb2.TEXT_FORMAT_PLAIN: "text/plain; charset=utf-8",
    storage_service_pb2.TEXT_FORMAT_JSON: "application/json",
}


class ImageNotFound(NotFound):
    """There are no bytes of such an image of this requester: not yet, not any more, or never."""

    domain = "horde.api.generation.v1"
    reason = "IMAGE_NOT_FOUND"


class Pictures:
    """The bytes of images and inputs."""

    def __init__(self, door: Door) -> None:
        self._door = door

    async def image(self, request: Request) -> Response:
        """GET generations/{generation_id}/images/{job_id}: of the caller's own, or of the one that a pass opens."""
        generation_id, job_id = request.path_params["generation_id"], request.path_params["job_id"]
        asked = pb.GetGenerationRequest(generation_id=generation_id, read_mask=FieldMask(paths=["images"]))
        answer = await self._door.mesh.generations.GetGeneration(asked, metadata=self._door.metadata(request))
        for image in answer.generation.images:
            if image.job_id == job_id and image.HasField("download") and not image.withdrawn:
                return await self._own(request, image)
        raise ImageNotFound(metadata={"job_id": job_id[:64]})

    async def _own(self, request: Request, image: generation_pb2.Image) -> Response:
        caching = SHARED if image.placement == job_pb2.PLACEMENT_SHARED else PRIVATE
        headers = {"cache-control": caching, "vary": "authorization", "etag": _etag(image.sha256)}
        if headers["etag"] in _tags(request):
            return Response(status_code=304, headers=headers)
        return await self._sent(request, image.download.address, image.download.ticket, headers)

    async def by_ticket(self, request: Request) -> Response:
        """GET images/{ticket}: `download.ticket` of an image or an input, as a link for a page. The ticket is the right
        to them, and is short-lived."""
        address = await self._door.storage_address()
        return await self._sent(request, address, request.path_params["ticket"], {"cache-control": PRIVATE})

    async def _sent(self, request: Request, address: str, ticket: str, headers: dict[str, str]) -> Response:
        storage = await self._door.mesh.storage(address)
        download = Download(storage, ticket, self._door.whereabouts(request))
        try:
            about = await download.header()
            size = about.size_bytes
            headers = {
                **headers,
                "accept-ranges": "bytes",
                "content-length": str(size),
                "content-security-policy": "default-src 'none'; sandbox",
                "content-type": MEDIA_TYPES.get(about.format)
                or TEXTS.get(about.text_format, "application/octet-stream"),
                "etag": _etag(about.sha256),
                "x-content-type-options": "nosniff",
            }
            wanted = _wanted(request, headers["etag"], size)
            if headers["etag"] in _tags(request):
                wanted = (0, 0)
                del headers["content-length"]
                status = 304
            elif wanted is None:
                wanted, status = (0, size), 200
            else:
                headers["content-range"] = f"bytes {wanted[0]}-{wanted[1] - 1}/{size}"
                headers["content-length"] = str(wanted[1] - wanted[0])
                status = 206
            if request.method == "HEAD" or status == 304:
                download.cancel()
                return Response(status_code=status, headers=headers)
            if wanted[0]:
                download.cancel()
                download = Download(storage, ticket, self._door.whereabouts(request), wanted[0])
                await download.header()
        except BaseException:
            download.cancel()
            raise
        return StreamingResponse(download.chunks(most=wanted[1] - wanted[0]), status, headers)

    async def put(self, request: Request) -> Response:
        """PUT inputs/{input_id}: a source image or a mask, as the body or as the file of a form. Answers what
        PutInput answers; `sha256` and `input_id` are what a spec names it by."""
        asked = pb.CreateInputTicketRequest(input_id=request.path_params["input_id"])
        ticket = await self._door.mesh.generations.CreateInputTicket(asked, metadata=self._door.metadata(request))
        storage = await self._door.mesh.storage(ticket.address)
        with self._door.room.tab(self._door.address(request)) as tab:
            # A form puts a little around its file.
            body = await read_body(request, tab, ticket.max_bytes + FORM_BYTES)
            content = file_of(body, request.headers.get("content-type", ""))
            stored = await put_input(storage, ticket.ticket, content, self._door.whereabouts(request))
        return answered(storage_service_pb2.PutInputResponse(input=stored))


def _etag(sha256: bytes) -> str:
    return f'"{sha256.hex()}"'


def _tags(request: Request) -> list[str]:
    return [tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")]


def _wanted(request: Request, etag: str, size: int) -> tuple[int, int] | None:
    """The bytes that are asked for; None: all."""
    asked = request.headers.get("range", "")
    if not asked or request.headers.get("if-range", etag) != etag:
        return None
    try:
        return range_of(asked, size)
    except NotSatisfiable:
        raise HttpProblem(416, "It has fewer bytes.", {"content-range": f"bytes */{size}"}) from None
