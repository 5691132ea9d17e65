"""`horde generations`: what you asked for before."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from horde.cli.commands.asking import asks
from horde.cli.commands.exits import Exit
from horde.cli.commands.output import Output, describe, kudos

if TYPE_CHECKING:
    from horde.clients.client import HordeClient


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def generations() -> None:
    """List, show, cancel or take back what you asked for."""


@generations.command("list")
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 10_000), help="How many to show.")
@asks
async def list_generations(horde: HordeClient, out: Output, limit: int) -> None:
    """Newest first."""
    from rich.table import Table

    from horde.api.job.v1.job_pb2 import JobEnding
    from horde.cli.commands.quoting import placement_name

    found = []
    async for generation in horde.generations.list(page_size=min(limit, 100)):
        found.append(generation)
        if len(found) >= limit:
            break
    out.document({"generations": found})
    table = Table("generation", "accepted", "prompt", "images", "placement", "price")
    for generation in found:
        done = sum(image.ending == JobEnding.JOB_ENDING_DONE for image in generation.images)
        table.add_row(
            generation.generation_id,
            f"{generation.accepted_at.ToDatetime():%Y-%m-%d %H:%M}",
            generation.spec.job.image.prompt[:40],
            f"{done}/{len(generation.images)}{'' if generation.finished else ' …'}",
            placement_name(generation.quote.placement),
            kudos(generation.quote.total_mkudos),
        )
    out.show(table)


@generations.command()
@click.argument("generation_id")
@asks
async def show(horde: HordeClient, out: Output, generation_id: str) -> None:
    """One generation, as it is now."""
    from horde.cli.commands.reporting import say_generation

    generation = await horde.generations.get(generation_id)
    out.document({"generation": generation})
    say_generation(out, generation, {})


@generations.command()
@click.argument("generation_id")
@click.option("--out", "folder", default=Path(), type=click.Path(path_type=Path, file_okay=False), help="Folder.")
@asks
async def fetch(horde: HordeClient, out: Output, generation_id: str, folder: Path) -> Exit:
    """Save the images that are done."""
    import asyncio

    from horde.clients.images import suffix_of

    generation = await horde.generations.get(generation_id)
    files: dict[str, str] = {}
    for image in generation.images:
        if not image.HasField("download"):
            continue
        path = folder / f"{generation_id[:8]}-{image.index}{suffix_of(image)}"
        content = await horde.images.fetch_from(generation, image.job_id)
        await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
        await asyncio.to_thread(path.write_bytes, content)
        files[image.job_id] = str(path)
        out.say(str(path))
    out.document({"files": files})
    return Exit.OK if len(files) == len(generation.images) else Exit.INCOMPLETE


@generations.command()
@click.argument("generation_id")
@asks
async def cancel(horde: HordeClient, out: Output, generation_id: str) -> None:
    """End what has not ended. Finished images stay; steps already painted are paid for."""
    from horde.cli.commands.reporting import say_generation

    generation = await horde.generations.cancel(generation_id)
    out.document({"generation": generation})
    say_generation(out, generation, {})


@generations.command()
@click.argument("generation_id")
@click.argument("job_ids", nargs=-1)
@asks
async def withdraw(horde: HordeClient, out: Output, generation_id: str, job_ids: tuple[str, ...]) -> Exit:
    """Take finished images back, for good: those of JOB_IDS, or all."""
    from horde.api.job.v1.job_pb2 import JobEnding

    chosen = list(job_ids)
    if not chosen:
        generation = await horde.generations.get(generation_id)
        chosen = [image.job_id for image in generation.images if image.ending == JobEnding.JOB_ENDING_DONE]
    outcomes = await horde.generations.withdraw(generation_id, chosen)
    out.document(
        {"outcomes": {job_id: describe(error) if error else "withdrawn" for job_id, error in outcomes.items()}}
    )
    for job_id, error in outcomes.items():
        out.say(f"{job_id}  {error.message if error else 'withdrawn'}")
    return Exit.FAILED if any(outcomes.values()) else Exit.OK
