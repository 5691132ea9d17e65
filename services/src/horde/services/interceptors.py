"""What happens around every call that is served: who may call, how long it may take, what a failure looks like.

Methods are wrapped once, when they are added to a server (`guard`), not intercepted at each call: it costs a few
microseconds where gRPC's own interceptors cost ten times that. A servicer raises ServiceErrors and contains no `try`;
anything else that it raises becomes INTERNAL with no detail, and a traceback in the log.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, NoReturn

import grpc
from google.protobuf.message import DecodeError
from grpc import aio

from horde.services import deadlines, telemetry
from horde.services.addresses import FORWARDED_KEY, Networks, caller_peer, forwarded_peer, set_forwarded
from horde.services.brakes import Brake
from horde.services.errors import (
    AlreadyExists,
    DeadlineExceeded,
    FailedPrecondition,
    Internal,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
    ServiceError,
    Unauthenticated,
    Unavailable,
    Unimplemented,
)
from horde.services.identity import (
    NOBODY,
    PUBLIC,
    AllowList,
    BadProof,
    CallerNotAllowed,
    Identity,
    set_current_caller,
)
from horde.services.status import to_abort
from horde.services.unknown_fields import UnknownField, refuse_unknown_fields

log = telemetry.get_logger(__name__)

_THEIR_FAULT = (
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
    Unauthenticated,
)
"""What a caller is refused for, and would be again."""

Context = Any  # aio.ServicerContext[Any, Any], which is generic for the type checker only
Behaviour = Callable[[Any, Context], Any]


@dataclass(frozen=True, slots=True)
class Gate:
    """What a server checks before a method runs."""

    allow: AllowList
    identity: Identity | None
    least_seconds: float = 0.005
    """A call with less time left than this is refused: its answer would come too late."""
    shaved_seconds: float = 0.01
    """What is kept back from the time left, for the way home."""
    brake: Brake | None = None
    """Holds back what is told to those who are refused again and again."""
    proxies: Networks = ()
    """Whose word about where a call comes from counts."""

    def admit(self, method: str, allowed: Iterable[str], context: Context) -> None:
        """Let a call in, or raise why not."""
        if self.brake is not None and self.brake.gone(context.peer()):
            raise Unavailable("This connection was cut: too much of what came over it was refused.")
        left: float | None = context.time_remaining()
        if left is not None:
            if left < self.least_seconds:
                raise DeadlineExceeded("Hardly any time was left when the call arrived.")
            left = max(left - self.shaved_seconds, self.least_seconds)
        deadlines.begin(left)
        caller = NOBODY
        if self.identity is not None:
            caller = self.identity.identify(context.invocation_metadata() or (), context.auth_context)
        if allowed is not PUBLIC and caller not in allowed:
            raise CallerNotAllowed(metadata={"caller": caller, "method": method})
        set_current_caller(caller)
        if self.proxies:
            values = [str(value) for key, value in context.invocation_metadata() or () if key == FORWARDED_KEY]
            set_forwarded(forwarded_peer(context.peer(), values, self.proxies) if values else "")

    def broken_off(self, context: Context) -> None:
        """A call's caller did not wait for its answer."""
        if self.brake is not None:
            self.brake.broken_off(caller_peer(context))


async def refuse(method: str, context: Context, error: Exception, brake: Brake | None = None) -> NoReturn:
    """End a call with an error, as what it is if it may be told."""
    if isinstance(error, aio.AbortError):
        raise error
    if isinstance(error, NotImplementedError):
        # What generated servicers raise for a method that nobody wrote.
        error = Unimplemented()
    elif isinstance(error, DecodeError):
        error = InvalidArgument("What was sent is not a message of this method.")
    elif not isinstance(error, ServiceError):
        log.error("call failed", method=method, exc_info=error)
        error = Internal("Something is broken here.")
    elif error.remote and isinstance(error, (BadProof, CallerNotAllowed)):
        # A neighbour refused *us*. Told onwards, it would read as if we had refused our caller.
        log.error("a neighbour refused this service", method=method, exc_info=error)
        error = Internal("Something is broken here.")
    if brake is not None and isinstance(error, _THEIR_FAULT):
        await brake.hold(caller_peer(context))
    await context.abort(*to_abort(error))
    raise AssertionError("abort raises")


def guard(handler: grpc.RpcMethodHandler[Any, Any], method: str, gate: Gate) -> grpc.RpcMethodHandler[Any, Any]:
    """The same method behind the gate."""
    allowed = gate.allow.allowed(method)
    if allowed == PUBLIC:
        allowed = PUBLIC
    facts: Any = handler
    behaviour: Behaviour = facts.unary_unary or facts.unary_stream or facts.stream_unary or facts.stream_stream
    once = facts.unary_unary or facts.stream_unary
    wrap = _answering if once or inspect.iscoroutinefunction(behaviour) else _streaming
    make: Any = {
        (False, False): grpc.unary_unary_rpc_method_handler,
        (False, True): grpc.unary_stream_rpc_method_handler,
        (True, False): grpc.stream_unary_rpc_method_handler,
        (True, True): grpc.stream_stream_rpc_method_handler,
    }[facts.request_streaming, facts.response_streaming]
    wrapped = wrap(behaviour, method, gate, allowed)
    # In a stream, what cannot be read is raised where the servicer reads; of a single request gRPC itself would say
    # that something is broken here.
    deserialize = facts.request_deserializer
    if not facts.request_streaming:
        deserialize = _deferred(deserialize, strict=allowed is PUBLIC)
    guarded: grpc.RpcMethodHandler[Any, Any] = make(wrapped, deserialize, facts.response_serializer)
    return guarded


def _deferred(deserialize: Callable[[bytes], Any], *, strict: bool) -> Callable[[bytes], Any]:
    """Gives the error instead of raising it: whoever may not call is told that first.

    `strict` refuses fields that are not known here, for what anybody may call. Services tell each other more than an
    older one knows while they are replaced one by one; it ignores that.
    """

    def read(raw: bytes) -> Any:
        try:
            request = deserialize(raw)
            if strict:
                refuse_unknown_fields(request)
        except (DecodeError, UnknownField) as error:
            return error
        return request

    return read


def _answering(behaviour: Behaviour, method: str, gate: Gate, allowed: Iterable[str]) -> Behaviour:
    """Around a coroutine: one answer, or a stream that it writes itself."""

    async def plain(request: Any, context: Context) -> Any:
        try:
            gate.admit(method, allowed, context)
            if isinstance(request, Exception):
                raise request
            return await behaviour(request, context)
        except Exception as error:  # noqa: BLE001 - this is where failures end
            await refuse(method, context, error, gate.brake)
        except asyncio.CancelledError:
            gate.broken_off(context)
            raise

    rpc = telemetry.rpc
    if rpc is None:
        return plain

    async def observed(request: Any, context: Context) -> Any:
        try:
            with rpc.served(method, context.invocation_metadata() or ()):
                gate.admit(method, allowed, context)
                if isinstance(request, Exception):
                    raise request
                return await behaviour(request, context)
        except Exception as error:  # noqa: BLE001
            await refuse(method, context, error, gate.brake)
        except asyncio.CancelledError:
            gate.broken_off(context)
            raise

    return observed


def _streaming(behaviour: Behaviour, method: str, gate: Gate, allowed: Iterable[str]) -> Behaviour:
    """Around an async generator: many answers.

    It writes what the generator yields. Handed to gRPC as it is, a generator that waits at a `yield` when its call is
    cut would not be closed then, but whenever the garbage collector finds it, and hold what it holds until then.
    """

    async def plain(request: Any, context: Context) -> None:
        try:
            gate.admit(method, allowed, context)
            if isinstance(request, Exception):
                raise request
            async with aclosing(behaviour(request, context)) as answers:
                async for answer in answers:
                    await context.write(answer)
        except Exception as error:  # noqa: BLE001
            await refuse(method, context, error, gate.brake)
        except asyncio.CancelledError:
            gate.broken_off(context)
            raise

    rpc = telemetry.rpc
    if rpc is None:
        return plain

    async def observed(request: Any, context: Context) -> None:
        try:
            with rpc.served(method, context.invocation_metadata() or ()):
                gate.admit(method, allowed, context)
                if isinstance(request, Exception):
                    raise request
                async with aclosing(behaviour(request, context)) as answers:
                    async for answer in answers:
                        await context.write(answer)
        except Exception as error:  # noqa: BLE001
            await refuse(method, context, error, gate.brake)
        except asyncio.CancelledError:
            gate.broken_off(context)
            raise

    return observed


class GuardedRegistry:
    """Stands in for the server while a generated `add_…_to_server` runs, and guards what it adds."""

    def __init__(self, server: aio.Server, gate: Gate) -> None:
        self._server = server
        self._gate = gate
        self.methods: set[str] = set()

    def add_generic_rpc_handlers(self, handlers: Iterable[grpc.GenericRpcHandler]) -> None:
        """Nothing: the generated code says everything twice, and the other way names its methods."""

    def add_registered_method_handlers(
        self, service: str, handlers: Mapping[str, grpc.RpcMethodHandler[Any, Any]]
    ) -> None:
        """Guard each method and add it."""
        guarded = {}
        for name, handler in handlers.items():
            method = f"/{service}/{name}"
            self.methods.add(method)
            guarded[name] = guard(handler, method, self._gate)
        self._server.add_registered_method_handlers(service, guarded)


Farewell = Callable[[], Awaitable[None]]
