"""`horde release`: data releases. The builder is a program of its own, with its own settings and credential."""

from __future__ import annotations

import importlib.util
import sys

import click

from horde.cli.commands.becoming import become
from horde.cli.commands.exits import Exit


@click.command(
    add_help_option=False,
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
    options_metavar="",
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="COMMAND [ARGS]...")
def release(arguments: tuple[str, ...]) -> None:
    """Data releases: create, list, show, verify, pull, prune-withdrawn.

    With `--mesh` as the first word: create, cancel, list, show, pull, removals through the gateway of a mesh.
    """
    if arguments[:1] == ("--mesh",):
        from horde.cli.commands.mesh_releases import mesh_releases

        with mesh_releases.make_context("horde release --mesh", list(arguments[1:])) as through_gateway:
            mesh_releases.invoke(through_gateway)
        return
    if importlib.util.find_spec("pyarrow") is None:
        click.echo("error: data releases need more: pip install 'horde-mesh[data-releases]'", err=True)
        sys.exit(Exit.USAGE)
    become("horde.data_releases", arguments)
