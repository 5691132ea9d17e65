"""Bringing an image to the storage router, until there is a receipt or a reason to stop.

The bytes stay here until then, whatever breaks. A small image goes in one message, again and again; for a larger one
the stream is opened again, the router says from where to go on, and 0 is always a legal answer.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from grpc import aio

from horde.api.storage.v1 import storage_service_pb2 as pb
from horde.api.storage.v1.storage_service_pb2_grpc import StorageServiceStub
from horde.services import telemetry
from horde.services.clock import Clock
from horde.services.errors import (
    Aborted,
    AlreadyExists,
    Cancelled,
    DeadlineExceeded,
    Internal,
    ResourceExhausted,
    ServiceError,
    Unavailable,
    Unknown,
)
from horde.services.telemetry import TRACEPARENT, span_from
from horde.worker_agent.core.backoff import Backoff

CHUNK_BYTES = 256 * 1024
"""The contract's limit; an image of no more than this goes in one message at first."""
SLOW_CHUNK_BYTES = 8 * 1024
"""After a try that broke: small enough that a slow line brings some of them before it breaks again."""
MIN_BYTES_PER_SECOND = 16 * 1024
"""The contract's minimum rate: a try that takes longer than this gives is stuck."""
PATIENCE_SECONDS = 30.0
"""What one try may take beside its bytes."""

_BROKEN = (Unavailable, Cancelled, DeadlineExceeded, Unknown)
"""What a line that breaks looks like from here; a router that is busy looks otherwise."""
_PASSING = (Unavailable, Aborted, DeadlineExceeded, Cancelled, ResourceExhausted, Internal, Unknown)


class UploadRefused(Exception):
    """The router does not take this image under this grant; the message says why."""


class AlreadyUploaded(Exception):
    """The lease has its image, and it is another one: there is nothing new to report."""


def worth_another_try(error: ServiceError) -> bool:
    """Whether the same call may succeed later."""
    return isinstance(error, _PASSING)


async def upload(
    stub: StorageServiceStub,
    grant: str,
    image: bytes,
    sha256: bytes,
    clock: Clock,
    backoff: Backoff,
    traceparent: str = "",
) -> str:
    """Bring the image; the receipt. Tries for ever: whoever calls cancels. Raises UploadRefused, AlreadyUploaded."""
    broken = False
    while True:
        try:
            with span_from(traceparent, "upload", size=len(image)):
                manner = {
                    "timeout": PATIENCE_SECONDS + len(image) / MIN_BYTES_PER_SECOND,
                    # A volunteer records nothing, but the requester's trace goes on in the router all the same.
                    "metadata": ((TRACEPARENT, traceparent),) if traceparent and telemetry.rpc is None else None,
                }
                # Once broken, in a stream also if it is small: what has arrived need not go again.
                if 0 < len(image) <= CHUNK_BYTES and not broken:
                    return await _put(stub, grant, image, sha256, manner)
                chunk_bytes = SLOW_CHUNK_BYTES if broken else CHUNK_BYTES
                return await _stream(stub, grant, image, sha256, chunk_bytes, manner)
        except AlreadyExists as error:
            raise AlreadyUploaded(error.message) from error
        except ServiceError as error:
            if not worth_another_try(error):
                raise UploadRefused(f"{error.reason}: {error.message}" if error.reason else error.message) from error
            broken = broken or isinstance(error, _BROKEN)
            await clock.sleep(backoff.next(error.retry_after.total_seconds() if error.retry_after else 0.0))


async def _put(stub: StorageServiceStub, grant: str, image: bytes, sha256: bytes, manner: dict[str, Any]) -> str:
    answer = await stub.PutImage(pb.PutImageRequest(grant=grant, data=image, sha256=sha256), **manner)
    if not answer.receipt:
        raise Unavailable("the router answered without a receipt")
    return answer.receipt


async def _stream(
    stub: StorageServiceStub, grant: str, image: bytes, sha256: bytes, chunk_bytes: int, manner: dict[str, Any]
) -> str:
    finish = pb.UploadFinish(sha256=sha256, size_bytes=len(image))
    call: Any = stub.UploadImage(**manner)
    try:
        await call.write(pb.UploadImageRequest(open=pb.UploadImageOpen(grant=grant)))
        answer = await _read(call)
        if answer.HasField("resume"):
            for offset in range(answer.resume.offset, len(image), chunk_bytes):
                chunk = pb.Chunk(offset=offset, data=image[offset : offset + chunk_bytes])
                await call.write(pb.UploadImageRequest(chunk=chunk))
            await call.write(pb.UploadImageRequest(finish=finish))
            await _close(call)
            answer = await _read(call)
        if not answer.receipt.receipt:
            raise Unavailable("the router answered without a receipt")
        receipt = str(answer.receipt.receipt)
        # The stream ends by itself; cancelling it would cut the router off in its last words.
        await _close(call)
        with contextlib.suppress(ServiceError):
            await call.read()
        return receipt
    finally:
        call.cancel()


async def _close(call: Any) -> None:
    """End our direction; no matter if the other side has ended all: what it said then comes with the next read."""
    with contextlib.suppress(asyncio.InvalidStateError):
        await call.done_writing()


async def _read(call: Any) -> pb.UploadImageResponse:
    answer = await call.read()
    if answer is aio.EOF:
        raise Unavailable("the router hung up")
    response: pb.UploadImageResponse = answer
    return response
