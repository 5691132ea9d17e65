"""The bytes of pictures: painted ones out, inputs in. Hides that they pass through a second door, under tickets."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any, Final

from grpc import aio

from horde.api.generation.v1 import generation_service_pb2 as generation_pb
from horde.api.generation.v1.generation_pb2 import Generation, Image, ImageDownload
from horde.api.generation.v1.generation_service_pb2_grpc import GenerationServiceStub
from horde.api.job.v1.job_pb2 import InputImage, JobEnding, JobState
from horde.api.storage.v1 import storage_service_pb2 as pb
from horde.api.storage.v1.storage_service_pb2_grpc import StorageServiceStub
from horde.clients.doors import Doors
from horde.clients.errors import (
    DamagedImage,
    ImageNotFinished,
    ObjectNotFound,
    ServiceError,
    TokenExpired,
    TooLarge,
    Unavailable,
)
from horde.clients.generations import Generations
from horde.clients.retrying import patiently

CHUNK_BYTES: Final = 256 * 1024
MAX_IMAGE_BYTES: Final = 256 * 1024 * 1024
"""What a download may hold in memory; more is refused before it is read."""
MAX_EXPIRED_TICKETS: Final = 3
"""One may have waited too long; that many in a row were never good."""
CLOCKS_DIFFER: Final = "Every ticket is expired when it arrives: the clocks of the mesh's services differ."
PUT_TIMEOUT: Final = timedelta(minutes=5)
SUFFIXES: Final = {
    pb.IMAGE_FORMAT_PNG: ".png",
    pb.IMAGE_FORMAT_JPEG: ".jpg",
    pb.IMAGE_FORMAT_WEBP: ".webp",
}


def suffix_of(image: Image) -> str:
    """The usual ending of a file with this image."""
    return SUFFIXES.get(image.format, ".bin")


class Images:
    """The bytes of the caller's images and inputs."""

    def __init__(self, doors: Doors, generations: Generations) -> None:
        self._doors = doors
        self._generations = generations
        self._tickets = GenerationServiceStub(doors.gateway)

    async def fetch(self, generation_id: str, job_id: str) -> bytes:
        """The bytes of a finished image, checked against its SHA-256.

        A broken download goes on where it broke; an expired ticket is replaced. Raises ImageNotFinished, ObjectNotFound
        (expired, deleted or withdrawn), DamagedImage.
        """
        return await self.fetch_from(await self._generations.get(generation_id), job_id)

    async def fetch_from(self, generation: Generation, job_id: str) -> bytes:
        """The same, with the tickets of a generation that was just got or watched."""
        image = _image(generation, job_id)
        download = _Download(self._doors, bytes(image.sha256))
        attempts = self._doors.attempts()
        expired = 0
        while True:
            try:
                return await download.run(image.download)
            except TokenExpired:
                expired += 1
                if expired > MAX_EXPIRED_TICKETS:
                    raise Unavailable(CLOCKS_DIFFER) from None
                await attempts.pause_after(Unavailable(CLOCKS_DIFFER))
                image = _image(await self._generations.get(generation.generation_id), job_id)
            except ServiceError as error:
                await attempts.pause_after(error)

    async def fetch_shown(self, address: str, ticket: str) -> bytes:
        """The bytes of a shared image that somebody else asked for, by the ticket with which it was shown.

        Checked against the SHA-256 that the storage router says. Raises ObjectNotFound (withdrawn, withheld),
        TokenExpired, DamagedImage.
        """
        download = _Download(self._doors, b"")
        attempts = self._doors.attempts()
        while True:
            try:
                return await download.run(ImageDownload(address=address, ticket=ticket))
            except TokenExpired:
                raise
            except ServiceError as error:
                await attempts.pause_after(error)

    async def put(self, content: bytes, *, input_id: str | None = None) -> InputImage:
        """Store a source image, mask or control image for an hour, and name it for a spec.

        The same bytes may be put again under the same id. Raises NotAnImage, TooLarge, ContentConflict.
        """
        named = input_id or str(uuid.uuid4())
        digest = hashlib.sha256(content).digest()

        async def attempt() -> pb.StoredInput:
            request = generation_pb.CreateInputTicketRequest(input_id=named)
            ticket = await self._doors.ask(self._tickets.CreateInputTicket, request)
            if ticket.max_bytes and len(content) > ticket.max_bytes:
                raise TooLarge(metadata={"limit": str(ticket.max_bytes), "unit": "bytes"})
            storage = StorageServiceStub(await self._doors.storage(ticket.address))
            put: Any = storage.PutInput
            answer: pb.PutInputResponse = await put(
                _parts(ticket.ticket, content, digest), timeout=PUT_TIMEOUT.total_seconds()
            )
            return answer.input

        stored = await patiently(attempt, self._doors.attempts())
        return InputImage(input_id=stored.input_id, sha256=stored.sha256)


def _image(generation: Generation, job_id: str) -> Image:
    for image in generation.images:
        if image.job_id == job_id:
            if image.withdrawn or not image.HasField("download"):
                raise no_picture(image)
            return image
    raise ObjectNotFound(f"The generation has no image {job_id}.")


def no_picture(image: Image) -> ObjectNotFound | ImageNotFinished:
    """Why an image has no bytes to fetch."""
    about = {"job_id": image.job_id}
    if image.withdrawn:
        return ObjectNotFound(f"Image {image.index} was withdrawn.", metadata=about)
    if image.state != JobState.JOB_STATE_ENDED:
        return ImageNotFinished(f"Image {image.index} is not finished yet.", metadata=about)
    if image.ending != JobEnding.JOB_ENDING_DONE:
        ending = JobEnding.Name(image.ending).removeprefix("JOB_ENDING_").lower()
        return ImageNotFinished(f"Image {image.index} ended without a picture: {ending}.", metadata=about)
    if image.HasField("expires_at"):
        return ObjectNotFound(
            f"Image {image.index} was kept until {image.expires_at.ToDatetime():%Y-%m-%d %H:%M} UTC, and is gone.",
            metadata=about,
        )
    return ObjectNotFound(f"Image {image.index} is not there any more.", metadata=about)


async def _parts(ticket: str, content: bytes, digest: bytes) -> AsyncIterator[pb.PutInputRequest]:
    yield pb.PutInputRequest(open=pb.PutInputOpen(ticket=ticket))
    for offset in range(0, len(content), CHUNK_BYTES):
        chunk = pb.Chunk(offset=offset, data=content[offset : offset + CHUNK_BYTES])
        yield pb.PutInputRequest(chunk=chunk)
    yield pb.PutInputRequest(finish=pb.UploadFinish(sha256=digest, size_bytes=len(content)))


class _Download:
    """One image on its way: keeps what has come, over broken streams and new tickets.

    Without a `sha256`, what the router says it is.
    """

    def __init__(self, doors: Doors, sha256: bytes) -> None:
        self._doors = doors
        self._sha256 = sha256
        self._content = bytearray()
        self._begun_again = False

    async def run(self, way: ImageDownload) -> bytes:
        channel = await self._doors.storage(way.address)
        await self._read(channel, way.ticket)
        content = bytes(self._content)
        if hashlib.sha256(content).digest() == self._sha256:
            return content
        self._content.clear()
        if self._begun_again:
            raise DamagedImage("the bytes of the image are not those that were promised")
        self._begun_again = True
        return await self.run(way)

    async def _read(self, channel: aio.Channel, ticket: str) -> None:
        download: Any = StorageServiceStub(channel).Download
        stream = download(pb.DownloadRequest(ticket=ticket, offset=len(self._content)))
        size = None
        try:
            async for response in stream:
                match response.WhichOneof("message"):
                    case "header":
                        size = response.header.size_bytes
                        self._sha256 = self._sha256 or bytes(response.header.sha256)
                        if size > MAX_IMAGE_BYTES:
                            raise DamagedImage(f"the image would be {size} bytes large")
                    case "chunk":
                        if response.chunk.offset != len(self._content) or len(self._content) > MAX_IMAGE_BYTES:
                            raise DamagedImage("the parts of the image do not fit together")
                        self._content += response.chunk.data
        finally:
            stream.cancel()
        if size is not None and len(self._content) < size:
            raise Unavailable("The download ended early.")
