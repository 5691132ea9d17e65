"""`make demo-release`: from people who ask for pictures to a data set in a researcher's folder.

A mesh of its own paints a few hundred images of all kinds, with the small model and with a scripted painter; some are
taken back, one is found unsafe, people rate; two releases are made through the gateway, brought home with an API key,
verified and pruned, and a predictor of what people find beautiful is trained on the first.

What is only pretended: a week. Hours of the journal, and times of ratings, are moved into the past.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack, closing, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import click

from horde.api.generation.v1.generation_pb2 import Generation, Image
from horde.api.job.v1.job_pb2 import JobEnding, Placement
from horde.api.moderation.v1 import moderation_service_pb2 as moderation
from horde.api.release.v1 import data_release_service_pb2 as releases
from horde.cli.demo.catalogue import Recipe, find_recipe
from horde.cli.demo.raters import rate_as_people
from horde.cli.demo.running import NotAsPromised, fresh_folder
from horde.cli.demo.wishes import MODEL_WORKER, SCRIPTED_WORKER, Wish, first_wishes, second_wishes
from horde.cli.local.mesh import LocalMesh, WorkerPlan, local_mesh
from horde.cli.local.processes import environment
from horde.cli.local.roles import Role
from horde.clients.client import HordeClient
from horde.clients.credentials import ApiKey, read_secret
from horde.clients.errors import ServiceError
from horde.clients.specs import generation_spec

AWARD_MKUDOS: Final = 10**9
TRIES: Final = 600
TRY_SECONDS: Final = 0.5
UNLIMITED: Final = {
    f"LIMIT_{name}": "none"
    for name in ("ACCOUNT_IMAGES", "ANONYMOUS_IMAGES", "ADDRESS_IMAGES", "ACCOUNT_CALLS", "ANONYMOUS_CALLS")
}


@dataclass(slots=True)
class Painted:
    """What came of the wishes."""

    generations: list[tuple[Wish, Generation]] = field(default_factory=list)

    def shared(self, who: str = "") -> list[tuple[Generation, Image]]:
        """The shared images, of one kind of requester or of all."""
        return [
            (generation, image)
            for wish, generation in self.generations
            for image in generation.images
            if wish.placement == Placement.PLACEMENT_SHARED and who in ("", wish.who)
        ]

    @property
    def images(self) -> int:
        return sum(len(generation.images) for _, generation in self.generations)


class ReleaseDemo:
    """Plays it, in a folder."""

    def __init__(self, mesh: LocalMesh, folder: Path, scripted_only: bool, ratings: int) -> None:
        self._mesh = mesh
        self._folder = folder
        self._scripted_only = scripted_only
        self._ratings = ratings
        self._workers: dict[str, str] = {}
        self._began = time.monotonic()
        self._recipe: Recipe = find_recipe()

    async def play(self, each: int) -> None:
        """All of it. Raises NotAsPromised."""
        self._say("a mesh is up; a few hundred images are painted now, which takes some minutes without a card")
        async with AsyncExitStack() as stack:
            nobody = await stack.enter_async_context(self._mesh.client())
            opened = await nobody.accounts.create("demo")
            operator_key = ApiKey(read_secret(self._mesh.layout.operator_key) or "")
            operator = await stack.enter_async_context(self._mesh.client(credential=operator_key))
            await operator.kudos.award(opened.account.account_id, AWARD_MKUDOS, reason="for the demo")
            account = await stack.enter_async_context(self._mesh.client(credential=ApiKey(opened.api_key)))
            people = {"account": account, "anonymous": nobody}
            await self._find_workers(nobody)
            examples = tuple(self._recipe.prompts)
            first = await self._paint(people, first_wishes(each, examples))
            gone, unsafe = first.shared("account")[5:11], first.shared("account")[12]
            await self._take_back(account, gone)
            await self._find_unsafe(account, operator, unsafe[1].job_id)
            self._say("6 images taken back; a moderator found one unsafe")
            to_rate = {image.job_id for _, image in first.shared()} - {image.job_id for _, image in (*gone, unsafe)}
            self._say(await rate_as_people(self._mesh, operator, self._ratings, to_rate))
            await asyncio.to_thread(self._pass_time, days=9)
            # A day longer than usual: so what comes next, which is a week old then, is not in it.
            await self._create(operator, "2026-1", "--cool-off", "8d")
            second = await self._paint(people, second_wishes(each, examples))
            await self._take_back(account, [*first.shared("account")[0:4], *second.shared("account")[9:12]])
            await self._take_back(nobody, first.shared("anonymous")[0:1])
            self._say("8 images taken back, 5 of them released already")
            await asyncio.to_thread(self._pass_time, days=7, hours=12)
            await self._create(operator, "2026-2", "--incremental")
        await self._research()

    async def _find_workers(self, horde: HordeClient) -> None:
        wanted = {SCRIPTED_WORKER} if self._scripted_only else {SCRIPTED_WORKER, MODEL_WORKER}
        for _ in range(TRIES):
            self._workers = {worker.name: worker.worker_id async for worker in horde.workers.list()}
            if wanted <= self._workers.keys():
                return
            await asyncio.sleep(TRY_SECONDS)
        raise NotAsPromised("the workers have not come")

    async def _paint(self, people: dict[str, HordeClient], wishes: Sequence[Wish]) -> Painted:
        sources: dict[str, Any] = {}
        picture = next(self._folder.glob("source.png"), None)
        for who, horde in people.items():
            if any(wish.from_picture and wish.who == who for wish in wishes):
                sources[who] = await horde.images.put((picture or self._draw_source()).read_bytes())
        ended = await asyncio.gather(*(self._one(people[wish.who], wish, sources.get(wish.who)) for wish in wishes))
        painted = Painted(list(zip(wishes, ended, strict=True)))
        private = painted.images - len(painted.shared())
        self._say(f"{painted.images} images painted: {len(painted.shared())} shared, {private} private")
        return painted

    async def _one(self, horde: HordeClient, wish: Wish, source: Any) -> Generation:
        recipe = self._recipe
        painter = SCRIPTED_WORKER if self._scripted_only else wish.painter
        size = recipe.width if wish.painter == MODEL_WORKER else 64
        spec = generation_spec(
            wish.prompt,
            count=wish.images,
            share=wish.share,
            width=size,
            height=size,
            steps=recipe.steps if wish.painter == MODEL_WORKER else 2,
            seed=wish.seed,
            guidance_scale=recipe.guidance if wish.painter == MODEL_WORKER else None,
            source_image=source if wish.from_picture else None,
            allowed_worker_ids=[self._workers[painter]],
        )
        ended = await horde.generations.finish((await horde.generations.create(spec)).generation_id)
        for image in ended.images:
            if image.ending != JobEnding.JOB_ENDING_DONE or image.placement != wish.placement:
                raise NotAsPromised(f"{wish}: {image}")
        return ended

    async def _take_back(self, horde: HordeClient, images: Sequence[tuple[Generation, Image]]) -> None:
        for generation, image in images:
            for job_id, error in (await horde.generations.withdraw(generation.generation_id, [image.job_id])).items():
                if error is not None:
                    raise NotAsPromised(f"{job_id} was not taken back: {error}")

    async def _find_unsafe(self, account: HordeClient, operator: HordeClient, job_id: str) -> None:
        """Reported by who asked for it, and decided by a moderator, when the mesh's moderation has heard of it."""
        for _ in range(TRIES):
            with suppress(ServiceError):
                await account.moderation.report(job_id, moderation.REPORT_REASON_OTHER, "not for a data set", own=True)
                break
            await asyncio.sleep(TRY_SECONDS)
        async for case in operator.moderation.cases():
            await operator.moderation.decide(case.case_id, moderation.VERDICT_UNSAFE, "as reported")
            return
        raise NotAsPromised("nothing waits for a moderator")

    def _pass_time(self, *, days: int, hours: int = 0) -> None:
        """Move what the journal has of the last hours, and the last ratings, into the past."""
        layout, now, passed = self._mesh.layout, datetime.now(UTC), timedelta(days=days, hours=hours)
        journal = layout.shared_bucket / "journal"
        for folder in sorted(journal.iterdir()):
            hour = datetime.fromisoformat(f"{folder.name}:00").replace(tzinfo=UTC)
            if now - hour < timedelta(days=1):
                past = journal / (hour - passed).strftime("%Y-%m-%dT%H")
                past.mkdir(exist_ok=True)
                for entry in folder.iterdir():
                    entry.rename(past / entry.name)
        with (
            closing(sqlite3.connect(layout.folder(Role.CURATION) / "curation.sqlite", timeout=60)) as database,
            database,
        ):
            database.execute(
                "UPDATE rating SET rated_at_us = rated_at_us - ? WHERE rated_at_us > ?",
                (passed // timedelta(microseconds=1), (now - timedelta(days=1)).timestamp() * 10**6),
            )
        self._say(f"pretended: {days} days pass")

    async def _create(self, operator: HordeClient, name: str, *words: str) -> None:
        """Ask the gateway for a release, and wait until it is built."""
        await self._ask(self._mesh.layout.operator_key, "release", "--mesh", "create", name, *words)
        for _ in range(TRIES):
            release = await operator.releases.get(name)
            if release.state != releases.DATA_RELEASE_STATE_BUILDING:
                break
            await asyncio.sleep(TRY_SECONDS)
        if release.state != releases.DATA_RELEASE_STATE_FINISHED:
            raise NotAsPromised(f"release {name}: {release}")
        left_out = sum(exclusion.images for exclusion in release.exclusions)
        self._say(f"release {name}: {release.images} images, {left_out} left out, {release.removals} removed")

    async def _research(self) -> None:
        """What a researcher does, who has an account and no credential of any bucket."""
        copies = self._folder / "copies"
        await self._ask(self._mesh.layout.worker_key, "release", "--mesh", "pull", "2026-2", "--to", str(copies))
        removed = str(copies / "2026-2" / "removed.parquet")
        await asyncio.gather(*(self._clean(copies / name, removed) for name in ("2026-1", "2026-2")))
        statistics = {
            name: json.loads((copies / name / "stats.json").read_text("utf-8")) for name in ("2026-1", "2026-2")
        }
        click.echo(f"\n{'left out':22}{'2026-1':>8}{'2026-2':>8}")
        for reason, found in statistics["2026-1"]["left_out"].items():
            counts = [statistics[name]["left_out"][reason]["images"] for name in statistics]
            click.echo(f"{reason.replace('_', ' '):22}{counts[0]:8}{counts[1]:8}  {found['why']}")
        words = ("train", str(copies / "2026-1"), "--held-out", "0.4", "--out", str(self._folder / "predictor"))
        trained = await asyncio.to_thread(self._horde, "ratings", *words)
        self._say("a predictor is trained on the first release's ratings")
        click.echo(f"\n{trained.strip()}")
        click.echo(f"\nThe card:          {copies / '2026-1' / 'README.md'}")
        click.echo(f"The contact sheet: {copies / '2026-1' / 'contact-sheet.jpg'}")
        click.echo(f"The predictor:     {self._folder / 'predictor' / 'plot.png'}")

    async def _clean(self, copy: Path, removed: str) -> None:
        """Take what was withdrawn out of a copy, and verify what is left."""
        await asyncio.to_thread(self._horde, "release", "prune-withdrawn", str(copy), "--removed", removed)
        checked = json.loads(await asyncio.to_thread(self._horde, "release", "verify", str(copy)))
        if checked["faults"]:
            raise NotAsPromised(f"{copy.name}: {checked['faults']}")
        self._say(f"copy of {copy.name}: {checked['images']} images, {checked['pruned']} taken out, every hash right")

    async def _ask(self, key: Path, *words: str) -> dict[str, Any]:
        """The document of a command, by whoever has that key."""
        document: dict[str, Any] = json.loads(await asyncio.to_thread(self._horde, *words, "--json", key=key))
        return document

    def _horde(self, *words: str, key: Path | None = None) -> str:
        environ = {"HORDE_GATEWAY": self._mesh.gateway, "HORDE_CONFIG_DIR": str(self._folder / "state" / "config")}
        if key is not None:
            environ["HORDE_API_KEY"] = read_secret(key) or ""
        ran = subprocess.run(  # noqa: S603 - our own program
            [sys.executable, "-m", "horde.cli.commands.main", *words],
            env={**environment(), **environ},
            capture_output=True,
            text=True,
            check=False,
        )
        if ran.returncode:
            raise NotAsPromised(f"horde {' '.join(words)}: {ran.stdout}{ran.stderr}")
        return ran.stdout

    def _draw_source(self) -> Path:
        from PIL import Image as Pillow

        path = self._folder / "source.png"
        Pillow.new("RGB", (64, 64), "navy").save(path)
        return path

    def _say(self, words: str) -> None:
        click.echo(f"{time.monotonic() - self._began:6.1f} s  {words}")


async def run(folder: Path, painter: str, each: int, ratings: int) -> None:
    """A mesh, and the story on it."""
    state = fresh_folder(folder)
    shutil.rmtree(folder / "copies", ignore_errors=True)
    extra = {role: {"LOG_LEVEL": "error"} for role in Role}
    extra[Role.GATEWAY] |= UNLIMITED
    extra[Role.CURATION] |= {"FOLLOW_SECONDS": "1"}
    async with local_mesh(state, extra=extra) as mesh:
        drain = {"DRAIN_SECONDS": "5"}
        await mesh.start_worker(WorkerPlan(SCRIPTED_WORKER, "scripted", drain))
        if painter != "scripted":
            await mesh.start_worker(WorkerPlan(MODEL_WORKER, painter, drain))
        await ReleaseDemo(mesh, folder, painter == "scripted", ratings).play(each)


@click.command()
@click.option("--out", "folder", default=Path("out", "demo-release"), type=click.Path(path_type=Path, file_okay=False))
@click.option("--painter", default="diffusers", type=click.Choice(["diffusers", "scripted"]))
@click.option("--images", "each", default=32, show_default=True, help="Test patterns of each large row.")
@click.option("--ratings", default=20, show_default=True, help="By each of those who rate, at least.")
def main(folder: Path, painter: str, each: int, ratings: int) -> None:
    """Paint, rate, take back, and make two data releases of what is left; all of it in one folder."""
    try:
        asyncio.run(run(folder, painter, each, ratings))
    except NotAsPromised as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
