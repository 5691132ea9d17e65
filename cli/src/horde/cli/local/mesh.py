"""A running mesh: its processes by name, each of which can be killed and started again while the others go on."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import grpc
from grpc import aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from horde.cli.local import ports as loopback_ports
from horde.cli.local.processes import LineSink, Process, ProcessEnded, environment
from horde.cli.local.roles import DEFAULT_PORTS, SERVICES, WEB_DOORS, Layout, Role, local_environment
from horde.clients.client import HordeClient
from horde.clients.credentials import AnonymousToken, new_anonymous_token, read_secret, write_secret
from horde.services.identity import create_key_file

# For what hangs: a service that cannot start ends, and is told at once; a busy machine may take its time.
START_SECONDS: Final = 180.0
STOP_SECONDS: Final = 60.0
WORKER_STOP_SECONDS: Final = 60.0
OWNER_NAME: Final = "this machine"


@dataclass(frozen=True, slots=True)
class WorkerPlan:
    """A worker to start: its name, who paints, and what else it is told (settings without their prefix)."""

    name: str
    painter: str = "diffusers"
    settings: Mapping[str, str] = field(default_factory=dict)
    program: tuple[str, ...] = ("-m", Role.WORKER.module)
    """What Python runs."""


class LocalMesh:
    """Use `local_mesh`."""

    def __init__(self, layout: Layout, sink: LineSink, extra: Mapping[Role, Mapping[str, str]]) -> None:
        self.layout = layout
        self.processes: dict[str, Process] = {}
        self._sink = sink
        self._extra = {role: dict(settings) for role, settings in extra.items()}
        self._plans: dict[str, WorkerPlan] = {}

    @property
    def gateway(self) -> str:
        """Where clients go."""
        return self.layout.address(Role.GATEWAY)

    @property
    def web(self) -> str:
        """Where clients go who speak HTTP, if the mesh has that door."""
        return f"http://{self.layout.address(Role.WEB_DOOR)}"

    def beyond(self, role: Role) -> Mapping[str, str]:
        """What a service is given beyond where everything is, without prefix."""
        return self._extra.get(role, {})

    async def start(
        self, role: Role, settings: Mapping[str, str] | None = None, program: Sequence[str] = ()
    ) -> Process:
        """Start a service, with further settings (without their prefix) for this time only. Does not wait for it.

        `program` is what Python runs instead of the service's module.
        """
        given = self.layout.settings(role)
        given |= {f"{role.prefix}{name}": value for name, value in self.beyond(role).items()}
        given |= {f"{role.prefix}{name}": value for name, value in (settings or {}).items()}
        return await self._start(role.value, tuple(program) or ("-m", role.module), given)

    async def start_worker(self, plan: WorkerPlan) -> Process:
        """Start a worker; the account that it belongs to is opened at first."""
        await self._open_owner()
        self._plans[plan.name] = plan
        given = {"NAME": plan.name, "PAINTER": plan.painter, **self.beyond(Role.WORKER), **plan.settings}
        prefixed = {f"{Role.WORKER.prefix}{name}": value for name, value in given.items()}
        return await self._start(plan.name, plan.program, self.layout.settings(Role.WORKER) | prefixed)

    async def restart_worker(self, name: str) -> Process:
        """Start a worker again that has ended."""
        return await self.start_worker(self._plans[name])

    async def _start(self, name: str, program: tuple[str, ...], given: Mapping[str, str]) -> Process:
        running = self.processes.get(name)
        if running is not None and running.status is None:
            raise RuntimeError(f"{name} runs already")
        started = await Process.start(name, program, local_environment(environment(), given), self._sink)
        self.processes[name] = started
        return started

    async def serving(self, *roles: Role) -> None:
        """Wait until these services (default: all) say that they serve. Raises ProcessEnded if one ends instead."""
        async with asyncio.timeout(START_SECONDS):
            await asyncio.gather(*(self._serving(role) for role in roles or SERVICES))

    async def _serving(self, role: Role) -> None:
        process = self.processes[role.value]
        says = answers_http if role in WEB_DOORS else says_serving
        healthy = asyncio.create_task(says(self.layout.address(role)))
        ended = asyncio.create_task(process.ended())
        try:
            await asyncio.wait([healthy, ended], return_when=asyncio.FIRST_COMPLETED)
            if not healthy.done():
                last_words = "\n".join(process.tail)
                raise ProcessEnded(f"{role.value} ended with status {ended.result()}:\n{last_words}")
            healthy.result()
        finally:
            for task in (healthy, ended):
                task.cancel()
            await asyncio.gather(healthy, ended, return_exceptions=True)

    async def any_end(self) -> Process:
        """Wait until some process ends, and say which."""
        ends = {asyncio.create_task(process.ended()): process for process in self.processes.values()}
        try:
            done, _ = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            return ends[done.pop()]
        finally:
            for task in ends:
                task.cancel()

    def client(self, **options: Any) -> HordeClient:
        """A client of this mesh. Keeps nothing in the user's folder: without a credential it is a new anonymous."""
        if "credential" not in options and "api_key" not in options:
            options["credential"] = new_anonymous_token()
        return HordeClient(self.gateway, config_folder=self.layout.state / "config", **options)

    async def _open_owner(self) -> None:
        if read_secret(self.layout.worker_key) is None:
            async with self.client(credential=AnonymousToken("0" * 32)) as nobody:
                answer = await nobody.accounts.create(OWNER_NAME)
            write_secret(self.layout.worker_key, answer.api_key)

    async def stop(self) -> dict[str, int]:
        """Stop everything: workers first, then the services in the other order. Gives exit statuses by name."""
        statuses: dict[str, int] = {}
        services = [role.value for role in reversed(SERVICES)]
        workers = [name for name in self.processes if name not in services]
        stopped = await asyncio.gather(*(self.processes[name].stop(WORKER_STOP_SECONDS) for name in workers))
        statuses |= dict(zip(workers, stopped, strict=True))
        for name in services:
            if name in self.processes:
                statuses[name] = await self.processes[name].stop(STOP_SECONDS)
        return statuses


async def says_serving(address: str) -> None:
    """Wait until a server's health is SERVING, however often it has to be dialled for that."""
    options = [("grpc.initial_reconnect_backoff_ms", 50), ("grpc.max_reconnect_backoff_ms", 250)]
    async with aio.insecure_channel(address, options=options) as channel:
        health: Any = health_pb2_grpc.HealthStub(channel)
        while True:
            call = health.Watch(health_pb2.HealthCheckRequest(), wait_for_ready=True)
            with contextlib.suppress(grpc.RpcError):
                async for answer in call:
                    if answer.status == health_pb2.HealthCheckResponse.SERVING:
                        return


async def answers_http(address: str) -> None:
    """Wait until a server answers over HTTP, however often it has to be called for that."""
    host, _, port = address.rpartition(":")
    while True:
        with contextlib.suppress(OSError):
            reader, writer = await asyncio.open_connection(host, int(port))
            try:
                writer.write(f"GET /healthz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n".encode())
                if b" 200 " in await reader.readline():
                    return
            finally:
                writer.close()
        await asyncio.sleep(0.1)


def free_ports(roles: Iterable[Role] = DEFAULT_PORTS) -> dict[Role, int]:
    """A free port of this machine for each service."""
    wanted = tuple(roles)
    return dict(zip(wanted, loopback_ports.free_ports(len(wanted)), strict=True))


def to_nowhere(name: str, line: str) -> None:
    """Forgets a line; the last ones of each process are kept by it."""


def _prepare(state: Path, ports: Mapping[Role, int]) -> Layout:
    state.mkdir(parents=True, exist_ok=True, mode=0o700)
    layout = Layout(state.resolve(), ports)
    create_key_file(layout.key_file)
    layout.public_keys.mkdir(exist_ok=True)
    return layout


@asynccontextmanager
async def local_mesh(
    state: Path,
    *,
    ports: Mapping[Role, int] | None = None,
    sink: LineSink = to_nowhere,
    extra: Mapping[Role, Mapping[str, str]] | None = None,
    services: Iterable[Role] = SERVICES,
) -> AsyncIterator[LocalMesh]:
    """The services of a mesh, all serving, for as long as the block; workers are started by `start_worker`.

    `extra` are settings by role, without their prefix. Without `ports`, free ones are taken.
    """
    layout = _prepare(state, free_ports() if ports is None else ports)
    mesh = LocalMesh(layout, sink, extra or {})
    try:
        for role in services:
            await mesh.start(role)
        await mesh.serving(*services)
        yield mesh
    finally:
        await mesh.stop()
