"""`horde backup`: everything that a mesh may not lose, of one moment, and back."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import click

from horde.cli.commands.doctor import SERVICES, load_settings, take_file
from horde.cli.commands.exits import Exit
from horde.cli.commands.output import Output
from horde.cli.local.roles import Role

NEEDED: Final = (Role.SCHEDULER, Role.LEDGER)


@click.group()
def backup() -> None:
    """For operators: copies of all databases as of one moment, and the way back."""


def _with_settings(command: Callable[..., Any]) -> Any:
    command = click.option("--json", "as_json", is_flag=True, help="One JSON document instead of lines.")(command)
    command = click.argument("folder", type=click.Path(file_okay=False, path_type=Path))(command)
    return click.option(
        "--env-file",
        "env_files",
        multiple=True,
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        help="Lines of NAME=VALUE beside the environment; may be given more than once.",
    )(command)


@backup.command()
@_with_settings
def take(folder: Path, env_files: tuple[Path, ...], as_json: bool) -> None:
    """Copy the databases that the services' settings name into FOLDER, which is empty.

    It waits until no scheduler leads, fixes one moment in each database, and lets the next scheduler lead while it
    copies. Buckets that are folders are copied too; those of an S3 server are copied by its own means, after this.
    """
    _run("take", folder, env_files, as_json)


@backup.command()
@_with_settings
def restore(folder: Path, env_files: tuple[Path, ...], as_json: bool) -> None:
    """Fill the empty databases that the services' settings name from FOLDER. No service may run yet."""
    _run("restore", folder, env_files, as_json)


def _run(what: str, folder: Path, env_files: tuple[Path, ...], as_json: bool) -> None:
    from horde.cli.backup import taking
    from horde.cli.backup.databases import BackupFailed

    for path in env_files:
        take_file(path)
    settings: dict[Any, Any] = {}
    # A mesh may do without some: what is told nothing at all is not there.
    present = [role for role in SERVICES if any(name.upper().startswith(role.prefix) for name in os.environ)]
    if missing := [role.value for role in NEEDED if role not in present]:
        raise click.ClickException(f"no settings of {', '.join(missing)} in the environment, nor in an --env-file")
    problems = [f"{role.value}: {line}" for role in present for line in load_settings(role, settings)]
    if problems:
        raise click.ClickException("\n".join(problems))
    output = Output(as_json=as_json)
    try:
        getattr(taking, what)(settings, folder, output.note)
    except BackupFailed as error:
        output.error(error)
        sys.exit(Exit.FAILED)
    names = [role.value for role in taking.databases(settings)]
    output.document({"folder": str(folder), "databases": names})
    output.say(f"{', '.join(names)}: {'copied to' if what == 'take' else 'filled from'} {folder}")
