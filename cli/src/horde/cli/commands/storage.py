"""`horde storage`: the operator's words about buckets. Each is a program of its own, with its own credential."""

from __future__ import annotations

import importlib.util
import sys
from typing import Final

import click

from horde.cli.commands.becoming import become
from horde.cli.commands.exits import Exit

PROGRAMS: Final = {
    "audit": ("horde.auditor", "auditor", "obstore"),
    "init": ("horde.buckets", "storage-init", "botocore"),
}
"""By command: the program, the extra that it needs, and what tells whether that is here."""


@click.command(
    context_settings={
        "ignore_unknown_options": True,
        "allow_interspersed_args": False,
        "help_option_names": ["-h", "--help"],
    },
    options_metavar="",
)
@click.argument("program", type=click.Choice(list(PROGRAMS)), metavar="audit|init")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def storage(program: str, arguments: tuple[str, ...]) -> None:
    """Hold the buckets against what was settled (audit), or make them with their policies (init)."""
    module, extra, sign = PROGRAMS[program]
    if importlib.util.find_spec(sign) is None:
        click.echo(f"error: this needs more: pip install 'horde-mesh[{extra}]'", err=True)
        sys.exit(Exit.USAGE)
    become(module, arguments)
