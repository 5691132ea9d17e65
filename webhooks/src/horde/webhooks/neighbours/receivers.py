"""Calling what strangers name, and nothing but that.

The name is resolved here, every address that it has is looked at, and the connection goes to one of those: nobody else
resolves it again in between. There is a connection for each call, no proxy, no redirect, no cookie, and of what comes
back the status alone is read.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import httpcore2

from horde.services.shares import Pot, Taker
from horde.webhooks.core.errors import TooManyTries, too_many
from horde.webhooks.core.targets import Address, Reach, Target, target_of

MAX_ADDRESSES: Final = 3
"""Of a name, that are tried one after the other."""
MAX_RESOLVING: Final = 128
SHARES: Final = {"account": 1 / 16}
"""Of the look-ups that can be under way: an account's name servers may keep 7 waiting, 3 if it has no record."""
KEPT: Final = 64
"""Of them, for those whose last call was answered."""
PLAIN: Final = (("content-type", "application/json"), ("user-agent", "horde-mesh-webhooks/1"))
NOT_PUBLIC: Final = "Its host has no public address."
"""Also where it has none at all: what names there are in the mesh's own networks is nobody's business."""

Resolve = Callable[[str, int], Awaitable[Sequence[Address]]]


class NotAllowed(OSError):
    """This mesh does not call this address."""


def of_account(account_id: str, *, known: bool = False) -> Taker:
    """Whose share a look-up takes. `known`: its last call was answered."""
    return Taker((("account", account_id),), known)


class Resolver:
    """The machine's own resolver, in threads of its own: a name server of a stranger may take its time."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(MAX_RESOLVING, "resolve")

    async def __call__(self, host: str, port: int) -> Sequence[Address]:
        """All addresses of a host; none where it has none."""
        look: Callable[[], Any] = lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)  # noqa: E731
        try:
            found = await asyncio.get_running_loop().run_in_executor(self._threads, look)
        except (OSError, UnicodeError):
            return []
        return [ipaddress.ip_address(sockaddr[0]) for *_, sockaddr in found]

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


class Receivers:
    """Everybody's programs."""

    def __init__(self, reach: Reach, resolve: Resolve, tls: ssl.SSLContext) -> None:
        self._reach = reach
        self._resolve = resolve
        self._tls = tls
        self._looking = Pot(MAX_RESOLVING, SHARES, lambda _: too_many(MAX_RESOLVING, 5.0), kept=KEPT)
        self._lookups: set[asyncio.Future[Sequence[Address]]] = set()

    async def check(self, url: str, account_id: str) -> None:
        """Raise NotAllowed where nobody would be called at this URL now. Raises BadUrl, TooManyTries."""
        await self._addresses(target_of(url), of_account(account_id))

    async def post(self, url: str, headers: Mapping[str, str], body: bytes, taker: Taker) -> int:
        """Call; the status that came back. Raises OSError, which says for people why none did, and BadUrl.

        `taker`: whose share of look-ups it takes. It has no bound of its own on how long it takes.
        """
        target = target_of(url)
        backend = _Checked(lambda: self._addresses(target, taker))
        address = httpcore2.URL(url)
        # By itself it leaves out what stands behind a semicolon.
        address.target = target.path.encode()
        # One pool for one call: what it connects to was looked at for this call.
        async with httpcore2.AsyncConnectionPool(
            ssl_context=self._tls, max_connections=1, max_keepalive_connections=0, network_backend=backend
        ) as pool:
            named = [*PLAIN, *headers.items()]
            try:
                async with pool.stream("POST", address, headers=named, content=body) as response:
                    status: int = response.status
                    return status
            except TooManyTries as error:
                raise OSError("Too many names of this account are being looked up.") from error
            except httpcore2.ConnectError as error:
                raise OSError(_words(error)) from error
            except (httpcore2.NetworkError, httpcore2.ProtocolError, httpcore2.TimeoutException) as error:
                raise OSError("The connection broke before an answer came.") from error
            finally:
                await backend.close()

    async def _addresses(self, target: Target, taker: Taker) -> Sequence[Address]:
        addresses = list(dict.fromkeys(await self._look_up(target, taker)))
        if not addresses or not all(self._reach.allows(address, secure=target.secure) for address in addresses):
            raise NotAllowed(NOT_PUBLIC)
        return addresses

    async def _look_up(self, target: Target, taker: Taker) -> Sequence[Address]:
        """All addresses of a host. Who waits may give up; the thread does not, and keeps its place."""
        self._looking.take(taker)
        lookup = asyncio.ensure_future(self._resolve(target.host, target.port))
        self._lookups.add(lookup)

        def done(_: object) -> None:
            self._lookups.discard(lookup)
            self._looking.give_back(taker)
            if not lookup.cancelled():
                # Nobody may have waited for it.
                lookup.exception()

        lookup.add_done_callback(done)
        return await asyncio.shield(lookup)


def _words(error: Exception) -> str:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"Its certificate does not hold: {cause.verify_message}."
        if isinstance(cause, ssl.SSLError):
            return "TLS could not be agreed on."
        cause = cause.__cause__ or cause.__context__
    return "No connection could be made."


class _Checked(httpcore2.AsyncNetworkBackend):
    """Connects to addresses that were looked at, whatever the name."""

    def __init__(self, addresses: Callable[[], Awaitable[Sequence[Address]]]) -> None:
        self._addresses = addresses
        self._inner = httpcore2.AnyIOBackend()
        self._opened: list[httpcore2.AsyncNetworkStream] = []

    async def close(self) -> None:
        """Close what was opened: who is given up in the middle of a handshake is closed by nobody else."""
        for stream in self._opened:
            await stream.aclose()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        failed: Exception | None = None
        for address in (await self._addresses())[:MAX_ADDRESSES]:
            try:
                stream = await self._inner.connect_tcp(str(address), port, timeout, local_address, socket_options)
            except httpcore2.ConnectError as error:
                failed = error
            else:
                self._opened.append(stream)
                return stream
        assert failed is not None
        raise failed

    async def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[Any] | None = None
    ) -> httpcore2.AsyncNetworkStream:
        raise NotAllowed("There is no way to a socket of this machine.")

    async def sleep(self, seconds: float) -> None:
        await self._inner.sleep(seconds)
