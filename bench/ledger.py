"""The ledger's numbers, all durable: run it with `make bench-ledger`, or one part with `python bench/ledger.py PART`.

Parts: transfers (PostgreSQL, group writer against row locks), sqlite, latency, lives (through gRPC), audit. Schemes
take turns in each run and medians are told, because a machine is never the same twice; a short loop of pure CPU beside
it says how fast it was, and some writes how long its disk takes to make one durable. On that depends what grouping is
worth, so the transfers are measured twice: on this disk, and as on one that takes SLOW_COMMIT_MS (`commit_delay` of
PostgreSQL, which makes each flush wait so long, for both schemes; flushes are shared as ever).
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

from ledger_audit import audit_bench
from ledger_lives import lives_bench
from ledger_transfers import (
    gifts,
    group_rate,
    half_load,
    middle,
    pairs,
    row_lock_rate,
    sqlite_single_rate,
)

from horde.ledger.__main__ import TURN_S
from horde.services.lifecycle import spare_the_collector
from horde.testkit.postgres import DURABLE, ThrowawayPostgres, throwaway_postgres

SLOW_COMMIT_MS = 4
"""What a durable write takes on ordinary disks without a battery behind them, and took where the goals were set."""
SERVER = {
    **DURABLE,
    "shared_buffers": "256MB",
    "max_wal_size": "4GB",
    "min_wal_size": "2GB",
    "checkpoint_timeout": "30min",
}


@contextmanager
def emptied(server: ThrowawayPostgres) -> Iterator[str]:
    """An empty database, dropped afterwards. That makes a checkpoint: no run pays for what another left to be written,
    and the files of the log are there to be used again."""
    url = server.database()
    yield url
    server.drop(url)


def warm_up(server: ThrowawayPostgres, count: int, seconds: float) -> None:
    """Do once, uncounted, what is measured. A server that has just been started has no memory mapped and no files for
    its log yet, and to make those took a backend more time than all the rest of a commit."""
    with emptied(server) as url:
        asyncio.run(group_rate(url, gifts(count, False, 1_000)))
    with emptied(server) as url:
        asyncio.run(row_lock_rate(url, pairs(int(seconds * 5_000), False, 1_000), seconds))


def calibrate() -> float:
    """Millions of short hashes per second of one core: how fast this machine is just now."""
    began = time.perf_counter()
    for _ in range(200_000):
        sha256(b"calibrate").digest()
    return 0.2 / (time.perf_counter() - began)


def durable_write_ms(folder: str) -> float:
    """Milliseconds to make one page durable."""
    took = []
    with tempfile.TemporaryFile(dir=folder) as file:
        for _ in range(100):
            os.pwrite(file.fileno(), bytes(8192), 0)
            began = time.perf_counter()
            os.fdatasync(file.fileno())
            took.append((time.perf_counter() - began) * 1e3)
    return middle(took)


def say(text: str) -> None:
    print(text, flush=True)


def transfers(server: ThrowawayPostgres, runs: int, count: int, seconds: float, disk: str) -> float:
    """The group writer against row locks. Returns the writer's rate with uniform accounts."""
    seen: dict[str, list[float]] = {"group uniform": [], "group hot": [], "rows uniform": [], "rows hot": []}
    cpu: list[float] = []
    warm_up(server, count, seconds)
    for run in range(runs):
        for hot, name in ((False, "uniform"), (True, "hot")):
            with emptied(server) as url:
                rate, per_gift = asyncio.run(group_rate(url, gifts(count, hot, run)))
            seen[f"group {name}"].append(rate)
            cpu.append(per_gift)
            work = pairs(int(seconds * 5_000), hot, run)
            with emptied(server) as url:
                seen[f"rows {name}"].append(asyncio.run(row_lock_rate(url, work, seconds)))
        say(
            f"  run {run + 1}: "
            + ", ".join(f"{k} {v[-1]:,.0f}/s" for k, v in seen.items())
            + f"; cpu {calibrate():.2f}"
        )
    mid = {name: middle(rates) for name, rates in seen.items()}
    say(f"PostgreSQL, fsync on, {disk}, medians: " + ", ".join(f"{name} {rate:,.0f}/s" for name, rate in mid.items()))
    say(f"  uniform: {mid['group uniform'] / mid['rows uniform']:.1f}x row locks (goal 8x)")
    say(f"  all hot: {mid['group hot'] / mid['rows hot']:.1f}x row locks (goal 50x)")
    say(f"  hot / uniform of the group writer: {mid['group hot'] / mid['group uniform']:.2f} (goal 0.9)")
    say(f"  CPU of this process for one transfer: {middle(cpu):.0f} us")
    return mid["group uniform"]


def sqlite(runs: int, count: int, seconds: float) -> None:
    grouped, single = [], []
    for run in range(runs):
        with tempfile.TemporaryDirectory(prefix="ledger-bench-") as name:
            grouped.append(asyncio.run(group_rate(f"sqlite:///{name}/group.db", gifts(count, False, run)))[0])
            work = pairs(int(seconds * 5_000), False, run)
            single.append(asyncio.run(sqlite_single_rate(Path(name), work, seconds)))
        say(f"  run {run + 1}: group {grouped[-1]:,.0f}/s, one commit each {single[-1]:,.0f}/s; cpu {calibrate():.2f}")
    ratio = middle(grouped) / middle(single)
    rates = f"group {middle(grouped):,.0f}/s, one commit each {middle(single):,.0f}/s"
    say(f"SQLite, WAL, FULL, medians: {rates}, {ratio:.1f}x")


def latency(server: ThrowawayPostgres, rate: float, seconds: float) -> None:
    with emptied(server) as url:
        took = asyncio.run(half_load(url, rate / 2, seconds, 99))
    p50, p99 = took[len(took) // 2], took[int(len(took) * 0.99)]
    say(f"Commit at half load ({rate / 2:,.0f}/s, calls of 32): p50 {p50:.1f} ms, p99 {p99:.1f} ms")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "part", nargs="?", default="all", choices=["all", "transfers", "sqlite", "latency", "lives", "audit"]
    )
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--count", type=int, default=40_000, help="transfers in one run of the group writer")
    parser.add_argument("--seconds", type=float, default=4.0, help="length of one run of the others")
    parser.add_argument("--transfers", type=int, default=1_000_000, help="size of the audited journal")
    parser.add_argument("--lives", type=int, default=20_000, help="job lives in one run")
    asked = parser.parse_args()
    # As the process of the ledger does; the other schemes run in this process, too.
    spare_the_collector()
    sys.setswitchinterval(TURN_S)
    say(f"calibration: {calibrate():.2f} M hashes/s of one core; {durable_write_ms('/tmp'):.2f} ms for a durable write")
    with throwaway_postgres(SERVER) as server:
        rate = 0.0
        if asked.part in ("all", "transfers"):
            rate = transfers(server, asked.runs, asked.count, asked.seconds, "this disk")
        if asked.part in ("all", "sqlite"):
            sqlite(asked.runs, asked.count, asked.seconds)
        if asked.part in ("all", "latency"):
            if not rate:
                warm_up(server, asked.count, asked.seconds)
                with emptied(server) as url:
                    rate = asyncio.run(group_rate(url, gifts(asked.count, False, 0)))[0]
            latency(server, rate, asked.seconds * 2)
        if asked.part in ("all", "lives"):
            lives_bench(server, asked.runs, asked.lives)
        if asked.part in ("all", "audit"):
            audit_bench(server, asked.transfers)
    if asked.part in ("all", "transfers"):
        slow = {**SERVER, "commit_delay": str(SLOW_COMMIT_MS * 1000), "commit_siblings": "0"}
        with throwaway_postgres(slow) as server:
            disk = f"as on a disk of {SLOW_COMMIT_MS} ms"
            transfers(server, asked.runs, asked.count, asked.seconds, disk)
    say(f"calibration: {calibrate():.2f} M hashes/s of one core")


if __name__ == "__main__":
    main()
