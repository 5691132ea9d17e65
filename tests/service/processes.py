"""Services as processes, each alone: what it needs of a folder, a database and neighbours that are away."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from horde.cli.local.processes import Child, Process
from horde.services.identity import create_key_file

NOBODY = "127.0.0.1:1"
"""Where nobody listens."""
MODULES = {
    "ledger": "horde.ledger",
    "scheduler": "horde.scheduler",
    "gateway": "horde.gateway",
    "storage-router": "horde.storage_router",
    "web-door": "horde.web_door",
    "curation": "horde.curation",
    "webhooks": "horde.webhooks",
    "worker": "horde.worker_agent",
}


def environment(service: str, folder: Path, **settings: str) -> dict[str, str]:
    """What the service is told: it listens on a free port, and its neighbours are away unless `settings` name them."""
    key = folder / "key"
    if not key.exists():
        create_key_file(key)
    own: dict[str, str] = {"STATE_DIR": str(folder / service), "LOG_FORMAT": "json"}
    if service == "worker":
        own |= {"GATEWAY": NOBODY, "API_KEY": "hrd_" + "0" * 40, "PAINTER": "scripted", "DRAIN_SECONDS": "0"}
    elif service == "web-door":
        own = {"LISTEN": "127.0.0.1:0", "GATEWAY": NOBODY, "GRACE_SECONDS": "1", "LOG_FORMAT": "json"}
    else:
        own |= {"LISTEN": "127.0.0.1:0", "KEY_FILE": str(key), "GRACE_SECONDS": "1"}
    if service in ("scheduler", "gateway"):
        own |= {"LEDGER": NOBODY, "STORAGE_ROUTER": NOBODY}
    if service == "gateway":
        own |= {"SCHEDULER": NOBODY, "CURATION": NOBODY, "WEBHOOKS": NOBODY}
    if service == "webhooks":
        own |= {"SCHEDULER": NOBODY, "LEDGER": NOBODY}
    if service == "curation":
        own |= {
            "STORAGE_ROUTER": NOBODY,
            "SHARED_DIR": str(folder / "shared"),
            "RELEASES_DIR": str(folder / "releases"),
        }
    if service in ("scheduler", "gateway", "storage-router", "curation"):
        own |= {"PUBLIC_KEYS_DIR": str(folder / "public-keys")}
    prefix = f"HORDE_{service.replace('-', '_').upper()}_"
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HORDE_")}
    paths = [folder for folder in sys.path if folder.endswith(("src", "gen"))]
    kept["PYTHONPATH"] = os.pathsep.join([*paths, str(Path(__file__).parents[2])])
    return kept | {prefix + name: value for name, value in (own | settings).items()}


@dataclass
class Service:
    """A service's process, and what it has written to its log."""

    process: Child
    output: asyncio.StreamReader
    lines: list[str] = field(default_factory=list)

    async def until(self, words: str) -> str:
        """The first line of its log, from here on, that has these words."""
        async for raw in self.output:
            self.lines.append(raw.decode())
            if words in self.lines[-1]:
                return self.lines[-1]
        raise AssertionError(f"it never said {words!r}:\n{''.join(self.lines)}")

    async def ended(self) -> int:
        """Its exit status, when it is over."""
        async for raw in self.output:
            self.lines.append(raw.decode())
        return await self.process.wait()

    @property
    def log(self) -> str:
        return "".join(self.lines)


@asynccontextmanager
async def started(service: str, settings: Mapping[str, str], *program: str) -> AsyncIterator[Service]:
    """The service's process, or another program in its place; killed if it is left while it runs.

    The service alone is started as people start it, another program as those of meshes are.
    """
    if program:
        process: Any = await Process.start_child(program, settings)
        output = process.stdout
    else:
        module: Any = ("-m", MODULES[service])
        process = await asyncio.create_subprocess_exec(
            sys.executable, *module, env=dict(settings), stderr=asyncio.subprocess.PIPE
        )
        output = process.stderr
    try:
        yield Service(process, output)
    finally:
        if process.returncode is None:
            process.kill()
        async for _ in output:
            pass
        await process.wait()
