"""Dialling a neighbour: a channel that generated stubs can use, whose calls raise ServiceErrors.

    async with dial(settings.ledger, caller=credentials, errors=(OutOfCredit,)) as channel:
        ledger = LedgerServiceStub(channel)

Every call carries our name and its proof and goes on with the current trace. A unary call ends within `timeout`, or
within what the call being served has left if that is less; streams have no end unless told. UNAVAILABLE is tried
again by gRPC itself, five attempts at most: so what is dialled must bear repetition. A lost connection is remade after
0.1 to 1 s.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, Self

import grpc
from grpc import aio

from horde.services import telemetry
from horde.services.calls import Manner, Streaming, Unary
from horde.services.certificates import explain
from horde.services.errors import ServiceError
from horde.services.identity import Credentials
from horde.services.keepalive import KEEPALIVE, Keepalive
from horde.services.neighbours import Watch
from horde.services.tls import Changes, TlsFiles, is_loopback

log = telemetry.get_logger(__name__)

MIB = 1024 * 1024
RETRIES = {
    "methodConfig": [
        {
            "name": [{}],
            "retryPolicy": {
                "maxAttempts": 5,
                "initialBackoff": "0.1s",
                "maxBackoff": "1s",
                "backoffMultiplier": 2,
                "retryableStatusCodes": ["UNAVAILABLE"],
            },
        }
    ]
}


class _Cores:
    """gRPC's own channel to a target, made anew when our certificate's files change. What streams go through the old
    one go on."""

    def __init__(self, make: Callable[[], aio.Channel], changes: Changes | None) -> None:
        self._make = make
        self._changes = changes
        self._old: list[aio.Channel] = []
        self.now = make()

    def fresh(self) -> aio.Channel:
        """The channel for the next call."""
        if self._changes is not None and self._changes.seen():
            try:
                made = self._make()
            except OSError as error:
                log.error("the new certificate is not taken", why=str(error))
            else:
                log.info("certificates were read anew")
                self._old.append(self.now)
                self.now = made
        return self.now

    async def close(self, grace: float | None = None) -> None:
        for core in (*self._old, self.now):
            await core.close(grace)


class _Method:
    """A method of whatever channel is the one of now."""

    __slots__ = ("_bind", "_bound", "_core", "_cores")

    def __init__(self, cores: _Cores, bind: Callable[[aio.Channel], Any]) -> None:
        self._cores = cores
        self._bind = bind
        self._core = cores.now
        self._bound = bind(cores.now)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        core = self._cores.fresh()
        if core is not self._core:
            self._core, self._bound = core, self._bind(core)
        return self._bound(*args, **kwargs)


class _Channel(aio.Channel):
    """A channel whose calls are made in our manner."""

    def __init__(self, cores: _Cores, manner: Manner) -> None:
        self._cores: Any = cores
        self._manner = manner

    def _bound(self, kind: str, method: str, args: Any, kwargs: Any) -> Any:
        return _Method(self._cores, lambda core: getattr(core, kind)(method, *args, **kwargs))

    def unary_unary(self, method: str, *args: Any, **kwargs: Any) -> Any:
        return Unary(self._bound("unary_unary", method, args, kwargs), method, self._manner)

    def unary_stream(self, method: str, *args: Any, **kwargs: Any) -> Any:
        return Streaming(self._bound("unary_stream", method, args, kwargs), method, self._manner)

    def stream_unary(self, method: str, *args: Any, **kwargs: Any) -> Any:
        return Streaming(self._bound("stream_unary", method, args, kwargs), method, self._manner)

    def stream_stream(self, method: str, *args: Any, **kwargs: Any) -> Any:
        return Streaming(self._bound("stream_stream", method, args, kwargs), method, self._manner)

    async def close(self, grace: float | None = None) -> None:
        await self._cores.close(grace)

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        state: grpc.ChannelConnectivity = self._cores.now.get_state(try_to_connect)
        return state

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        await self._cores.now.wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        await self._cores.now.channel_ready()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()


@asynccontextmanager
async def dial(
    target: str,
    *,
    caller: Credentials | None,
    errors: Iterable[type[ServiceError]] = (),
    timeout: timedelta | None = timedelta(seconds=10),
    tls: TlsFiles | None = None,
    plaintext: bool = False,
    retry: bool = True,
    wait_for_ready: bool | None = None,
    max_message_bytes: int = 4 * MIB,
    keepalive: Keepalive = KEEPALIVE,
    neighbour: str = "",
) -> AsyncIterator[aio.Channel]:
    """A channel to a neighbour, for as long as the block; connecting begins with the first call.

    Without `tls` the target must be on loopback, unless `plaintext` says that this is meant. `timeout` is the default
    of unary calls. With `wait_for_ready` calls wait out a neighbour's absence instead of failing with Unavailable.
    With the `neighbour`'s name the log says when it begins to fail, and when it is back.
    """
    options = _options(max_message_bytes, retry, keepalive)
    changes = None
    if tls is not None:
        files = tls
        changes = Changes(files) if files.stamp() else None

        def make() -> aio.Channel:
            return aio.secure_channel(target, files.channel_credentials(), options=options)

    elif plaintext or is_loopback(target):

        def make() -> aio.Channel:
            return aio.insecure_channel(target, options=options)

    else:
        raise ValueError(f"{target} is another machine: it needs TLS")
    manner = Manner(
        headers=caller.headers if caller else (),
        errors=tuple(errors),
        timeout=timeout.total_seconds() if timeout else None,
        wait_for_ready=wait_for_ready,
        watch=Watch(f"{neighbour} at {target}") if neighbour else None,
        explain=_Explaining(neighbour, target, tls) if neighbour and tls is not None else None,
    )
    cores = _Cores(make, changes)
    try:
        yield _Channel(cores, manner)
    finally:
        await cores.close()


class _Explaining:
    """Says why TLS with a neighbour does not come about, where that is why it cannot be reached."""

    def __init__(self, neighbour: str, target: str, files: TlsFiles) -> None:
        self._neighbour = neighbour
        self._target = target
        self._files = files
        self._task: asyncio.Task[None] | None = None

    def __call__(self) -> None:
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._explain())

    async def _explain(self) -> None:
        if why := await explain(self._target, self._files):
            log.warning("no TLS with a neighbour", neighbour=f"{self._neighbour} at {self._target}", why=why)


def _options(max_message_bytes: int, retry: bool, keepalive: Keepalive) -> Sequence[tuple[str, Any]]:
    return [
        ("grpc.max_receive_message_length", max_message_bytes),
        ("grpc.max_send_message_length", max_message_bytes),
        ("grpc.max_metadata_size", 16 * 1024),
        ("grpc.enable_retries", int(retry)),
        *([("grpc.service_config", json.dumps(RETRIES))] if retry else []),
        *keepalive.options(),
        # Neighbours restart: look again soon, and often.
        ("grpc.initial_reconnect_backoff_ms", 100),
        # In spite of its name: how long one attempt to connect may take. Handshakes over a slow line are four of its
        # turns; over a satellite that is more than two seconds.
        ("grpc.min_reconnect_backoff_ms", 5_000),
        ("grpc.max_reconnect_backoff_ms", 1_000),
        # And where its name leads to now: gRPC would ask once in 30 s at most.
        ("grpc.dns_min_time_between_resolutions_ms", 1_000),
    ]
