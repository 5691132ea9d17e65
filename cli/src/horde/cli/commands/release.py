"""`horde release`: data releases. The builder is a program of its own, with its own settings and credential."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import click

from horde.cli.commands.becoming import become
from horde.cli.commands.exits import Exit

ON_EITHER: Final = ("list", "show", "pull")
"""What a researcher types, who may have a credential of a bucket or an account at a mesh."""
AT_THE_MESH: Final = ("cancel", "removals")
"""What only a mesh does."""
BUCKET: Final = ("S3_ENDPOINT", "RELEASES_DIR")
USUAL_FOLDER: Final = Path(".state", "releases")
"""Where the builder looks of whom nothing is said: beside a mesh of this machine."""


@click.command(
    add_help_option=False,
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
    options_metavar="",
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="COMMAND [ARGS]...")
def release(arguments: tuple[str, ...]) -> None:
    """Data releases: create, list, show, verify, pull, prune-withdrawn.

    With `--mesh` as the first word: create, cancel, list, show, pull, removals through the gateway of a mesh. So are
    list, show and pull where no bucket is set, by HORDE_DATA_RELEASES_S3_ENDPOINT or …_RELEASES_DIR.
    """
    if asks_a_mesh(arguments, os.environ, has_folder=USUAL_FOLDER.is_dir()):
        from horde.cli.commands.mesh_releases import mesh_releases

        words = list(arguments[1:] if arguments[0] == "--mesh" else arguments)
        with mesh_releases.make_context("horde release --mesh", words) as through_gateway:
            mesh_releases.invoke(through_gateway)
        return
    if importlib.util.find_spec("pyarrow") is None:
        click.echo("error: data releases need more: pip install 'horde-mesh[data-releases]'", err=True)
        sys.exit(Exit.USAGE)
    become("horde.data_releases", arguments)


def asks_a_mesh(arguments: Sequence[str], environment: Mapping[str, str], *, has_folder: bool) -> bool:
    """Whether these words are for the gateway of a mesh, and not for a bucket. `has_folder`: the one lies here that is
    looked at where no bucket is named."""
    command = arguments[0] if arguments else ""
    bucket = has_folder or any(environment.get(f"HORDE_DATA_RELEASES_{name}") for name in BUCKET)
    return command == "--mesh" or command in AT_THE_MESH or (command in ON_EITHER and not bucket)
