"""Data releases: finished sets of shared images, for research. Anybody with an account may fetch them."""

from __future__ import annotations

import asyncio
import hashlib
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any, Final

from google.protobuf.timestamp_pb2 import Timestamp

from horde.api.release.v1 import data_release_service_pb2 as pb
from horde.api.release.v1.data_release_service_pb2_grpc import DataReleaseServiceStub
from horde.api.storage.v1 import storage_service_pb2 as storage_pb
from horde.api.storage.v1.storage_service_pb2_grpc import StorageServiceStub
from horde.clients.doors import Doors
from horde.clients.errors import DamagedImage, ServiceError, TokenExpired, Unavailable

PAGE_SIZE: Final = 100
BLOCK_BYTES: Final = 1 << 20
LINK_EXPIRED: Final = (401, 403)
LINK_SECONDS: Final = 60.0
"""How long a link's server may be silent."""


class Releases:
    """The data releases of a mesh."""

    def __init__(self, doors: Doors) -> None:
        self._doors = doors
        self._stub = DataReleaseServiceStub(doors.gateway)

    async def create(self, name: str, terms: pb.ReleaseTerms | None = None) -> pb.DataRelease:
        """Have a release built, or find it. Asked again in the same terms it is the same. Needs OPERATOR."""
        request = pb.CreateDataReleaseRequest(name=name, terms=terms)
        return (await self._doors.ask(self._stub.CreateDataRelease, request)).release

    async def estimate(self, name: str, terms: pb.ReleaseTerms | None = None) -> pb.DataRelease:
        """What a release would hold; nothing is made. It may take minutes. Needs OPERATOR."""
        request = pb.CreateDataReleaseRequest(name=name, terms=terms, dry_run=True)
        while True:
            # An answer takes seconds while it is being counted.
            release = (await self._doors.ask(self._stub.CreateDataRelease, request)).release
            if release.state != pb.DATA_RELEASE_STATE_BUILDING:
                return release

    async def cancel(self, name: str) -> pb.DataRelease:
        """End a release that is being built. Needs OPERATOR."""
        request = pb.CancelDataReleaseRequest(name=name)
        return (await self._doors.ask(self._stub.CancelDataRelease, request)).release

    async def get(self, name: str) -> pb.DataRelease:
        """One release, as it is now. Raises NotFound."""
        return (await self._doors.ask(self._stub.GetDataRelease, pb.GetDataReleaseRequest(name=name))).release

    async def list(self, *, page_size: int = PAGE_SIZE) -> AsyncIterator[pb.DataRelease]:
        """All of them, newest first, page by page as they are read."""
        request = pb.ListDataReleasesRequest(page_size=page_size)
        while True:
            page = await self._doors.ask(self._stub.ListDataReleases, request)
            for release in page.releases:
                yield release
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    async def files(self, name: str, *, page_size: int = PAGE_SIZE) -> AsyncIterator[pb.ReleaseFile]:
        """A release's own files, by path, each with a way to its bytes that is good for some minutes."""
        request = pb.ListReleaseFilesRequest(name=name, page_size=page_size)
        while True:
            page = await self._doors.ask(self._stub.ListReleaseFiles, request)
            for file in page.files:
                yield file
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    async def removals(self, name: str, after: datetime | None = None) -> AsyncIterator[pb.ReleaseRemoval]:
        """What is to be taken out of copies of a release and those before it, the first removed first."""
        request = pb.ListReleaseRemovalsRequest(name=name, page_size=PAGE_SIZE)
        if after is not None:
            moment = Timestamp()
            moment.FromDatetime(after.astimezone(UTC))
            request.after.CopyFrom(moment)
        while True:
            page = await self._doors.ask(self._stub.ListReleaseRemovals, request)
            for removal in page.removals:
                yield removal
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    async def pull(self, name: str, folder: Path) -> int:
        """Bring a release's own files into a folder; bytes that were fetched. What is there and whole stays.

        Raises NotFound, DamagedImage (the bytes are not those of the release), ValueError for a path that leads away.
        """
        fetched = 0
        async for file in self.files(name):
            path = folder / _inside(file.path)
            if await asyncio.to_thread(_is_whole, path, file):
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            part = path.with_name(f"{path.name}.part")
            await self._fetch(name, file, part)
            if not await asyncio.to_thread(_is_whole, part, file):
                part.unlink()
                raise DamagedImage(f"the bytes of {file.path} are not those of the release")
            part.replace(path)
            fetched += file.size_bytes
        return fetched

    async def _fetch(self, name: str, file: pb.ReleaseFile, part: Path) -> None:
        attempts = self._doors.attempts()
        await asyncio.to_thread(part.unlink, missing_ok=True)
        while True:
            try:
                if file.url:
                    await asyncio.to_thread(_download, file.url, part)
                else:
                    await self._read(file, part)
                return
            except TokenExpired:
                file = await self._again(name, file.path)
            except urllib.error.HTTPError as error:
                # A link is good for some minutes, and a page of large files takes hours.
                if error.code in LINK_EXPIRED:
                    file = await self._again(name, file.path)
                await attempts.pause_after(Unavailable(f"{file.path} cannot be fetched: {error}"))
            except OSError as error:
                await attempts.pause_after(Unavailable(f"{file.path} cannot be fetched: {error}"))
            except ServiceError as error:
                await attempts.pause_after(error)

    async def _again(self, name: str, path: str) -> pb.ReleaseFile:
        async for file in self.files(name):
            if file.path == path:
                return file
        raise Unavailable(f"{path} is not listed any more.")

    async def _read(self, file: pb.ReleaseFile, part: Path) -> None:
        """On from what has come already."""
        offset = await asyncio.to_thread(_size, part)
        download: Any = StorageServiceStub(await self._doors.storage(file.address)).Download
        stream = download(storage_pb.DownloadRequest(ticket=file.ticket, offset=offset))
        try:
            with part.open("ab") as opened:
                async for response in stream:
                    if response.WhichOneof("message") == "chunk":
                        await asyncio.to_thread(opened.write, response.chunk.data)
                        offset += len(response.chunk.data)
        finally:
            stream.cancel()
        if offset < file.size_bytes:
            raise Unavailable("The download ended early.")


def _inside(path: str) -> PurePosixPath:
    """A path that a mesh names, if it stays within the folder."""
    named = PurePosixPath(path)
    if not path or named.is_absolute() or ".." in named.parts or "\\" in path or ":" in path:
        raise ValueError(f"{path!r} leads out of the folder of the release")
    return named


def _size(path: Path) -> int:
    """Bytes of it that are here."""
    return path.stat().st_size if path.exists() else 0


def _is_whole(path: Path, file: pb.ReleaseFile) -> bool:
    """Whether a file is here, of its size, and by its digest where the release says one."""
    if not path.is_file() or path.stat().st_size != file.size_bytes:
        return False
    if not file.sha256:
        # Of the list of checksums and its signature: `horde release verify` looks at those.
        return path.suffix == ".part"
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").digest() == file.sha256


def _download(url: str, part: Path) -> None:
    if not url.startswith(("https://", "http://")):
        raise ValueError("the mesh names a link that is none")
    with urllib.request.urlopen(url, timeout=LINK_SECONDS) as answer, part.open("wb") as opened:  # noqa: S310
        while block := answer.read(BLOCK_BYTES):
            opened.write(block)
