"""Which models to paint with, by what waits for them and what that would earn. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from horde.worker_agent.core.earnings import kudos


@dataclass(frozen=True, slots=True)
class Demand:
    """A model, as the mesh tells of it now."""

    name: str
    waiting: int
    """Jobs in the queue."""
    workers: int
    """Of the mesh that paint with it."""
    mkudos_an_hour: int
    """What one more worker of median speed would earn with it; 0: nothing waits, or no speed is measured yet."""
    gib: float = 0.0
    """Of its files; 0: not told."""
    homepage: str = ""
    here: bool = False
    """Whether this worker has it already."""


def ranked(demands: Iterable[Demand]) -> list[Demand]:
    """What is asked for, the best first: by kudos an hour, then by what waits for each worker. Others are left out."""
    wanted = [demand for demand in demands if demand.waiting or demand.mkudos_an_hour]
    return sorted(
        wanted,
        key=lambda demand: (-demand.mkudos_an_hour, -demand.waiting / max(1, demand.workers), demand.name),
    )


def lines(demands: Iterable[Demand]) -> Iterator[str]:
    """What the owner reads."""
    rows = ranked(demands)
    if not rows:
        yield "nothing waits for any model now: ask again when the mesh is busy"
    for demand in rows:
        earned = f"{kudos(demand.mkudos_an_hour)} kudos an hour" if demand.mkudos_an_hour else "speed not measured yet"
        size = f", {demand.gib:.1f} GiB" if demand.gib else ""
        place = ", here already" if demand.here else f"{size}{', ' + demand.homepage if demand.homepage else ''}"
        yield f"{demand.name:<24} {earned}; {demand.waiting} waiting, {demand.workers} painting with it{place}"
