"""What lies in a bucket's folder: read in threads, lazily, and never from its start again for the next page."""

from __future__ import annotations

import contextlib
import heapq
import os
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Final

from horde.buckets.port import Entry
from horde.buckets.tails import MAX_TAIL, find_tail

SHORT: Final = 1024
"""A file of at most so many bytes may be an empty object and its metadata: it is looked into."""


class Listing:
    """The objects of a bucket in a folder; `path` says where the file of a key is."""

    def __init__(self, root: str, path: Callable[[str], str], *, plain: bool) -> None:
        self._root = root
        self._path = path
        self._plain = plain

    def page(self, prefix: str, after: str, limit: int) -> list[Entry]:
        """The first objects that come after a key. All of the folder is looked at."""
        found = (key for key in self.keys(prefix) if key.startswith(prefix) and key > after)
        return self.entries(heapq.nsmallest(limit, found))

    def keys(self, prefix: str) -> Iterator[str]:
        """Keys as the folder gives them. What is deleted meanwhile is no harm."""
        if not prefix:
            # What has a name that no key may have is no object: files being made.
            with contextlib.suppress(FileNotFoundError), os.scandir(self._root) as entries:
                for top in [found for found in entries if not found.name.startswith(".")]:
                    yield from self.keys(f"{top.name}/") if top.is_dir() else (top.name,)
            return
        if self._plain:
            for folder, _, names in os.walk(f"{self._root}/{prefix}"):
                start = folder.rstrip("/")[len(f"{self._root}/") :]
                yield from (f"{start}/{name}" for name in names)
            return
        first = prefix.partition("/")[0]
        with contextlib.suppress(FileNotFoundError), os.scandir(f"{self._root}/{first}") as entries:
            for entry in entries:
                yield f"{first}/{entry.name.replace('!', '/')}"

    def entries(self, keys: Sequence[str]) -> list[Entry]:
        """What is there of these."""
        return list(filter(None, map(self._entry, keys)))

    def _entry(self, key: str) -> Entry | None:
        try:
            # A file that somebody has put beside the folders is none of ours, but it is there.
            path = self._path(key) if "/" in key else f"{self._root}/{key}"
            facts = os.stat(path)  # noqa: PTH116 - for each object of a folder
            empty = not self._plain and facts.st_size <= SHORT and _is_empty(path)
        except FileNotFoundError:
            return None
        return Entry(key, moment(facts), 0 if empty else facts.st_size)


def _is_empty(path: str) -> bool:
    with open(path, "rb") as file:  # noqa: PTH123 - for each object of a folder
        tail = find_tail(file.read(MAX_TAIL))
    return tail is not None and not tail.size_bytes


def moment(facts: os.stat_result) -> datetime:
    """When a file was written."""
    return datetime.fromtimestamp(facts.st_mtime, UTC)
