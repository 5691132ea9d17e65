"""More than one of everything, as an operator runs it: PostgreSQL, Redis, S3, and a real Envoy in front of two
processes of each service, by the configuration in `deploy/envoy`."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sysconfig
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml
from click.testing import CliRunner
from tests.mesh.backends import DEPLOYED, Settings, backends, merged
from tests.mesh.probing import EXTRA, NO_LIMITS

from horde.cli.commands.main import main as horde
from horde.cli.local.mesh import LocalMesh, says_serving, to_nowhere
from horde.cli.local.ports import free_ports
from horde.cli.local.processes import Process
from horde.cli.local.roles import Layout, Role
from horde.services.lifecycle import REPLACED
from horde.testkit.redis import ThrowawayRedis, throwaway_redis
from horde.testkit.relay import Relay, relay
from horde.testkit.waiting import HANG_SECONDS

CONFIGURATION: Final = Path(__file__).resolve().parents[2] / "deploy" / "envoy" / "envoy.yaml"
ENVOY: Final = Path(sysconfig.get_path("scripts")) / "envoy"


@dataclass(frozen=True)
class Replica:
    """One process of a service: its name is its host's in the configuration of Envoy."""

    name: str
    role: Role
    settings: Mapping[str, str]


def _two(name: str, role: Role, **settings: str) -> list[Replica]:
    return [Replica(f"{name}-{number}", role, settings) for number in range(2)]


REPLICAS: Final = (
    *_two("ledger", Role.LEDGER),
    *_two("storage-router", Role.STORAGE_ROUTER),
    *_two("scheduler", Role.SCHEDULER),
    *_two("gateway-requesters", Role.GATEWAY, DOORS="requesters"),
    *_two("gateway-workers", Role.GATEWAY, DOORS="workers"),
)
LED: Final = (Role.LEDGER, Role.SCHEDULER)
"""Of these one leads and the other stands by."""


@dataclass(frozen=True)
class Cable:
    """All that one process of those that have a leader speaks and is spoken to through."""

    door: Relay
    database: Relay
    neighbours: Relay

    def cut(self) -> None:
        """From now on nothing goes in or out, and nobody is told."""
        for line in (self.door, self.database, self.neighbours):
            line.silence()

    def mend(self) -> None:
        """Everything goes on, also what was sent meanwhile."""
        for line in (self.door, self.database, self.neighbours):
            line.speak()


class Many(LocalMesh):
    """A mesh of replicas. Use `many_of_everything`."""

    def __init__(
        self,
        layout: Layout,
        ports: Mapping[str, int],
        mesh_port: int,
        told: Settings,
        cables: Mapping[str, Cable],
        redis: ThrowawayRedis,
    ) -> None:
        super().__init__(layout, to_nowhere, told)
        self._ports = ports
        self._mesh = f"127.0.0.1:{mesh_port}"
        self._replicas = {replica.name: replica for replica in REPLICAS}
        self.cables = cables
        self.redis = redis
        self.replaced: list[str] = []
        """Who ended because another had taken over. Each is started again, as by an orchestrator."""
        self._tending: set[asyncio.Task[None]] = set()

    async def start_replica(
        self, name: str, code: Mapping[str, str] | None = None, known: AbstractSet[str] | None = None
    ) -> None:
        """Start one process, or start it again. Does not wait for it.

        Other code than this is found by the variables `code`, and is told only the settings that it has (`known`).
        """
        replica = self._replicas[name]
        settings = self.settings_of(name)
        told = {name: text for name, text in settings.items() if known is None or name in known}
        process = await self._start(name, ("-m", replica.role.module), told | dict(code or {}))
        if replica.role in LED:
            tending = asyncio.create_task(self._tend(process, lambda: self.start_replica(name, code, known)))
            self._tending.add(tending)
            tending.add_done_callback(self._tending.discard)

    def settings_of(self, name: str) -> dict[str, str]:
        """What one process is told, as its environment."""
        replica = self._replicas[name]
        own = {**self.beyond(replica.role), **replica.settings}
        own |= {"LISTEN": self.address_of(name), "STATE_DIR": str(self.layout.state / name)}
        if (cable := self.cables.get(name)) is not None:
            database, _, _ = own["DATABASE_URL"].partition("?")
            own["DATABASE_URL"] = database.replace("postgres@/", f"postgres@{cable.database.address}/")
            if replica.role is Role.SCHEDULER:
                own |= {"LEDGER": cable.neighbours.address, "STORAGE_ROUTER": cable.neighbours.address}
        if replica.role is Role.GATEWAY:
            own["STORAGE_PUBLIC_ADDRESS"] = self._mesh
        if replica.role is Role.SCHEDULER:
            own["STORAGE_ADDRESS"] = self._mesh
        settings = self.layout.settings(replica.role)
        return settings | {f"{replica.role.prefix}{key}": value for key, value in own.items()}

    async def _tend(self, process: Process, start: Callable[[], Awaitable[None]]) -> None:
        if await process.ended() == REPLACED:
            self.replaced.append(process.name)
            await start()

    async def stop(self) -> dict[str, int]:
        for tending in list(self._tending):
            tending.cancel()
        return await super().stop()

    def address_of(self, name: str) -> str:
        """Where one process listens."""
        return f"127.0.0.1:{self._ports[name]}"

    async def all_serve(self) -> None:
        """Wait until everybody serves; of those who have a leader, one."""
        async with asyncio.timeout(HANG_SECONDS):
            alone = [replica.name for replica in REPLICAS if replica.role not in LED]
            await asyncio.gather(
                *(says_serving(self.address_of(name)) for name in alone), *(self.leader(role) for role in LED)
            )

    def names(self, role: Role) -> list[str]:
        """The processes of a service."""
        return [replica.name for replica in REPLICAS if replica.role is role]

    async def leader(self, role: Role) -> str:
        """Wait until one of two processes leads, and say which."""
        serving = {asyncio.create_task(says_serving(self.address_of(name))): name for name in self.names(role)}
        try:
            done, _ = await asyncio.wait(serving, return_when=asyncio.FIRST_COMPLETED)
            return serving[done.pop()]
        finally:
            for task in serving:
                task.cancel()
            await asyncio.gather(*serving, return_exceptions=True)


@asynccontextmanager
async def many_of_everything(
    folder: Path, extra: Settings | None = None, kept: Settings | None = None, *, cables: bool = False
) -> AsyncIterator[Many]:
    """Two of each service behind Envoy, all serving, with throwaway servers unless `kept` names others.

    `extra` and `kept` are settings by role, without their prefix. With `cables` each of those who have a leader can be
    cut off.
    """
    async with AsyncExitStack() as lines:
        stack = lines.enter_context(ExitStack())
        kept = stack.enter_context(backends(DEPLOYED, folder)) if kept is None else kept
        redis = stack.enter_context(throwaway_redis())
        names = [replica.name for replica in REPLICAS]
        numbers = free_ports(len(names) + 2)
        ports, (mesh_port, neighbours_port) = dict(zip(names, numbers, strict=False)), numbers[-2:]
        laid: dict[str, Cable] = {}
        for replica in (replica for replica in REPLICAS if cables and replica.role in LED):
            targets = (
                f"127.0.0.1:{ports[replica.name]}",
                f"{kept[replica.role]['DATABASE_URL'].partition('?host=')[2]}/.s.PGSQL.5432",
                f"127.0.0.1:{neighbours_port}",
            )
            laid[replica.name] = Cable(*[await lines.enter_async_context(relay(target)) for target in targets])
        doors = {**ports, **{name: cable.door.port for name, cable in laid.items()}}
        stack.enter_context(_envoy(folder, doors, mesh_port, neighbours_port))
        layout = Layout(
            folder / "state",
            {role: mesh_port if role is Role.GATEWAY else neighbours_port for role in Role},
        )
        layout.state.mkdir(mode=0o700)
        shared = {
            Role.GATEWAY: {"REDIS_URL": redis.url, "OPERATOR_KEY_FILE": str(folder / "operator.key"), **NO_LIMITS}
        }
        mesh = Many(layout, ports, mesh_port, merged(EXTRA, kept, _secrets(folder), shared, extra or {}), laid, redis)
        try:
            # The first gateway makes the operator's account; a second one at the same moment would make another.
            for name in names[:7]:
                await mesh.start_replica(name)
            await says_serving(mesh.address_of(names[6]))
            for name in names[7:]:
                await mesh.start_replica(name)
            await mesh.all_serve()
            (layout.operator_key.parent).mkdir(exist_ok=True)
            layout.operator_key.symlink_to(folder / "operator.key")
            layout.key_file.symlink_to(folder / "keys" / "run.key")
            yield mesh
        finally:
            await mesh.stop()


def _secrets(folder: Path) -> dict[Role, dict[str, str]]:
    """What `horde keys init` makes, as settings by role."""
    made = CliRunner().invoke(horde, ["keys", "init", str(folder / "keys"), "--json"], catch_exceptions=False)
    told: dict[Role, dict[str, str]] = {role: {} for role in Role}
    for variable, value in json.loads(made.stdout).items():
        role = next(role for role in Role if variable.startswith(role.prefix))
        told[role][variable.removeprefix(role.prefix)] = value
    return told


@contextmanager
def _envoy(folder: Path, ports: Mapping[str, int], mesh_port: int, neighbours_port: int) -> Iterator[None]:
    """Envoy by the file that operators use; only addresses are of this machine."""
    document: Any = yaml.safe_load(CONFIGURATION.read_text())
    for listener in document["static_resources"]["listeners"]:
        port = mesh_port if listener["name"] == "mesh" else neighbours_port
        listener["address"]["socket_address"] = {"address": "127.0.0.1", "port_value": port}
    for cluster in document["static_resources"]["clusters"]:
        for endpoint in cluster["load_assignment"]["endpoints"][0]["lb_endpoints"]:
            place = endpoint["endpoint"]["address"]["socket_address"]
            place |= {"address": "127.0.0.1", "port_value": ports[place["address"]]}
    path = folder / "envoy.json"
    path.write_text(json.dumps(document))
    arguments = [str(ENVOY), "-c", str(path), "--use-dynamic-base-id", "--concurrency", "1", "-l", "error"]
    with (folder / "envoy.log").open("wb") as log:
        process = subprocess.Popen(arguments, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
        try:
            yield
        finally:
            process.terminate()
            process.wait()
