"""Serving: a gRPC server with everything around it that each service needs alike.

    async with serving(settings.listen, [Registration(add_BookServicer_to_server, servicer, BOOK)], name="library",
                       allow=ALLOW, identity=SharedKey.from_file(key_file)) as server:
        await until_signalled()

Health for each service and for the whole (""), reflection where allowed, limits on messages and streams, dead links
noticed within 18 s. Leaving the block is the shutdown: health says NOT_SERVING, long streams are told farewell, running
calls get `grace` (and so does the farewell), then all is cut.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from collections.abc import Set as AbstractSet
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from grpc import aio
from grpc_health.v1.health_pb2_grpc import add_HealthServicer_to_server

from horde.services import probes, telemetry
from horde.services.addresses import Networks
from horde.services.brakes import Brake
from horde.services.certificates import BadCertificate
from horde.services.health import SERVICE as HEALTH
from horde.services.health import Health
from horde.services.identity import AllowList, Identity
from horde.services.interceptors import Farewell, Gate, GuardedMethods
from horde.services.keepalive import KEEPALIVE, Keepalive
from horde.services.lifecycle import CannotStart
from horde.services.reflection import SERVICES as REFLECTION
from horde.services.reflection import add_reflection
from horde.services.tls import Listener as Listener
from horde.services.tls import is_loopback

log = telemetry.get_logger(__name__)

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Registration:
    """One gRPC service: the generated function that adds it, our servicer, and the full name from its descriptor."""

    add: Callable[[Any, Any], None]
    servicer: object
    name: str


class Server:
    """A server that runs."""

    def __init__(self, ports: Sequence[int], health: Health, names: Sequence[str]) -> None:
        self.ports = tuple(ports)
        self._health = health
        self._names = names

    @property
    def port(self) -> int:
        """The port of the first listener: the one that was given out if port 0 was asked for."""
        return self.ports[0]

    async def set_serving(self, serving: bool, *services: str) -> None:
        """Say through the health check whether these services (default: all, and the whole) take calls."""
        self._health.set(serving, services or ("", *self._names))


@asynccontextmanager
async def serving(
    listen: str | Listener | Sequence[str | Listener],
    services: Sequence[Registration],
    *,
    name: str,
    allow: AllowList,
    identity: Identity | None,
    reflection: bool = False,
    grace: timedelta = timedelta(seconds=5),
    farewell: Farewell | None = None,
    max_message_bytes: int = 4 * MIB,
    max_concurrent_streams: int = 10_000,
    keepalive: Keepalive = KEEPALIVE,
    brake: Brake | None = None,
    unread_bytes: int = 0,
    proxies: Networks = (),
) -> AsyncIterator[Server]:
    """Serve for as long as the block.

    `farewell` is awaited on the way out, for `grace` at most, and should end the long streams politely. `brake` is for
    doors that strangers reach: whoever is refused again and again on one connection waits for the next refusal.
    `unread_bytes` bounds what of each stream lies here before anybody reads it; 0 leaves that to gRPC: some megabytes.
    `proxies` are believed when they say where a call comes from.
    """
    listeners = [listen] if isinstance(listen, (str, Listener)) else list(listen)
    core = aio.server(options=_options(max_message_bytes, max_concurrent_streams, keepalive, unread_bytes))
    methods = GuardedMethods(Gate(allow.opened(HEALTH, *REFLECTION), identity, brake=brake, proxies=proxies))
    for service in services:
        service.add(service.servicer, methods)
    names = [service.name for service in services]
    _check(names, methods.methods, allow)
    health = Health()
    registered: Any = methods
    add_HealthServicer_to_server(health, registered)
    if reflection:
        add_reflection(methods, [*names, HEALTH])
    core.add_generic_rpc_handlers((methods,))
    ports = [
        _add_port(core, listener if isinstance(listener, Listener) else Listener(listener)) for listener in listeners
    ]
    server = Server(ports, health, names)
    await core.start()
    try:
        await server.set_serving(True)
        await probes.ready(True)
        log.info("serving", name=name, ports=ports, services=names)
        yield server
    finally:
        await probes.ready(False)
        health.stop()
        try:
            if farewell is not None:
                async with asyncio.timeout(grace.total_seconds()):
                    await farewell()
        except TimeoutError:
            log.warning("the farewell took too long", name=name)
        finally:
            await core.stop(grace.total_seconds())
            log.info("stopped", name=name)


def _options(
    max_message_bytes: int, max_concurrent_streams: int, keepalive: Keepalive, unread_bytes: int
) -> list[tuple[str, Any]]:
    # Without the first, gRPC lets a stream send ahead as much as the line holds.
    bounds = [("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", unread_bytes)] if unread_bytes else []
    return [
        *bounds,
        ("grpc.max_receive_message_length", max_message_bytes),
        ("grpc.max_send_message_length", max_message_bytes),
        ("grpc.max_metadata_size", 16 * 1024),
        ("grpc.max_concurrent_streams", max_concurrent_streams),
        ("grpc.server_handshake_timeout_ms", 10_000),
        *keepalive.options(),
        # Two servers on one port would share its calls between them, silently.
        ("grpc.so_reuseport", 0),
    ]


def _add_port(core: aio.Server, listener: Listener) -> int:
    """Raises CannotStart."""
    if not listener.tls and not listener.plaintext and not is_loopback(listener.address):
        raise CannotStart(f"{listener.address} is not an address of this machine alone: it needs TLS")
    try:
        if listener.tls is None:
            return core.add_insecure_port(listener.address)
        credentials = listener.tls.server_credentials(require_client=listener.require_client)
        return core.add_secure_port(listener.address, credentials)
    except (BadCertificate, OSError) as error:
        raise CannotStart(str(error)) from None
    except RuntimeError:
        raise CannotStart(f"{listener.address} is taken, or not an address of this machine") from None


def _check(names: Sequence[str], methods: AbstractSet[str], allow: AllowList) -> None:
    """Fail at start, not at the first call, where names do not fit."""
    served = {method.split("/")[1] for method in methods}
    if served != set(names):
        raise ValueError(f"registered as {sorted(names)}, but the code adds {sorted(served)}")
    for rule in allow.methods():
        _, service, method = rule.split("/")
        if service in served and method != "*" and rule not in methods:
            raise ValueError(f"the allow-list names {rule}, which does not exist")
