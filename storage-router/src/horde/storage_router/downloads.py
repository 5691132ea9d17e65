"""Bytes out, under a ticket: images to their requester, inputs to the holder of a lease."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from horde.services.errors import OutOfRange
from horde.services.failpoints import declare, failpoint
from horde.storage_router.core.errors import LinksUnsupported, ObjectNotFound
from horde.storage_router.core.keys import is_release_file
from horde.storage_router.core.placement import Placement
from horde.storage_router.core.records import Content
from horde.storage_router.doors.permits import GetInputTicket, GetReleaseFileTicket, GetSharedTicket, Permits
from horde.storage_router.inputs import Inputs
from horde.storage_router.private_images import PrivateImages
from horde.storage_router.shared_images import SharedImages

CHUNK_BYTES = 256 * 1024
LINK_LIFETIME = timedelta(minutes=15)

MID_DOWNLOAD = declare("storage.mid_download")


@dataclass(frozen=True, slots=True)
class Piece:
    """Some bytes."""

    offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class FileContent:
    """A file that is no picture."""

    size_bytes: int
    sha256: str


class Shelf(Protocol):
    """Where opened bytes are read from."""

    async def get(self, key: str, offset: int, length: int) -> bytes | None:
        """Bytes from `offset` on."""


class Downloads:
    """Serves what tickets permit."""

    def __init__(
        self,
        permits: Permits,
        private: PrivateImages,
        shared: SharedImages,
        inputs: Inputs,
        releases: Shelf | None = None,
    ) -> None:
        """`releases` is the bucket of data releases, where there are no links to it."""
        self._permits = permits
        self._private = private
        self._shared = shared
        self._inputs = inputs
        self._releases = releases

    async def download(self, token: str, offset: int) -> AsyncIterator[Content | FileContent | Piece]:
        """What it is, then its bytes from `offset` on."""
        shelf, key, content = await self._open(token)
        if not 0 <= offset <= content.size_bytes:
            raise OutOfRange(f"It has {content.size_bytes} bytes.")
        yield content
        while offset < content.size_bytes:
            data = await shelf.get(key, offset, CHUNK_BYTES)
            if not data:
                raise ObjectNotFound
            yield Piece(offset, data)
            offset += len(data)
            await failpoint(MID_DOWNLOAD)

    async def link(self, token: str) -> tuple[str, timedelta]:
        """A link to an image, and how long it is good."""
        ticket = self._permits.download(token)
        if isinstance(ticket, GetInputTicket):
            raise ObjectNotFound("Links are made to images only.")
        if isinstance(ticket, GetSharedTicket | GetReleaseFileTicket):
            # A link is good for whoever has it: there is none to what people look at to decide about it.
            raise LinksUnsupported
        images = self._shared if ticket.placement is Placement.SHARED else self._private
        key, _ = await images.open(ticket)
        url = await images.link(key, LINK_LIFETIME)
        if url is None:
            raise LinksUnsupported
        return url, LINK_LIFETIME

    async def _open(self, token: str) -> tuple[Shelf, str, Content | FileContent]:
        ticket = self._permits.download(token)
        if isinstance(ticket, GetReleaseFileTicket):
            if self._releases is None or not is_release_file(ticket.key):
                raise ObjectNotFound
            return self._releases, ticket.key, FileContent(ticket.size_bytes, ticket.sha256)
        if isinstance(ticket, GetInputTicket):
            return self._inputs, *await self._inputs.open(ticket)
        if isinstance(ticket, GetSharedTicket):
            return self._shared, *await self._shared.open(ticket, reviewing=ticket.reviewing)
        if ticket.placement is Placement.SHARED:
            return self._shared, *await self._shared.open(ticket)
        return self._private, *await self._private.open(ticket)
