"""`horde demo`: the quickest way to see all of it."""

from __future__ import annotations

from pathlib import Path

import click

from horde.cli.commands.asking import ends, json_option
from horde.cli.commands.exits import Exit
from horde.cli.commands.output import Output


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--out",
    "folder",
    default=Path("out", "demo"),
    show_default=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Where the pictures, the contact sheet and the mesh's state go.",
)
@click.option(
    "--painter",
    default="diffusers",
    show_default=True,
    type=click.Choice(["diffusers", "scripted"]),
    help="Who paints; `scripted` paints test patterns and needs no model.",
)
@json_option
def demo(folder: Path, painter: str, as_json: bool) -> None:
    """Start a mesh of its own, paint as an account, as the same account sharing, and as nobody, and show what each
    cost and where it went.
    """

    async def run(out: Output) -> Exit:
        from horde.cli.demo.running import NotAsPromised, run_demo
        from horde.cli.local.processes import ProcessEnded

        try:
            await run_demo(out, folder, painter)
        except (NotAsPromised, ProcessEnded, TimeoutError) as error:
            out.error(error)
            return Exit.FAILED
        out.document({"folder": str(folder), "contact_sheet": str(folder / "contact-sheet.png")})
        return Exit.OK

    ends(run, Output(as_json=as_json))
