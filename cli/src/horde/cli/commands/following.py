"""`horde watch` and `horde fetch`: what was asked for before, from wherever it is continued."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import click

from horde.cli.commands.asking import asks, metadata_option
from horde.cli.commands.exits import HELP, Exit
from horde.cli.commands.output import Output
from horde.cli.commands.values import ID_PREFIX

if TYPE_CHECKING:
    from horde.clients.client import HordeClient

SETTINGS = {"help_option_names": ["-h", "--help"]}
FOLDER = click.option(
    "--out",
    "folder",
    default=Path(),
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for the images. Default: here.",
)


@click.command(epilog=HELP, context_settings=SETTINGS)
@click.argument("generation", type=ID_PREFIX)
@click.option("--preview/--no-preview", default=True, help="Show glimpses while it is painted.")
@FOLDER
@metadata_option
@asks
async def watch(horde: HordeClient, out: Output, generation: str, preview: bool, folder: Path, metadata: bool) -> Exit:
    """Follow GENERATION, an id or its first digits, to its end, and save its images as they are done.

    Ctrl-C stops watching; the generation goes on.
    """
    from horde.cli.commands.naming import generation_named
    from horde.cli.commands.painting import Painting, begun, try_place

    await asyncio.to_thread(try_place, folder)
    async with horde.following(await generation_named(horde, generation)) as session:
        begun(out, session.generation.generation_id)
        painting = Painting(session, out, folder, cancels=False, metadata=metadata)
        return await painting.run(previews=preview and not out.as_json)


@click.command(epilog=HELP, context_settings=SETTINGS)
@click.argument("generation", type=ID_PREFIX)
@FOLDER
@metadata_option
@click.option("--open", "opens", is_flag=True, help="Show each with this machine's viewer.")
@asks
async def fetch(horde: HordeClient, out: Output, generation: str, folder: Path, metadata: bool, opens: bool) -> Exit:
    """Save the images of GENERATION, an id or its first digits, that are done."""
    from horde.cli.commands.inscribing import inscribed
    from horde.cli.commands.naming import generation_named
    from horde.cli.commands.painting import path_for, try_place
    from horde.clients.images import no_picture

    await asyncio.to_thread(try_place, folder)
    found = await horde.generations.get(await generation_named(horde, generation))
    files: dict[str, str] = {}
    missing: dict[str, str] = {}
    for image in found.images:
        if image.withdrawn or not image.HasField("download"):
            missing[image.job_id] = no_picture(image).message
            out.note(missing[image.job_id])
            continue
        content = await horde.images.fetch_from(found, image.job_id)
        path = path_for(folder, found, image)
        await asyncio.to_thread(path.write_bytes, inscribed(content, found, image) if metadata else content)
        if opens:
            await asyncio.to_thread(click.launch, str(path))
        files[image.job_id] = str(path)
        out.say(files[image.job_id])
    out.document({"generation_id": found.generation_id, "files": files, "missing": missing})
    return Exit.INCOMPLETE if missing else Exit.OK
