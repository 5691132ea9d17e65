"""Forty workers of mixed sizes, models, features and lists, most of them idle, and a job for each corner."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
import pytest_asyncio
from pydantic import SecretStr
from tests.mesh.probing import DONE, EXTRA, only, rich_account, small

from horde.api.generation.v1.generation_pb2 import GenerationSpec
from horde.api.job.v1.job_pb2 import JobState, Sampler
from horde.cli.local.mesh import LocalMesh, local_mesh
from horde.clients.client import HordeClient
from horde.services.clock import SystemClock
from horde.testkit.waiting import HANG_SECONDS
from horde.worker_agent.core.jobs import Capabilities, Feature, ModelOffer
from horde.worker_agent.core.jobs import Sampler as Method
from horde.worker_agent.painters.scripted import ScriptedPainter
from horde.worker_agent.running import working
from horde.worker_agent.settings import WorkerSettings

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.slow]

CROWD = 32
PATIENCE = timedelta(seconds=60)
"""What waits for so long beside a worker that can paint it is EXPIRED: no test waits that long otherwise."""
EVERYTHING = frozenset(Feature)


def can(
    models: tuple[str, ...] = ("plain",),
    max_pixels: int = 64 * 64,
    features: frozenset[Feature] = frozenset(),
    samplers: frozenset[Method] = frozenset({Method.EULER}),
) -> Capabilities:
    return Capabilities(
        tuple(
            ModelOffer(model, loaded=True, max_pixels=max_pixels, features=features, samplers=samplers)
            for model in models
        )
    )


WORKERS: Mapping[str, Capabilities] = {
    **{f"crowd{number}": can() for number in range(CROWD)},
    "odd": can(max_pixels=72 * 64),
    "wide": can(max_pixels=128 * 96),
    "skilled": can(features=frozenset({Feature.CLIP_SKIP})),
    "patient": can(samplers=frozenset({Method.EULER, Method.HEUN})),
    "rare": can(models=("rare",)),
    "rare and large": can(models=("rare",), max_pixels=256 * 256),
    "both": can(models=("plain", "rare"), max_pixels=128 * 128, features=EVERYTHING),
    "all round": can(models=("plain", "rare", "third"), max_pixels=512 * 512, features=EVERYTHING),
}
"""What each can do, by name."""


NEWCOMERS = 16
"""Workers of an owner for whose images nobody has paid yet."""


class Painter(ScriptedPainter):
    """Paints at once what it says that it can."""

    def __init__(self, name: str, capabilities: Capabilities) -> None:
        super().__init__(tuple(offer.name for offer in capabilities.models), name=name, script="[instant]")
        self._mine = capabilities

    def capabilities(self) -> Capabilities:
        return self._mine


@dataclass
class Horde:
    """The mesh, and the ids of its workers by name."""

    mesh: LocalMesh
    worker_ids: Mapping[str, str]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def horde(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Horde]:
    """A mesh whose workers are real agents in this process."""
    folder = tmp_path_factory.mktemp("corners")
    async with local_mesh(folder / "state", extra=EXTRA) as mesh, AsyncExitStack() as stack:
        ids: dict[str, str] = {}
        async with mesh.client() as nobody:
            # A newcomer may attach so many.
            owners = [await nobody.accounts.create(f"owner {part}") for part in range(len(WORKERS) // NEWCOMERS + 1)]
        for number, (name, capabilities) in enumerate(WORKERS.items()):
            settings = WorkerSettings(
                gateway=mesh.gateway,
                api_key=SecretStr(owners[number // NEWCOMERS].api_key),
                name=name.replace(" ", "-"),
                painter="scripted",
                prefetch=0,
                state_dir=Path(folder / "workers"),
            )
            await stack.enter_async_context(working(settings, Painter(name, capabilities), SystemClock()))
        async with mesh.client() as nobody, asyncio.timeout(HANG_SECONDS):
            while len(ids) < len(WORKERS):
                ids = {worker.name: worker.worker_id async for worker in nobody.workers.list() if worker.slots}
                await asyncio.sleep(0.1)
        yield Horde(mesh, ids)


def spec(model: str = "plain", **options: object) -> GenerationSpec:
    return small("a corner", model=model, time_to_live=PATIENCE, **options)


def corners(ids: Mapping[str, str]) -> dict[str, tuple[GenerationSpec, set[str]]]:
    """A job for each corner, and who can paint it."""
    crowd = [ids[f"crowd{number}"] for number in range(CROWD)]
    large = {"both", "all-round"}
    return {
        "a little larger": (spec(width=72), {"odd", "wide", *large}),
        "larger than odd": (spec(width=72, height=72), {"wide", *large}),
        "wide": (spec(width=128, height=96), {"wide", *large}),
        "square": (spec(width=128, height=128), large),
        "large": (spec(width=512, height=512), {"all-round"}),
        "feature": (spec(clip_skip=2), {"skilled", *large}),
        "sampler": (spec(sampler=Sampler.SAMPLER_HEUN), {"patient"}),
        "rare": (spec("rare"), {"rare", "rare-and-large", *large}),
        "rare and large": (spec("rare", width=256, height=256), {"rare-and-large", "all-round"}),
        "third": (spec("third"), {"all-round"}),
        "allowed": (spec(allowed_worker_ids=[ids["crowd7"]]), {"crowd7"}),
        "denied": (
            spec(denied_worker_ids=[name for name in crowd if name != ids["crowd9"]]),
            {"crowd9", "odd", "wide", "skilled", "patient", *large},
        ),
        "for nobody but one of two": (spec("rare", allowed_worker_ids=[ids["crowd1"], ids["rare"]]), {"rare"}),
    }


def for_nobody(ids: Mapping[str, str]) -> list[GenerationSpec]:
    """What nobody here can paint, each for another reason."""
    return [
        spec(width=1024, height=1024),
        spec("third", sampler=Sampler.SAMPLER_HEUN),
        spec("rare", allowed_worker_ids=[ids["crowd1"]]),
        spec("a model that nobody has", wait_for_model=True),
    ]


async def painter_of(client: HordeClient, wanted: GenerationSpec) -> str:
    """Who painted it; it is done."""
    async with client.generation(wanted) as session:
        image = only(await session.finish())
    assert image.ending == DONE, image
    return image.worker_name


async def test_nobody_waits_beside_a_worker_that_can(horde: Horde) -> None:
    ids = horde.worker_ids
    async with AsyncExitStack() as stack:
        rich = await stack.enter_async_context(rich_account(horde.mesh, "rich"))
        other = await stack.enter_async_context(rich_account(horde.mesh, "other"))
        nobody = await stack.enter_async_context(horde.mesh.client())
        # First of all what nobody can paint: it must keep nobody waiting.
        stuck = {
            client: [await stack.enter_async_context(client.generation(wanted)) for wanted in for_nobody(ids)]
            for client in (rich, other)
        }
        for client in (rich, other):
            wanted = corners(ids)
            painted = await asyncio.gather(*(painter_of(client, each) for each, _ in wanted.values()))
            for corner, who in zip(wanted, painted, strict=True):
                assert who in wanted[corner][1], f"{corner}: painted by {who}"
        # And the crowd, by all three at once: weights differ, and there is enough for everybody.
        crowd = [painter_of(client, spec()) for client in (rich, other, nobody) for _ in range(12)]
        assert set(await asyncio.gather(*crowd)) <= ids.keys()
        for client, sessions in stuck.items():
            for session in sessions:
                generation = await client.generations.get(session.generation.generation_id)
                assert only(generation).state == JobState.JOB_STATE_QUEUED
                await session.cancel()
