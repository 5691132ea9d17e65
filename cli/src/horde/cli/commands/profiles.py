"""Meshes by name: where each is and how it is spoken to, kept in `meshes.toml` beside the keys. No secret is in it."""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Final

import click

from horde.cli.commands.values import WORD

DEFAULT_GATEWAY: Final = "127.0.0.1:7700"
FILE: Final = "meshes.toml"
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")


class BadProfiles(click.ClickException):
    """The file of profiles is none, or has no mesh of that name."""


@dataclass(frozen=True, slots=True)
class Profile:
    """One mesh, as its name stands for it."""

    gateway: str = DEFAULT_GATEWAY
    """HOST:PORT."""
    ca: str = ""
    """PEM file of the authorities to believe; empty: the system's."""
    plaintext: bool = False
    page: str = ""
    """URL of its page for people."""


@dataclass(slots=True)
class Profiles:
    """Meshes by name, and which is meant where none is named."""

    path: Path
    meshes: dict[str, Profile] = field(default_factory=dict)
    usual: str = ""

    @classmethod
    def read(cls, folder: Path) -> Profiles:
        """Those of a folder of horde's files. Raises BadProfiles."""
        path = folder / FILE
        known = {setting.name: type(setting.default) for setting in fields(Profile)}
        try:
            table = tomllib.loads(path.read_text("utf-8"))
            usual, meshes = table.get("use", ""), table.get("mesh", {})
            found = cls(path, {name: Profile(**values) for name, values in meshes.items()}, usual)
            well = isinstance(usual, str) and all(
                _NAME.fullmatch(name) and all(isinstance(value, known[key]) for key, value in values.items())
                for name, values in meshes.items()
            )
        except FileNotFoundError:
            return cls(path)
        except (ValueError, TypeError, AttributeError) as error:
            raise BadProfiles(f"{path}: {error}") from None
        if not well:
            raise BadProfiles(f"{path} holds what is no profile: [mesh.NAME] with gateway, ca, plaintext, page")
        return found

    def write(self) -> None:
        """Keep them, whole or not at all."""
        lines = [f"use = {json.dumps(self.usual)}"] if self.usual else []
        for name, profile in sorted(self.meshes.items()):
            given = {key: value for key, value in asdict(profile).items() if value}
            # A string or a truth in JSON is one in TOML.
            lines += ["", f"[mesh.{name}]", *(f"{key} = {json.dumps(value)}" for key, value in given.items())]
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        fresh = self.path.with_name(f".{FILE}.{os.getpid()}")
        fresh.write_text("\n".join(lines).lstrip() + "\n", "utf-8")
        fresh.replace(self.path)

    def named(self, name: str | None) -> Profile:
        """The mesh of a name, else the usual one, else that of this machine. Raises BadProfiles."""
        name = name or self.usual
        return self.known(name) if name else Profile()

    def known(self, name: str) -> Profile:
        """The mesh of this name, also where the name is empty. Raises BadProfiles."""
        if name not in self.meshes:
            known = ", ".join(sorted(self.meshes)) or "none"
            raise BadProfiles(f"There is no mesh {name!r} in {self.path} (known: {known}); see `horde mesh add`.")
        return self.meshes[name]


def name_of_mesh(_: click.Context, __: click.Parameter, name: str) -> str:
    """Check a new name."""
    if not _NAME.fullmatch(name):
        raise click.BadParameter("small letters, digits and hyphens, 32 at most")
    return name


def complete_mesh(context: click.Context, _: click.Parameter, begun: str) -> list[str]:
    """What a shell offers for a name."""
    try:
        return sorted(name for name in Profiles.read(folder_of(context.params)).meshes if name.startswith(begun))
    except click.ClickException:
        return []


def folder_of(options: Mapping[str, object]) -> Path:
    """Where horde's files are, by --config-dir or as usual."""
    from horde.clients.credentials import config_dir

    given = options.get("config_dir")
    return Path(str(given)) if given else config_dir()


mesh_option = click.option(
    "--mesh",
    type=WORD,
    envvar="HORDE_MESH",
    metavar="NAME",
    shell_complete=complete_mesh,
    help="The mesh of this name to speak to; see `horde mesh`.",
)


def meant(folder: Path, mesh: str | None, gateway: str | None) -> Profile:
    """The mesh that is meant by --mesh and --gateway, or their variables. Raises BadProfiles, UsageError."""
    if mesh and gateway:
        raise click.UsageError("--mesh and --gateway (or HORDE_MESH and HORDE_GATEWAY) name a mesh each: give one")
    return Profile(gateway) if gateway else Profiles.read(folder).named(mesh)
