"""`horde login` and `horde logout`: the API key that is kept for a mesh, and sent to no other."""

from __future__ import annotations

import functools
import sys
from typing import TYPE_CHECKING

import click

from horde.cli.commands.asking import asks
from horde.cli.commands.exits import Exit
from horde.cli.commands.output import Output

if TYPE_CHECKING:
    from horde.clients.client import HordeClient

SETTINGS = {"help_option_names": ["-h", "--help"]}


@click.command(context_settings=SETTINGS)
@asks
async def login(horde: HordeClient, out: Output) -> Exit:
    """Keep an API key for the mesh that --mesh or --gateway names, after trying it there.

    The key is that of --api-key or HORDE_API_KEY, else it is asked for; in a pipe it is the first line.
    """
    from rich.markup import escape

    from horde.clients.client import HordeClient
    from horde.clients.credentials import API_KEY_FILE, ApiKey, write_secret

    given = horde.credential
    if not isinstance(given, ApiKey) or given.source.startswith(str(horde.mesh_folder)):
        given = ApiKey(_ask())
    async with HordeClient(horde.target, credential=given, security=horde.security) as tried:
        account = (await tried.accounts.show()).account
    path = horde.mesh_folder / API_KEY_FILE
    write_secret(path, given.secret)
    out.document({"account_id": account.account_id, "kept_in": str(path)})
    out.say(f"You are {escape(account.display_name)} ({account.account_id}) at {horde.target}.")
    out.say(f"The key is kept in {escape(str(path))}, and sent to no other mesh.")
    return Exit.OK


@click.command(context_settings=SETTINGS)
@functools.partial(asks, reaches=False)
async def logout(horde: HordeClient, out: Output) -> Exit:
    """Forget the API key that is kept for the mesh that --mesh or --gateway names. The key itself stays good."""
    from horde.clients.credentials import API_KEY_FILE

    path = horde.mesh_folder / API_KEY_FILE
    kept = path.exists()
    path.unlink(missing_ok=True)
    out.document({"forgotten": kept})
    out.say(f"The key for {horde.target} is forgotten." if kept else f"No key was kept for {horde.target}.")
    return Exit.OK


def _ask() -> str:
    if sys.stdin.isatty():
        key: str = click.prompt("API key", hide_input=True, err=True)
    else:
        key = sys.stdin.readline()
    if not key.strip():
        raise click.UsageError("No API key was given.")
    return key.strip()
