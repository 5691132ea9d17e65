"""What stands between this machine and its first kudos: `python -m horde.worker_agent.doctor`.

Takes the worker's own options. Looks at settings, key, disk, memory, torch, models, the mesh and its storage, and says
one line for each; with `--paint` also how fast each model paints here. `--report FILE` writes what a helper needs to
know, without secrets. Ends with 1 if something is wrong.
"""

from __future__ import annotations

import asyncio
import json
import platform
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import psutil

from horde.api.mesh.v1.mesh_service_pb2 import GetMeshRequest
from horde.api.mesh.v1.mesh_service_pb2_grpc import MeshServiceStub
from horde.services.channel import dial
from horde.services.errors import ServiceError
from horde.services.settings import load_or_exit
from horde.services.tls import TlsFiles, is_loopback
from horde.worker_agent.control import NotRunning, NotUnderstood, ask
from horde.worker_agent.core.guest import why_not_now
from horde.worker_agent.core.postprocessors import tool_files
from horde.worker_agent.doors import ANYBODY
from horde.worker_agent.guest import look
from horde.worker_agent.painters.choice import named_models, open_painter
from horde.worker_agent.painters.finishing import missing_for
from horde.worker_agent.painters.models import BadModel, find_models
from horde.worker_agent.painters.port import CannotLoad
from horde.worker_agent.presence import untouched_seconds
from horde.worker_agent.report import report, write
from horde.worker_agent.settings import WorkerSettings, find_config

ANSWER_SECONDS = 10.0
DISK_BYTES = 1 << 30
"""Below it finished pictures may find no room to wait."""
MEMORY_BYTES = 2 << 30


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found about one thing."""

    about: str
    is_: Literal["good", "slow", "bad"]
    words: str


def machine(settings: WorkerSettings) -> Iterator[Verdict]:
    """What can be said without the mesh."""
    system = (
        f"{platform.system()} {platform.machine()}, Python {platform.python_version()}, {psutil.cpu_count()} processors"
    )
    yield Verdict("machine", "good", system)
    try:
        settings.read_api_key()
        yield Verdict("key", "good", str(settings.api_key_file or "from the settings"))
    except (OSError, ValueError) as error:
        yield Verdict("key", "bad", str(error))
    settings.state_dir.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(settings.state_dir).free
    yield Verdict("disk", "good" if free >= DISK_BYTES else "bad", f"{free >> 20} MiB free at {settings.state_dir}")
    memory = psutil.virtual_memory().available
    yield Verdict("memory", "good" if memory >= MEMORY_BYTES else "slow", f"{memory >> 20} MiB free")
    why = why_not_now(settings.rules(), look(settings.rules()), paused=False)
    yield Verdict("rules", "slow" if why else "good", f"no jobs now: {why}" if why else "jobs are asked for now")
    if settings.untouched_minutes and untouched_seconds() is None:
        yield Verdict("rules", "slow", "untouched_minutes has no effect: this system does not tell whether it is used")
    if settings.painter == "diffusers":
        yield torch()
        yield from models(settings)
        for file in tool_files(settings.post_processors):
            missing = missing_for(file)
            yield Verdict(file.kind, "bad" if missing else "good", missing or str(file.path))


def torch() -> Verdict:
    """What torch paints on."""
    try:
        import torch
    except ImportError as error:
        return Verdict("torch", "bad", f"{error}: pip install 'horde-mesh[worker]'")
    if torch.cuda.is_available():
        cards = [torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count())]
        named = ", ".join(f"{card.name} ({card.total_memory >> 20} MiB)" for card in cards)
        return Verdict("torch", "good", f"{torch.__version__} on {named}")
    if torch.backends.mps.is_available():
        return Verdict("torch", "good", f"{torch.__version__} on Apple's MPS")
    return Verdict("torch", "slow", f"{torch.__version__} without a card: small models only, slowly")


def models(settings: WorkerSettings) -> Iterator[Verdict]:
    """Which of the models that are named can be used."""
    try:
        found = find_models(named_models(settings), settings.state_dir)
    except BadModel as error:
        yield Verdict("models", "bad", str(error))
        return
    for problem in found.problems:
        yield Verdict("models", "bad", problem)
    for model in found.models:
        usable: Literal["slow", "good"] = "slow" if model.stand_in else "good"
        yield Verdict("models", usable, f"{model.name} from {model.place}{', a stand-in' if model.stand_in else ''}")


async def mesh(settings: WorkerSettings) -> list[Verdict]:
    """Whether the mesh answers, and where its storage is."""
    tls = settings.tls() or (None if settings.plaintext or is_loopback(settings.gateway) else ANYBODY)
    try:
        async with dial(settings.gateway, caller=None, tls=tls, plaintext=settings.plaintext, retry=False) as channel:
            answer: Any = await MeshServiceStub(channel).GetMesh(GetMeshRequest(), timeout=ANSWER_SECONDS)
    except ServiceError as error:
        return [Verdict("mesh", "bad", f"{settings.gateway}: {error.message}")]
    verdicts = [Verdict("mesh", "good", f"{settings.gateway} answers {answer.name}".strip())]
    if answer.storage_address:
        verdicts.append(await storage(answer.storage_address, settings, tls))
    return verdicts


async def storage(address: str, settings: WorkerSettings, tls: TlsFiles | None) -> Verdict:
    """Whether finished pictures have a way out."""
    loopback = is_loopback(address)
    async with dial(address, caller=None, tls=None if loopback else tls, plaintext=settings.plaintext) as channel:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await channel.channel_ready()
        except TimeoutError:
            words = "pictures that are painted could not be brought: is its port open to you?"
            return Verdict("storage", "bad", f"{address} does not answer: {words}")
    return Verdict("storage", "good", address)


async def painting(settings: WorkerSettings) -> Verdict:
    """How fast it paints here."""
    try:
        async with open_painter(settings) as painter:
            offered = painter.capabilities()
            measured = getattr(painter, "measured", None)
    except (BadModel, CannotLoad, OSError, ValueError) as error:
        return Verdict("painting", "bad", str(error))
    names = ", ".join(model.name for model in offered.models)
    if measured is None:
        return Verdict("painting", "good", names)
    step = f"{measured.ms_per_megapixel_step:.0f} ms for a step of a megapixel"
    return Verdict("painting", "good", f"{names}: {step}, up to {offered.max_pixels} pixels")


async def examine(settings: WorkerSettings, *, paint: bool) -> list[Verdict]:
    """Everything, in the order in which it matters."""
    verdicts = await asyncio.to_thread(lambda: list(machine(settings)))
    verdicts += await mesh(settings)
    if paint:
        verdicts.append(await painting(settings))
    return verdicts


async def _status(settings: WorkerSettings) -> dict[str, Any] | None:
    """What the running worker says; None if none runs."""
    try:
        return await ask(settings.home, "status")
    except (NotRunning, NotUnderstood):
        return None


def _taken(arguments: list[str], option: str) -> str | None:
    """The value of an option of this program, taken out of the arguments; None if it is not given."""
    if option not in arguments[:-1]:
        return None
    at = arguments.index(option)
    value = arguments[at + 1]
    del arguments[at : at + 2]
    return value


def main() -> int:
    """Say what was found; 1 if anything is bad."""
    own = {"--paint", "--json"}
    arguments = [argument for argument in sys.argv[1:] if argument not in own]
    path = _taken(arguments, "--report")
    find_config(arguments)
    settings = load_or_exit(WorkerSettings, arguments)
    verdicts = asyncio.run(examine(settings, paint="--paint" in sys.argv))
    found = [{"about": verdict.about, "is": verdict.is_, "words": verdict.words} for verdict in verdicts]
    if path is not None:
        try:
            write(report(settings, found, asyncio.run(_status(settings))), Path(path))
        except OSError as error:
            sys.stderr.write(f"error: {path} cannot be written: {error}\n")
            return 1
        sys.stderr.write(f"{path}: read it before you send it; keys, names, prompts and pictures are not in it\n")
    if "--json" in sys.argv:
        sys.stdout.write(json.dumps(found, indent=2) + "\n")
    else:
        for verdict in verdicts:
            sys.stdout.write(f"{verdict.is_:<5} {verdict.about:<9} {verdict.words}\n")
    return int(any(verdict.is_ == "bad" for verdict in verdicts))


if __name__ == "__main__":
    sys.exit(main())
