"""Bytes in and out of the storage router, under tickets and grants that somebody else was given."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterable, AsyncIterator
from typing import Any, Self, TypeVar

from grpc import aio

from horde.api.storage.v1 import storage_service_pb2 as pb
from horde.services.errors import Unavailable
from horde.web_door.caller import Metadata

R = TypeVar("R", pb.PutInputRequest, pb.UploadImageRequest)
CHUNK_BYTES = 256 * 1024
MEDIA_TYPES = {
    pb.IMAGE_FORMAT_PNG: "image/png",
    pb.IMAGE_FORMAT_JPEG: "image/jpeg",
    pb.IMAGE_FORMAT_WEBP: "image/webp",
}
PUT_SECONDS = 120.0


async def put_input(stub: Any, ticket: str, body: AsyncIterator[bytes], metadata: Metadata) -> pb.PutInputResponse:
    """Put a source image or a mask, as it comes. Raises what the body raises, too."""
    with _Coming(body) as coming:
        parts = _parts(pb.PutInputRequest, pb.PutInputRequest(open=pb.PutInputOpen(ticket=ticket)), coming)
        answer: pb.PutInputResponse = await stub.PutInput(parts, metadata=metadata, timeout=PUT_SECONDS)
        return answer


async def upload_image(stub: Any, grant: str, body: AsyncIterator[bytes], metadata: Metadata) -> str:
    """Bring the image of a lease, as it comes, and give its receipt. Raises what the body raises, too."""
    receipt = ""
    with _Coming(body) as coming:
        parts = _parts(pb.UploadImageRequest, pb.UploadImageRequest(open=pb.UploadImageOpen(grant=grant)), coming)
        async for answer in stub.UploadImage(parts, metadata=metadata, timeout=PUT_SECONDS):
            if answer.WhichOneof("message") == "receipt":
                receipt = answer.receipt.receipt
    if not receipt:
        raise Unavailable("The storage router gave no receipt.")
    return receipt


class _Coming:
    """A body on its way. Of one that breaks off gRPC says only that the call was cancelled: here it is told why."""

    def __init__(self, body: AsyncIterator[bytes]) -> None:
        self._body = body
        self._failure: Exception | None = None

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for part in self._body:
                yield part
        except Exception as error:
            self._failure = error
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._failure is not None:
            raise self._failure


async def whole(content: bytes) -> AsyncIterator[bytes]:
    """Bytes that are all here, as what comes."""
    yield content


async def _parts(kind: type[R], opening: R, body: AsyncIterable[bytes]) -> AsyncIterator[R]:
    """What is sent for an upload: its opening, the bytes in chunks, and what should have arrived."""
    yield opening
    digest, offset = hashlib.sha256(), 0
    async for part in body:
        for start in range(0, len(part), CHUNK_BYTES):
            data = part[start : start + CHUNK_BYTES]
            digest.update(data)
            yield kind(chunk=pb.Chunk(offset=offset, data=data))
            offset += len(data)
    yield kind(finish=pb.UploadFinish(sha256=digest.digest(), size_bytes=offset))


class Download:
    """The bytes under a ticket: what they are first, then all of them. Cancel it where they are not read to the end."""

    def __init__(self, stub: Any, ticket: str, metadata: Metadata, offset: int = 0) -> None:
        self._stream: Any = stub.Download(pb.DownloadRequest(ticket=ticket, offset=offset), metadata=metadata)

    async def header(self) -> pb.DownloadHeader:
        """What they are; raises what the router refuses for."""
        first = await self._stream.read()
        if first is aio.EOF or first.WhichOneof("message") != "header":
            raise Unavailable("The storage router did not say what it sends.")
        header: pb.DownloadHeader = first.header
        return header

    async def chunks(self, most: int | None = None) -> AsyncIterator[bytes]:
        """The bytes, in order; so many at most."""
        left = most
        try:
            while left != 0 and (answer := await self._stream.read()) is not aio.EOF:
                if answer.WhichOneof("message") == "chunk":
                    data = answer.chunk.data[:left]
                    left = None if left is None else left - len(data)
                    yield data
        finally:
            self.cancel()

    def cancel(self) -> None:
        """Ask for no more."""
        self._stream.cancel()
