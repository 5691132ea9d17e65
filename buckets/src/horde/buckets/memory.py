"""A bucket in a dict: for tests, and for a mesh that may forget."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path

from horde.buckets.port import MAX_PAGE, Entry, Head, StoredObject


class MemoryBucket:
    """Lives as long as the process."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._objects: dict[str, StoredObject] = {}

    async def put(
        self, key: str, data: bytes, *, metadata: Mapping[str, str] | None = None, media_type: str = ""
    ) -> bool:
        if key in self._objects:
            return False
        self._objects[key] = StoredObject(Head(len(data), dict(metadata or {}), self._now()), bytes(data))
        return True

    async def replace(self, key: str, data: bytes, *, metadata: Mapping[str, str]) -> None:
        self._objects[key] = StoredObject(Head(len(data), dict(metadata), self._now()), bytes(data))

    async def put_file(self, key: str, path: Path, *, media_type: str = "") -> None:
        data = await asyncio.to_thread(path.read_bytes)
        self._objects[key] = StoredObject(Head(len(data), {}, self._now()), data)

    async def copy(
        self, source: str, key: str, data: bytes, *, metadata: Mapping[str, str], media_type: str = ""
    ) -> bool | None:
        there = self._objects.get(source)
        if there is None or there.head.size_bytes != len(data):
            return None
        return await self.put(key, there.data, metadata={**there.head.metadata, **metadata})

    async def head(self, key: str) -> Head | None:
        found = self._objects.get(key)
        return None if found is None else found.head

    async def read(self, key: str, most: int | None = None) -> StoredObject | None:
        found = self._objects.get(key)
        if found is None or most is None or found.head.size_bytes <= most:
            return found
        return StoredObject(found.head, b"")

    async def get(self, key: str, offset: int, length: int) -> bytes | None:
        found = self._objects.get(key)
        return None if found is None else found.data[offset : offset + length]

    async def delete(self, key: str) -> None:
        self._objects.pop(key, None)

    async def page(self, prefix: str, *, after: str = "", limit: int = MAX_PAGE) -> Sequence[Entry]:
        keys = sorted(key for key in self._objects if key.startswith(prefix) and key > after)
        heads = ((key, self._objects[key].head) for key in keys[:limit])
        return [Entry(key, head.modified_at, head.size_bytes) for key, head in heads]

    async def walk(self, folder: str, size: int = MAX_PAGE) -> AsyncIterator[Sequence[Entry]]:
        keys = [key for key in self._objects if key.startswith(folder)]
        for start in range(0, len(keys), size):
            found = [(key, self._objects.get(key)) for key in keys[start : start + size]]
            yield [Entry(key, there.head.modified_at, there.head.size_bytes) for key, there in found if there]

    async def link(self, key: str, lifetime: timedelta) -> str | None:
        return None

    def keys(self) -> list[str]:
        """Every key there is, sorted."""
        return sorted(self._objects)
