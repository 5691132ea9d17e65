"""`horde serve`: one service in the foreground, as an operator would run it. Its settings are its environment."""

from __future__ import annotations

import os

import click

from horde.cli.commands.becoming import become
from horde.cli.local.roles import DEFAULT_PORTS, Role

EPILOG = """\b
Every setting is an environment variable, for example HORDE_LEDGER_LISTEN; a wrong one is named at the start.
Without settings a service listens on its default port of this machine and keeps its state in ./.state.
"""


@click.command(epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"], "ignore_unknown_options": True})
@click.argument("service", type=click.Choice([role.value for role in Role]))
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def serve(service: str, arguments: tuple[str, ...]) -> None:
    """Start one SERVICE, in the foreground, until it is told to stop."""
    role = Role(service)
    if role in DEFAULT_PORTS:
        os.environ.setdefault(f"{role.prefix}LISTEN", f"127.0.0.1:{DEFAULT_PORTS[role]}")
    become(role.module, arguments)
