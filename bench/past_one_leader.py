"""What so many images a second and 100,000 workers would need, past one leader: on paper only.

    python bench/past_one_leader.py

Reckoned as `horde capacity` does, from what `make bench-capacity` has measured, but without its end where one leader
bears no more: it says how many pools of models, each with a leader, would bear it. Prints a table in Markdown, that of
ARCHITECTURE.md.
"""

from __future__ import annotations

import json
import math
import sys
from importlib.resources import files

from horde.cli.capacity.reckoning import FILL, Capacity, Wanted

RATES = (10, 100, 1_000)
WORKERS = 100_000
OF_A_GATEWAY = 10_000
"""Workers that one gateway is known to bear: `make crowd`."""


def rows(capacity: Capacity) -> list[tuple[str, ...]]:
    """Each service and server with what it needs, by rate."""
    table: list[tuple[str, ...]] = []
    asked = [Wanted(rate, WORKERS) for rate in RATES]

    def row(name: str, say: str, *values: float) -> None:
        table.append((name, *(say.format(value) for value in values)))

    for name in ("gateway", "storage-router"):
        cores = [capacity.cores(wanted, name) for wanted in asked]
        least = WORKERS // OF_A_GATEWAY + 1 if name == "gateway" else 2
        needed = [max(least, math.ceil(used / FILL) + 1) for used in cores]
        table.append((name, *(f"{n} processes, {used:.2f} cores" for n, used in zip(needed, cores, strict=True))))
    for name in ("scheduler", "ledger"):
        cores = [capacity.cores(wanted, name) for wanted in asked]
        table.append((name, *(f"{math.ceil(used / FILL)} leading, {used:.2f} cores" for used in cores)))
    cores = [capacity.cores(wanted, "postgresql") for wanted in asked]
    commits = [capacity.image(wanted, "commits") * wanted.images_per_second for wanted in asked]
    table.append(
        ("PostgreSQL", *(f"{used:.2f} cores, {n:.0f} commits/s" for used, n in zip(cores, commits, strict=True)))
    )
    row("Redis", "{:.2f} cores", *(capacity.cores(wanted, "redis") for wanted in asked))
    row(
        "S3",
        "{:.0f} requests/s",
        *(capacity.image(wanted, "s3_requests") * wanted.images_per_second for wanted in asked),
    )
    return table


def main() -> int:
    measured = json.loads((files("horde.cli.capacity") / "measured.json").read_text())
    print(f"| {WORKERS:,} workers and | " + " | ".join(f"{rate:,} images/s" for rate in RATES) + " |")
    print("|---" * (len(RATES) + 1) + "|")
    for cells in rows(Capacity(measured)):
        print("| " + " | ".join(cells) + " |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
