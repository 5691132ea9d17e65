"""`horde generations`: what you asked for before."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from horde.cli.commands.asking import asks
from horde.cli.commands.exits import Exit
from horde.cli.commands.groups import DefaultGroup
from horde.cli.commands.output import Output, describe, kudos, short
from horde.cli.commands.values import ID_PREFIX, TEXT

if TYPE_CHECKING:
    from horde.clients.client import HordeClient

PROMPT_CHARACTERS: Final = 200
"""How much of a prompt a list shows."""


@click.group(cls=DefaultGroup, default="list", context_settings={"help_option_names": ["-h", "--help"]})
def generations() -> None:
    """List, show, cancel, take back or delete what you asked for. Without a further word: list."""


@generations.command("list")
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 10_000), help="How many to show.")
@asks
async def list_generations(horde: HordeClient, out: Output, limit: int) -> None:
    """Newest first."""
    from horde.api.job.v1.job_pb2 import JobEnding
    from horde.cli.commands.quoting import placement_name

    found = []
    async for generation in horde.generations.list(page_size=min(limit, 100)):
        found.append(generation)
        if len(found) >= limit:
            break
    out.document({"generations": found})
    rows = []
    for generation in found:
        done = sum(image.ending == JobEnding.JOB_ENDING_DONE for image in generation.images)
        rows.append(
            (
                short(generation.generation_id),
                f"{generation.accepted_at.ToDatetime():%Y-%m-%d %H:%M}",
                f"{done}/{len(generation.images)}{'' if generation.finished else ' …'}",
                placement_name(generation.quote.placement),
                kudos(generation.quote.total_mkudos),
                " ".join(generation.spec.job.image.prompt[:PROMPT_CHARACTERS].split()),
            )
        )
    out.table(("generation", "accepted", "done", "bucket", "price", "prompt"), rows)


@generations.command()
@click.argument("generation", type=ID_PREFIX)
@asks
async def show(horde: HordeClient, out: Output, generation: str) -> None:
    """One generation, as it is now."""
    from horde.cli.commands.naming import generation_named
    from horde.cli.commands.reporting import say_generation

    found = await horde.generations.get(await generation_named(horde, generation))
    out.document({"generation": found})
    say_generation(out, found, {})


@generations.command()
@click.argument("generation", type=ID_PREFIX)
@asks
async def cancel(horde: HordeClient, out: Output, generation: str) -> None:
    """End what has not ended. Finished images stay; steps already painted are paid for."""
    from horde.cli.commands.naming import generation_named
    from horde.cli.commands.reporting import say_generation

    cancelled = await horde.generations.cancel(await generation_named(horde, generation))
    out.document({"generation": cancelled})
    say_generation(out, cancelled, {})


@generations.command()
@click.argument("generation", type=ID_PREFIX)
@click.argument("images", nargs=-1, type=TEXT)
@asks
async def withdraw(horde: HordeClient, out: Output, generation: str, images: tuple[str, ...]) -> Exit:
    """Take finished images back, for good: those of IMAGES, by number or id, or all."""
    from horde.api.job.v1.job_pb2 import JobEnding
    from horde.cli.commands.naming import generation_named, image_named

    found = await horde.generations.get(await generation_named(horde, generation))
    chosen = [image_named(found, name) for name in images]
    chosen = chosen or [image.job_id for image in found.images if image.ending == JobEnding.JOB_ENDING_DONE]
    outcomes = await horde.generations.withdraw(found.generation_id, chosen)
    out.document(
        {"outcomes": {job_id: describe(error) if error else "withdrawn" for job_id, error in outcomes.items()}}
    )
    numbers = {image.job_id: image.index for image in found.images}
    for job_id, error in outcomes.items():
        out.say(f"image {numbers[job_id]}  {error.message if error else 'withdrawn'}")
    return Exit.FAILED if any(outcomes.values()) else Exit.OK


@generations.command()
@click.argument("generation", type=ID_PREFIX)
@asks
async def delete(horde: HordeClient, out: Output, generation: str) -> None:
    """Forget one that has ended, for good: its prompt and its images; shared ones are withdrawn."""
    from horde.cli.commands.naming import generation_named

    name = await generation_named(horde, generation)
    await horde.generations.delete(name)
    out.document({"generation_id": name})
    out.say(f"{name} is deleted")


@generations.command("share-status")
@click.argument("generation", type=ID_PREFIX, required=False)
@click.option("--limit", default=100, show_default=True, type=click.IntRange(1, 100_000), help="How many to show.")
@click.option("--texts", is_flag=True, help="Also the texts that were agreed to, as they were.")
@asks
async def share_status(horde: HordeClient, out: Output, generation: str | None, limit: int, texts: bool) -> None:
    """What you shared, of GENERATION or at all: when, under which text, and which data releases carry it."""
    from rich.markup import escape

    from horde.cli.commands.consent import text_of
    from horde.cli.commands.naming import generation_named

    named = await generation_named(horde, generation) if generation else ""
    found = []
    async for image in horde.generations.shared(named, page_size=min(limit, 100)):
        found.append(image)
        if len(found) >= limit:
            break
    versions = sorted({image.consent_text_version for image in found}) if texts else []
    agreed = {version: await text_of(horde, version) for version in versions}
    out.document({"images": found, "texts": agreed})
    rows = []
    for image in found:
        gone = f"withdrawn {image.withdrawn_at.ToDatetime():%Y-%m-%d %H:%M}" if image.HasField("withdrawn_at") else ""
        how = "asked" if image.asked else "anonymous rule"
        shared_at = f"{image.shared_at.ToDatetime():%Y-%m-%d %H:%M}"
        carried = ", ".join(image.release_names)
        rows.append((image.job_id, shared_at, image.consent_text_version, how, carried, gone))
    out.table(("image", "shared", "text", "how", "released in", ""), rows)
    for version, text in agreed.items():
        out.say(f"\n[bold]{escape(version)}[/bold]\n{escape(text)}")


@generations.command("withdraw-all")
@click.option("--yes", is_flag=True, help="Ask nothing.")
@asks
async def withdraw_all(horde: HordeClient, out: Output, yes: bool) -> None:
    """Take back everything that you ever shared, for good, also what nobody else remembers."""
    count = 0
    async for image in horde.generations.shared():
        count += not image.HasField("withdrawn_at")
    if not yes and count:
        click.confirm(f"Take back {count} shared images, for good?", abort=True, err=True)
    images, released = await horde.generations.withdraw_all_shared(count)
    out.document({"images": images, "released_images": released})
    out.say(f"{images} shared images are taken back; {released} of them are in the removals of the next data release")
