"""The port for bytes: what a bucket must be able to do. Three adapters are held to one conformance suite.

Objects never change: they are made whole, once, and deleted; only `replace` and `put_file` may make one again. There is
no move: a copy and then a replacement can be repeated from any point. Whoever copies has the object's bytes, has seen
that their digest still holds, and hands them on; a store that can do without them does.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol

MAX_PAGE = 1_000
"""Objects in one page of a listing."""


@dataclass(frozen=True, slots=True)
class Entry:
    """An object in a listing."""

    key: str
    modified_at: datetime
    size_bytes: int
    """What it takes in the store: its bytes, and perhaps what stands beside them. 0 if, and only if, it is empty."""


@dataclass(frozen=True, slots=True)
class Head:
    """What an object is, without its bytes."""

    size_bytes: int
    metadata: Mapping[str, str]
    modified_at: datetime


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object with its bytes."""

    head: Head
    data: bytes


class ObjectReader(Protocol):
    """What may look into a bucket."""

    async def head(self, key: str) -> Head | None:
        """What is stored there, if anything."""

    async def read(self, key: str, most: int | None = None) -> StoredObject | None:
        """All of it; of what is longer than `most` bytes the head alone, and no bytes."""

    async def get(self, key: str, offset: int, length: int) -> bytes | None:
        """Bytes from `offset` on, at most `length`; fewer at the end."""


class Bucket(ObjectReader, Protocol):
    """A place for objects. Every method raises StoreUnavailable when the store is away; then anything may be true.

    Keys are texts of parts joined by `/`. Metadata is ASCII, with lower-case names, at most 1 KiB in all.
    """

    async def put(
        self, key: str, data: bytes, *, metadata: Mapping[str, str] | None = None, media_type: str = ""
    ) -> bool:
        """Make an object if there is none. Whole or not at all, with its metadata, durable when this returns.

        True if it was made, False if there was one; of several at once exactly one gets True.
        """

    async def replace(self, key: str, data: bytes, *, metadata: Mapping[str, str]) -> None:
        """Make an object, in the place of what is there: whoever reads finds the one or the other. Durable."""

    async def copy(
        self, source: str, key: str, data: bytes, *, metadata: Mapping[str, str], media_type: str = ""
    ) -> bool | None:
        """Make an object of what is stored at `source`, whose bytes are `data`, with this metadata. Otherwise as `put`.

        None if there is nothing at `source`, or something of another length; but a store may make the object all the
        same. The source may get the metadata, too, and the object may have that of the source beside it.
        """

    async def put_file(self, key: str, path: Path, *, media_type: str = "") -> None:
        """Make an object of a file, however large, or replace one by it: whole or not at all, and durable."""

    async def delete(self, key: str) -> None:
        """Delete it, durably. Nothing there is fine."""

    async def page(self, prefix: str, *, after: str = "", limit: int = MAX_PAGE) -> Sequence[Entry]:
        """Objects whose keys begin with `prefix` and come after `after`, in the order of keys.

        `prefix` ends with `/`, or is empty: all objects.

        For few of many: a store may look at all of the folder each time.
        """

    def walk(self, folder: str, size: int = MAX_PAGE) -> AsyncIterator[Sequence[Entry]]:
        """Every object of a folder (`inputs/`), in any order, at most `size` at a time; looks at each once.

        What is made or deleted meanwhile may be among them or not.
        """

    async def link(self, key: str, lifetime: timedelta) -> str | None:
        """An HTTPS link by which anybody can read the object for a while. None if this store makes none."""
