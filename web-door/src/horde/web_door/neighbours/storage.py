"""Bytes in and out of the storage router, under tickets and grants that somebody else was given."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from typing import Any

from grpc import aio

from horde.api.storage.v1 import storage_service_pb2 as pb
from horde.services.errors import Internal, Unavailable
from horde.web_door.caller import Metadata

CHUNK_BYTES = 256 * 1024
SMALL_INPUT_BYTES = 2 * 1024 * 1024
"""What fits into one message."""
MEDIA_TYPES = {
    pb.IMAGE_FORMAT_PNG: "image/png",
    pb.IMAGE_FORMAT_JPEG: "image/jpeg",
    pb.IMAGE_FORMAT_WEBP: "image/webp",
}
PUT_SECONDS = 120.0


async def put_input(stub: Any, ticket: str, content: bytes, metadata: Metadata) -> pb.StoredInput:
    """Put a source image or a mask."""
    digest = hashlib.sha256(content).digest()
    if len(content) <= SMALL_INPUT_BYTES:
        small = pb.PutSmallInputRequest(ticket=ticket, data=content, sha256=digest)
        return (await stub.PutSmallInput(small, metadata=metadata, timeout=PUT_SECONDS)).input  # type: ignore[no-any-return]

    async def parts() -> AsyncIterator[pb.PutInputRequest]:
        yield pb.PutInputRequest(open=pb.PutInputOpen(ticket=ticket))
        for offset in range(0, len(content), CHUNK_BYTES):
            chunk = pb.Chunk(offset=offset, data=content[offset : offset + CHUNK_BYTES])
            yield pb.PutInputRequest(chunk=chunk)
        yield pb.PutInputRequest(finish=pb.UploadFinish(sha256=digest, size_bytes=len(content)))

    try:
        answer: pb.PutInputResponse = await stub.PutInput(parts(), metadata=metadata, timeout=PUT_SECONDS)
    except Internal:
        # What gRPC says, too, of a stream that was refused while it was written to: asked again it tells the reason.
        answer = await stub.PutInput(parts(), metadata=metadata, timeout=PUT_SECONDS)
    return answer.input


async def upload_image(stub: Any, grant: str, body: AsyncIterator[bytes], metadata: Metadata) -> str:
    """Bring the image of a lease, as it comes, and give its receipt."""

    async def parts() -> AsyncIterator[pb.UploadImageRequest]:
        yield pb.UploadImageRequest(open=pb.UploadImageOpen(grant=grant))
        digest, offset = hashlib.sha256(), 0
        async for part in body:
            for start in range(0, len(part), CHUNK_BYTES):
                data = part[start : start + CHUNK_BYTES]
                digest.update(data)
                yield pb.UploadImageRequest(chunk=pb.Chunk(offset=offset, data=data))
                offset += len(data)
        yield pb.UploadImageRequest(finish=pb.UploadFinish(sha256=digest.digest(), size_bytes=offset))

    receipt = ""
    async for answer in stub.UploadImage(parts(), metadata=metadata, timeout=PUT_SECONDS):
        if answer.WhichOneof("message") == "receipt":
            receipt = answer.receipt.receipt
    if not receipt:
        raise Unavailable("The storage router gave no receipt.")
    return receipt


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
