"""Honest work on a mesh with default settings, and what it costs the services."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import astuple, dataclass, replace
from pathlib import Path

import psutil

from horde.api.job.v1.job_pb2 import JobEnding
from horde.cli.local.mesh import LocalMesh, WorkerPlan, local_mesh
from horde.cli.local.roles import SERVICES, Role
from horde.clients.client import HordeClient
from horde.clients.credentials import ApiKey, read_secret
from horde.clients.specs import generation_spec
from horde.services.errors import ServiceError

QUIET = {role: {"LOG_LEVEL": "error"} for role in Role}
WORKERS = 3
BROKEN = "call failed"
"""The line of a service's log that an INTERNAL leaves."""


@dataclass
class Honest:
    """What honest accounts got in a while."""

    seconds: float
    done: int = 0
    otherwise: int = 0
    refused: int = 0
    cpu_seconds: float = 0.0
    """Of the services meanwhile."""

    @property
    def rate(self) -> float:
        """Images a second."""
        return self.done / self.seconds

    @property
    def cpu_ms(self) -> float:
        """Of the services, an image."""
        return 1000 * self.cpu_seconds / max(1, self.done)

    def __add__(self, more: Honest) -> Honest:
        return Honest(*(ours + theirs for ours, theirs in zip(astuple(self), astuple(more), strict=True)))


class Asking:
    """Honest accounts that ask for four images at a time, watch them to their end, and ask again."""

    def __init__(self, clients: list[HordeClient]) -> None:
        self._clients = clients
        self._asked: set[asyncio.Future[None]] = set()
        self.all = Honest(0.0)
        """All that they were answered so far, also what ended after its turn."""
        self.slowest = 0.0
        """Seconds that the slowest of what they asked for took."""

    async def turn(self, seconds: float) -> Honest:
        """Ask for so long: what had ended by then. What has not goes on, and is waited for by `rest`."""
        found, begun = Honest(0.0), time.monotonic()
        asking = [self._ask(client, found, begun + seconds) for client in self._clients for _ in range(2)]
        tasks = {asyncio.ensure_future(asked) for asked in asking}
        self._asked |= tasks
        await asyncio.wait(tasks, timeout=seconds)
        return replace(found, seconds=time.monotonic() - begun)

    async def rest(self) -> None:
        """Until all that was asked for has ended."""
        await asyncio.gather(*self._asked)
        self._asked.clear()

    async def _ask(self, client: HordeClient, turn: Honest, until: float) -> None:
        spec = generation_spec("a fox in the snow", count=4, width=256, height=256, steps=4)
        while (begun := time.monotonic()) < until:
            try:
                made = await client.generations.create(spec)
                ended = await client.generations.finish(made.generation_id)
            except ServiceError as error:
                print("an honest account was refused:", error.reason, error, file=sys.stderr)
                self.all.refused += 1
                await asyncio.sleep(0.1)
                continue
            self.slowest = max(self.slowest, time.monotonic() - begun)
            done = sum(image.ending == JobEnding.JOB_ENDING_DONE for image in ended.images)
            turn.done += done
            self.all.done += done
            self.all.otherwise += len(ended.images) - done


class Mesh:
    """A mesh at honest work."""

    def __init__(self, mesh: LocalMesh, clients: list[HordeClient], owner: HordeClient, broken: Counter[str]) -> None:
        self._mesh = mesh
        self._owner = owner
        self.asking = Asking(clients)
        self.gateway = mesh.gateway
        self.broken = broken
        """How often each service has answered INTERNAL so far."""

    async def work(self, seconds: float) -> Honest:
        """Honest accounts ask and workers paint."""
        before = self.cpu_seconds()
        found = await self.asking.turn(seconds)
        found.cpu_seconds = sum(self.cpu_seconds().values()) - sum(before.values())
        return found

    async def rest(self, seconds: float) -> dict[str, float]:
        """Nobody honest asks; what each service uses meanwhile, in cores."""
        before = self.cpu_seconds()
        await asyncio.sleep(seconds)
        return {role: (used - before[role]) / seconds for role, used in self.cpu_seconds().items()}

    def cpu_seconds(self) -> dict[str, float]:
        """Processor time of each service so far."""
        times = {role: process.cpu_times() for role, process in self._services().items()}
        return {role: spent.user + spent.system for role, spent in times.items()}

    def memory(self) -> float:
        """Of the services together, in MB."""
        return sum(process.memory_info().rss for process in self._services().values()) / 1e6

    def _services(self) -> dict[str, psutil.Process]:
        return {role.value: psutil.Process(self._mesh.processes[role.value].pid) for role in SERVICES}

    async def earned(self) -> int:
        """What the owner of the honest workers has, in milli-kudos."""
        return await _worth(self._owner)

    async def won(self, key: str) -> int:
        """What an account has, in milli-kudos; 0 where it has gone."""
        async with self._mesh.client(credential=ApiKey(key)) as client:
            with contextlib.suppress(ServiceError):
                return await _worth(client)
        return 0


async def _worth(client: HordeClient) -> int:
    shown = await client.accounts.show()
    return shown.spend.posted_mkudos + shown.escrow.posted_mkudos


@asynccontextmanager
async def meshed(folder: Path) -> AsyncIterator[Mesh]:
    """A mesh with default settings, honest workers whose owner has a record, and two accounts that pay."""
    broken: Counter[str] = Counter()

    def sink(name: str, line: str) -> None:
        if BROKEN in line:
            print(name, line, file=sys.stderr)
            broken[name] += 1

    async with local_mesh(folder / "state", sink=sink, extra=QUIET) as mesh:
        for number in range(WORKERS):
            settings = {"PAINTERS": "2", "PREFETCH": "2", "SCRIPT": "[instant]", "THREADS": "1"}
            await mesh.start_worker(WorkerPlan(f"honest-{number}", "scripted", settings))
        clients = []
        async with mesh.client() as nobody, mesh.client(credential=ApiKey(_secret(mesh))) as operator:
            for number in range(2):
                opened = await nobody.accounts.create(f"honest {number}")
                await operator.kudos.award(opened.account.account_id, 10**10, reason="abuse")
                clients.append(await mesh.client(credential=ApiKey(opened.api_key)).__aenter__())
        async with mesh.client(credential=ApiKey(read_secret(mesh.layout.worker_key) or "")) as owner:
            ready = Mesh(mesh, clients, owner, broken)
            await ready.work(4.0)  # The owner is proven by what others paid for.
            await ready.asking.rest()
            yield ready
        for client in clients:
            await client.__aexit__(None, None, None)


def _secret(mesh: LocalMesh) -> str:
    return read_secret(mesh.layout.operator_key) or ""
