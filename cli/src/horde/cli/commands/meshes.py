"""`horde mesh`: meshes by name, and `horde open`: a mesh's page, or pictures, on this machine's screen."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import click

from horde.cli.commands.asking import json_option
from horde.cli.commands.following import FOLDER, fetch
from horde.cli.commands.groups import DefaultGroup
from horde.cli.commands.output import Output
from horde.cli.commands.profiles import Profile, Profiles, complete_mesh, folder_of, meant, mesh_option, name_of_mesh
from horde.cli.commands.values import ID_PREFIX, WORD

SETTINGS = {"help_option_names": ["-h", "--help"]}
PAGE_PORT: Final = 7710
CONFIG = click.option(
    "--config-dir",
    envvar="HORDE_CONFIG_DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where your meshes, keys and token are kept.",
)


@click.group(cls=DefaultGroup, default="list", context_settings=SETTINGS)
def mesh() -> None:
    """Meshes by name: `horde mesh add home 127.0.0.1:7700`, then `--mesh home` or HORDE_MESH with any command."""


@mesh.command("list")
@CONFIG
@json_option
def list_(config_dir: Path | None, as_json: bool) -> None:
    """Show them, and which is meant where none is named."""
    profiles, out = Profiles.read(folder_of({"config_dir": config_dir})), Output(as_json=as_json)
    for name, profile in sorted(profiles.meshes.items()):
        out.say(f"{'*' if name == profiles.usual else ' '} {name:<16} {profile.gateway} {profile.page}".rstrip())
    if not profiles.meshes:
        out.say("No mesh has a name; `horde mesh add NAME HOST:PORT` gives one.")
    named = {name: _shown(profile) for name, profile in sorted(profiles.meshes.items())}
    out.document({"meshes": named, "use": profiles.usual})


@mesh.command()
@click.argument("name", callback=name_of_mesh)
@click.argument("gateway", type=WORD, metavar="HOST:PORT")
@click.option("--ca", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="PEM file of its authorities.")
@click.option("--plaintext", is_flag=True, help="Speak without TLS to another machine. Anybody can listen.")
@click.option("--page", type=WORD, metavar="URL", help="Its page for people.")
@CONFIG
@json_option
def add(
    name: str, gateway: str, ca: Path | None, plaintext: bool, page: str | None, config_dir: Path | None, as_json: bool
) -> None:
    """Give the mesh whose gateway is at HOST:PORT a NAME, or change what the name stands for."""
    from horde.clients.credentials import mesh_folder

    if page and urlsplit(page).scheme not in ("http", "https"):
        raise click.UsageError("--page is a URL: https://…")
    folder = folder_of({"config_dir": config_dir})
    try:
        mesh_folder(gateway, folder)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    profiles = Profiles.read(folder)
    profiles.meshes[name] = Profile(gateway, str(ca.absolute()) if ca else "", plaintext, page or "")
    profiles.write()
    out = Output(as_json=as_json)
    out.document({"name": name, **_shown(profiles.meshes[name])})
    out.say(f"{name} is the mesh at {gateway}. `horde login --mesh {name}` keeps a key for it.")


@mesh.command()
@click.argument("name", callback=name_of_mesh, shell_complete=complete_mesh)
@CONFIG
@json_option
def use(name: str, config_dir: Path | None, as_json: bool) -> None:
    """Mean the mesh NAME where none is named."""
    profiles, out = Profiles.read(folder_of({"config_dir": config_dir})), Output(as_json=as_json)
    profile = profiles.known(name)
    profiles.usual = name
    profiles.write()
    out.document({"use": name})
    out.say(f"Without --mesh and --gateway, {name} at {profile.gateway} is meant.")


@mesh.command()
@click.argument("name", callback=name_of_mesh, shell_complete=complete_mesh)
@CONFIG
@json_option
def remove(name: str, config_dir: Path | None, as_json: bool) -> None:
    """Forget the name. The key that is kept for its gateway stays: see `horde logout`."""
    profiles, out = Profiles.read(folder_of({"config_dir": config_dir})), Output(as_json=as_json)
    profiles.known(name)
    del profiles.meshes[name]
    profiles.usual = "" if profiles.usual == name else profiles.usual
    profiles.write()
    out.document({"removed": name})
    out.say(f"{name} stands for no mesh any more.")


@click.command("open", context_settings={**SETTINGS, "ignore_unknown_options": True})
@click.argument("generation", type=ID_PREFIX, required=False)
@FOLDER
@mesh_option
@click.option("--gateway", type=WORD, envvar="HORDE_GATEWAY", metavar="HOST:PORT", help="The mesh.")
@click.option("--print", "prints", is_flag=True, help="Print the address instead.")
@CONFIG
@json_option
@click.pass_context
def open_(
    context: click.Context,
    generation: str | None,
    folder: Path,
    mesh: str | None,
    gateway: str | None,
    prints: bool,
    config_dir: Path | None,
    as_json: bool,
) -> Any:
    """Show the mesh's page in this machine's browser; or of GENERATION, an id or its first digits, the pictures."""
    if generation:
        words = [generation, "--out", str(folder), "--open", *(["--json"] if as_json else [])]
        words += [word for name, value in (("--mesh", mesh), ("--gateway", gateway)) if value for word in (name, value)]
        words += ["--config-dir", str(config_dir)] if config_dir else []
        return fetch.main(words, prog_name="horde fetch", standalone_mode=False)
    profile, out = meant(folder_of({"config_dir": config_dir}), mesh, gateway), Output(as_json=as_json)
    host = profile.gateway.rpartition(":")[0]
    if not profile.page and host not in ("127.0.0.1", "localhost", "[::1]"):
        raise click.ClickException(
            f"Nobody has said where the page of {profile.gateway} is: horde mesh add … --page https://…"
        )
    page = profile.page or f"http://{host}:{PAGE_PORT}/"
    out.document({"page": page})
    if prints:
        out.say(page)
    elif click.launch(page) != 0:
        out.say(f"No browser was found here. The page is {page}")
        sys.exit(1)
    return None


def _shown(profile: Profile) -> dict[str, object]:
    return {"gateway": profile.gateway, "ca": profile.ca, "plaintext": profile.plaintext, "page": profile.page}
