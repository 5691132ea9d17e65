"""Fetching what a job names: source image, mask, control image.

The job names them by the digest of what was sent to storage. Storage gives them as a viewer shows them, which may be
other bytes: so they are checked against the digest that storage says, and storage checks the ticket against the job's.
"""

from __future__ import annotations

import hashlib

from horde.api.storage.v1 import storage_service_pb2 as pb
from horde.api.storage.v1.storage_service_pb2_grpc import StorageServiceStub
from horde.services.clock import Clock
from horde.services.errors import ServiceError
from horde.worker_agent.core.backoff import Backoff
from horde.worker_agent.core.jobs import InputId, InputRef
from horde.worker_agent.upload import worth_another_try

MAX_INPUT_BYTES = 64 * 1024 * 1024
"""Past this an input is not taken, whatever its digest."""
MAX_TRIES = 6


class InputUnavailable(Exception):
    """An input cannot be had; the message says which and why."""


async def fetch(
    stub: StorageServiceStub, refs: tuple[InputRef, ...], tickets: dict[InputId, str], clock: Clock, backoff: Backoff
) -> dict[InputId, bytes]:
    """Every input of a job. Raises InputUnavailable."""
    found: dict[InputId, bytes] = {}
    for ref in refs:
        if ref.input_id in found:
            continue
        ticket = tickets.get(ref.input_id)
        if ticket is None:
            raise InputUnavailable(f"no ticket for input {ref.input_id}")
        content, sha256 = await _download(stub, ref, ticket, clock, backoff)
        if hashlib.sha256(content).digest() != sha256:
            raise InputUnavailable(f"input {ref.input_id} arrived damaged")
        found[ref.input_id] = content
    return found


async def _download(
    stub: StorageServiceStub, ref: InputRef, ticket: str, clock: Clock, backoff: Backoff
) -> tuple[bytes, bytes]:
    """The bytes of one input and their digest, going on where a broken download stopped."""
    content, sha256 = bytearray(), b""
    for _ in range(MAX_TRIES):
        try:
            async for response in stub.Download(pb.DownloadRequest(ticket=ticket, offset=len(content))):
                if response.HasField("header"):
                    sha256 = response.header.sha256
                if not response.HasField("chunk"):
                    continue
                if response.chunk.offset != len(content):
                    raise InputUnavailable(f"input {ref.input_id} arrived with a gap")
                content += response.chunk.data
                if len(content) > MAX_INPUT_BYTES:
                    raise InputUnavailable(f"input {ref.input_id} is larger than {MAX_INPUT_BYTES} bytes")
            return bytes(content), sha256
        except ServiceError as error:
            if not worth_another_try(error):
                raise InputUnavailable(f"input {ref.input_id}: {error.reason or error.message}") from error
            await clock.sleep(backoff.next(error.retry_after.total_seconds() if error.retry_after else 0.0))
    raise InputUnavailable(f"input {ref.input_id}: the storage router cannot be reached")
