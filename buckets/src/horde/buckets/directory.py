"""A bucket in a folder: one file for each object, made whole under another name and then linked into place.

The first part of a key is a folder, the others make up the file's name, joined by `!`. Metadata stands behind the bytes
in the same file (see tails.py), so that one file is all there is to make durable. A *plain* bucket has no metadata: its
files are the bytes and nothing else, each where its key says, for people and programs that know folders only.

Writes are grouped: what has queued up while the disk was busy is written, synchronised and linked together, in a
thread. Several processes may share the folder.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import itertools
import os
import secrets
import shutil
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import ParamSpec, Self, TypeVar

from horde.buckets.directory_listing import Listing, moment
from horde.buckets.durable_names import link, make_folder, rename, synchronise
from horde.buckets.errors import StoreUnavailable
from horde.buckets.port import MAX_PAGE, Entry, Head, StoredObject
from horde.buckets.tails import MAX_TAIL, Tail, find_tail, make_tail
from horde.services.batching import Batcher
from horde.services.errors import ServiceError
from horde.services.neighbours import Watch

MAX_GROUP = 64
"""Writes that are made durable together."""
READERS = 4
"""Reads at once."""
SMALL_BYTES = 256 * 1024
"""What is no larger is read without a thread: the way there and back costs more than the reading."""
LEFTOVER_SECONDS = 3_600
"""A file that a crash left unfinished is removed at a start after this long."""

_PARTIAL = ".partial"
_SYNC_FILE_RANGE_WRITE = 2
_LIBC = ctypes.CDLL(None)

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Put:
    path: str
    data: bytes
    tail: bytes
    replace: bool = False


@dataclass(frozen=True, slots=True)
class _Copy:
    source: str
    path: str
    size_bytes: int
    metadata: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class _Delete:
    path: str


@dataclass(frozen=True, slots=True)
class _Fresh:
    """A file that waits for its name; `temporary` if the one it has is to go."""

    handle: int
    path: str
    temporary: bool = True


_Write = _Put | _Copy | _Delete


class DirectoryBucket:
    """Use as an async context: leaving it waits for the writes that are under way."""

    def __init__(self, root: Path, now: Callable[[], datetime], *, plain: bool = False) -> None:
        self._root = root
        self.where = f"the folder {root.absolute()}"
        """For operators."""
        self._plain = plain
        self._listing = Listing(str(root), self._path, plain=plain)
        self._now = now
        self._batcher: Batcher[_Write, bool | None] = Batcher(self._write, max_items=MAX_GROUP, max_inflight=2)
        self._threads = ThreadPoolExecutor(READERS + 2, thread_name_prefix="bucket")
        self._watch = Watch(f"the bucket in {root}")

    async def __aenter__(self) -> Self:
        await asyncio.get_running_loop().run_in_executor(self._threads, self._prepare)
        await self._batcher.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self._batcher.__aexit__(kind, error, tb)
        self._threads.shutdown()

    async def put(
        self, key: str, data: bytes, *, metadata: Mapping[str, str] | None = None, media_type: str = ""
    ) -> bool:
        if metadata and self._plain:
            raise ValueError("a plain bucket has no metadata")
        tail = b"" if self._plain else make_tail(len(data), metadata or {})
        return await self._batcher.submit(_Put(self._path(key), data, tail)) is True

    async def replace(self, key: str, data: bytes, *, metadata: Mapping[str, str]) -> None:
        if self._plain:
            raise ValueError("a plain bucket has no metadata")
        await self._batcher.submit(_Put(self._path(key), data, make_tail(len(data), metadata), replace=True))

    async def put_file(self, key: str, path: Path, *, media_type: str = "") -> None:
        if not self._plain:
            raise ValueError("only a plain bucket takes files as they are")
        await asyncio.get_running_loop().run_in_executor(self._threads, self._replace, self._path(key), path)

    async def copy(
        self, source: str, key: str, data: bytes, *, metadata: Mapping[str, str], media_type: str = ""
    ) -> bool | None:
        # A second name for the same file, which gets a second tail. No file is made and none is deleted: where many
        # are deleted, some file systems take long to make the next.
        if self._plain:
            raise ValueError("a plain bucket has no metadata")
        return await self._batcher.submit(_Copy(self._path(source), self._path(key), len(data), metadata))

    async def delete(self, key: str) -> None:
        path = self._path(key)
        if os.access(path, os.F_OK):
            await self._batcher.submit(_Delete(path))

    async def head(self, key: str) -> Head | None:
        found = self._find(key, 0, 0)
        return None if found is None else found[0]

    async def read(self, key: str, most: int | None = None) -> StoredObject | None:
        found = self._find(key, 0, None, SMALL_BYTES if most is None else min(SMALL_BYTES, most))
        size = 0 if found is None else found[0].size_bytes
        if size > SMALL_BYTES and (most is None or size <= most):
            found = await self._in_thread(key, 0, None)
        return None if found is None else StoredObject(*found)

    async def get(self, key: str, offset: int, length: int) -> bytes | None:
        found = await self._in_thread(key, offset, length)
        return None if found is None else found[1]

    async def page(self, prefix: str, *, after: str = "", limit: int = MAX_PAGE) -> Sequence[Entry]:
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._listing.page, prefix, after, limit)

    async def walk(self, folder: str, size: int = MAX_PAGE) -> AsyncIterator[Sequence[Entry]]:
        loop = asyncio.get_running_loop()
        # The folder is read on from where it was, never again from its start; what is deleted meanwhile is no harm.
        keys = self._listing.keys(folder)
        while page := await loop.run_in_executor(self._threads, lambda: list(itertools.islice(keys, size))):
            yield await loop.run_in_executor(self._threads, self._listing.entries, page)

    async def link(self, key: str, lifetime: timedelta) -> str | None:
        return None

    def _path(self, key: str) -> str:
        folder, _, name = key.partition("/")
        if not folder or not name or key.startswith(".") or "!" in key or "\0" in key or "/." in key:
            raise ValueError(f"{key!r} cannot be a key")
        return f"{self._root}/{folder}/{name if self._plain else name.replace('/', '!')}"

    def _replace(self, path: str, source: Path) -> None:
        fresh = f"{self._root}/{_PARTIAL}/{secrets.token_hex(12)}"
        try:
            shutil.copyfile(source, fresh)
            synchronise(fresh, os.O_RDONLY)
            make_folder(Path(path).parent)
            os.replace(fresh, path)  # noqa: PTH105 - beside its kin
            synchronise(str(Path(path).parent))
        except OSError as error:
            Path(fresh).unlink(missing_ok=True)
            raise _unavailable(error) from error

    async def _in_thread(self, key: str, offset: int, length: int | None) -> tuple[Head, bytes] | None:
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._find, key, offset, length)

    def _find(self, key: str, offset: int, length: int | None, most: int | None = None) -> tuple[Head, bytes] | None:
        """An object and some of its bytes: none at all if it has more than `most`."""
        try:
            return self._read(self._path(key), offset, length, most)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _unavailable(error) from error

    def _read(self, path: str, offset: int, length: int | None, most: int | None) -> tuple[Head, bytes]:
        handle = os.open(path, os.O_RDONLY)
        try:
            facts = os.fstat(handle)
            tail = Tail(facts.st_size, {}) if self._plain else find_tail(_end_of(handle, facts.st_size))
            if tail is None:
                raise OSError(f"{path} is damaged")
            size = tail.size_bytes
            wanted = max(0, min(size - offset, size if length is None else length))
            if most is not None and size > most:
                wanted = 0
            data = os.pread(handle, wanted, offset) if wanted else b""
            if len(data) != wanted:
                raise OSError(f"{path} has {len(data)} bytes where {wanted} should be")
            return Head(size, tail.metadata, moment(facts)), data
        finally:
            os.close(handle)

    def _prepare(self) -> None:
        partial = self._root / _PARTIAL
        partial.mkdir(mode=0o700, parents=True, exist_ok=True)
        for left in partial.iterdir():
            if time.time() - left.stat().st_mtime > LEFTOVER_SECONDS:
                left.unlink(missing_ok=True)

    async def _write(self, group: Sequence[_Write]) -> Sequence[bool | Exception | None]:
        moment = self._now().timestamp()
        results = await asyncio.get_running_loop().run_in_executor(self._threads, self._write_group, group, moment)
        self._watch.note(next((result for result in results if isinstance(result, StoreUnavailable)), None))
        return results

    def _write_group(self, group: Sequence[_Write], moment: float) -> Sequence[bool | Exception | None]:
        """Bytes first and durable, then names, then the folders that hold the names."""
        begun = [_attempt(self._begin, item, moment) for item in group]
        fresh = [file_begun for file_begun in begun if isinstance(file_begun, _Fresh)]
        try:
            for index, file_begun in enumerate(begun):
                if isinstance(file_begun, _Fresh) and isinstance(
                    failed := _attempt(os.fsync, file_begun.handle), ServiceError
                ):
                    begun[index] = failed
            results = [
                file_begun if isinstance(file_begun, ServiceError) else _attempt(_finish, file_begun, item)
                for file_begun, item in zip(begun, group, strict=True)
            ]
        finally:
            for file_begun in fresh:
                os.close(file_begun.handle)
                # What was renamed is gone; what failed before that must not stay.
                if file_begun.temporary:
                    with contextlib.suppress(FileNotFoundError):
                        os.unlink(file_begun.path)  # noqa: PTH108 - three times as fast as a Path
        for folder in {item.path.rpartition("/")[0] for item in group}:
            if isinstance(failed := _attempt(synchronise, folder), ServiceError):
                return [failed] * len(group)
        return results

    def _begin(self, item: _Write, moment: float) -> _Fresh | None:
        if isinstance(item, _Delete):
            return None
        if isinstance(item, _Copy):
            return _append(item)
        path = f"{self._root}/{_PARTIAL}/{secrets.token_hex(12)}"
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            for part in (item.data, item.tail):
                view = memoryview(part)
                while view:
                    view = view[os.write(handle, view) :]
            os.utime(handle, (moment, moment))
            # Only a hint, and one that may be missing: the disk begins with all of the group before we wait for any.
            if hasattr(_LIBC, "sync_file_range"):
                _LIBC.sync_file_range(handle, ctypes.c_int64(0), ctypes.c_int64(0), _SYNC_FILE_RANGE_WRITE)
        except OSError:
            os.close(handle)
            Path(path).unlink()
            raise
        return _Fresh(handle, path)


def _attempt(step: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | ServiceError:
    try:
        return step(*args, **kwargs)
    except OSError as error:
        return _unavailable(error)


def _append(copy: _Copy) -> _Fresh | None:
    """Write new metadata behind the old. The old is there still, until all of the new is."""
    try:
        handle = os.open(copy.source, os.O_RDWR | os.O_APPEND)
    except FileNotFoundError:
        return None
    try:
        found = find_tail(_end_of(handle, os.fstat(handle).st_size))
        if found is None:
            raise OSError(f"{copy.source} is damaged")
        if found.size_bytes != copy.size_bytes:
            os.close(handle)
            return None
        # What the source says stays true of it.
        metadata = {**found.metadata, **copy.metadata}
        # Where the name is taken it is not given again, and may be this file's: then its metadata stands.
        if metadata != found.metadata and not os.access(copy.path, os.F_OK):
            os.write(handle, make_tail(found.size_bytes, metadata))
    except OSError:
        os.close(handle)
        raise
    return _Fresh(handle, copy.source, temporary=False)


def _finish(fresh: _Fresh | None, item: _Write) -> bool | None:
    """Give a file its name, or take a name away. False if an object has the name, None if there is nothing to name."""
    if isinstance(item, _Delete):
        Path(item.path).unlink(missing_ok=True)
        return True
    if fresh is not None and isinstance(item, _Put) and item.replace:
        return rename(fresh.path, item.path)
    return None if fresh is None else link(fresh.path, item.path)


def _end_of(handle: int, size: int) -> bytes:
    """The last bytes of a file, enough for its tail."""
    start = max(0, size - MAX_TAIL)
    return os.pread(handle, size - start, start)


def _unavailable(error: OSError) -> ServiceError:
    return StoreUnavailable(f"The folder of a bucket failed: {error.strerror or error}.")
