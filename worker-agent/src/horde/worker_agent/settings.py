"""The settings of one worker. From the environment (HORDE_WORKER_…) or, with the same names, from the command line."""

from __future__ import annotations

import os
import platform
import re
import tomllib
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from horde.services.identity import read_private
from horde.services.settings import BadSettings, ServiceSettings
from horde.worker_agent.core.declining import Declines, declines
from horde.worker_agent.core.easels import devices as parse_devices
from horde.worker_agent.core.guest import Rules, parse_hours, parse_programs
from horde.worker_agent.core.postprocessors import tool_files
from horde.worker_agent.home import lasting_name

NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")


def _own_name(validated: dict[str, Any]) -> str:
    host = re.sub(r"[^A-Za-z0-9._-]", "-", platform.node())[:48] or "worker"
    return lasting_name(validated["state_dir"], host)


class _File(TomlConfigSettingsSource):
    """A configuration file; one that cannot be read or understood is a bad setting."""

    def __init__(self, settings: type[BaseSettings], path: Path) -> None:
        try:
            path.read_bytes()  # One that is not there would be passed over.
            super().__init__(settings, path)
        except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise BadSettings(f"HORDE_WORKER_CONFIG: {path}: {error}") from None


class WorkerSettings(ServiceSettings):
    """Lend this machine to the horde: paint for others, earn kudos."""

    model_config = SettingsConfigDict(env_prefix="HORDE_WORKER_")
    among_services: ClassVar[bool] = False
    hot: ClassVar[frozenset[str]] = frozenset(
        {"hours", "on_battery", "not_beside", "max_celsius", "untouched_minutes", "max_others_percent"}
    )
    """What holds as soon as the configuration file says so."""

    config: Path | None = None
    """A TOML file with settings by these names (`max_pixels = 1048576`); what the environment or an option says goes
    before it."""
    gateway: str = "127.0.0.1:7700"
    """Where the mesh is, HOST:PORT."""
    plaintext: bool = False
    """Speak without TLS also to another machine. For networks that you own."""
    api_key_file: Path | None = None
    """A file, for your eyes alone (mode 0600), with an API key of your account that has the scope WORK."""
    api_key: SecretStr = SecretStr("")
    """The key itself, where a file is not practical."""
    state_dir: Path = Path(".state/worker-agent")
    """Where outcomes and images wait that the mesh does not have yet; a folder in it for each worker's name."""
    name: str = Field(default_factory=_own_name)
    """This worker's name among yours. Not given: the host's with a few letters, drawn once and kept in `state_dir`."""
    painter: Literal["diffusers", "scripted"] = "diffusers"
    """Who paints. `scripted` needs no model and is for tests."""
    models: str = ""
    """What to paint with: NAME=FOLDER_OR_HUB_ID, several by commas. Empty: the model that comes along."""
    models_dir: Path | None = None
    """Where `horde worker models add` puts models, all of which are served beside `models`; not given: in
    `state_dir`."""
    max_models_gib: float = Field(default=0.0, ge=0)
    """What models that are fetched may take of the disk, GiB; 0: all but 2."""
    post_processors: str = ""
    """What changes finished pictures, KIND=FILE#SHA256, several by commas: `upscaler` and `face-repair`
    (.safetensors), `face-finder` and `background` (.onnx)."""
    script: str = ""
    """Commands to the scripted painter, for every picture: see painters/scripted.py."""
    painters: int = Field(default=1, ge=1, le=256)
    """How many pictures are painted at once."""
    prefetch: int = Field(default=1, ge=0, le=256)
    """How many further jobs wait here, so that the next is there when one ends."""
    devices: str = ""
    """Where to paint: `cuda:0,cuda:1`; `cuda:1=sdxl+turbo` paints with those models alone. Empty: on every card, or on
    the processor."""
    batch: int = Field(default=0, ge=0, le=64)
    """How many pictures that differ in words and seed alone are painted in one pass; 0: as many as fit, up to 4, on a
    card, and one on a processor."""
    threads: int = Field(default=0, ge=0, le=1024)
    """Processor threads for painting; 0: all but one."""
    max_pixels: int = Field(default=0, ge=0)
    """The largest width x height to take on; 0: as measured."""
    quality: int = Field(default=90, ge=1, le=100)
    """Of the WebP images."""
    declined_prompts: Path | None = None
    """A file of what you do not paint, one rule a line: a text that a prompt holds, or `/an expression/`. Read at
    start; such jobs are given back unpainted."""
    hours: str = ""
    """When to paint, local time, `22:00-07:00`, several by commas; empty: at any time."""
    on_battery: bool = False
    """Whether to paint also on battery."""
    not_beside: str = ""
    """Programs beside which nothing is painted, by commas: games, say."""
    max_celsius: float = Field(default=0.0, ge=0, le=150)
    """No more jobs while the processor or a card is hotter; 0: no bound."""
    untouched_minutes: float = Field(default=0.0, ge=0)
    """No more jobs before keyboard and mouse were left alone for so long, where the system tells; 0: no matter."""
    max_others_percent: float = Field(default=0.0, ge=0, le=100)
    """No more jobs while other programs use more of the processor, percent; 0: no matter."""
    drain_seconds: float = Field(default=120.0, ge=0)
    """How long jobs may take to end when the agent is told to stop; then they are given back."""
    reconnect_first_seconds: float = Field(default=0.5, gt=0)
    """The first wait before attaching again is up to this long; then it doubles."""
    reconnect_limit_seconds: float = Field(default=15.0, gt=0)
    """The longest wait before attaching again."""

    @classmethod
    def settings_customise_sources(
        cls, settings_cls: type[BaseSettings], *sources: PydanticBaseSettingsSource, **named: PydanticBaseSettingsSource
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """What is said to the call, then options, then the environment, then the file."""
        path = os.environ.get("HORDE_WORKER_CONFIG")
        usual = (*sources, named["init_settings"], named["env_settings"])
        return (*usual, _File(settings_cls, Path(path))) if path else usual

    @field_validator("models", "post_processors", mode="before")
    @classmethod
    def _by_name(cls, models: object) -> object:
        """In a file they may be a table."""
        return ",".join(f"{name}={place}" for name, place in models.items()) if isinstance(models, dict) else models

    @cached_property
    def declines(self) -> Declines:
        """The rules of `declined_prompts`."""
        lines = [] if self.declined_prompts is None else self.declined_prompts.read_text("utf-8").splitlines()
        return declines(lines)

    @field_validator("hours")
    @classmethod
    def _times(cls, hours: str) -> str:
        parse_hours(hours)
        return hours

    @field_validator("post_processors")
    @classmethod
    def _whole(cls, post_processors: str) -> str:
        tool_files(post_processors)
        return post_processors

    @field_validator("devices")
    @classmethod
    def _places(cls, devices: str) -> str:
        parse_devices(devices)
        return devices

    @field_validator("name")
    @classmethod
    def _usable(cls, name: str) -> str:
        if not NAME.fullmatch(name) or name in (".", ".."):
            raise ValueError("1 to 64 letters, digits, '-', '_' and '.'")
        return name

    @model_validator(mode="after")
    def _rules_that_can_be(self) -> WorkerSettings:
        try:
            assert self.declines is not None
        except (OSError, ValueError) as error:
            raise ValueError(f"declined_prompts: {error}") from None
        return self

    @model_validator(mode="after")
    def _with_key(self) -> WorkerSettings:
        if self.api_key_file is None and not self.api_key.get_secret_value():
            raise ValueError("an API key is needed: set HORDE_WORKER_API_KEY_FILE")
        return self

    @model_validator(mode="after")
    def _one_hand(self) -> WorkerSettings:
        if self.painter == "diffusers" and self.painters != 1:
            raise ValueError("HORDE_WORKER_PAINTERS: diffusers paints one picture at a time on each of its devices")
        return self

    @property
    def stop_seconds(self) -> float:
        """How long the process may take to end: what is begun is finished, what is left is given back."""
        return self.drain_seconds + 30

    def read_api_key(self) -> str:
        """The key; raises PermissionError for a file that others can read, and ValueError where there is none."""
        if self.api_key_file is None:
            return self.api_key.get_secret_value()
        try:
            return read_private(self.api_key_file).decode().strip()
        except FileNotFoundError:
            raise ValueError(
                f"there is no file {self.api_key_file}, which should hold an API key: `horde worker join` makes one"
            ) from None

    def rules(self) -> Rules:
        """When this machine may paint."""
        return Rules(
            parse_hours(self.hours),
            self.on_battery,
            parse_programs(self.not_beside),
            self.max_celsius,
            self.untouched_minutes,
            self.max_others_percent,
        )

    def beyond_rules(self, fresh: WorkerSettings) -> list[str]:
        """Names of settings that are others in `fresh`, but for those of `rules`."""
        names = set(type(self).model_fields) - self.hot
        return [name for name in names if getattr(self, name) != getattr(fresh, name)]

    def with_rules_of(self, fresh: WorkerSettings) -> WorkerSettings:
        """These settings with the rules of others."""
        return self.model_copy(update={name: getattr(fresh, name) for name in self.hot})

    @property
    def home(self) -> Path:
        """This worker's own folder."""
        return self.state_dir / self.name


def find_config(arguments: Sequence[str]) -> None:
    """Let `--config FILE` name the file before the other options are read, which come on top of what it says."""
    for index, argument in enumerate(arguments):
        name, equals, value = argument.partition("=")
        if name == "--config" and (equals or index + 1 < len(arguments)):
            os.environ["HORDE_WORKER_CONFIG"] = value if equals else arguments[index + 1]
