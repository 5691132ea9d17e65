"""A bucket of an S3 server, through `obstore`: create-if-absent is in its public API. One credential for one bucket."""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self, TypeVar

from obstore import sign_async
from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import S3Store

from horde.buckets.errors import StoreUnavailable
from horde.buckets.port import MAX_PAGE, Entry, Head, StoredObject
from horde.services.neighbours import Watch

if TYPE_CHECKING:
    from obstore import GetResult
    from obstore.store import RetryConfig

CALLS: Final = 16
"""Calls to the server at once."""
CONNECT_TIMEOUT: Final = timedelta(seconds=3)
READ_TIMEOUT: Final = timedelta(seconds=20)
"""How long the server may be silent; the client then tries once more."""
IDLE_TIMEOUT: Final = timedelta(seconds=5)
CALL_TIMEOUT: Final = timedelta(seconds=120)

HURRIED: Final[RetryConfig] = {"max_retries": 1, "retry_timeout": CALL_TIMEOUT}
PATIENT: Final[RetryConfig] = {
    "max_retries": 20,
    "retry_timeout": timedelta(minutes=15),
    "backoff": {"init_backoff": timedelta(seconds=0.2), "max_backoff": timedelta(seconds=30), "base": 2},
}

PROBE_SECONDS: Final = 60.0

CODE: Final = re.compile(r"<Code>(\w{1,64})</Code>")
STATUS: Final = re.compile(r"status (?:code:? )?(\d{3})")

T = TypeVar("T")


class S3Bucket:
    """Create-if-absent is `If-None-Match: *`, which the server must honour: a bucket opened to write tries it."""

    def __init__(
        self,
        endpoint: str,
        bucket: str,
        access_key: str,
        secret_key: str,
        region: str,
        secure: bool,
        *,
        read_only: bool = False,
        patient: bool = False,
    ) -> None:
        """`patient`: what the server refuses or loses is asked again for minutes, for work that nobody waits for."""
        self.where = f"bucket {bucket} at {endpoint}, with the access key {access_key or '(none)'}"
        """For operators; without the secret."""
        self._read_only = read_only
        self._patient = patient
        self._store = S3Store(
            bucket,
            endpoint=f"{'https' if secure else 'http'}://{endpoint}",
            access_key_id=access_key,
            secret_access_key=secret_key,
            region=region,
            virtual_hosted_style_request=False,
            client_options={
                "allow_http": not secure,
                "connect_timeout": CONNECT_TIMEOUT,
                # A server that is to stop waits for its connections.
                "pool_idle_timeout": IDLE_TIMEOUT,
                "read_timeout": READ_TIMEOUT,
                "timeout": CALL_TIMEOUT,
            },
            retry_config=PATIENT if patient else HURRIED,
        )
        self._calls = asyncio.Semaphore(CALLS)
        self._why = ""
        """Why the last call that failed did."""
        self._watch = Watch(f"the {self.where}")

    async def __aenter__(self) -> Self:
        try:
            # Who waits for minutes later does not for a server that is not there at all.
            async with asyncio.timeout(PROBE_SECONDS if self._patient else None):
                await self._probe()
        except TimeoutError as error:
            raise StoreUnavailable(f"The {self.where} does not answer as it must.") from error
        except StoreUnavailable as error:
            # Whoever starts is its operator, who may know what no stranger is told.
            raise StoreUnavailable(f"The {self.where}: {self._why}.") from error
        return self

    async def _probe(self) -> None:
        await self.page(".probe/", limit=1)
        if self._read_only:
            return
        # A key of its own for each start, because replicas start at once; and gone after, because people list buckets.
        probe = f".probe/{secrets.token_hex(8)}"
        await self.put(probe, b"")
        overwritten = await self.put(probe, b"")
        await self.delete(probe)
        if overwritten:
            self._why = "the server ignores If-None-Match, so it cannot hold a bucket of the mesh"
            raise StoreUnavailable

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        """Nothing is kept open that has to be closed."""

    async def put(
        self, key: str, data: bytes, *, metadata: Mapping[str, str] | None = None, media_type: str = ""
    ) -> bool:
        attributes = {"Content-Type": media_type or "application/octet-stream", **(metadata or {})}

        async def put() -> bool:
            try:
                await self._store.put_async(key, data, attributes=attributes, mode="create", use_multipart=False)
            except AlreadyExistsError:
                return False
            return True

        return await self._call("PutObject", put)

    async def replace(self, key: str, data: bytes, *, metadata: Mapping[str, str]) -> None:
        attributes = {"Content-Type": "application/octet-stream", **metadata}
        await self._call(
            "PutObject", lambda: self._store.put_async(key, data, attributes=attributes, use_multipart=False)
        )

    async def put_file(self, key: str, path: Path, *, media_type: str = "") -> None:
        attributes = {"Content-Type": media_type or "application/octet-stream"}
        await self._call(
            "PutObject", lambda: self._store.put_async(key, path, attributes=attributes, max_concurrency=2)
        )

    async def copy(
        self, source: str, key: str, data: bytes, *, metadata: Mapping[str, str], media_type: str = ""
    ) -> bool | None:
        # Not a copy on the server: those that make one only if there is no object are rare.
        return await self.put(key, data, metadata=metadata, media_type=media_type)

    async def head(self, key: str) -> Head | None:
        async def head() -> Head:
            # `head_async` would leave the metadata out.
            return _head(await self._store.get_async(key, options={"head": True}))

        return await self._find("HeadObject", head)

    async def read(self, key: str, most: int | None = None) -> StoredObject | None:
        async def read() -> StoredObject:
            found = await self._store.get_async(key)
            head = _head(found)
            return StoredObject(head, b"" if _is_longer(head, most) else bytes(await found.bytes_async()))

        return await self._find("GetObject", read)

    async def get(self, key: str, offset: int, length: int) -> bytes | None:
        async def get() -> bytes:
            return bytes(await self._store.get_range_async(key, start=offset, length=length))

        if length:
            try:
                return await self._find("GetObject", get)
            except StoreUnavailable:
                # A range behind the end is an error to the server, and one like any other to the client.
                found = await self.head(key)
                if found is not None and offset < found.size_bytes:
                    raise
                return None if found is None else b""
        return None if await self.head(key) is None else b""

    async def delete(self, key: str) -> None:
        await self._find("DeleteObject", lambda: self._store.delete_async(key))

    async def page(self, prefix: str, *, after: str = "", limit: int = MAX_PAGE) -> Sequence[Entry]:
        async def page() -> list[Entry]:
            entries: list[Entry] = []
            listing = self._store.list(prefix or None, offset=after or None, chunk_size=min(limit, MAX_PAGE))
            async for chunk in listing:
                entries += (Entry(found["path"], found["last_modified"], found["size"]) for found in chunk)
                if len(entries) >= limit:
                    break
            return entries[:limit]

        return await self._call("ListObjects", page)

    async def walk(self, folder: str, size: int = MAX_PAGE) -> AsyncIterator[Sequence[Entry]]:
        after = ""
        while page := await self.page(folder, after=after, limit=size):
            yield page
            after = page[-1].key

    async def link(self, key: str, lifetime: timedelta) -> str | None:
        return await self._call("sign", lambda: sign_async(self._store, "GET", key, lifetime))

    async def _find(self, action: str, call: Callable[[], Awaitable[T]]) -> T | None:
        async def find() -> T | None:
            try:
                return await call()
            except FileNotFoundError:
                return None

        return await self._call(action, find)

    async def _call(self, action: str, call: Callable[[], Awaitable[T]]) -> T:
        async with self._calls:
            try:
                result = await call()
            except (BaseError, OSError) as error:
                self._why = f"{action} failed: {_reason(error)}"
                self._watch.failed(self._why)
                raise StoreUnavailable("The bucket does not do what it is asked.") from error
        self._watch.answered()
        return result


def _reason(error: Exception) -> str:
    """What went wrong, by the server's own code if it gave one. Not the whole text: it may hold a signed address."""
    text = str(error)
    if (code := CODE.search(text)) is not None:
        return code[1]
    status = STATUS.search(text)
    return type(error).__name__ + (f", HTTP status {status[1]}" if status else "")


def _is_longer(head: Head, most: int | None) -> bool:
    return most is not None and head.size_bytes > most


def _head(found: GetResult) -> Head:
    # The metadata's names are in lower case; those of HTTP's own attributes are not.
    metadata = {name: value for name, value in found.attributes.items() if name.islower()}
    return Head(found.meta["size"], metadata, found.meta["last_modified"])
