"""A mesh in which some cheat: the real core, real comparison, and pictures that are painted on devices that differ.

`make cheats` plays it with pictures of the real model; the short form is a test, with pictures of simple forms.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from random import Random
from uuid import UUID, uuid5

from PIL import Image
from tests.unit.scheduler.table import Table

from horde.scheduler.core.fleet import Worker
from horde.scheduler.core.job import AccountId, Job, JobState
from horde.scheduler.core.leases import Lease
from horde.scheduler.core.likeness import Distance
from horde.scheduler.core.outcomes import Painted
from horde.scheduler.core.standing import Standing
from horde.storage_router import decoder_child
from horde.storage_router.core import likeness

Picture = Image.Image
EXACT, COARSE, FEWER, PROMPT, MODEL = "exact", "coarse", "fewer steps", "other prompt", "another model"
"""What an album has of each job: as one device paints it, as another, and as cheats do."""
DEVICES = {"cuda-8.6 float32": (EXACT, 1), "cuda-7.5 bfloat16": (COARSE, 1), "mps float32": (EXACT, 3)}
"""Of which kind the pictures of a device are, and by how many levels a pixel differs at most."""
DIVERGED = 0.005
"""The part of honest pictures that comes out quite otherwise, whatever the device: by a driver, by chaos."""


@dataclass(frozen=True)
class Album:
    """Pictures of some jobs, by what they are."""

    pictures: dict[str, Sequence[Picture]]

    def __len__(self) -> int:
        return len(self.pictures[EXACT])

    def honest(self, number: int, device: str, chance: Random) -> Picture:
        """As an honest worker paints it on a device."""
        kind, levels = DEVICES[device]
        if chance.random() < DIVERGED:
            kind = FEWER
        return noisy(self.pictures[kind][number], levels, chance)

    def cheat(self, kind: str) -> Callable[[int, Random], Picture]:
        """As somebody paints it who does something else."""
        return lambda number, chance: noisy(self.pictures[kind][number], 1, chance)


def noisy(picture: Picture, levels: int, chance: Random) -> Picture:
    """The same with noise."""
    noise = chance.randbytes(len(picture.tobytes()))
    data = bytes(
        min(255, max(0, value + more % (2 * levels + 1) - levels))
        for value, more in zip(picture.tobytes(), noise, strict=True)
    )
    return Image.frombytes("RGB", picture.size, data)


def blank(number: int, chance: Random) -> Picture:
    return Image.new("RGB", (64, 64), (0, 0, 0))


def garbage(number: int, chance: Random) -> Picture:
    return Image.frombytes("RGB", (64, 64), chance.randbytes(64 * 64 * 3))


def sketch(picture: Picture) -> likeness.Sketch:
    """As the router makes it."""
    out = io.BytesIO()
    picture.save(out, "PNG", compress_level=1)
    why, data = decoder_child.sketch("PNG", *picture.size, out.getvalue())
    assert not why
    return likeness.Sketch(data)


class Canvas:
    """A picture that is made when somebody looks at it: most pictures nobody does."""

    def __init__(self, make: Callable[[], Picture]) -> None:
        self._make = make

    @cached_property
    def sketch(self) -> likeness.Sketch:
        return sketch(self._make())


def far(one: Canvas, other: Canvas) -> Distance:
    """As the router says it."""
    found = likeness.distance(one.sketch, other.sketch)
    return Distance(found.structure, found.edges, found.luma, found.chroma, found.contrast_one, found.contrast_other)


@dataclass
class Painter:
    """A worker, what it paints on, and how it cheats."""

    worker: Worker
    device: str
    cheat: Callable[[int, Random], Picture] | None = None
    every: int = 1
    """It cheats with one picture in so many."""
    painted: int = 0


@dataclass
class Mesh:
    """Requesters, honest painters and others, and the core between them."""

    album: Album
    seed: int = 0
    table: Table = field(default_factory=lambda: Table(proven_images=10, checks_part=0.03, max_recent=50))

    def __post_init__(self) -> None:
        self.chance = Random(self.seed)
        self.table.board.checks.chance = Random(self.seed + 1).random
        self.table.distance = far
        self.painters: dict[str, Painter] = {}
        self.jobs = 0

    def joins(
        self, name: str, device: str, cheat: Callable[[int, Random], Picture] | None = None, every: int = 1,
        *, trusted: bool = False,
    ) -> Painter:  # fmt: skip
        """Somebody comes with a worker; trusted: others paid for ten of his pictures already."""
        owner = AccountId(str(uuid5(UUID(int=7), f"{self.seed} {name}")))
        worker = self.table.attach(name, slots=8, owner=owner)
        if trusted:
            for _ in range(10):
                self.table.board.fleet.image_paid(worker)
        painter = self.painters[worker.worker_id] = Painter(worker, device, cheat, every)
        return painter

    def standing(self, painter: Painter) -> Standing:
        return self.table.board.fleet.standings[painter.worker.owner]

    def asks(self, painter: Painter) -> Job:
        """Somebody asks this one for a picture, has it painted, and everything that follows happens."""
        self.jobs += 1
        table = self.table
        (job,) = table.queued(f"r{self.jobs}", allowed=frozenset({painter.worker.worker_id})).jobs
        job.generation.seed = self.chance.randrange(len(self.album))
        self._paint(table.lease(job))
        while checks := self._checks():
            for check in checks:
                self._paint(table.lease(check))
        # Nobody looks at them any more.
        for past in (table.pictures, table.said, table.lent):
            past.clear()
        return job

    def _checks(self) -> list[Job]:
        return [
            job
            for case in list(self.table.board.checks.open.values())
            for generation in case.generations
            for job in generation.jobs
            if job.state is JobState.LEASED
        ]

    def _paint(self, lease: Lease) -> None:
        table, painter = self.table, self.painters[lease.worker_id]
        number = lease.job.generation.seed
        painter.painted += 1
        chance = Random(self.chance.random())
        make = partial(self.album.honest, number, painter.device, chance)
        if painter.cheat is not None and painter.painted % painter.every == 0:
            make = partial(painter.cheat, number, chance)
        table.pass_time(1.0)
        table.pictures[lease.lease_id] = Canvas(make)
        result = Painted(b"\1" * 32, 9_000, 3, lease.worker_id, lease.owner, device=painter.device)
        table.report(painter.worker, lease.lease_id, lease.job.job_id, result)
        table.run_errands()

    def caught_after(self, painter: Painter, most: int) -> int | None:
        """After how many jobs somebody is caught, if he is at all."""
        caught = self.standing(painter).caught
        for number in range(1, most + 1):
            self.asks(painter)
            if self.standing(painter).caught > caught:
                return number
        return None


def honest_mesh(album: Album, seed: int, owners: int = 12) -> tuple[Mesh, list[Painter]]:
    """A mesh of honest painters on all devices, of whom a few are known already."""
    mesh = Mesh(album, seed)
    devices = list(DEVICES)
    painters = [
        mesh.joins(f"honest {number}", devices[number % len(devices)], trusted=number < owners // 2)
        for number in range(owners)
    ]
    return mesh, painters


def schemes(album: Album) -> dict[str, tuple[Callable[[int, Random], Picture], int]]:
    """How people cheat, and with one picture in how many."""
    return {
        "blank": (blank, 1),
        "random": (garbage, 1),
        "other prompt": (album.cheat(PROMPT), 1),
        "fewer steps": (album.cheat(FEWER), 1),
        "another model": (album.cheat(MODEL), 1),
        "one of ten blank": (blank, 10),
        "one of ten of another prompt": (album.cheat(PROMPT), 10),
    }
