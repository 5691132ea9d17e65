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

    def __init__(self, gateway: aio.Channel, credential: Credential, patience: Patience, dials: _Dialler) -> None:
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

        return await patiently(attempt, self.attempts())

    def attempts(self) -> Attempts:
        """A fresh count of attempts."""
        return Attempts(self.patience)

    def stream(self, method: Callable[..., Any], request: object) -> Any:
        """Open a stream of answers from the gateway, once."""
        return method(request, metadata=self._headers)

    async def reach(self, within: timedelta) -> None:
        """Wait until the gateway is connected. Raises Unavailable, with what gRPC says about it, if it is not then."""
        try:
            async with asyncio.timeout(within.total_seconds()):
                await self.gateway.channel_ready()
        except TimeoutError:
            # A call that does not wait for a connection is told why there is none.
            health: Any = HealthStub(self.gateway)
            try:
                await health.Check(HealthCheckRequest(), timeout=LAST_WORD_SECONDS)
            except DeadlineExceeded:
                raise Unavailable("No connection came about.") from None
            except Unimplemented:
                pass

    async def storage(self, address: str) -> aio.Channel:
        """The channel to a storage router."""
        return await self._dials.storage(address)


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
        yield Doors(gateway, credential, patience, _Dialler(stack, security, patience))
