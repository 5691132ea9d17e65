"""What an owner sends to whoever helps him: one readable file, `python -m horde.worker_agent.doctor --report FILE`.

Settings, verdicts, versions, what the running worker says of itself, what waits on disk. No key, no token, no prompt
and no picture are in it; the worker's name, its host's and the home folder are replaced.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from horde.worker_agent.outcomes import write_at_once
from horde.worker_agent.settings import WorkerSettings

PACKAGES = ("horde-mesh", "torch", "diffusers", "transformers", "safetensors", "peft", "grpcio", "protobuf", "pillow")
HIDDEN = "(hidden)"


def report(
    settings: WorkerSettings,
    verdicts: Iterable[Mapping[str, object]],
    status: Mapping[str, Any] | None,
    home: Path | None = None,
) -> str:
    """The file's text; `status` is what the running worker answers, None if none runs. `home` is for tests."""
    content = {
        "settings": _settings(settings),
        "verdicts": list(verdicts),
        "status": status,
        "versions": {"python": platform.python_version(), "system": platform.platform(), **_versions()},
        "waiting on disk": _waiting(settings.home),
    }
    text = json.dumps(content, indent=2, default=str)
    names = {settings.name: "WORKER", platform.node(): "HOST", str(home or Path.home()): "~"}
    if (key := settings.api_key.get_secret_value()) or settings.api_key_file is not None:
        # It stands nowhere in it; should it ever, by somebody's mistake, it does not go out.
        names[key or _key(settings)] = HIDDEN
    for name in sorted(filter(None, names), key=len, reverse=True):
        text = text.replace(json.dumps(name)[1:-1], names[name])
    return text + "\n"


def write(text: str, path: Path) -> None:
    """Write the file, for its owner's eyes alone. Raises OSError."""
    write_at_once(str(path.absolute().parent), path.name, text.encode())


def _settings(settings: WorkerSettings) -> dict[str, object]:
    """What is set, by name; what is secret only as set or not."""
    said = {name: getattr(settings, name) for name in sorted(settings.model_fields_set)}
    return {
        name: HIDDEN if isinstance(value, SecretStr) or "key" in name else str(value) for name, value in said.items()
    }


def _key(settings: WorkerSettings) -> str:
    try:
        return settings.read_api_key()
    except (OSError, ValueError):
        return ""


def _versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def _waiting(home: Path) -> dict[str, str]:
    """How many files, and how large; their names are of leases."""
    found = {}
    for folder in ("outcomes", "spool"):
        sizes = [path.stat().st_size for path in (home / folder).glob("*") if path.is_file()]
        found[folder] = f"{len(sizes)} files, {sum(sizes)} bytes"
    return found
