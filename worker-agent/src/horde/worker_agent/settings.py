"""The settings of one worker. From the environment (HORDE_WORKER_…) or, with the same names, from the command line."""

from __future__ import annotations

import platform
import re
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import SettingsConfigDict

from horde.services.identity import read_private
from horde.services.settings import ServiceSettings
from horde.worker_agent.home import lasting_name

NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")


def _own_name(validated: dict[str, Any]) -> str:
    host = re.sub(r"[^A-Za-z0-9._-]", "-", platform.node())[:48] or "worker"
    return lasting_name(validated["state_dir"], host)


class WorkerSettings(ServiceSettings):
    """Lend this machine to the horde: paint for others, earn kudos."""

    model_config = SettingsConfigDict(env_prefix="HORDE_WORKER_")
    among_services: ClassVar[bool] = False

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
    script: str = ""
    """Commands to the scripted painter, for every picture: see painters/scripted.py."""
    painters: int = Field(default=1, ge=1, le=256)
    """How many pictures are painted at once."""
    prefetch: int = Field(default=1, ge=0, le=256)
    """How many further jobs wait here, so that the next is there when one ends."""
    threads: int = Field(default=0, ge=0, le=1024)
    """Processor threads for painting; 0: all but one."""
    max_pixels: int = Field(default=0, ge=0)
    """The largest width x height to take on; 0: as measured."""
    quality: int = Field(default=90, ge=1, le=100)
    """Of the WebP images."""
    drain_seconds: float = Field(default=120.0, ge=0)
    """How long jobs may take to end when the agent is told to stop; then they are given back."""
    reconnect_first_seconds: float = Field(default=0.5, gt=0)
    """The first wait before attaching again is up to this long; then it doubles."""
    reconnect_limit_seconds: float = Field(default=15.0, gt=0)
    """The longest wait before attaching again."""

    @field_validator("name")
    @classmethod
    def _usable(cls, name: str) -> str:
        if not NAME.fullmatch(name) or name in (".", ".."):
            raise ValueError("1 to 64 letters, digits, '-', '_' and '.'")
        return name

    @model_validator(mode="after")
    def _with_key(self) -> WorkerSettings:
        if self.api_key_file is None and not self.api_key.get_secret_value():
            raise ValueError("an API key is needed: set HORDE_WORKER_API_KEY_FILE")
        return self

    @model_validator(mode="after")
    def _one_hand(self) -> WorkerSettings:
        if self.painter == "diffusers" and self.painters != 1:
            raise ValueError("HORDE_WORKER_PAINTERS: diffusers paints one picture at a time")
        return self

    @property
    def stop_seconds(self) -> float:
        """How long the process may take to end: what is begun is finished, what is left is given back."""
        return self.drain_seconds + 30

    def read_api_key(self) -> str:
        """The key; raises PermissionError for a file that others can read."""
        if self.api_key_file is None:
            return self.api_key.get_secret_value()
        return read_private(self.api_key_file).decode().strip()

    @property
    def home(self) -> Path:
        """This worker's own folder."""
        return self.state_dir / self.name
