"""From so many images a second and so many workers to processes, cores, memory, disk and requests. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

FILL: Final = 0.6
"""How much of a core may be in use: the rest is for peaks, and for the other replica's part while it is away."""
LED: Final = ("ledger", "scheduler")
"""One process of each leads, and cannot be more; another stands by."""
DOORS: Final = ("gateway", "storage-router")
"""Of these as many as are needed share the work."""
SINGLE: Final = ("curation",)
DAY: Final = 86_400


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a mesh is to bear at its busiest, and what it keeps."""

    images_per_second: float
    workers: int = 100
    shared_percent: float = 20.0
    """Of a hundred images, those that are shared."""
    image_kb: float = 150.0
    private_days: float = 30.0
    """How long private images are kept."""
    history_days: float = 30.0
    """How long the scheduler remembers generations."""
    busy_percent: float = 50.0
    """The average of a day, of its busiest time."""


@dataclass(frozen=True, slots=True)
class Need:
    """One row: what somebody needs, in words and numbers."""

    who: str
    processes: int
    cores: float
    memory_mb: float
    also: str = ""


class TooMuch(Exception):
    """More than one leader can do; the message says what is the most."""


class Capacity:
    """Reckons by measured figures."""

    def __init__(self, measured: Mapping[str, Any]) -> None:
        self._measured = measured

    def image(self, wanted: Wanted, *path: str) -> float:
        """A figure of one image, between the private and the shared ones."""
        shared = wanted.shared_percent / 100
        private_one, shared_one = (self._figure("image", kind, *path) for kind in ("private", "shared"))
        return (1 - shared) * private_one + shared * shared_one

    def _figure(self, *path: str) -> float:
        found: Any = self._measured
        for name in path:
            found = found[name]
        return float(found)

    def cores(self, wanted: Wanted, who: str) -> float:
        """Processor time, as cores in full use at the busiest time."""
        return (self.image(wanted, "cpu_ms", who) * wanted.images_per_second + self._idle(wanted, who)) / 1000

    def _idle(self, wanted: Wanted, who: str) -> float:
        """Milliseconds of a processor that workers cost each second merely by being there."""
        return float(self._measured["worker"]["cpu_ms_a_second"].get(who, 0.0)) * wanted.workers

    def most(self, wanted: Wanted) -> tuple[float, str]:
        """The most images a second that one leader bears, of this kind and with these workers; and which leader."""

        def bears(who: str) -> float:
            return max(0.0, (1000 * FILL - self._idle(wanted, who)) / self.image(wanted, "cpu_ms", who))

        return min((bears(who), who) for who in LED)

    def needs(self, wanted: Wanted) -> Iterator[Need]:
        """A row for each service and server. Raises TooMuch."""
        most, who = self.most(wanted)
        if wanted.images_per_second > most:
            raise TooMuch(f"one {who} leads, and bears {most:.0f} images a second at most")
        for name in (*DOORS, *LED, *SINGLE):
            yield self._service(wanted, name)
        yield self._postgresql(wanted)
        yield self._redis(wanted)
        yield self._s3(wanted)

    def _service(self, wanted: Wanted, name: str) -> Need:
        cores = self.cores(wanted, name)
        processes = 1 if name in SINGLE else 2 if name in LED else max(2, math.ceil(cores / FILL) + 1)
        # One may be away: the others bear its workers, too.
        bearing = 1 if name in LED or name in SINGLE else processes - 1
        streams = self._measured["worker"]["kb"].get(name, 0.0) * wanted.workers / bearing / 1000
        also = "one leads" if name in LED else "one of them may be away" if name in DOORS else ""
        return Need(name, processes, cores / (1 if name in LED else bearing), self._memory(name) + streams, also)

    def _memory(self, name: str) -> float:
        return self._figure("memory_mb", name)

    def _postgresql(self, wanted: Wanted) -> Need:
        commits = self.image(wanted, "commits") * wanted.images_per_second
        wal = self.image(wanted, "wal_kb") * wanted.images_per_second / 1000
        a_day = wanted.images_per_second * DAY * wanted.busy_percent / 100
        ledger, gateway = (self.image(wanted, "kb", name) * a_day / 1e6 for name in ("ledger", "gateway"))
        scheduler = self.image(wanted, "kb", "scheduler") * a_day * wanted.history_days / 1e6
        also = (
            f"{commits:.0f} commits and {wal:.1f} MB of WAL a second; {ledger + gateway:.1f} GB a day that stay, "
            f"and {scheduler:.0f} GB of {wanted.history_days:g} days"
        )
        return Need("postgresql", 1, self.cores(wanted, "postgresql"), 1024, also)

    def _redis(self, wanted: Wanted) -> Need:
        commands = self.image(wanted, "redis_commands") * wanted.images_per_second
        memory = 64 + 2 * self._figure("redis_mb")
        return Need("redis", 1, self.cores(wanted, "redis"), memory, f"{commands:.0f} commands a second")

    def _s3(self, wanted: Wanted) -> Need:
        requests = self.image(wanted, "s3_requests") * wanted.images_per_second
        a_day = wanted.images_per_second * DAY * wanted.busy_percent / 100 * wanted.image_kb / 1e6
        shared = wanted.shared_percent / 100
        private = a_day * (1 - shared) * wanted.private_days
        also = (
            f"{requests:.0f} requests a second, {wanted.images_per_second * wanted.image_kb / 1000:.1f} MB/s in; "
            f"{private:.0f} GB of private images, and {a_day * shared:.1f} GB more shared ones each day"
        )
        return Need("s3", 0, self.cores(wanted, "s3"), 0, also)
