"""Dialling a neighbour: a channel that generated stubs can use, whose calls raise ServiceErrors.

    async with dial(settings.ledger, caller=credentials, errors=(OutOfCredit,)) as channel:
        ledger = LedgerServiceStub(channel)

Every call carries our name and its proof and goes on with the current trace. A unary call ends within `timeout`, or
within what the call being served has left if that is less; streams have no end unless told. UNAVAILABLE is tried
again by gRPC itself, five attempts at most: so what is dialled must bear repetition. A lost connection is remade after
0.1 to 2 s.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Generator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, NoReturn, Self

import grpc
from grpc import aio

from horde.services import deadlines, telemetry
from horde.services.errors import Cancelled, DeadlineExceeded, ServiceError
from horde.services.identity import Credentials
from horde.services.status import from_rpc_error
from horde.services.tls import TlsFiles, is_loopback

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


@dataclass(slots=True)
class _Manner:
    """How the calls of one channel are made."""

    headers: tuple[tuple[str, str], ...] = ()
    errors: tuple[type[ServiceError], ...] = ()
    timeout: float | None = None
    wait_for_ready: bool | None = None

    def sent_headers(self, given: Iterable[tuple[str, str | bytes]] | None) -> tuple[tuple[str, str | bytes], ...]:
        """What goes with a call: our proof, the caller's own headers, the trace."""
        headers: tuple[tuple[str, str | bytes], ...] = self.headers
        if given:
            headers = (*headers, *given)
        if telemetry.rpc is not None and (traceparent := telemetry.current_traceparent()):
            headers = (*headers, (telemetry.TRACEPARENT, traceparent))
        return headers

    def time_for(self, given: float | None, default: float | None) -> float | None:
        """How long a call may take; raises if there is nothing left to take."""
        timeout = default if given is None else given
        left = deadlines.remaining()
        if left is None:
            return timeout
        if left <= 0:
            raise DeadlineExceeded("No time is left for a further call.")
        return left if timeout is None else min(timeout, left)


class _Answer:
    """A call with one answer, on its way."""

    __slots__ = ("_call", "_errors", "_method")

    def __init__(self, call: Any, method: str, errors: tuple[type[ServiceError], ...]) -> None:
        self._call = call
        self._method = method
        self._errors = errors

    def __await__(self) -> Generator[Any, None, Any]:
        if telemetry.rpc is not None:
            return self._observed(telemetry.rpc).__await__()
        return self._plain()

    def _plain(self) -> Generator[Any, None, Any]:
        try:
            return (yield from self._call.__await__())
        except aio.AioRpcError as error:
            raise from_rpc_error(error, self._errors) from None

    async def _observed(self, rpc: telemetry.RpcTelemetry) -> Any:
        with rpc.made(self._method):
            try:
                return await self._call
            except aio.AioRpcError as error:
                raise from_rpc_error(error, self._errors) from None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._call, name)


class _Stream:
    """A call with a stream in at least one direction."""

    def __init__(self, call: Any, manner: _Manner) -> None:
        self._call = call
        self._errors = manner.errors

    def __aiter__(self) -> AsyncIterator[Any]:
        return self._answers()

    async def _answers(self) -> AsyncIterator[Any]:
        try:
            async for answer in self._call:
                yield answer
        except aio.AioRpcError as error:
            raise from_rpc_error(error, self._errors) from None

    def __await__(self) -> Generator[Any, None, Any]:
        try:
            return (yield from self._call.__await__())
        except aio.AioRpcError as error:
            raise from_rpc_error(error, self._errors) from None

    async def read(self) -> Any:
        """The next answer, or `aio.EOF` at the end."""
        try:
            return await self._call.read()
        except aio.AioRpcError as error:
            raise from_rpc_error(error, self._errors) from None

    async def write(self, request: Any) -> None:
        """Send one message; raises what ended the call if it has ended."""
        try:
            await self._call.write(request)
        except aio.AioRpcError as error:
            raise from_rpc_error(error, self._errors) from None
        except asyncio.InvalidStateError:
            await self._raise_end()

    async def done_writing(self) -> None:
        """Close our direction; raises what ended the call if it ended badly."""
        try:
            await self._call.done_writing()
        except aio.AioRpcError as error:
            raise from_rpc_error(error, self._errors) from None

    async def _raise_end(self) -> NoReturn:
        code = await self._call.code()
        if code is grpc.StatusCode.OK:
            raise Cancelled("The other side has ended the stream.")
        details, trailers = await self._call.details(), await self._call.trailing_metadata()
        raise from_rpc_error(aio.AioRpcError(code, aio.Metadata(), trailers, details), self._errors)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._call, name)


class _Unary:
    """A method with one question and one answer."""

    __slots__ = ("_callable", "_manner", "_method")

    def __init__(self, multicallable: Any, method: str, manner: _Manner) -> None:
        self._callable = multicallable
        self._method = method
        self._manner = manner

    def __call__(
        self,
        request: Any,
        *,
        timeout: float | None = None,
        metadata: Iterable[tuple[str, str | bytes]] | None = None,
        wait_for_ready: bool | None = None,
        **rest: Any,
    ) -> _Answer:
        manner = self._manner
        call = self._callable(
            request,
            timeout=manner.time_for(timeout, manner.timeout),
            metadata=manner.sent_headers(metadata),
            wait_for_ready=manner.wait_for_ready if wait_for_ready is None else wait_for_ready,
            **rest,
        )
        return _Answer(call, self._method, manner.errors)


class _Streaming:
    """A method with a stream in at least one direction."""

    __slots__ = ("_callable", "_manner")

    def __init__(self, multicallable: Any, manner: _Manner) -> None:
        self._callable = multicallable
        self._manner = manner

    def __call__(
        self,
        request: Any = None,
        *,
        timeout: float | None = None,
        metadata: Iterable[tuple[str, str | bytes]] | None = None,
        wait_for_ready: bool | None = None,
        **rest: Any,
    ) -> _Stream:
        manner = self._manner
        call = self._callable(
            request,
            timeout=manner.time_for(timeout, None),
            metadata=manner.sent_headers(metadata),
            wait_for_ready=manner.wait_for_ready if wait_for_ready is None else wait_for_ready,
            **rest,
        )
        return _Stream(call, manner)


class _Channel(aio.Channel):
    """A channel whose calls are made in our manner."""

    def __init__(self, core: aio.Channel, manner: _Manner) -> None:
        self._core: Any = core
        self._manner = manner

    def unary_unary(self, method: str, *args: Any, **kwargs: Any) -> Any:
        return _Unary(self._core.unary_unary(method, *args, **kwargs), method, self._manner)

    def unary_stream(self, method: str, *args: Any, **kwargs: Any) -> Any:
        return _Streaming(self._core.unary_stream(method, *args, **kwargs), self._manner)

    def stream_unary(self, method: str, *args: Any, **kwargs: Any) -> Any:
        return _Streaming(self._core.stream_unary(method, *args, **kwargs), self._manner)

    def stream_stream(self, method: str, *args: Any, **kwargs: Any) -> Any:
        return _Streaming(self._core.stream_stream(method, *args, **kwargs), self._manner)

    async def close(self, grace: float | None = None) -> None:
        await self._core.close(grace)

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        state: grpc.ChannelConnectivity = self._core.get_state(try_to_connect)
        return state

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        await self._core.wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        await self._core.channel_ready()

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
) -> AsyncIterator[aio.Channel]:
    """A channel to a neighbour, for as long as the block; connecting begins with the first call.

    Without `tls` the target must be on loopback, unless `plaintext` says that this is meant. `timeout` is the default
    of unary calls. With `wait_for_ready` calls wait out a neighbour's absence instead of failing with Unavailable.
    """
    options = _options(max_message_bytes, retry)
    if tls is not None:
        core = aio.secure_channel(target, tls.channel_credentials(), options=options)
    elif plaintext or is_loopback(target):
        core = aio.insecure_channel(target, options=options)
    else:
        raise ValueError(f"{target} is another machine: it needs TLS")
    manner = _Manner(
        headers=caller.headers if caller else (),
        errors=tuple(errors),
        timeout=timeout.total_seconds() if timeout else None,
        wait_for_ready=wait_for_ready,
    )
    async with core:
        yield _Channel(core, manner)


def _options(max_message_bytes: int, retry: bool) -> Sequence[tuple[str, Any]]:
    return [
        ("grpc.max_receive_message_length", max_message_bytes),
        ("grpc.max_send_message_length", max_message_bytes),
        ("grpc.max_metadata_size", 16 * 1024),
        ("grpc.enable_retries", int(retry)),
        *([("grpc.service_config", json.dumps(RETRIES))] if retry else []),
        ("grpc.keepalive_time_ms", 30_000),
        ("grpc.keepalive_timeout_ms", 10_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
        # Neighbours restart: look again soon, and often.
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.min_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 2_000),
    ]
