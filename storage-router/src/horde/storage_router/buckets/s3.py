"""A bucket of an S3 server, through the `minio` client in threads. One credential for one bucket."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from types import TracebackType
from typing import Self, TypeVar

import urllib3
from minio import Minio
from minio.error import MinioException, S3Error

from horde.services.neighbours import Watch
from horde.storage_router.buckets.port import MAX_PAGE, Entry, Head, StoredObject
from horde.storage_router.core.errors import StoreUnavailable

CALLS = 16
"""Calls to the server at once."""
CONNECT_SECONDS = 3.0
READ_SECONDS = 20.0
"""How long the server may be silent; the client then tries once more."""

_ABSENT = frozenset({"NoSuchKey", "NoSuchObject", "404", "NotFound"})
_THERE = frozenset({"PreconditionFailed", "412", "ConditionalRequestConflict"})
_META = "x-amz-meta-"

T = TypeVar("T")


class S3Bucket:
    """Create-if-absent is `If-None-Match: *`, which the server must honour: it is tried out at the start."""

    def __init__(self, endpoint: str, bucket: str, access_key: str, secret_key: str, region: str, secure: bool) -> None:
        self._bucket = bucket
        self._http = urllib3.PoolManager(
            timeout=urllib3.Timeout(connect=CONNECT_SECONDS, read=READ_SECONDS),
            maxsize=CALLS,
            block=True,
            retries=urllib3.Retry(total=1, backoff_factor=0.2, status_forcelist=[500, 502, 503, 504]),
        )
        self._client = Minio(
            endpoint, access_key=access_key, secret_key=secret_key, region=region, secure=secure, http_client=self._http
        )
        self._threads = ThreadPoolExecutor(CALLS, thread_name_prefix=f"s3-{bucket}")
        self._watch = Watch(f"the bucket {bucket} at {endpoint}")

    async def __aenter__(self) -> Self:
        if not await self._call(lambda: self._client.bucket_exists(self._bucket)):
            raise StoreUnavailable(f"There is no bucket {self._bucket}.")
        # A key of its own for each start, because replicas start at once; and gone after, because people list buckets.
        probe = f".probe/{secrets.token_hex(8)}"
        await self.put(probe, b"")
        overwritten = await self.put(probe, b"")
        await self.delete(probe)
        if overwritten:
            raise StoreUnavailable("The S3 server ignores If-None-Match: it cannot hold a bucket of the mesh.")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        # Not in this thread: a server that does not answer would keep the event loop with it.
        await asyncio.get_running_loop().run_in_executor(None, self._threads.shutdown)
        self._http.clear()

    async def put(
        self, key: str, data: bytes, *, metadata: Mapping[str, str] | None = None, media_type: str = ""
    ) -> bool:
        headers: dict[str, str | list[str] | tuple[str]] = {
            "If-None-Match": "*",
            "Content-Type": media_type or "application/octet-stream",
            **{_META + name: value for name, value in (metadata or {}).items()},
        }

        def put() -> bool:
            try:
                # `put_object` would turn the condition into metadata.
                self._client._execute("PUT", self._bucket, key, body=data, headers=headers)
            except S3Error as error:
                if error.code in _THERE:
                    return False
                raise
            return True

        return await self._call(put)

    async def copy(
        self, source: str, key: str, data: bytes, *, metadata: Mapping[str, str], media_type: str = ""
    ) -> bool | None:
        # Not a copy on the server: those that make one only if there is no object are rare.
        there = await self.head(source)
        if there is None:
            return None
        return await self.put(key, data, metadata={**there.metadata, **metadata}, media_type=media_type)

    async def head(self, key: str) -> Head | None:
        def head() -> Head:
            found = self._client.stat_object(self._bucket, key)
            assert found.size is not None
            assert found.last_modified is not None
            return Head(found.size, _metadata(found.metadata or {}), found.last_modified)

        return await self._find(head)

    async def read(self, key: str) -> StoredObject | None:
        found = await self.head(key)
        if found is None:
            return None
        data = await self.get(key, 0, found.size_bytes)
        return None if data is None else StoredObject(found, data)

    async def get(self, key: str, offset: int, length: int) -> bytes | None:
        if not length:
            return None if await self.head(key) is None else b""

        def get() -> bytes:
            try:
                response = self._client.get_object(self._bucket, key, offset=offset, length=length)
            except S3Error as error:
                if error.code in ("InvalidRange", "416"):
                    return b""
                raise
            try:
                return response.read()
            finally:
                response.close()
                response.release_conn()

        return await self._find(get)

    async def delete(self, key: str) -> None:
        await self._find(lambda: self._client.remove_object(self._bucket, key))

    async def page(self, prefix: str, *, after: str = "", limit: int = MAX_PAGE) -> Sequence[Entry]:
        def page() -> list[Entry]:
            entries: list[Entry] = []
            listing = self._client.list_objects(self._bucket, prefix=prefix, recursive=True, start_after=after or None)
            for found in listing:
                if len(entries) == limit:
                    break
                assert found.object_name is not None
                assert found.last_modified is not None
                entries.append(Entry(found.object_name, found.last_modified, found.size or 0))
            return entries

        return await self._call(page)

    async def link(self, key: str, lifetime: timedelta) -> str:
        return await self._call(lambda: self._client.presigned_get_object(self._bucket, key, expires=lifetime))

    async def _find(self, call: Callable[[], T]) -> T | None:
        def find() -> T | None:
            try:
                return call()
            except S3Error as error:
                if error.code in _ABSENT:
                    return None
                raise

        return await self._call(find)

    async def _call(self, call: Callable[[], T]) -> T:
        try:
            result = await asyncio.get_running_loop().run_in_executor(self._threads, call)
        except (MinioException, urllib3.exceptions.HTTPError, OSError) as error:
            # Not the whole text: it may hold a signed address.
            code = error.code if isinstance(error, S3Error) else type(error).__name__
            self._watch.failed(code)
            raise StoreUnavailable(f"The S3 server failed: {code}.") from error
        self._watch.answered()
        return result


def _metadata(headers: Mapping[str, str]) -> dict[str, str]:
    """The object's own metadata out of the headers of an answer."""
    lowered = {name.lower(): value for name, value in headers.items()}
    return {name.removeprefix(_META): value for name, value in lowered.items() if name.startswith(_META)}
