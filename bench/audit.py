"""What one look of the auditor costs, beside small and large buckets: it must be the same.

    python bench/audit.py --images 50000 200000

The scheduler's store is real (SQLite) and is asked over gRPC; the bucket's listing is made up, sorted, in memory, as an
S3 server would answer it. Nothing is wrong in it, so this is what it costs day by day.
"""

from __future__ import annotations

import argparse
import asyncio
import bisect
import resource
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid5

from sqlalchemy import insert

from horde.api.generation.v1 import generation_pb2
from horde.api.job.v1 import job_pb2
from horde.auditor.shared_audit import Place, SharedAudit
from horde.auditor.truth import SchedulerTruth
from horde.buckets.memory import MemoryBucket
from horde.buckets.port import MAX_PAGE, Entry
from horde.scheduler.doors.servicer import ALLOW
from horde.scheduler.store.sql import SqlStore, sql_store
from horde.scheduler.store.tables import GENERATION, JOB
from horde.testkit.auditor import settled_door
from horde.testkit.loopback import loopback

SLICE = 20_000
BATCH = 10_000
NOW = datetime.now(UTC)
SPACE = UUID(int=7)


class Listing(MemoryBucket):
    """A bucket that lists an image and its record for each job."""

    def __init__(self, jobs: Sequence[str]) -> None:
        super().__init__(lambda: NOW)
        self._keys = [f"images/{job}.{ending}" for job in jobs for ending in ("json", "webp")]
        self.calls = 0

    async def page(self, prefix: str, *, after: str = "", limit: int = MAX_PAGE) -> Sequence[Entry]:
        start = bisect.bisect_right(self._keys, after)
        self.calls += -(-limit // MAX_PAGE)
        return [Entry(key, NOW, 7) for key in self._keys[start : start + limit]]


async def fill(store: SqlStore, images: int) -> list[str]:
    """So many shared images that are done, one of a generation each; gives their jobs in order."""
    quote = generation_pb2.Quote(placement=job_pb2.PLACEMENT_SHARED).SerializeToString()
    texts = {"request_id": "", "account_id": "a", "flow": "", "traceparent": "", "checks": ""}
    zeros = {"digest": b"", "spec": b"s", "seed": 0, "weight": 1.0, "accepted_at_ms": 0, "ttl_ms": 0, "phase": 3}
    flags = {"refusal": b"", "claimed": False, "unusable": b"", "cancelled": False, "closed": True, "over_at_ms": None}
    done = {"position": 0, "state": 5, "ending": 1, "version": 5, "leases": "", "winner": "", "earned_mkudos": 0}
    paid = {"tax_mkudos": 0, "surcharge_mkudos": 0, "size_bytes": 7, "format": 3, "expires_at_ms": 0}
    rest = {"deviations": b"", "committed": True, "settlement": b"", "detail": "", "withdrawn": False, "leavings": ""}
    columns = {column.name for column in JOB.columns}
    jobs = [str(uuid5(SPACE, str(number))) for number in range(images)]
    for start in range(0, images, BATCH):
        some = jobs[start : start + BATCH]
        generations = [{"generation_id": job, "quote": quote, **texts, **zeros, **flags} for job in some]
        rows = [
            {
                "job_id": job,
                "generation_id": job,
                "object_name": job[:32],
                "sha256": bytes(32),
                "ended_at_ms": start + index,
                **{name: value for name, value in {**done, **paid, **rest}.items() if name in columns},
            }
            for index, job in enumerate(some)
        ]

        def work(connection: Any, generations: Any = generations, rows: Any = rows) -> None:
            connection.execute(insert(GENERATION), generations)
            connection.execute(insert(JOB), rows)

        await store._sql.run(work)
    return sorted(jobs)


async def measure(images: int, folder: Path) -> None:
    async with sql_store(f"sqlite:///{folder / f'{images}.db'}") as store:
        bucket = Listing(await fill(store, images))
        async with loopback([settled_door(store)], caller="auditor", allow=ALLOW) as served:
            audit = SharedAudit(bucket, SchedulerTruth(served.channel), lambda: NOW, timedelta(0), 0)
            place, looks, began, cpu = Place(), 0, time.perf_counter(), time.process_time()
            longest = 0.0
            while looks < 20:
                at = time.perf_counter()
                found = await audit.slice(place, SLICE)
                longest = max(longest, time.perf_counter() - at)
                assert not found.findings, found.findings[:3]
                looks, place = looks + 1, found.place
                if not place.key:
                    break
            seconds, cpu = (time.perf_counter() - began) / looks, (time.process_time() - cpu) / looks
        rounds = -(-2 * images // SLICE)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(
            f"{images} images: a look at {min(SLICE, 2 * images)} objects {seconds * 1000:.0f} ms (longest "
            f"{longest * 1000:.0f}), CPU {cpu * 1000:.0f} ms with the scheduler's part, "
            f"{bucket.calls // looks} listing calls; a way round: {rounds} looks, {rounds / 60:.1f} h at one a minute; "
            f"peak memory {peak:.0f} MiB with the made-up listing"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, nargs="+", default=[50_000, 200_000])
    with tempfile.TemporaryDirectory() as name:
        for images in parser.parse_args().images:
            asyncio.run(measure(images, Path(name)))


if __name__ == "__main__":
    main()
