"""`horde worker`: lend this machine. Makes a key and a configuration file; the agent itself is a program of its own."""

from __future__ import annotations

import asyncio
import importlib.util
import itertools
import platform
import sys
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

import click

from horde.cli.commands.asking import asks
from horde.cli.commands.becoming import become
from horde.cli.commands.exits import Exit
from horde.cli.commands.output import Output
from horde.cli.commands.values import TEXT

if TYPE_CHECKING:
    from horde.clients.client import HordeClient

KEY_FILE: Final = "worker.key"
CONFIG_FILE: Final = "worker.toml"
UNIT: Final = Path("~/.config/systemd/user/horde-worker.service")
PASSED_ON: Final = {"ignore_unknown_options": True, "allow_interspersed_args": False}
CONFIG: Final = """\
# A worker of {target}. Everything that `python -m horde.worker_agent --help` lists may stand here, by its name with
# underscores; an option or a variable HORDE_WORKER_… goes before it.

gateway = "{gateway}"
{plaintext}api_key_file = {key_file}
state_dir = {state_dir}

# What to paint with: a name, and a folder, a .safetensors file or a hub id. None: the small model that comes along.
# [models]
# sdxl = "/models/sdxl"

# What enlarges finished pictures, mends faces, cuts out: needs the extra `post-processing`, and a file's SHA-256.
# [post_processors]
# upscaler = "/models/x4.safetensors#<64 hexadecimal digits>"

# The rules below hold as soon as this file is saved, everything else from the next start.

# When to paint, local time; nothing: at any time.
# hours = "22:00-07:00"
# Programs beside which nothing is painted.
# not_beside = "steam_app,blender"
# No new jobs while anything in here is hotter, in degrees Celsius.
{max_celsius}
# No new jobs before keyboard and mouse were left alone for so many minutes.
{untouched_minutes}
# No new jobs while other programs use more than so much of the processor, in percent.
{max_others_percent}
# Also without mains.
on_battery = false
"""
RULES: Final = {"max_celsius": 85, "untouched_minutes": 10, "max_others_percent": 40}
PRESETS: Final[dict[str, dict[str, int]]] = {
    "dedicated": {},
    "shared": {"max_celsius": 85, "max_others_percent": 40},
    "quiet": {"max_celsius": 75, "untouched_minutes": 10, "max_others_percent": 20},
}
"""How much of a machine is lent: the rules that stand in a new configuration, the others as comments."""
SYSTEMD: Final = """\
[Unit]
Description=Paint for the horde
After=network-online.target

[Service]
ExecStart={python} -m horde.worker_agent --config {config}
Restart=on-failure
RestartSec=10
# 2 and 3: starting again does not help.
RestartPreventExitStatus=2 3
Nice=10
TimeoutStopSec=180

[Install]
WantedBy=default.target
"""


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def worker() -> None:
    """Lend this machine: join a mesh, look whether all is well, start."""


@worker.command()
@click.option("--new-account", type=TEXT, metavar="NAME", help="Open an account first, if no key is kept here.")
@click.option("--start/--no-start", default=True, help="Start painting when all is well.")
@click.option("--systemd", is_flag=True, help="Also write a systemd unit of your user, that starts it when you log in.")
@click.option(
    "--preset",
    type=click.Choice(list(PRESETS)),
    default="dedicated",
    show_default=True,
    help="How much of this machine a new configuration lends. dedicated: paint at any time; shared: not while other "
    "programs work; quiet: only while nobody is there.",
)
@asks
async def join(
    horde: HordeClient, out: Output, new_account: str | None, start: bool, systemd: bool, preset: str
) -> Exit:
    """Make this machine a worker of the mesh that --gateway names.

    A key that may only work, a configuration file, a look at everything, and the first job.

    Repeating it is harmless: what is there stays.
    """
    from rich.markup import escape

    from horde.api.account.v1.account_service_pb2 import ApiKeyScope
    from horde.clients.client import HordeClient
    from horde.clients.credentials import API_KEY_FILE, ApiKey, write_secret

    folder = horde.mesh_folder
    config, key = folder / CONFIG_FILE, folder / KEY_FILE
    if not key.exists():
        credential = horde.credential
        if not isinstance(credential, ApiKey):
            if new_account is None:
                raise click.UsageError("No account here yet: give --new-account NAME, or `horde login` first.")
            opened = await horde.accounts.create(new_account)
            write_secret(folder / API_KEY_FILE, opened.api_key)
            credential = ApiKey(opened.api_key)
            out.say(f"account   {escape(new_account)}, its key is kept in {escape(str(folder / API_KEY_FILE))}")
        async with HordeClient(horde.target, credential=credential, security=horde.security) as owner:
            made = await owner.accounts.create_key(
                f"worker on {platform.node()}"[:64], [ApiKeyScope.API_KEY_SCOPE_WORK]
            )
        write_secret(key, made.api_key)
        out.say(f"key       {escape(str(key))}: it may work and nothing else")
    if not config.exists():
        plaintext = "plaintext = true\n" if horde.security.plaintext else ""
        config.write_text(
            CONFIG.format(
                target=horde.target,
                gateway=horde.target.removeprefix("dns:///"),
                plaintext=plaintext,
                key_file=_quoted(key),
                state_dir=_quoted(folder / "worker"),
                **_rules(preset),
            ),
            "utf-8",
        )
    out.say(f"settings  {escape(str(config))}")
    out.document({"config": str(config), "key_file": str(key)})
    if systemd:
        _write_unit(config, out)
    doctor = [sys.executable, "-m", "horde.worker_agent.doctor", "--config", str(config)]
    sys.stdout.flush()
    examined = await asyncio.create_subprocess_exec(*doctor, stdout=sys.stderr if out.as_json else None)
    if await examined.wait():
        out.say("Something is in the way, see above; then: [bold]horde worker start[/bold]")
        return Exit.FAILED
    if start:
        become("horde.worker_agent", ["--config", str(config)])
    out.say("Start it with: [bold]horde worker start[/bold]")
    return Exit.OK


def _rules(preset: str) -> dict[str, str]:
    """The lines of the rules that have a number: those of the preset, the others as comments."""
    named = PRESETS[preset]
    return {
        name: f"{name} = {named[name]}" if name in named else f"# {name} = {usual}" for name, usual in RULES.items()
    }


def _quoted(path: Path) -> str:
    """A path as TOML has it: a literal, in which a backslash is a backslash."""
    return f"'{path.absolute()}'"


def _write_unit(config: Path, out: Output) -> None:
    from rich.markup import escape

    path = UNIT.expanduser()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(SYSTEMD.format(python=sys.executable, config=config), "utf-8")
    out.say(f"unit      {escape(str(path))}: systemctl --user enable --now horde-worker")
    out.say("          It starts when you log in; with the machine after: loginctl enable-linger")


@worker.command(context_settings=PASSED_ON, add_help_option=False)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def start(arguments: tuple[str, ...]) -> None:
    """Start the worker that `join` has set up. Takes the agent's own options, `--gateway` among them."""
    _run("horde.worker_agent", arguments)


@worker.command(context_settings=PASSED_ON, add_help_option=False)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def doctor(arguments: tuple[str, ...]) -> None:
    """Look whether all is well: settings, key, disk, torch, models, the mesh. `--paint`: also how fast it paints.

    `--report FILE` writes what somebody who helps you needs to know: no key, no name, no prompt, no picture.
    """
    _run("horde.worker_agent.doctor", arguments)


@worker.command(context_settings=PASSED_ON, add_help_option=False)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def status(arguments: tuple[str, ...]) -> None:
    """What the worker that runs here does, what it earned, and why it is idle. `--watch`: again and again; `--json`."""
    what = "watch" if "--watch" in arguments else "status"
    _run("horde.worker_agent.screen", tuple(argument for argument in arguments if argument != "--watch"), what)


@worker.command(context_settings=PASSED_ON, add_help_option=False)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def pause(arguments: tuple[str, ...]) -> None:
    """Ask for no more jobs, until `resume` or for so many MINUTES; what is begun is finished."""
    minutes = arguments[:1] if arguments and not arguments[0].startswith("-") else ()
    _run("horde.worker_agent.screen", arguments[len(minutes) :], "pause", *minutes)


@worker.command(context_settings=PASSED_ON, add_help_option=False)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def resume(arguments: tuple[str, ...]) -> None:
    """Ask for jobs again after a pause, as far as your rules allow."""
    _run("horde.worker_agent.screen", arguments, "resume")


@worker.command(context_settings=PASSED_ON, add_help_option=False)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def stop(arguments: tuple[str, ...]) -> None:
    """End the worker that runs here, as after Ctrl-C: what is begun is finished."""
    _run("horde.worker_agent.screen", arguments, "stop")


@worker.command(context_settings=PASSED_ON, add_help_option=False)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def models(arguments: tuple[str, ...]) -> None:
    """`list`, `add NAME PLACE [--sha256 HEX]`, `remove NAME`, `suggest`: what this worker paints with, or might.

    A place is a folder, a .safetensors file, or a URL of one or of a catalogue.json; a download that breaks goes on
    when the command is repeated.
    """
    words = tuple(itertools.takewhile(lambda argument: not argument.startswith("-"), arguments))
    _run("horde.worker_agent.stocking", arguments[len(words) :], *words)


def _run(module: str, arguments: tuple[str, ...], *words: str) -> NoReturn:
    """Become a program of the worker's, with its own words first, then its options and the configuration."""
    if importlib.util.find_spec("psutil") is None:
        click.echo("error: a worker needs more: pip install 'horde-mesh[worker]'", err=True)
        sys.exit(Exit.USAGE)
    if not any(argument.startswith("--config") for argument in arguments):
        arguments = ("--config", str(_joined(arguments)), *arguments)
    become(module, [*words, *arguments])


def _joined(arguments: tuple[str, ...]) -> Path:
    """The configuration that `join` wrote: of the mesh that is named, else the only one there is."""
    from horde.clients.credentials import config_dir, mesh_folder

    named = [value for name, value in pairwise(arguments) if name == "--gateway"]
    if named:
        return mesh_folder(named[0]) / CONFIG_FILE
    found = sorted((config_dir() / "meshes").glob(f"*/{CONFIG_FILE}"))
    if len(found) != 1:
        many = ", ".join(str(path) for path in found)
        raise click.UsageError(f"Several: say --config, one of {many}" if found else "First: horde worker join")
    return found[0]
