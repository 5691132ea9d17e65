"""Images of all kinds while routers are killed and the store fails, is slow and comes back: `make soak-storage`.

Ends with what the requesters were told, what lies in the buckets, and what the auditor says to both; then three faults
are planted, which it must find. Exit status 1 if anything is not as it must be.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from math import inf
from pathlib import Path

from horde.api.job.v1.job_pb2 import Placement
from horde.testkit.storage_remains import PLANTED
from horde.testkit.storage_soak import soaking


async def run(jobs: int, count: int, on_s3: bool, calm: float, most_seconds: float, folder: Path) -> bool:
    async with soaking(folder, on_s3=on_s3) as soak:
        began = time.monotonic()

        def say(line: str) -> None:
            print(f"{time.monotonic() - began:6.0f} s  {line}", file=sys.stderr, flush=True)

        await soak.run(jobs, count, calm, say, enough=lambda: time.monotonic() - began > most_seconds)
        came, seconds = soak.came, time.monotonic() - began
        print(f"{came.jobs} jobs in {seconds:.0f} s, {came.jobs / seconds:.1f} a second: {dict(came.endings)}")
        print(f"{len(came.withdrawn)} withdrawn; disturbed {sum(came.disturbed.values())} times:")
        for what, times in sorted(came.disturbed.items()):
            print(f"  {times:4} x {what}")
        began = time.monotonic()
        findings = await soak.settled()
        print(f"the auditor took {time.monotonic() - began:.1f} s")
        wrong = soak.judge(findings)
        for what, number in wrong.items():
            print(f"  {number:4} {what}")
        for finding in findings[:20]:
            print(finding)
        for job_id in sorted(soak.remains.left().shared - came.done[Placement.PLACEMENT_SHARED])[:20]:
            print(f"a stranger: {job_id}, withdrawn: {job_id in came.withdrawn}, {soak.remains.files_of(job_id)}")
        planted = await soak.found_after_planting()
        print(f"planted three faults; found: {', '.join(planted)}")
        return not any(wrong.values()) and planted == PLANTED


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=100_000)
    parser.add_argument("--images", type=int, default=10, help="of one generation")
    parser.add_argument("--store", choices=("folders", "s3"), default="folders")
    parser.add_argument("--calm", type=float, default=5.0, help="seconds between two disturbances")
    parser.add_argument("--minutes", type=float, default=inf, help="after which nothing more is asked for")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        fine = asyncio.run(
            run(options.jobs, options.images, options.store == "s3", options.calm, 60 * options.minutes, Path(name))
        )
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
