"""`horde`: the first word decides what is loaded."""

from __future__ import annotations

from typing import Final

import click

from horde.cli.commands.exits import HELP
from horde.cli.commands.groups import LazyGroup

COMMANDS: Final = {
    "up": ("up", "Start a whole mesh on this machine, with a worker."),
    "serve": ("serve", "Start one service, in the foreground."),
    "demo": ("demo", "Paint a few pictures through a mesh of its own, and show what became of them."),
    "keys": ("keys", "For operators: the secrets of a mesh, made once, changed without an interruption."),
    "doctor": ("doctor", "For operators: look at the settings of all services together, and at what they name."),
    "capacity": ("capacity", "For operators: what a mesh of some size needs, by measured costs."),
    "backup": ("backup", "For operators: copies of all databases as of one moment, and the way back."),
    "generate": ("generate", "Ask for pictures."),
    "sweep": ("sweeping", "Paint a file of prompts, with seeds, models and sizes; and on from where it was left."),
    "watch": ("following", "Follow a generation again, and save its pictures as they are done."),
    "fetch": ("following", "Save the pictures of a generation that are done."),
    "generations": ("generations", "List, show, cancel, take back or delete what you asked for."),
    "account": ("account", "Open an account, look at it, manage its API keys."),
    "kudos": ("kudos", "Balance, statement, gifts; for operators awards and audits."),
    "standing": ("standing", "How you stand: trust, strikes, restrictions, and what mends them."),
    "operator": ("operator", "For operators: trust, pause, ban, lift, amnesty."),
    "conform": ("conform", "Hold a gateway, or an SDK, against the contract."),
    "login": ("login", "Keep an API key for a mesh."),
    "logout": ("login", "Forget the API key that is kept for a mesh."),
    "mesh": ("meshes", "Meshes by name, and which is meant where none is named."),
    "open": ("meshes", "Show the mesh's page in the browser, or pictures with this machine's viewer."),
    "consent": ("consent", "What sharing pictures means: the text that you agree to."),
    "release": ("release", "Data releases: sets of shared images for research; make, list, pull, verify, prune."),
    "rate": ("rating", "Say how beautiful shared images are, and earn by it."),
    "ratings": ("rating", "Your ratings, how they are taken, and a predictor learnt from ratings."),
    "report": ("moderation", "Say that something is wrong with a shared image."),
    "moderation": ("moderation", "For moderators: images to look at, and what is decided of them."),
    "storage": ("storage", "For operators: set the buckets up, and hold them against what was settled."),
    "webhooks": ("webhooks", "Addresses that the mesh calls when something happened to what is yours."),
    "worker": ("worker", "Lend this machine: join a mesh, look whether all is well, start."),
    "workers": ("catalogue", "Who paints, and how fast."),
    "top": ("top", "The mesh, live: what waits and is painted, who paints, and how the services fare."),
    "models": ("catalogue", "What can be painted with, what each model can, and how busy it is."),
    "completion": ("completion", "Have your shell complete commands and options with Tab."),
    "man": ("man", "The manual page of all commands."),
}
"""By name: the module below this package that holds the command of that name, and its help in one line."""


@click.group(cls=LazyGroup, lazy=COMMANDS, epilog=HELP, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="horde-mesh", prog_name="horde")
def main() -> None:
    """A crowdsourced image generator: people lend GPUs, people ask for pictures, kudos flow from the second to the
    first.

    Try `horde up` in one terminal and `horde generate "a red star"` in another.
    """


if __name__ == "__main__":
    main()
