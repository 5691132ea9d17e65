"""The kit for tests of the auditor: buckets filled by the storage router's own code, and a scheduler's store that knows
of each image, asked through the scheduler's own door."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

from horde.api.generation.v1 import generation_pb2
from horde.api.job.v1 import job_pb2
from horde.auditor.truth import SchedulerTruth
from horde.buckets.port import Bucket
from horde.scheduler.core.job import Ending, JobState
from horde.scheduler.core.rows import Row
from horde.scheduler.doors.servicer import ALLOW, scheduler_registration
from horde.scheduler.doors.settled_reading import SettledReading
from horde.scheduler.store.memory import MemoryStore
from horde.scheduler.store.port import Store
from horde.services.server import Registration
from horde.storage_router.core import keys
from horde.storage_router.core.orders import CommitOrder
from horde.storage_router.core.pictures import ImageFormat
from horde.storage_router.core.placement import Placement, PlacementFacts
from horde.storage_router.core.records import Content, Quarantined
from horde.storage_router.private_images import PrivateImages
from horde.storage_router.quarantine import Quarantine
from horde.testkit.data_releases import FORMATS, Sharing, job_id
from horde.testkit.loopback import loopback
from horde.testkit.storage_router import paint

KEPT: Final = timedelta(days=30)


class _SettledAlone:
    """The scheduler's parts, of which there is one."""

    def __init__(self, store: Store) -> None:
        self.settled_reading = SettledReading(store)

    def __getattr__(self, name: str) -> None:
        """Nothing of the others is called."""


def settled_door(store: Store) -> Registration:
    """The scheduler's service, for who asks what was settled."""
    parts: Any = _SettledAlone(store)
    return scheduler_registration(parts)


@dataclass
class SettledMesh:
    """What a mesh has painted, and what it knows of that."""

    sharing: Sharing
    private: Bucket
    store: MemoryStore = field(default_factory=MemoryStore)

    async def share(self, number: int) -> str:
        """A shared image that is done; gives its job."""
        await self.sharing.share(number)
        form = FORMATS[number % len(FORMATS)]
        data = paint(form.name, 64, 64, number)
        self.note(job_id(number), Content(hashlib.sha256(data).hexdigest(), len(data), form, 64, 64))
        return job_id(number)

    async def keep(self, number: int) -> str:
        """A private image that is done; gives its job."""
        now = self.sharing.clock.now
        data = paint("WEBP", 64, 64, number)
        content = Content(hashlib.sha256(data).hexdigest(), len(data), ImageFormat.WEBP, 64, 64)
        order = CommitOrder(
            job_id=job_id(number),
            lease_id=f"1.{number}",
            requester=f"user-{number}",
            sha256=content.sha256,
            placement=Placement.PRIVATE,
            facts=PlacementFacts(anonymous=False, asked=False, has_input=False, consent_text_version=""),
            object_name=self.object_name(number),
            keep_for=KEPT,
            accepted_at=now(),
            made={},
        )
        quarantine = Quarantine(self.private)
        record = Quarantined(content, Placement.PRIVATE, now())
        await quarantine.store(order.job_id, order.lease_id, data, record)
        await PrivateImages(self.private, now).place(order, content, data)
        await quarantine.close(order.job_id, order.lease_id, record)
        self.note(order.job_id, content, private=order.object_name)
        return order.job_id

    @staticmethod
    def object_name(number: int) -> str:
        """Of a private image."""
        return hashlib.sha256(str(number).encode()).hexdigest()[:32]

    def private_key(self, number: int) -> str:
        """Where a private image lies."""
        return keys.private_image(self.object_name(number))

    def note(self, job: str, content: Content, *, private: str = "") -> None:
        """Have the scheduler know that it is done."""
        now_ms = int(self.sharing.clock.now().timestamp() * 1000)
        placement = job_pb2.PLACEMENT_PRIVATE if private else job_pb2.PLACEMENT_SHARED
        self.store.memory.generations[job] = {
            "generation_id": job,
            "quote": generation_pb2.Quote(placement=placement).SerializeToString(),
            "checks": "",
        }
        self.store.memory.jobs[job] = {
            "job_id": job,
            "generation_id": job,
            "position": 0,
            "object_name": private or hashlib.sha256(job.encode()).hexdigest()[:32],
            "state": int(JobState.ENDED),
            "ending": int(Ending.DONE),
            "sha256": bytes.fromhex(content.sha256),
            "size_bytes": content.size_bytes,
            "format": {"PNG": 1, "JPEG": 2, "WEBP": 3}[content.format.name],
            "expires_at_ms": now_ms + int(KEPT.total_seconds() * 1000) if private else 0,
            "withdrawn": False,
            "ended_at_ms": now_ms,
        }

    def job(self, job: str) -> Row:
        """What the scheduler knows, to be changed."""
        return self.store.memory.jobs[job]

    @asynccontextmanager
    async def truth(self) -> AsyncIterator[SchedulerTruth]:
        """What the auditor asks: the scheduler's own door, with who may come through it."""
        async with loopback([settled_door(self.store)], caller="auditor", allow=ALLOW) as served:
            yield SchedulerTruth(served.channel)
