"""`horde`: the first word decides what is loaded."""

from __future__ import annotations

import importlib
from typing import Final

import click

from horde.cli.commands.exits import HELP

COMMANDS: Final = {
    "up": ("up", "Start a whole mesh on this machine, with a worker."),
    "serve": ("serve", "Start one service, in the foreground."),
    "demo": ("demo", "Paint a few pictures through a mesh of its own, and show what became of them."),
    "keys": ("keys", "For operators: the secrets of a mesh, made once, changed without an interruption."),
    "generate": ("generate", "Ask for pictures."),
    "generations": ("generations", "List, show, cancel or take back what you asked for."),
    "account": ("account", "Open an account, look at it, manage its API keys."),
    "kudos": ("kudos", "Balance, statement, gifts; for operators awards and audits."),
    "release": ("release", "Data releases: sets of shared images for research; make, list, pull, verify, prune."),
    "workers": ("catalogue", "Who paints, and how fast."),
    "models": ("catalogue", "What can be painted with, and how busy it is."),
}
"""By name: the module below this package that holds the command of that name, and its help in one line."""


class LazyGroup(click.Group):
    """A group that imports a command's module when the command is called, not before."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"horde.cli.commands.{COMMANDS[cmd_name][0]}")
        command: click.Command = getattr(module, cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(cls=LazyGroup, epilog=HELP, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="horde-mesh", prog_name="horde")
def main() -> None:
    """A crowdsourced image generator: people lend GPUs, people ask for pictures, kudos flow from the second to the
    first.

    Try `horde up` in one terminal and `horde generate "a red star"` in another.
    """


if __name__ == "__main__":
    main()
