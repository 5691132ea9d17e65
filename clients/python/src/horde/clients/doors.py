"""The two doors of a mesh: one channel to the gateway, and one to each storage router that it names.

Callers of the SDK know only the first; tickets and addresses for the second come with the gateway's answers.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, TypeVar

from grpc import aio
from grpc_health.v1.health_pb2 import HealthCheckRequest
from grpc_health.v1.health_pb2_grpc import HealthStub

from horde.clients.credentials import Credential
from horde.clients.errors import ALL, DeadlineExceeded, Unavailable, Unimplemented
from horde.clients.retrying import Attempts, Patience, patiently
from horde.services.channel import dial
from horde.services.tls import TlsFiles, is_loopback

Request = TypeVar("Request")
Response = TypeVar("Response")

MAX_STORAGE_CHANNELS: Final = 16
"""Storage routers that one client speaks to at once; an address beyond that is refused."""

UNKNOWN_METHOD: Final = frozenset({"Method not found!", "There is no such method here."})
"""What gRPC and our services say of a method that a server does not have."""
LAST_WORD_SECONDS: Final = 0.5
"""How long an unreachable gateway is asked why it is."""


@dataclass(frozen=True, slots=True)
class Security:
    """How the wires to a mesh are protected."""

    tls: TlsFiles | None = None
    """Files for TLS. Without them: TLS with the system's authorities, but for loopback, which is plain."""
    plaintext: bool = False
    """Speak plainly to another machine. Everybody on the way can read your API key."""

    def files_for(self, target: str) -> TlsFiles | None:
        """What to dial this target with."""
        if self.tls is not None:
            return self.tls
        return None if self.plaintext or is_loopback(target) else TlsFiles()


class Doors:
    """Open channels of one requester. Use `open_doors`."""

    def __init__(
        self, target: str, gateway: aio.Channel, credential: Credential, patience: Patience, dials: _Dialler
    ) -> None:
        self._target = target
        self.gateway = gateway
        self.patience = patience
        self._headers = (("authorization", credential.authorization),)
        self._dials = dials

    async def ask(
        self,
        method: Callable[..., Awaitable[Response]],
        request: object,
        *,
        timeout: timedelta | None = None,
    ) -> Response:
        """Make one call to the gateway, patiently. Raises what `errors` lists."""
        seconds = timeout.total_seconds() if timeout else None

        async def attempt() -> Response:
            return await method(request, metadata=self._headers, timeout=seconds)

        try:
            return await patiently(attempt, self.attempts())
        except Unimplemented as error:
            if error.message not in UNKNOWN_METHOD:
                raise
            raise Unimplemented(
                f"What answers at {self._target} is no gateway of a mesh, or one of an older version: it does not know "
                "this call."
            ) from error
        except Unavailable as error:
            if "connect" not in error.message or error.reason:
                raise
            raise Unavailable(unreached(self._target, error.message)) from error

    def attempts(self) -> Attempts:
        """A fresh count of attempts."""
        return Attempts(self.patience)

    def stream(self, method: Callable[..., Any], request: object) -> Any:
        """Open a stream of answers from the gateway, once."""
        return method(request, metadata=self._headers)

    async def reach(self, within: timedelta) -> None:
        """Wait until the gateway is connected. Raises Unavailable, with the reason, if it is not then."""
        try:
            async with asyncio.timeout(within.total_seconds()):
                await self.gateway.channel_ready()
        except TimeoutError:
            # A call that does not wait for a connection is told why there is none.
            health: Any = HealthStub(self.gateway)
            try:
                await health.Check(HealthCheckRequest(), timeout=LAST_WORD_SECONDS)
            except DeadlineExceeded:
                raise Unavailable(unreached(self._target, "no connection came about")) from None
            except Unavailable as error:
                raise Unavailable(unreached(self._target, error.message)) from None
            except Unimplemented:
                pass

    async def storage(self, address: str) -> aio.Channel:
        """The channel to a storage router."""
        return await self._dials.storage(address)


def unreached(target: str, why: str) -> str:
    """That there is no mesh, in a sentence. Of gRPC's chain of causes the last one is what people can act on."""
    if "http1" in why:
        return f"What answers at {target} speaks HTTP, as web doors do: a gateway has another port, often 7700"
    return f"No mesh answers at {target}: {why.rpartition(': ')[2]}"


def check_target(target: str) -> None:
    """Raise ValueError, with what is meant perhaps, for what is no address of a gateway."""
    if target.startswith(("dns:", "ipv4:", "ipv6:", "unix:", "unix-abstract:")):
        return
    scheme, found, rest = target.partition("://")
    if found:
        host = rest.partition("/")[0]
        raise ValueError(
            f"{target}: a gateway's address is HOST:PORT, for example {with_port(host)}, without {scheme}://"
        )
    _, colon, port = target.rpartition(":")
    if not colon or target.endswith("]"):
        raise ValueError(f"{target}: a gateway's address is HOST:PORT, for example {with_port(target)}")
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and 0 < int(port) <= 65_535):
        raise ValueError(f"{target}: a gateway's address is HOST:PORT, and a port is 1 to 65535")


def with_port(host: str) -> str:
    """A host with the port that gateways usually have, unless it has one."""
    return host if ":" in host and not host.endswith("]") else f"{host}:7700"


class _Dialler:
    """Dials storage routers as they are named, and keeps the channels."""

    def __init__(self, stack: AsyncExitStack, security: Security, patience: Patience) -> None:
        self._stack = stack
        self._security = security
        self._patience = patience
        self._channels: dict[str, aio.Channel] = {}

    async def storage(self, address: str) -> aio.Channel:
        known = self._channels.get(address)
        if known is not None:
            return known
        if len(self._channels) >= MAX_STORAGE_CHANNELS:
            raise ConnectionError(f"the mesh named more than {MAX_STORAGE_CHANNELS} storage routers")
        channel = await self._stack.enter_async_context(_dial(address, self._security, self._patience))
        # Two tasks may have dialled at once: the first one stays in use, the other is closed with the client.
        return self._channels.setdefault(address, channel)


def _dial(target: str, security: Security, patience: Patience) -> Any:
    # Retrying is ours (`retrying.py`), for gRPC's own knows no RetryInfo and gives up within two seconds.
    return dial(
        target,
        caller=None,
        errors=ALL,
        tls=security.files_for(target),
        timeout=patience.attempt,
        plaintext=security.plaintext,
        retry=False,
    )


@asynccontextmanager
async def open_doors(
    target: str, credential: Credential, security: Security, patience: Patience
) -> AsyncIterator[Doors]:
    """The doors of the mesh whose gateway is at `target`, for as long as the block."""
    async with AsyncExitStack() as stack:
        gateway = await stack.enter_async_context(_dial(target, security, patience))
        yield Doors(target, gateway, credential, patience, _Dialler(stack, security, patience))
