"""The demo's story: who asks for what, what must become of it, and looking whether it did."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from horde.api.generation.v1.generation_pb2 import Image
from horde.api.job.v1.job_pb2 import JobEnding, Placement
from horde.cli.commands.output import Output, kudos
from horde.cli.commands.quoting import placement_name, say_quote
from horde.cli.commands.reporting import say_generation
from horde.cli.demo.buckets import Stored, list_bucket
from horde.cli.demo.catalogue import Recipe, find_recipe
from horde.cli.demo.contact_sheet import Tile, draw_sheet
from horde.cli.local.mesh import LocalMesh, WorkerPlan, local_mesh
from horde.clients.client import HordeClient
from horde.clients.credentials import ApiKey
from horde.clients.images import suffix_of
from horde.clients.specs import generation_spec

PRIVATE, SHARED = Placement.PLACEMENT_PRIVATE, Placement.PLACEMENT_SHARED
IMAGES_EACH: Final = 2


class NotAsPromised(Exception):
    """The mesh did something else than the sharing table says, or did not finish."""


@dataclass(frozen=True, slots=True)
class Act:
    """One request of the demo, and where its images must go."""

    title: str
    who: str
    prompt: str
    share: bool
    placement: Placement.ValueType
    from_picture: bool = False


@dataclass(frozen=True, slots=True)
class Painted:
    """An image that came out."""

    act: Act
    image: Image
    content: bytes
    path: Path


def acts(recipe: Recipe) -> list[Act]:
    """The rows of the sharing table that the demo plays."""
    prompts = [recipe.prompts[number % len(recipe.prompts)] for number in range(4)]
    return [
        Act("a registered account asks", "account", prompts[0], share=False, placement=PRIVATE),
        Act("the same account shares", "account", prompts[1], share=True, placement=SHARED),
        Act("somebody anonymous asks", "anonymous", prompts[2], share=False, placement=SHARED),
        Act("anonymous, from a picture", "anonymous", prompts[3], share=True, placement=PRIVATE, from_picture=True),
    ]


async def run_demo(out: Output, folder: Path, painter: str) -> None:
    """Start a mesh in `folder`, play every act, look into the buckets, leave the files. Raises NotAsPromised."""
    state = fresh_folder(folder)
    recipe = find_recipe()
    async with local_mesh(state) as mesh:
        await mesh.start_worker(WorkerPlan("demo-worker", painter, {"DRAIN_SECONDS": "5"}))
        out.say(f"A mesh is up in {state}: ledger, storage router, scheduler, gateway, and one worker.\n")
        async with mesh.client() as nobody:
            opened = await nobody.accounts.create("demo")
            out.say(f"Opened the account {opened.account.account_id} (“demo”).\n")
            async with mesh.client(credential=ApiKey(opened.api_key)) as account:
                painted: list[Painted] = []
                for act in acts(recipe):
                    who = account if act.who == "account" else nobody
                    painted += await _play(out, who, act, recipe, folder, painted)
                await _say_balance(out, account)
        draw_sheet([_tile(picture) for picture in painted], folder / "contact-sheet.png")
        _look(out, mesh, painted)
    out.say(f"\nThe pictures and contact-sheet.png are in {folder}.")


def fresh_folder(folder: Path) -> Path:
    """Take away what an earlier run has left; gives the folder for the mesh's state."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in (*folder.glob("*.webp"), *folder.glob("*.png"), *folder.glob("*.jpg")):
        old.unlink()
    state = folder / "state"
    if state.exists():
        shutil.rmtree(state)
    return state


async def _play(
    out: Output, horde: HordeClient, act: Act, recipe: Recipe, folder: Path, before: Sequence[Painted]
) -> list[Painted]:
    out.say(f"[bold]── {act.title}[/bold]: “{act.prompt}”{' --share' if act.share else ''}")
    source = await horde.images.put(before[0].content) if act.from_picture else None
    spec = generation_spec(
        act.prompt,
        count=IMAGES_EACH,
        share=act.share,
        width=recipe.width,
        height=recipe.height,
        steps=recipe.steps,
        guidance_scale=recipe.guidance,
        source_image=source,
    )
    say_quote(out, await horde.generations.quote(spec), spec)
    async with horde.generation(spec) as session:
        generation = await session.finish()
        painted = [
            Painted(act, image, await session.fetch(image), folder / f"{_name(act)}-{image.index}{suffix_of(image)}")
            for image in generation.images
            if image.ending == JobEnding.JOB_ENDING_DONE
        ]
    for picture in painted:
        picture.path.write_bytes(picture.content)
    say_generation(out, generation, {picture.image.job_id: str(picture.path) for picture in painted})
    out.say("")
    if len(painted) != IMAGES_EACH:
        raise NotAsPromised(f"{act.title}: {len(painted)} of {IMAGES_EACH} images were painted")
    return painted


def _name(act: Act) -> str:
    return f"{act.who}-{placement_name(act.placement)}"


def _tile(painted: Painted) -> Tile:
    settlement = painted.image.settlement
    return Tile(
        painted.content,
        (
            f"“{painted.act.prompt}”",
            f"{painted.act.who}, {placement_name(painted.image.placement)}",
            f"price {kudos(settlement.earned_mkudos)}, tax {kudos(settlement.tax_mkudos)}",
        ),
    )


async def _say_balance(out: Output, account: HordeClient) -> None:
    answer = await account.accounts.show()
    out.say(
        f"The account has {kudos(answer.spend.posted_mkudos)} kudos now, {kudos(answer.spend.held_mkudos)} held; "
        f"available {kudos(answer.spend.available_mkudos)}.\n"
    )


def _look(out: Output, mesh: LocalMesh, painted: Sequence[Painted]) -> None:
    """List both buckets, and compare with what the sharing table says."""
    private, shared = list_bucket(mesh.layout.private_bucket), list_bucket(mesh.layout.shared_bucket)
    for name, objects in (("private", private), ("shared", shared)):
        out.say(f"[bold]The {name} bucket[/bold]")
        for stored in objects:
            out.say(f"  {stored.size:>8} bytes  {stored.name}{_whose(stored, painted)}")
    for picture in painted:
        right, wrong = (private, shared) if picture.act.placement == PRIVATE else (shared, private)
        if picture.image.placement != picture.act.placement or not any(
            stored.holds(picture.content) for stored in right
        ):
            raise NotAsPromised(f"{picture.path.name} is not where it should be")
        if any(stored.holds(picture.content) for stored in wrong):
            raise NotAsPromised(f"{picture.path.name} is in the wrong bucket")
    out.say("Every image is in its bucket, and in no other.")


def _whose(stored: Stored, painted: Sequence[Painted]) -> str:
    names = [picture.path.name for picture in painted if stored.holds(picture.content)]
    return f"  [green]{names[0]}[/green]" if names else ""
