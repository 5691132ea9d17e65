"""One part of a release: some journal entries in, shards with their rows out, and a note that it is done.

A part is what is repeated after a crash. Its bytes follow from the plan, the bucket, and the parts before it.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

from horde.data_releases.catalogue import Catalogue, Released, position
from horde.data_releases.core.columns import Measured, Place, describe
from horde.data_releases.core.gate import WAITING, Reason, judge
from horde.data_releases.core.plan import Plan
from horde.data_releases.core.pseudonyms import Pseudonyms
from horde.data_releases.core.statistics import Statistics
from horde.data_releases.pictures import Damaged, Prepared, prepare
from horde.data_releases.shards import File, ShardWriter
from horde.data_releases.shared_side import Candidate, SharedSide

AHEAD: Final = 32
"""Images on their way at once. Memory is bounded by them: each may have the bytes of the largest image."""

T = TypeVar("T")
R = TypeVar("R")


@dataclass(slots=True)
class PartNote:
    """What a part came to. Its files hold the rest."""

    number: int
    files: list[tuple[str, str, int]]
    """Name, SHA-256 and bytes of each."""
    statistics: Statistics
    leans_on: list[str]
    """Images of this release by which others were found to be duplicates, or marked: without those, it may differ."""
    undecided: list[str]
    """For the next release."""

    def to_json(self) -> bytes:
        plain = {
            "number": self.number,
            "files": self.files,
            "statistics": self.statistics.to_json(),
            "leans_on": self.leans_on,
            "undecided": self.undecided,
        }
        return json.dumps(plain, indent=1, sort_keys=True).encode()

    @classmethod
    def from_json(cls, data: bytes) -> PartNote:
        plain = json.loads(data)
        return cls(
            plain["number"],
            [(name, sha256, size) for name, sha256, size in plain["files"]],
            Statistics.from_json(plain["statistics"]),
            plain["leans_on"],
            plain["undecided"],
        )


@dataclass(slots=True)
class BuiltPart:
    """A part with its files still on this disk."""

    note: PartNote
    files: Sequence[File]


@dataclass(slots=True)
class _Gathered:
    statistics: Statistics = field(default_factory=Statistics)
    leans_on: set[str] = field(default_factory=set)
    undecided: list[str] = field(default_factory=list)


class PartBuilder:
    """Builds parts of one release, one after the other."""

    def __init__(
        self,
        plan: Plan,
        release_number: int,
        shared: SharedSide,
        catalogue: Catalogue,
        names: Pseudonyms,
        threads: Executor,
        folder: Path,
    ) -> None:
        self._plan = plan
        self._release_number = release_number
        self._shared = shared
        self._catalogue = catalogue
        self._names = names
        self._threads = threads
        self._folder = folder

    async def build(self, number: int, ids: Sequence[str]) -> BuiltPart:
        """Build a part of these entries, in their order. The catalogue must hold all parts before it."""
        gathered = _Gathered()
        with (
            self._catalogue.part(self._plan.release_id, number),
            ShardWriter(self._folder, number, self._plan.shard_bytes) as writer,
        ):
            index = 0
            async for candidate, prepared in in_order(ids, self._prepare, AHEAD):
                reason = self._add(writer, gathered, number, index, candidate, prepared)
                if reason is not None:
                    gathered.statistics.left_out[reason] += 1
                if reason in WAITING:
                    gathered.undecided.append(candidate.id)
                index += 1
            self._catalogue.lean(self._plan.release_id, number, sorted(gathered.leans_on))
        note = PartNote(
            number,
            [(file.name, file.sha256, file.size_bytes) for file in writer.files],
            gathered.statistics,
            sorted(gathered.leans_on),
            gathered.undecided,
        )
        return BuiltPart(note, writer.files)

    async def _prepare(self, image_id: str) -> tuple[Candidate, Prepared | None]:
        if self._catalogue.is_withdrawn(image_id):
            return Candidate(image_id, reason=Reason.WITHDRAWN), None
        candidate = await self._shared.fetch(image_id)
        if candidate.reason is not None or candidate.record is None:
            return candidate, None
        reason = judge(
            candidate.record, candidate.verdict, contact_data=self._plan.contact_data, unsure=self._plan.unsure
        )
        if reason is not None:
            return Candidate(image_id, reason=reason), None
        try:
            prepared = await asyncio.get_running_loop().run_in_executor(
                self._threads, prepare, candidate.record, candidate.data
            )
        except Damaged:
            return Candidate(image_id, reason=Reason.DAMAGED), None
        return candidate, prepared

    def _add(
        self,
        writer: ShardWriter,
        gathered: _Gathered,
        number: int,
        index: int,
        candidate: Candidate,
        prepared: Prepared | None,
    ) -> Reason | None:
        record = candidate.record
        if record is None or prepared is None:
            return candidate.reason
        seq = position(self._release_number, number, index)
        if self._catalogue.find(record.id) is not None:
            return Reason.SEEN_BEFORE
        source = bytes.fromhex(record.sha256)
        if (first := self._catalogue.same_bytes(source, seq)) is not None:
            self._lean(gathered, first)
            return Reason.DUPLICATE
        near = self._catalogue.alike(prepared.phash, self._plan.near_bits, seq)
        if near is not None:
            self._lean(gathered, near)
        shard, offset = writer.place()
        measured = Measured(
            prepared.sha256, len(prepared.data), f"{prepared.phash:016x}", None if near is None else near.id
        )
        row = describe(record, measured, Place(shard, offset), candidate.verdict, self._names, "xmp")
        writer.add(row, prepared.data)
        gathered.statistics.count(row)
        sha256 = bytes.fromhex(prepared.sha256)
        release_id = self._plan.release_id
        self._catalogue.add(Released(seq, record.id, release_id, number, shard, sha256, source, prepared.phash))
        return None

    def _lean(self, gathered: _Gathered, on: Released) -> None:
        if on.release_id == self._plan.release_id:
            gathered.leans_on.add(on.id)


async def in_order(items: Iterable[T], work: Callable[[T], Coroutine[Any, Any, R]], ahead: int) -> AsyncIterator[R]:
    """Results in the order of items, with a bounded number of them under way."""
    waiting: deque[asyncio.Task[R]] = deque()
    try:
        for item in items:
            waiting.append(asyncio.create_task(work(item)))
            if len(waiting) >= ahead:
                yield await waiting.popleft()
        while waiting:
            yield await waiting.popleft()
    finally:
        for task in waiting:
            task.cancel()
