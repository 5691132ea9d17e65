"""The services' own stores in memory, which fail and dawdle as databases do, and are watched at every commit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, TypeVar

from faults.injecting import Faults
from faults.truth import Truth
from horde.buckets.memory import MemoryBucket
from horde.ledger.store import memory as ledger_memory
from horde.ledger.store.port import Batch, Head, LookUp
from horde.scheduler.core.job import GenerationId
from horde.scheduler.core.rows import Changes
from horde.scheduler.store.memory import Memory, MemoryStore

T = TypeVar("T")


class SchedulerStore(MemoryStore):
    """One leader's way to the scheduler's database."""

    def __init__(self, memory: Memory, faults: Faults, truth: Truth) -> None:
        super().__init__(memory)
        self._faults = faults
        self._truth = truth

    async def lead(self) -> int:
        await self._faults.at_store(done=False)
        return await super().lead()

    async def write(self, changes: Changes) -> frozenset[GenerationId]:
        await self._faults.at_store(done=False)
        if self.memory.epoch == self._epoch:
            self._truth.before_rows(self.memory, changes)
        taken = await super().write(changes)
        self._truth.after_rows(self.memory, changes, self._epoch)
        await self._faults.at_store(done=True)
        return taken


class LedgerMemory(ledger_memory.MemoryStore):
    """The ledger's database: what outlives its writers."""

    def __init__(self, truth: Truth) -> None:
        super().__init__()
        self._truth = truth

    def _commit(self, batch: Batch) -> None:
        self._truth.before_entries(self, batch)
        super()._commit(batch)
        self._truth.after_entries(self, batch)


class LedgerStore:
    """One writer's way to it. What is not about writing is the memory's own."""

    def __init__(self, memory: LedgerMemory, faults: Faults) -> None:
        self._memory = memory
        self._faults = faults

    def __getattr__(self, name: str) -> Any:
        return getattr(self._memory, name)

    async def take_over(self) -> Head:
        await self._faults.at_store(done=False)
        return await self._memory.take_over()

    async def look_up(self, work: Callable[[LookUp], T]) -> T:
        await self._faults.at_store(done=False)
        return await self._memory.look_up(work)

    async def write(self, previous: Head, batch: Batch) -> None:
        await self._faults.at_store(done=False)
        await self._memory.write(previous, batch)
        await self._faults.at_store(done=True)


class Bucket(MemoryBucket):
    """A bucket that is watched: `name` says which of the two."""

    def __init__(self, name: str, now: Callable[[], datetime], faults: Faults, truth: Truth) -> None:
        super().__init__(now)
        self.name = name
        self._faults = faults
        self._truth = truth

    async def put(
        self, key: str, data: bytes, *, metadata: Mapping[str, str] | None = None, media_type: str = ""
    ) -> bool:
        await self._faults.at_store(done=False)
        self._truth.put(self.name, key, data)
        made = await super().put(key, data, metadata=metadata, media_type=media_type)
        await self._faults.at_store(done=True)
        return made

    async def replace(self, key: str, data: bytes, *, metadata: Mapping[str, str]) -> None:
        await self._faults.at_store(done=False)
        self._truth.put(self.name, key, data)
        await super().replace(key, data, metadata=metadata)
        await self._faults.at_store(done=True)

    async def delete(self, key: str) -> None:
        await self._faults.at_store(done=False)
        self._truth.deleted(self.name, key)
        await super().delete(key)
        await self._faults.at_store(done=True)

    def under(self, *folders: str) -> list[str]:
        """The keys in some folders."""
        return [key for key in self._objects if key.startswith(folders)]

    def there(self, key: str) -> bytes | None:
        """What lies under a key."""
        found = self._objects.get(key)
        return None if found is None else found.data

    def of_job(self, job_id: str) -> list[str]:
        """The keys of a job's shared image and its record."""
        return [key for key in self._objects if key.startswith(f"images/{job_id}")]
